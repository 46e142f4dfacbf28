"""Numbers go to the arguments that they stand beside: "190 cm high, 1060 m of it" is no length of 190 (pure, English).

A small model copies the right numbers into the wrong places, or one of them twice. Where the words of an argument
stand beside a number and those of another do not, that says more than the order in which the model wrote them.
Not covered: numbers in words, in codes, in days and times; what is said of a number in other words than the tool's.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentkit.calling.parameters import properties
from agentkit.context.words import STOP_WORDS, alike, fold, name_words, stem
from agentkit.messages import ToolCall, ToolSpec
from agentkit.request.parts import parts

_TOKEN = re.compile(
    r"(?P<joined>\d[\d.,]*(?:[:/-]\d+)+|[^\W\d_]+-?\d[^\W_]*|\d+(?:st|nd|rd|th)\b)"
    r"|(?P<number>(?:\d+(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?)|(?P<word>[^\W\d_]+|%)|(?P<end>[,.;:?!()\n])"
)
_BETWEEN = frozenset({"and", "or", "but", "then", "plus"})
"""What stands on the other side of one of these is said of something else."""
_SAME = {
    "high": "height", "tall": "height", "long": "length", "wide": "width", "broad": "width", "deep": "depth",
    "thick": "thickness", "old": "age", "aged": "age", "heavy": "weight", "weighs": "weight", "weighing": "weight",
    "far": "distance", "fast": "speed", "hot": "temperature", "lasts": "duration", "lasting": "duration",
    "m": "metre", "meter": "metre", "meters": "metre", "cm": "centimetre", "centimeter": "centimetre",
    "centimeters": "centimetre", "mm": "millimetre", "millimeter": "millimetre", "millimeters": "millimetre",
    "km": "kilometre", "kilometer": "kilometre", "kilometers": "kilometre", "kg": "kilogram", "kilo": "kilogram",
    "kilos": "kilogram", "g": "gram", "l": "litre", "liter": "litre", "liters": "litre", "h": "hour", "min": "minute",
    "mins": "minute", "s": "second", "v": "volt", "w": "watt", "ah": "amperehour", "%": "percent",
}  # fmt: skip
"""Words for measures and units, as tools name them."""
_FURTHEST = 5
"""Words between an argument's own and its number, at most."""
_MARGIN = 0.7
"""By how much the nearness of all (1: side by side, 1/2: a word between) has to grow for a change."""
_MOST_NUMBERS = 6
_LARGEST = 10**15
_READ_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class _Slot:
    """A number that a call gives."""

    name: str
    value: float
    is_whole: bool
    is_text: bool
    terms: frozenset[str]


def placed(calls: Sequence[ToolCall], tools: Sequence[ToolSpec], request: str) -> tuple[ToolCall, ...]:
    """Return calls with the numbers of the request where its words put them.

    Args:
        calls: Those of one message; where there are as many as the request has parts, each is of its own part.
        tools: What the model was shown.
        request: The user's own words, which these calls are to serve.
    """
    shown = {tool.name: tool for tool in tools}
    asked = parts(request[:_READ_CHARACTERS])
    own = asked if len(asked) == len(calls) else [request[:_READ_CHARACTERS]] * len(calls)
    return tuple(
        _placed(call, shown[call.name], text) if call.name in shown else call
        for call, text in zip(calls, own, strict=True)
    )


def _placed(call: ToolCall, tool: ToolSpec, request: str) -> ToolCall:
    slots = _slots(call, properties(tool))
    values = Counter(slot.value for slot in slots)
    tokens = list(_TOKEN.finditer(fold(request)))
    said = {at: _value(token["number"]) for at, token in enumerate(tokens) if token["number"]}
    said = {at: value for at, value in said.items() if value in values}
    if not 2 <= len(slots) <= len(said) <= _MOST_NUMBERS or not values <= Counter(said.values()):
        return call
    near = {(slot, at): _nearness(slot.terms, at, tokens) for slot in slots for at in said}
    now = {slot: max(near[slot, at] for at in said if said[at] == slot.value) for slot in slots}
    found, most = list[tuple[_Slot, int]](), sum(now.values()) + _MARGIN
    for order in itertools.permutations(said, len(slots)):
        pairs = list(zip(slots, order, strict=True))
        total = sum(near[pair] for pair in pairs)
        loses = any(near[slot, at] < now[slot] or (slot.is_whole and said[at] % 1) for slot, at in pairs)
        if total > most and not loses:
            found, most = pairs, total
    new = {slot.name: _as_given(tokens[at]["number"], slot) for slot, at in found if said[at] != slot.value}
    return replace(call, arguments={**call.arguments, **new})


def _slots(call: ToolCall, every: Mapping[str, Mapping[str, Any]]) -> list[_Slot]:
    """Return the numbers that a call gives, each with the words that only its own argument is told by."""
    of_tool = _terms(" ".join(name_words(call.name)))
    told = {
        name: _terms(" ".join(name_words(name))) | (_terms(_first(about)) - of_tool)
        for name, about in every.items()
    }
    common = Counter(term for terms in told.values() for term in terms)
    found = []
    for name, value in call.arguments.items():
        about = every.get(name, {})
        is_text = isinstance(value, str) and re.fullmatch(r"\d+(?:\.\d+)?", value) is not None
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST
        if not (is_text or is_number) or "enum" in about:
            continue
        terms = frozenset(term for term in told.get(name, ()) if common[term] == 1)
        found.append(_Slot(name, float(value), about.get("type") == "integer", is_text, terms))
    return found


def _terms(text: str) -> frozenset[str]:
    found = (token["word"] for token in _TOKEN.finditer(fold(text)) if token["word"])
    return frozenset(filter(None, map(_term, found)))


def _term(word: str) -> str:
    """Return the stem of a word as tools have it; nothing for one without meaning."""
    return stem(_SAME[word]) if word in _SAME else "" if word in STOP_WORDS else stem(word)


def _first(about: Mapping[str, Any]) -> str:
    return str(about.get("description") or "").split(". ", maxsplit=1)[0]


def _nearness(terms: frozenset[str], at: int, tokens: Sequence[re.Match[str]]) -> float:
    """Return how near the terms stand to a number, with nothing between that keeps them apart."""
    nearest: dict[str, float] = {}
    for step in (-1, 1):
        for distance in range(1, _FURTHEST + 1):
            place = at + step * distance
            if not 0 <= place < len(tokens) or not (word := tokens[place]["word"]) or word in _BETWEEN:
                break
            for each in terms:
                if alike(_term(word), each):
                    nearest[each] = max(nearest.get(each, 0.0), 1 / distance)
    return sum(nearest.values())


def _value(numeral: str) -> float:
    return float(numeral.replace(",", ""))


def _as_given(numeral: str, slot: _Slot) -> int | float | str:
    spelt = numeral.replace(",", "")
    if slot.is_text:
        return spelt
    return float(spelt) if "." in spelt else int(spelt)
