"""Codes, days, times and quoted texts as they were said: a wrong copy is mended where one thing can be meant (pure).

`SP-0717` becomes the `SP-0771` of the request, `11:15` the `23:15` that "11:15 pm" is, `2027-3-4` the `2027-03-04`
that programs read, and `Old mill` the whole of 'Old mill, newly restored'.
Not covered: lists; words, and numbers by themselves; where two codes have one form, neither is taken for the other.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from agentkit.calling.parameters import properties
from agentkit.messages import ToolCall, ToolSpec
from agentkit.request.dates import dates
from agentkit.request.figures import digits

_DAY = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
_CLOCK = re.compile(r"(\d{1,2}):(\d\d)")
_LIMITED = frozenset({"enum", "const", "pattern", "maxLength", "format", "items", "$ref"})
_EDGES = ".,;:!?()[]{}<>\"'`\u201c\u201d\u2018\u2019"
_ANY_DAYS = (date(2001, 1, 1), date(2002, 8, 21))
"""Said on either, what names a day in full names the same one."""
_QUOTED = re.compile(
    r"(?<!\w)(?:\"(?P<double>[^\"\n]+)\"|'(?P<single>(?:[^'\n]|(?<=\w)'(?=\w))+)'(?!\w)|\u201c(?P<curly>[^\u201d\n]+)\u201d)"
)
_READ_CHARACTERS = 2000


def copied(calls: Sequence[ToolCall], tools: Sequence[ToolSpec], request: str) -> tuple[ToolCall, ...]:
    """Return calls with their codes, days, times and quoted texts as the request has them.

    Args:
        calls: Those of one message.
        tools: What the model was shown; of what one may only be given some texts, nothing is changed.
        request: The user's own words, which these calls are to serve.
    """
    text = request[:_READ_CHARACTERS]
    words = {word for raw in text.split() if (word := raw.strip(_EDGES))}
    used = {value for call in calls for value in _texts(call.arguments)}
    said = _Said(
        text.lower(),
        frozenset(digits(text)),
        frozenset(word for word in words - used if _is_code(word) and not _DAY.fullmatch(word)),
        tuple(each for each in _quoted(text) if sum(len(one) > 1 and one in each for one in used) == 1),
        *_days(text, used),
    )
    shown = {tool.name: properties(tool) for tool in tools}

    def mended(call: ToolCall) -> ToolCall:
        free = {name for name, about in shown.get(call.name, {}).items() if _LIMITED.isdisjoint(about)}
        arguments = {
            name: _mended(value, said) if name in free else value for name, value in call.arguments.items()
        }
        return replace(call, arguments=arguments)

    return tuple(map(mended, calls))


@dataclass(frozen=True, slots=True)
class _Said:
    """What a request says."""

    text: str
    numbers: frozenset[float]
    codes: frozenset[str]
    """Those that no call has."""
    quotes: tuple[str, ...]
    """What stands in quotation marks and in no call, and of which no two values are a part."""
    days: frozenset[str]
    left: frozenset[str]
    """The days that no call has."""


def _quoted(text: str) -> Iterator[str]:
    """Yield what stands in quotation marks."""
    for match in _QUOTED.finditer(text):
        yield (match["double"] or match["single"] or match["curly"]).strip()


def _days(text: str, used: Collection[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Return all days that a text names, and those that are in no call; none, where some depend on today."""
    one, other = (frozenset(each.isoformat() for each in dates(text, today)) for today in _ANY_DAYS)
    return one | other, (one - {*used}) if one == other else frozenset()


def _mended(value: Any, said: _Said) -> Any:  # noqa: ANN401 - from JSON
    if not isinstance(value, str):
        return value
    if clock := _CLOCK.fullmatch(value):
        hour = int(clock[1])
        meant = hour < 12 and hour not in said.numbers and hour + 12 in said.numbers
        return f"{hour + 12}:{clock[2]}" if meant else value
    if value.lower() in said.text:
        whole = [each for each in said.quotes if each.startswith(value) or each.endswith(value)]
        return whole[0] if len(whole) == 1 else value
    if day := _DAY.fullmatch(value):
        value = f"{day[1]}-{day[2]:0>2}-{day[3]:0>2}"
        return next(iter(said.left)) if value not in said.days and len(said.left) == 1 else value
    alike = [word for word in said.codes if _is_code(value) and _shape(word) == _shape(value)]
    return alike[0] if len(alike) == 1 else value


def _is_code(word: str) -> bool:
    """Say whether a word has digits and more than digits."""
    return bool(re.search(r"\d", word)) and not re.fullmatch(r"[\d.,]+", word) and " " not in word


def _shape(word: str) -> str:
    """Return the form of a code: letters and digits in a row are one sign each."""
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", word))


def _texts(values: Mapping[str, Any]) -> Iterator[str]:
    for value in values.values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from (each for each in value if isinstance(each, str))
