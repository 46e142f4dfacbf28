"""Examples about tools: a conversation, the tools beside it, and the message that should come next.

A scene is what several examples begin with. Every kind of task is one function of a random generator, a scene and the
tools there are.
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
from agentkit.context.words import terms
from agentkit.labels import Labels
from agentkit.messages import Message, ToolCall, ToolSpec
from training.kinds import Value, spoken_list
from training.phrases import Said
from training.repeats import say_repeated
from training.tools import Shown, Tool, show


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
    def call(self) -> ToolCall:
        """The call."""
        meant = {name: value.json for name, value in self.values.items()} | self.said.flags
        return ToolCall("", self.shown.spec.name, self.shown.arguments(meant))


def pick(rng: random.Random, known: Sequence[Tool]) -> Tool:
    """Return a tool; of the many that only look something up, not too many."""
    for _ in range(8):
        tool = rng.choice(known)
        if not tool.name.startswith("get_") or rng.random() < 0.35:
            break
    return tool


_SHARES = (0.0, 0.3, 0.6)
"""How much of what may be left out is said: to leave out what nobody spoke of is as much to be learnt."""


def ask(shown: Shown, rng: random.Random) -> Ask:
    """Return a request for a tool; it speaks only of what the tool is shown to take."""
    tool, share = shown.tool, rng.choice(_SHARES)
    said = rng.choice(tool.asks).say(rng, share=share)
    for _ in range(20):
        if {*said.slots(), *said.flags} <= set(shown.names):
            break
        said = rng.choice(tool.asks).say(rng, share=0.2)
    else:
        said = rng.choice(tool.asks).say(rng, share=0.0)
    values = {name: tool.parameters[name].kind.draw(rng) for name in said.slots()}
    return Ask(shown, said, values)


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
        if len(tools) < count:
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


def same_tool(rng: random.Random, here: Scene, _known: Sequence[Tool]) -> Example | None:
    """One tool, several times: with a list of values for one or two parameters, or as several requests."""
    first = ask(rng.choice(here.shown), rng)
    count = rng.choice((2, 2, 2, 3, 3, 4))
    if rng.random() < 0.4:
        return _called(rng, here, [first, *(ask(first.shown, rng) for _ in range(count - 1))])
    kinds = first.shown.tool.parameters
    open_slots = [name for name in first.values if not kinds[name].kind.schema.get("items")]
    if not open_slots:
        return None
    varied = rng.sample(open_slots, min(len(open_slots), rng.choice((1, 1, 2))))
    rows = [first.values]
    for _ in range(count - 1):
        fresh = {name: kinds[name].kind.draw(rng) for name in varied}
        if any(row[name].json == fresh[name].json for name in varied for row in rows):
            return None
        rows.append({**first.values, **fresh})
    spoken = [{name: value.said for name, value in row.items()} for row in rows]
    text = say_repeated(first.said, spoken, varied, rng)
    calls = [replace(first, values=row).call for row in rows]
    return here.example(decorated(text, rng), calls=calls)


def several_tools(rng: random.Random, here: Scene, _known: Sequence[Tool]) -> Example | None:
    """Two or three tools, asked for in one breath; some of them more than once."""
    if len(here.shown) < 2:
        return None
    asked = [
        ask(each, rng) for each in rng.sample(here.shown, min(len(here.shown), rng.choice((2, 2, 2, 3))))
    ]
    if rng.random() < 0.25:
        asked.append(ask(asked[0].shown, rng))
    return _called(rng, here, asked)


def _called(rng: random.Random, here: Scene, asked: Sequence[Ask]) -> Example:
    """Return the example of requests, each said once."""
    different = list(
        {(each.shown.spec.name, json.dumps(each.call.arguments)): each for each in asked}.values()
    )
    text = joined([each.text for each in different], rng)
    return here.example(decorated(text, rng), calls=[each.call for each in different])


def decorated(text: str, rng: random.Random) -> str:
    """Return a request with what people say around it, or as it is."""
    if rng.random() < 0.6:
        return text
    first, last = rng.choice(_BEFORE), rng.choice(("", "", " Thanks!", " Thank you.", " Please be quick."))
    return (first + (_lower(text) if first.endswith((", ", ": ")) else text) if first else text) + last


_BEFORE = (
    "", "", "Hi! ", "Hello, ", "Hey, ", "Quick question: ", "I'm curious, ", "For my homework, ", "OK, ",
    "For a project at work, ", "I'm getting ready for a trip. ", "My friend asked me this. ", "I was wondering, ",
    "If you don't mind, ", "I have to finish a report today. ", "I'm new to this. ", "One more thing: ",
    "A little help, please: ",
)  # fmt: skip


def joined(requests: Sequence[str], rng: random.Random) -> str:
    """Return several requests as one."""
    first, *rest = requests
    if not rest:
        return first
    match rng.randrange(6):
        case 0:
            return "\n".join(f"{number}. {each}" for number, each in enumerate(requests, 1))
        case 1:
            return " ".join(requests)
        case 2:
            ordinals = ("First, ", "Second, ", "Third, ", "Then, ", "Finally, ")
            return " ".join(word + _lower(each) for word, each in zip(ordinals, requests, strict=False))
        case 3 if len(requests) == 2:
            return f"{first.rstrip('.?!')} and {rng.choice(('then ', 'also ', ''))}{_lower(rest[0])}"
        case _:
            words = rng.choice(
                (("Also, ",), ("Then ", "After that, "), ("Also ", "And "), ("I also need this: ",))
            )
            return " ".join([first, *(rng.choice(words) + _lower(each) for each in rest)])


# --- no call ----------------------------------------------------------------------------------------


def no_tool_fits(rng: random.Random, here: Scene, known: Sequence[Tool]) -> Example | None:
    """The tool that is meant is not there."""
    near = rng.choice(here.shown).tool
    (tool,) = _near(rng, known, 1, near=near, share=0.4)
    if any(tool.name == each.tool.name or _alike(tool, each.tool) for each in here.shown):
        return None
    return here.example(decorated(ask(show(tool, rng), rng).text, rng), text=prompt.UNABLE)


def something_missing(rng: random.Random, here: Scene, _known: Sequence[Tool]) -> Example | None:
    """The request leaves out what the tool needs: ask for it, and invent nothing."""
    short = [each.tool for each in here.shown if each.tool.short]
    if not short:
        return None
    tool = rng.choice(short)
    said = rng.choice(tool.short).say(rng)
    values = {name: tool.parameters[name].kind.draw(rng).said for name in said.slots()}
    needed = [each for each in tool.parameters.values() if not each.optional and each.name not in values]
    wanted = spoken_list([_lower(rng.choice(each.about)) for each in needed], rng)
    text = rng.choice((f"Please tell me: {wanted}.", f"I still need to know: {wanted}."))
    return here.example(said.fill(values), text=text)


def say_result(rng: random.Random, here: Scene, _known: Sequence[Tool]) -> Example | None:
    """A tool has answered: say what it said."""
    able = [each for each in here.shown if each.tool.outcomes]
    if not able:
        return None
    asked = ask(rng.choice(able), rng)
    outcome = rng.choice(asked.shown.tool.outcomes)
    drawn = {name: each.draw(rng) for name, each in outcome.draws.items()}
    result = outcome.result
    for name, value in drawn.items():
        result = result.replace("{" + name + "}", json.dumps(value.json))
    spoken = {name: value.said for name, value in (asked.values | drawn).items()}
    call = replace(asked.call, id="call_1")
    messages = (
        here.system,
        Message.user(asked.text),
        Message.assistant("", Labels(), (call,)),
        Message.tool(call, result, Labels()),
    )
    return Example("", messages, here.specs, text=outcome.says.say(rng).fill(spoken))


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


_SYSTEMS = (
    "You are a helpful assistant.",
    "Be brief and exact.",
    "You help people get things done with the tools you are given.",
)


def _lower(text: str) -> str:
    """Return `text` as it stands in the middle of a sentence."""
    return text if text[:2].isupper() or text.startswith(("I ", "I'")) else text[:1].lower() + text[1:]


def shown_call(call: ToolCall) -> dict[str, Any]:
    """Return a call as it is printed."""
    return {"name": call.name, "arguments": call.arguments}
