"""Examples about tools: a conversation, the tools beside it, and the message that should come next.

Every kind of task is one function of a random generator and the tools there are.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentkit import prompt
from agentkit.labels import Labels
from agentkit.messages import Message, ToolCall, ToolSpec
from training.kinds import Value, spoken_list
from training.phrases import Said
from training.repeats import say_repeated
from training.tools import Shown, Tool, show

LAST_TOOLS = 4
"""As many tools as an agent is shown for one request, and one more."""


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


def ask(tool: Tool, rng: random.Random, shown: Shown | None = None) -> Ask:
    """Return a request for `tool`."""
    said = rng.choice(tool.asks).say(rng)
    shown = shown or show(tool, rng, keep={*said.slots(), *said.flags})
    for _ in range(20):  # a tool that is already shown may lack what this form of the request speaks of
        if {*said.slots(), *said.flags} <= set(shown.names):
            break
        said = rng.choice(tool.asks).say(rng, share=0.2)
    else:
        raise ValueError(f"{tool.name} cannot be asked for as it is shown")
    values = {name: tool.parameters[name].kind.draw(rng) for name in said.slots()}
    return Ask(shown, said, values)


# --- calls ------------------------------------------------------------------------------------------


def one_call(rng: random.Random, known: Sequence[Tool]) -> Example:
    """One tool is meant; up to three others stand beside it."""
    asked = ask(pick(rng, known), rng)
    return _example(rng, known, asked.text, [asked])


def same_tool(rng: random.Random, known: Sequence[Tool]) -> Example:
    """One tool, several times: with a list of values for one or two parameters, or as several requests."""
    while True:
        first = ask(pick(rng, known), rng)
        if first.values:
            break
    count = rng.choice((2, 2, 2, 3, 3, 4))
    if rng.random() < 0.35:
        more = (ask(first.shown.tool, rng, first.shown) for _ in range(count - 1))
        asked = list({json.dumps(each.call.arguments): each for each in (first, *more)}.values())
        return _example(rng, known, joined([each.text for each in asked], rng), asked)
    kinds = first.shown.tool.parameters
    open_slots = [name for name in first.values if not kinds[name].kind.schema.get("items")]
    if not open_slots:
        return one_call(rng, known)
    varied = rng.sample(open_slots, min(len(open_slots), rng.choice((1, 1, 2))))
    rows = [first.values]
    for _ in range(count - 1):
        fresh = {name: kinds[name].kind.draw(rng) for name in varied}
        if any(row[name].json == fresh[name].json for name in varied for row in rows):
            return one_call(rng, known)
        rows.append({**first.values, **fresh})
    spoken = [{name: value.said for name, value in row.items()} for row in rows]
    text = say_repeated(first.said, spoken, varied, rng)
    return _example(rng, known, text, [replace(first, values=row) for row in rows])


def several_tools(rng: random.Random, known: Sequence[Tool]) -> Example:
    """Two or three tools, asked for in one breath; some of them more than once."""
    count = rng.choice((2, 2, 2, 3))
    asked = [ask(tool, rng) for tool in _near(rng, known, count)]
    if len({each.shown.spec.name for each in asked}) < len(asked):
        return one_call(rng, known)
    if rng.random() < 0.25:
        asked.append(ask(asked[0].shown.tool, rng, asked[0].shown))
    return _example(rng, known, joined([each.text for each in asked], rng), asked)


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


def no_tool_fits(rng: random.Random, known: Sequence[Tool]) -> Example:
    """The tool that is meant is not there."""
    asked = ask(pick(rng, known), rng)
    others = list(_near(rng, known, rng.choice((1, 1, 2, 3)) + 1, near=asked.shown.tool, share=0.4))
    offered = [show(tool, rng).spec for tool in others if tool.name != asked.shown.tool.name]
    return Example(
        "", (_system(rng), Message.user(decorated(asked.text, rng))), _unlike(offered), text=prompt.UNABLE
    )


def something_missing(rng: random.Random, known: Sequence[Tool]) -> Example:
    """The request leaves out what the tool needs: ask for it, and invent nothing."""
    tool = rng.choice([each for each in known if each.short])
    shown = show(tool, rng)
    said = rng.choice(tool.short).say(rng)
    values = {name: tool.parameters[name].kind.draw(rng).said for name in said.slots()}
    needed = [each for each in tool.parameters.values() if not each.optional and each.name not in values]
    wanted = spoken_list([_lower(rng.choice(each.about)) for each in needed], rng)
    text = rng.choice((f"Please tell me: {wanted}.", f"I still need to know: {wanted}."))
    offered = [shown.spec, *_distractors(rng, known, [tool])]
    return Example("", (_system(rng), Message.user(said.fill(values))), _unlike(offered), text=text)


def say_result(rng: random.Random, known: Sequence[Tool]) -> Example:
    """A tool has answered: say what it said."""
    tool = rng.choice([each for each in known if each.outcomes])
    asked, outcome = ask(tool, rng), rng.choice(tool.outcomes)
    drawn = {name: each.draw(rng) for name, each in outcome.draws.items()}
    result = outcome.result
    for name, value in drawn.items():
        result = result.replace("{" + name + "}", json.dumps(value.json))
    spoken = {name: value.said for name, value in (asked.values | drawn).items()}
    call = replace(asked.call, id="call_1")
    messages = (
        _system(rng),
        Message.user(asked.text),
        Message.assistant("", Labels(), (call,)),
        Message.tool(call, result, Labels()),
    )
    offered = [asked.shown.spec, *_distractors(rng, known, [tool])]
    return Example("", messages, _unlike(offered), text=outcome.says.say(rng).fill(spoken))


def _example(rng: random.Random, known: Sequence[Tool], text: str, asked: Sequence[Ask]) -> Example:
    specs = list({each.shown.spec.name: each.shown.spec for each in asked}.values())
    offered = [*specs, *_distractors(rng, known, [each.shown.tool for each in asked])]
    messages = (_system(rng), Message.user(decorated(text, rng)))
    return Example("", messages, _unlike(offered), calls=tuple(each.call for each in asked))


def _distractors(rng: random.Random, known: Sequence[Tool], used: Sequence[Tool]) -> list[ToolSpec]:
    count = rng.choice((0, 0, 1, 2, 3))
    room = max(0, LAST_TOOLS - len({tool.name for tool in used}))
    near = _near(rng, known, min(count, room) + len(used), near=used[0], share=0.6)
    names = {tool.name for tool in used}
    return [show(tool, rng).spec for tool in near if tool.name not in names][: min(count, room)]


def _near(
    rng: random.Random, known: Sequence[Tool], count: int, *, near: Tool | None = None, share: float = 0.4
) -> list[Tool]:
    """Return tools of one domain with probability `share` each, else of any; no tool twice."""
    near = near or pick(rng, known)
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


def _unlike(offered: Sequence[ToolSpec]) -> tuple[ToolSpec, ...]:
    """Return tools as the context shows them: sorted by name, each name once."""
    return tuple(sorted({spec.name: spec for spec in reversed(offered)}.values(), key=lambda spec: spec.name))


def _system(rng: random.Random) -> Message:
    return Message.system(prompt.ASSISTANT if rng.random() < 0.8 else rng.choice(_SYSTEMS))


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
