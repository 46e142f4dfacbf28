"""Examples about tools: a conversation, the tools beside it, and the message that should come next.

A scene is what several examples begin with. Every kind of task is one function of a random generator, a scene and the
tools there are. Those in which tools have answered are in `results.py`.
"""

from __future__ import annotations

import functools
import json
import random
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agentkit import prompt
from agentkit.context.words import lower, terms
from agentkit.messages import Message, ToolCall, ToolSpec
from training.joining import Request, decorated, joined, request
from training.kinds import Kind, Value, spoken_list
from training.phrases import Said, Slot
from training.repeats import say_repeated
from training.tools import Parameter, Shown, Tool, show


@dataclass(frozen=True, slots=True)
class Example:
    """One example: after `messages`, with `tools`, the model should say `text` and call `calls`."""

    task: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...]
    text: str = ""
    calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """One request for one tool: its words, and the call it means."""

    shown: Shown
    said: Said
    values: dict[str, Value]

    @property
    def text(self) -> str:
        """The request."""
        return self.said.fill({name: value.said for name, value in self.values.items()})

    @property
    def request(self) -> Request:
        """The request, by itself and within a sentence."""
        return request(self.said, self.text)

    @property
    def call(self) -> ToolCall:
        """The call."""
        meant = {name: value.json for name, value in self.values.items()} | self.said.flags
        return ToolCall("", self.shown.spec.name, self.shown.arguments(meant))


OWN = "assistant"
"""The domain of the tools that come with agentkit, and of those they are to be told from."""
OWN_SHARE = 0.22
"""How often a tool of that domain is meant: everybody has them, and nobody's own tools are here."""
_OFTEN = {"calculator": 9, "remember": 6}
"""How much more often than the others of their domain: people ask for them in more ways."""


def pick(rng: random.Random, known: Sequence[Tool]) -> Tool:
    """Return a tool: one of agentkit's own quite often; of the many that only look something up, not too many."""
    own = [tool for tool in known if tool.domain == OWN]
    if own and rng.random() < OWN_SHARE:
        return rng.choices(own, [_OFTEN.get(tool.name, 1) for tool in own])[0]
    for _ in range(8):
        tool = rng.choice(known)
        if not tool.name.startswith("get_") or rng.random() < 0.35:
            break
    return tool


_SHARES = (0.0, 0.4, 0.8, 1.0, 1.0)
"""How much of what may be left out is said. More than half: what a call has too much is seen and taken away
(`agentkit.calling.backing`), and what it leaves out is lost."""


def ask(shown: Shown, rng: random.Random) -> Ask:
    """Return a request for a tool; it speaks only of what the tool is shown to take."""
    tool, share = shown.tool, rng.choice(_SHARES)
    said = rng.choice(tool.asks).say(rng, share=share)
    for _ in range(_TRIES):
        if {*said.slots(), *said.flags} <= set(shown.names):
            break
        said = rng.choice(tool.asks).say(rng, share=share)
        share *= 0.9
    else:
        said = rng.choice(tool.asks).say(rng, share=0.0)
    return Ask(shown, said, _begun(tool, said, values_of(tool, said.slots(), rng), rng))


def _begun(tool: Tool, said: Said, values: dict[str, Value], rng: random.Random) -> dict[str, Value]:
    """Return the values, mostly with a capital where one begins the request and is copied as it stands there."""
    first = said.pieces[0]
    if not isinstance(first, Slot) or rng.random() > _CAPITALS:
        return values
    value = values[first.name]
    if value.said != value.json or " " not in value.said or "enum" in tool.parameters[first.name].kind.schema:
        return values
    text = value.said[:1].upper() + value.said[1:]
    return {**values, first.name: Value(text, text)}


_CAPITALS = 0.7


def values_of(tool: Tool, names: Sequence[str], rng: random.Random) -> dict[str, Value]:
    """Return a value for each of `names`, no two texts the same: nobody flies from Paris to Paris."""
    values: dict[str, Value] = {}
    for _ in range(_TRIES):
        values = {name: tool.parameters[name].kind.draw(rng) for name in names}
        if all_differ(values):
            break
    return values


def all_differ(values: Mapping[str, Value]) -> bool:
    """Return whether no two texts among the values of one call are the same."""
    texts = [value.json for value in values.values() if isinstance(value.json, str)]
    return len(set(texts)) == len(texts)


_TRIES = 20


@dataclass(frozen=True, slots=True)
class Scene:
    """What stands before a request: the system message, and the tools."""

    system: Message
    shown: tuple[Shown, ...]
    """Sorted by name, as the context shows them; each name once."""

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools as they are shown."""
        return tuple(each.spec for each in self.shown)

    def example(self, said: str, *, text: str = "", calls: Sequence[ToolCall] = ()) -> Example:
        """Return the example of a request."""
        return Example("", (self.system, Message.user(said)), self.specs, text, tuple(calls))


def scene(rng: random.Random, known: Sequence[Tool], first: Sequence[Tool] = (), *, least: int = 1) -> Scene:
    """Return a scene with one to four tools, `least` at least, those of `first` among them."""
    tools = {tool.name: tool for tool in first or [pick(rng, known)]}
    count = max(least, rng.choice((1, 1, 2, 3, 4)), len(tools))
    near = next(iter(tools.values()))
    for tool in _near(rng, known, count, near=near, share=0.6):
        if len(tools) < count and not any(_reckon(tool, other) for other in tools.values()):
            tools.setdefault(tool.name, tool)
    shown = {each.spec.name: each for each in (show(tool, rng) for tool in reversed(tools.values()))}
    system = Message.system(prompt.ASSISTANT if rng.random() < 0.8 else rng.choice(_SYSTEMS))
    return Scene(system, tuple(shown[name] for name in sorted(shown)))


Task = Callable[[random.Random, Scene, Sequence[Tool]], Example | None]
"""Makes an example of a scene; `None` where the scene does not allow it."""

# --- calls ------------------------------------------------------------------------------------------


def one_call(rng: random.Random, here: Scene, _known: Sequence[Tool]) -> Example | None:
    """One tool is meant; others may stand beside it."""
    return _called(rng, here, [ask(rng.choice(here.shown), rng)])


def needs_nothing(rng: random.Random, here: Scene, _known: Sequence[Tool]) -> Example | None:
    """The tool that is meant can be called as it is; to ask back for something is wrong."""
    ready = [each for each in here.shown if each.tool.needs_nothing]
    return _called(rng, here, [ask(rng.choice(ready), rng)]) if ready else None


def same_tool(rng: random.Random, here: Scene, _known: Sequence[Tool]) -> Example | None:
    """One tool, several times: with a list of values for one or two parameters, or as several requests."""
    first = ask(rng.choice(here.shown), rng)
    count = rng.choice((2, 2, 3, 3, 4))
    if rng.random() < 0.4:
        return _called(rng, here, [first, *(ask(first.shown, rng) for _ in range(count - 1))])
    kinds = first.shown.tool.parameters
    open_slots = [name for name in first.values if may_vary(kinds[name].kind)]
    if not open_slots:
        return None
    varied = rng.sample(open_slots, min(len(open_slots), rng.choice((1, 1, 2))))
    rows = [first.values]
    for _ in range(count - 1):
        fresh = {name: kinds[name].kind.draw(rng) for name in varied}
        if any(row[name].json == fresh[name].json for name in varied for row in rows):
            return None
        rows.append({**first.values, **fresh})
        if not all_differ(rows[-1]):
            return None
    spoken = [{name: value.said for name, value in row.items()} for row in rows]
    asked = [replace(first, values=row) for row in rows]
    if any(len(row[name].split()) > _LISTED_WORDS for row in spoken for name in varied):
        return _called(rng, here, asked)
    alone = all(_told_apart(kinds[varied[0]], kinds[name]) for name in first.values if name != varied[0])
    text = say_repeated(first.said, spoken, varied, rng, alone=alone)
    if text is None:
        return _called(rng, here, asked)
    calls = [each.call for each in asked]
    return here.example(decorated(request(first.said, text), rng), calls=calls)


_LISTED_WORDS = 4
"""How long a value may be that is said in a list: of longer ones, nobody hears where one ends."""


def _told_apart(one: Parameter, other: Parameter) -> bool:
    """Return whether a value by itself says which of two parameters it is for."""
    types = {one.kind.schema.get("type"), other.kind.schema.get("type")}
    return one.kind.text != other.kind.text and not types <= {"integer", "number"}


def may_vary(kind: Kind) -> bool:
    """Return whether several values of a kind can be said one after the other: not lists, nor whole sentences."""
    return not kind.schema.get("items") and not kind.text.startswith("saying")


def several_tools(rng: random.Random, here: Scene, _known: Sequence[Tool]) -> Example | None:
    """Two to four calls of two tools or more, asked for in one breath."""
    if len(here.shown) < 2:
        return None
    count = rng.choice((2, 2, 3, 3, 4))
    tools = rng.sample(here.shown, min(len(here.shown), count))
    if len(tools) > 2 and rng.random() < 0.25:
        tools[-1] = tools[0]
    while len(tools) < count:
        tools.append(rng.choice(tools))
    return _called(rng, here, [ask(each, rng) for each in tools])


def _called(rng: random.Random, here: Scene, asked: Sequence[Ask]) -> Example:
    """Return the example of requests, each said once."""
    different = list(
        {(each.shown.spec.name, json.dumps(each.call.arguments)): each for each in asked}.values()
    )
    said = decorated(joined([each.request for each in different], rng), rng)
    return here.example(said, calls=[each.call for each in different])


# --- no call ----------------------------------------------------------------------------------------


def no_tool_fits(rng: random.Random, here: Scene, known: Sequence[Tool]) -> Example | None:
    """The tool that is meant is not there."""
    near = rng.choice(here.shown).tool
    (tool,) = _near(rng, known, 1, near=near, share=0.4)
    others = [each.tool for each in here.shown]
    if any(tool is other or _alike(tool, other) or _reckon(tool, other) for other in others):
        return None
    return here.example(decorated(ask(show(tool, rng), rng).request, rng), text=prompt.UNABLE)


def something_missing(rng: random.Random, here: Scene, _known: Sequence[Tool]) -> Example | None:
    """The request leaves out what the tool needs: ask for it, and invent nothing."""
    short = [each.tool for each in here.shown if each.tool.short]
    if not short:
        return None
    tool = rng.choice(short)
    said = rng.choice(tool.short).say(rng)
    values = {name: tool.parameters[name].kind.draw(rng).said for name in said.slots()}
    needed = [each for each in tool.parameters.values() if not each.optional and each.name not in values]
    wanted = spoken_list([lower(rng.choice(each.about)) for each in needed], rng)
    text = f"{rng.choice(prompt.ASKING_BACK)}{wanted}."
    return here.example(said.fill(values), text=text)


def small_talk(rng: random.Random, here: Scene, _known: Sequence[Tool]) -> Example | None:
    """Somebody says something that needs no tool."""
    words, reply = rng.choice(list(rng.choice(list(talk().values())).items()))
    meant = set(terms(words))
    for each in here.shown:
        about = " ".join((each.tool.name.replace("_", " "), *each.tool.also, *each.tool.about))
        if meant & set(terms(about)):
            return None
    return here.example(words, text=reply)


@functools.cache
def talk() -> Mapping[str, Mapping[str, str]]:
    """Return what people say and what is said to it, by group."""
    return tomllib.loads(Path(__file__).with_name("talk.toml").read_text(encoding="utf-8"))


def _near(rng: random.Random, known: Sequence[Tool], count: int, *, near: Tool, share: float) -> list[Tool]:
    """Return tools of one domain with probability `share` each, else of any; no tool twice."""
    family = [tool for tool in known if tool.domain == near.domain]
    drawn: dict[str, Tool] = {}
    while len(drawn) < min(count, len(known)):
        tool = rng.choice(family if rng.random() < share and len(family) > len(drawn) else [pick(rng, known)])
        if tool is near or not _alike(tool, near):
            drawn[tool.name] = tool
    return list(drawn.values())


def _alike(one: Tool, other: Tool) -> bool:
    """Return whether two tools do much the same: one gives any fact of a thing, the other just one."""
    general = one.name.endswith("_details") or other.name.endswith("_details")
    return one is not other and one.domain == other.domain and general


_FORMULAS = frozenset({"arithmetic", "finance", "formulas", "geometry", "health", "science", "statistics"})
"""Domains of tools that compute one thing."""


def _reckon(one: Tool, other: Tool) -> bool:
    """Return whether one of two tools is the calculator, and the other does what it can do as well."""
    names, domains = {one.name, other.name}, {one.domain, other.domain}
    return "calculator" in names and bool(domains & _FORMULAS)


_SYSTEMS = (
    "You are a helpful assistant.",
    "Be brief and exact.",
    "You help people get things done with the tools you are given.",
)


def shown_call(call: ToolCall) -> dict[str, Any]:
    """Return a call as it is printed."""
    return {"name": call.name, "arguments": call.arguments}
