"""Codes, days, times and quoted texts as they were said: a wrong copy is mended where one thing can be meant.

`SP-0717` becomes the `SP-0771` of the request, `11:15` the `23:15` that "11:15 pm" is, `2027-3-4` the `2027-03-04`
that programs read, a made-up day the one that "tomorrow" is, and `Old mill` the whole of 'Old mill, newly restored'.
Not covered: lists; words, and numbers by themselves; where two codes have one form, neither is taken for the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentkit.calling.parameters import properties
from agentkit.messages import ToolCall, ToolSpec
from agentkit.request.dates import dates
from agentkit.request.times import times

_DAY = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
_CLOCK = re.compile(r"(\d{1,2}):(\d\d)")
_QUOTED = re.compile(
    r"(?<!\w)(?:\"(?P<double>[^\"\n]+)\"|'(?P<single>(?:[^'\n]|(?<=\w)'(?=\w))+)'(?!\w)|\u201c(?P<curly>[^\u201d\n]+)\u201d)"
)
_COUNTS_FROM = re.compile(r"\b(?:before|after(?! tomorrow)|earlier|later|from now)\b", re.IGNORECASE)
"""Then a day or a time may follow from the one that is said."""
_LIMITED = frozenset({"enum", "const", "pattern", "maxLength", "items", "$ref"})
_EDGES = ".,;:!?()[]{}<>\"'`\u201c\u201d\u2018\u2019"
_READ_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class _Said:
    """What a request says."""

    text: str
    codes: tuple[str, ...]
    """Those that no call has."""
    quotes: tuple[str, ...]
    """What stands in quotation marks, in no call, and no two values are a part of."""
    days: tuple[str, ...]
    times: tuple[frozenset[str], ...]
    """Each in every way it can be meant."""
    used: frozenset[str]


def copied(calls: Sequence[ToolCall], tools: Sequence[ToolSpec], request: str) -> tuple[ToolCall, ...]:
    """Return calls with their codes, days, times and quoted texts as the request has them.

    Args:
        calls: Those of one message.
        tools: What the model was shown; of what one may only be given some texts, nothing is changed.
        request: The user's own words, which these calls are to serve; said today.
    """
    shown = {tool.name: properties(tool) for tool in tools}
    said = _said(request[:_READ_CHARACTERS], calls)

    def mended(call: ToolCall) -> ToolCall:
        every = shown.get(call.name, {})
        arguments = {
            name: _mended(value, every[name], said)
            if isinstance(value, str) and name in every and _LIMITED.isdisjoint(every[name])
            else value
            for name, value in call.arguments.items()
        }
        return replace(call, arguments=arguments)

    return tuple(map(mended, calls))


def _said(text: str, calls: Sequence[ToolCall]) -> _Said:
    used = frozenset(value for call in calls for value in call.arguments.values() if isinstance(value, str))
    words = dict.fromkeys(word for raw in text.split() if (word := raw.strip(_EDGES)))
    is_plain = not _COUNTS_FROM.search(text)
    return _Said(
        text.lower(),
        tuple(word for word in words if _is_code(word) and word not in used),
        tuple(each for each in _quoted(text) if sum(len(one) > 1 and one in each for one in used) == 1),
        tuple(day.isoformat() for day in dates(text)) if is_plain else (),
        tuple(times(text)) if is_plain else (),
        used,
    )


def _quoted(text: str) -> Iterator[str]:
    for match in _QUOTED.finditer(text):
        yield (match["double"] or match["single"] or match["curly"]).strip()


def _mended(value: str, about: Mapping[str, Any], said: _Said) -> str:
    wanted = f"{about.get('format', '')} {about.get('description', '')}"
    if clock := _clock(value, wanted):
        left = [each for each in said.times if each.isdisjoint(said.used)]
        is_other = len(left) == 1 and not any(clock in each for each in said.times)
        return min(left[0]) if is_other else value if value in said.text else clock
    if day := _day(value, wanted):
        others = [each for each in said.days if each not in said.used]
        return others[0] if day not in said.days and len(others) == 1 else day
    if value.lower() in said.text:
        whole = [each for each in said.quotes if each.startswith(value) or each.endswith(value)]
        return whole[0] if len(whole) == 1 else value
    alike = [word for word in said.codes if _is_code(value) and _shape(word) == _shape(value)]
    return alike[0] if len(alike) == 1 else value


def _clock(value: str, wanted: str) -> str:
    """Return a value that is a time as `HH:MM`, and so one in other words where the tool wants it so."""
    if clock := _CLOCK.fullmatch(value):
        return f"{clock[1]:0>2}:{clock[2]}"
    if "HH:MM" not in wanted.upper() and not wanted.startswith("time "):
        return ""
    found = times(value)
    return min(found[0]) if len(found) == 1 and len(found[0]) == 1 else ""


def _day(value: str, wanted: str) -> str:
    """Return a value that is a day as `YYYY-MM-DD`, and so one in other words where the tool wants it so."""
    if day := _DAY.fullmatch(value):
        return f"{day[1]}-{day[2]:0>2}-{day[3]:0>2}"
    if "YYYY-MM-DD" not in wanted.upper() and not wanted.startswith("date "):
        return ""
    found = dates(value)
    return found[0].isoformat() if len(found) == 1 else ""


def _is_code(word: str) -> bool:
    """Say whether a word has digits and more than digits."""
    return (
        bool(re.search(r"\d", word))
        and " " not in word
        and not (re.fullmatch(r"[\d.,]+", word) or _DAY.fullmatch(word) or _CLOCK.fullmatch(word))
    )


def _shape(word: str) -> str:
    """Return the form of a code: letters and digits in a row are one sign each."""
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", word))
