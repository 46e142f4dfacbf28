"""Examples in which tools have answered: say what came back, or go on with it.

A chain is two calls, the second with what the first one found: the weather in the capital of Norway.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentkit import prompt
from agentkit.labels import Labels
from agentkit.messages import Message, ToolCall
from training.joining import decorated, joined
from training.kinds import Value, words
from training.phrases import Said, Slot
from training.planted import PLANTED_SHARE, in_result
from training.tasks import Ask, Example, Scene, all_differ, ask
from training.tools import Outcome, Tool

_FAILED_SHARE = 0.12
_ERRORS: Mapping[str, str] = {
    prompt.failed("the service does not answer"): "That did not work: the service does not answer.",
    prompt.failed("there is no connection"): "That did not work: there is no connection.",
    prompt.failed("the time ran out"): "That did not work: the time ran out.",
    prompt.failed("wrong password"): "That did not work: wrong password.",
    prompt.DENIED: "I was not allowed to do that.",
}
"""What a call may fail with, and how that is said."""
_FOUND = "found"
"""What families.py calls that which a lookup brings."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A call, what came back, and how that is said."""

    call: ToolCall
    result: str
    says: str
    drawn: Mapping[str, Any]


def say_result(rng: random.Random, here: Scene, _known: Sequence[Tool]) -> Example | None:
    """One tool or two have answered: say what they said."""
    able = [each for each in here.shown if each.tool.outcomes]
    if not able:
        return None
    asked = [ask(rng.choice(able), rng) for _ in range(rng.choice((1, 1, 1, 2)))]
    if len({json.dumps(each.call.arguments) for each in asked}) < len(asked):
        return None
    said = decorated(joined([each.request for each in asked], rng), rng)
    answered = [_answer(each, number, here, rng) for number, each in enumerate(asked, 1)]
    messages = (here.system, Message.user(said), *_exchange(answered))
    return Example("", messages, here.specs, text=" ".join(dict.fromkeys(each.says for each in answered)))


def chains(tools: Sequence[Tool]) -> list[list[tuple[Tool, Tool]]]:
    """Return the pairs of tools of which the second can take what the first finds, by the second."""
    finders = [tool for tool in tools if _found_kind(tool)]
    pairs = ([(first, second) for first in finders if _taking(first, second)] for second in tools)
    return [each for each in pairs if each]


def chained(rng: random.Random, here: Scene, _known: Sequence[Tool]) -> Example | None:
    """Two calls one after the other: make the first, go on with what it found, or say what came of it."""
    pairs = [
        (first, second, name)
        for first in here.shown
        for second in here.shown
        for name in _taking(first.tool, second.tool)
    ]
    if not pairs:
        return None
    finder, taker, parameter = rng.choice(pairs)
    thing = next(iter(finder.tool.parameters))
    first = Ask(finder, Said(), {thing: finder.tool.parameters[thing].kind.draw(rng)})
    later = ask(taker, rng)
    if _fits_not(later.said, parameter):
        return None
    fact = finder.tool.name.removeprefix(f"get_{thing}_").replace("_", " ")
    place = Value(f"the {fact} of {first.values[thing].said}", None)
    said = replace(later, values={**later.values, parameter: place}).request
    step, is_found = rng.choice((1, 2, 2, 3)), rng.random() > _FAILED_SHARE
    messages = [here.system, Message.user(decorated(said, rng))]
    if step == 1:
        return Example("", tuple(messages), here.specs, calls=(first.call,))

    *found, not_found = finder.tool.outcomes
    one = _answer(first, 1, here, rng, found if is_found else [not_found])
    messages += _exchange([one])
    if not is_found:
        return Example("", tuple(messages), here.specs, text=one.says)
    value = one.drawn[_FOUND]
    second = replace(later, values={**later.values, parameter: Value(value, value)})
    if not all_differ(second.values):
        return None
    if step == 2:
        return Example("", tuple(messages), here.specs, calls=(second.call,))
    other = _answer(second, 2, here, rng)
    messages += _exchange([other])
    return Example("", tuple(messages), here.specs, text=other.says)


def _answer(
    asked: Ask, number: int, here: Scene, rng: random.Random, outcomes: Sequence[Outcome] = ()
) -> Answered:
    """Return the call of a request with one of `outcomes`; none given: any of the tool's, or an error."""
    call, drawn = replace(asked.call, id=f"call_{number}"), dict[str, Any]()
    if not outcomes and rng.random() < _FAILED_SHARE:
        result, says = rng.choice(list(_ERRORS.items()))
        return Answered(call, result, says, drawn)
    outcome = rng.choice(outcomes or asked.shown.tool.outcomes)
    drawn = {name: each.draw(rng).json for name, each in outcome.draws.items()}
    result = outcome.result
    for name, value in ({name: each.json for name, each in asked.values.items()} | drawn).items():
        result = result.replace(f"{{{name}}}", json.dumps(value, ensure_ascii=False))
        result = result.replace(f"{{{name}_said}}", _plain(value))
    spoken = {name: each.said for name, each in asked.values.items()}
    says = outcome.says.say(rng).fill(spoken | {name: _plain(value) for name, value in drawn.items()})
    if not result.startswith("error:") and rng.random() < PLANTED_SHARE:
        result = in_result(result, rng, [each.spec.name for each in here.shown])
    return Answered(call, result, says, drawn)


def _exchange(answered: Sequence[Answered]) -> list[Message]:
    """Return the calls and their results as the loop keeps them."""
    calls = tuple(each.call for each in answered)
    return [
        Message.assistant("", Labels(), calls),
        *(Message.tool(each.call, each.result, Labels()) for each in answered),
    ]


def _found_kind(tool: Tool) -> str | None:
    """Return the kind of what a lookup finds, if it is one that other tools may take."""
    kinds = (outcome.draws[_FOUND].text for outcome in tool.outcomes if _FOUND in outcome.draws)
    return next((text for text in kinds if text in words() or text in ("person", "street")), None)


def _taking(first: Tool, second: Tool) -> list[str]:
    """Return the parameters of `second` that can take what `first` finds."""
    kind = _found_kind(first)
    if kind is None or not second.outcomes or first.domain == second.domain:
        return []
    return [each.name for each in second.parameters.values() if not each.optional and each.kind.text == kind]


def _fits_not(said: Said, parameter: str) -> bool:
    """Return whether `the mayor of Oslo` cannot stand there: at the beginning, or behind an article."""
    before = "".join(piece if isinstance(piece, str) else f"{{{piece.name}}}" for piece in said.pieces)
    return said.pieces[0] == Slot(parameter) or bool(
        re.search(rf"\b(an?|the|my) \{{{parameter}\}}", before, re.IGNORECASE)
    )


def _plain(value: object) -> str:
    """Return what a tool found as it is said."""
    if not isinstance(value, list):
        return str(value)
    said = [str(each) for each in value]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"
