"""Is a call backed by what was said today? Its values, and the numbers and names of the request; no model.

A small model fills in what may be left out ("at 08:00", "effort: high"), uses one number twice and another never, and
writes one call again and again. All of that can be seen without understanding anything: `faults` counts it, so that
the best of several tries can be chosen (`agentkit.calling.votes`), `trimmed` takes away what may be left out, and
`unsaid` names what may not, so that the user can be asked.

Not covered: meaning. A value that stands in the request may be in the wrong place; one that follows from it in other
words ("smallest first": ascending) counts as not said, and is taken away where the tool does without it.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentkit import prompt
from agentkit.calling.parameters import items, needed, properties
from agentkit.calling.pointing import pointed_to
from agentkit.context.words import STOP_WORDS, alike, fold, lower, name_words, stem, terms, words
from agentkit.messages import Message, Role, ToolCall, ToolSpec
from agentkit.request.dates import MONTHS, WEEKDAYS, dates
from agentkit.request.figures import digits, spoken

_ITEM = re.compile(r"^[ \t]*+\d++[.)]\s", re.MULTILINE)
"""The number of an item of a list is none of the things it lists."""
_NAME = re.compile(r"(?<=[a-z,\d)] )[A-Z][a-z]+\b")
"""A capital within a sentence."""
_CALENDAR = frozenset(name[:3] for name in (*MONTHS, *WEEKDAYS))
"""Days have another form in a call."""
_CODE_CHARACTERS = 3
"""A shorter value may be a code for what was said: `USD` for `$`, `fr` for French."""
_GIVEN = frozenset({"enum", "const", "default", "$ref"})
_SUBJECT_CHARACTERS = 80
_NUMERAL = re.compile(r"\d+(?:\.\d+)?")
_ENDS = " \n.!?"
_FURTHER = re.compile(r",?\s*\b(?:e\.g\.|i\.e\.|for example|for instance|such as)|[.:](?=\s|$)|[;(\n]")
"""What an argument is, is told before it."""
_FORM = re.compile(r"(?:as|in|by|with|must|should|like|[A-Z:-]+$)\b")
"""So begins a description that tells its form alone."""
_ARTICLES = frozenset({"the", "a", "an"})
_POINTING = _ARTICLES | {"this", "that", "these", "those", "my", "our", "your", "some", "any"}
_PROSE = re.compile(r"(?:[\w,.;:!?'\"()%-]+\s+){3,}[\w,.;:!?'\"()%-]+\s*")
"""Four words or more, and no code."""
_MOMENT = re.compile(r"\b\d{4}-\d\d-\d\d\b|\b\d{1,2}:\d\d\b")
_DATE = re.compile(r"\d{4}-\d\d-(\d\d)")
_CLOCK = re.compile(r"(\d{1,2}):\d\d")
_FACTORS = (1, 100, 1000, 1_000_000, 1_000_000_000, 7, 12, 24, 60, 3600)
"""Percent and shares, thousands, and the units of time: a value may be given in another unit than it is said in."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What speaks against the calls of one message."""

    unspoken: tuple[str, ...] = ()
    """Values that stand nowhere in what was read, or fewer times than one call has them: `tool.argument`."""
    unused: tuple[str, ...] = ()
    """Numbers and names of the request that are in no call."""
    repeated: int = 0
    """Calls that are there already."""

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.unspoken) + len(self.unused) + self.repeated


def faults(
    calls: Sequence[ToolCall], tools: Sequence[ToolSpec], messages: Sequence[Message], request: str = ""
) -> Faults:
    """Return what speaks against calls.

    Args:
        calls: Those of one message.
        tools: What the model was shown; a call of another tool is looked at without its schema.
        messages: What the model had read.
        request: What these calls are to serve: its numbers and names should be used.
    """
    said, shown = _Said(messages), {tool.name: tool for tool in tools}
    return Faults(
        tuple(f"{call.name}.{name}" for call in calls for name in said.lacks(call, shown.get(call.name))),
        (*_unused_numbers(calls, request), *_unused_names(calls, shown, request)),
        len(calls) - len(_distinct(calls)),
    )


def trimmed(
    calls: Sequence[ToolCall], tools: Sequence[ToolSpec], messages: Sequence[Message]
) -> tuple[tuple[ToolCall, ...], tuple[str, ...]]:
    """Return calls without the values that nobody spoke of and that may be left out, each call once; and what is gone.

    Blanks around a text go, too: they are the model's and not the user's.

    Args:
        calls: Those of one message.
        tools: What the model was shown.
        messages: What the model had read.
    """
    said, shown = _Said(messages), {tool.name: tool for tool in tools}
    kept: list[ToolCall] = []
    gone: list[str] = []
    for call in calls:
        tool = shown.get(call.name)
        drop = [] if tool is None else [name for name in said.lacks(call, tool) if name not in needed(tool)]
        gone += [f"{call.name}.{name}" for name in drop]
        arguments = {name: _neat(value) for name, value in call.arguments.items() if name not in drop}
        kept.append(replace(call, arguments=arguments))
    once = _distinct(kept)
    gone += [each.name for each in kept if not any(each is one for one in once)]
    return tuple(once), tuple(gone)


def unsaid(
    calls: Sequence[ToolCall], tools: Sequence[ToolSpec], messages: Sequence[Message]
) -> tuple[str, ...]:
    """Return what calls have to be given and nobody said, each once, in the words of the tools.

    Codes, yes or no, and values of a list that the tool gives follow from other words, and are not judged. What only
    the passages beside a question hold has to be a name, several words or a longer number: any other word stands in
    any text.

    Args:
        calls: Those of one message.
        tools: What the model was shown.
        messages: What the model had read.
    """
    halves = [prompt.unquestioned(message.text) for message in messages]
    passages = fold("\n".join(passage for passage, _ in halves))
    own = [replace(each, text=text) for each, (_, text) in zip(messages, halves, strict=True)]
    said, shown = _Said(own), {tool.name: tool for tool in tools}
    found: dict[str, None] = {}
    for call in calls:
        if (tool := shown.get(call.name)) is None:
            continue
        blank = (
            name for name, value in call.arguments.items() if isinstance(value, str) and not value.strip()
        )
        for name in (*said.lacks(call, tool), *blank):
            value, about = call.arguments[name], properties(tool).get(name, {})
            is_free = _is_free(about, value) or str(value).lower() in words(_spaced(name))
            if name in needed(tool) and is_free and not _stands_out_in(passages, value):
                found[_subject(name, about)] = None
    return tuple(found)


def names_values(request: str) -> bool:
    """Return whether a request holds numbers or names, which a call should use."""
    return bool(digits(_ITEM.sub("", request)) or _NAME.search(request))


class _Said:
    """The words and numbers of messages."""

    def __init__(self, messages: Sequence[Message]) -> None:
        text = "\n".join(message.text for message in messages if message.role is not Role.SYSTEM)
        self._words = words(text)
        self._stems = frozenset(map(stem, self._words))
        self._numbers = Counter(spoken(text))
        self._folded = fold(text)
        self._days = {day.isoformat() for day in dates(text)}
        own = [message.text for message in messages if message.role is Role.USER]
        self._pointing = {fold(each).strip(_ENDS) for each in own if pointed_to(each)}
        self._turns = list(map(words, own))

    def lacks(self, call: ToolCall, tool: ToolSpec | None) -> list[str]:
        """Return the names of the arguments of `call` that were not said; where one is said once, the first has it."""
        every = {} if tool is None else properties(tool)
        has_to_be = () if tool is None else needed(tool)
        of_tool = frozenset() if tool is None else frozenset(terms(_spaced(tool.name)))
        used: list[Any] = []
        found = []
        for name in sorted(
            call.arguments,
            key=lambda name: (
                name not in has_to_be,
                "enum" not in every.get(name, {}),
                _CLOCK.fullmatch(str(call.arguments[name])) is not None,  # its hour may be of a day
                not self._speaks_of(name),
            ),
        ):
            value, about = call.arguments[name], every.get(name, {})
            free = name not in has_to_be
            if free and "default" in about and about["default"] == value:
                continue  # it changes nothing
            within = free and "enum" not in about
            only_named = "enum" not in about and self._only_names(value, name, of_tool)
            if only_named or (self._is_all(value) and len(call.arguments) > 1):
                found.append(name)
                continue
            spent = within and isinstance(value, str) and {*terms(value)} <= of_tool
            again = self._again(value, used, within=within) and not self._speaks_of(name)
            if (spent and terms(value)) or again or not self._backs(value, name, about, of_tool):
                found.append(name)
            else:
                used += value if isinstance(value, list) else [value]
        return [name for name in call.arguments if name in found]

    def _is_all(self, value: Any) -> bool:  # noqa: ANN401 - from JSON
        """Say whether a value is a whole request that names a file or an address: it says more than what to write."""
        return isinstance(value, str) and fold(value).strip(_ENDS) in self._pointing

    def _only_names(self, value: Any, name: str, of_tool: frozenset[str]) -> bool:  # noqa: ANN401 - from JSON
        """Say whether a value tells what an argument is and not which one: `the city` as the `city_name`.

        Who says so twice has no other name for it.
        """
        if not isinstance(value, str) or not (said := words(value)) or not (own := {*terms(value)}):
            return False
        named = {*terms(_spaced(name))}
        if not (own <= named or (said[0] in _POINTING and own <= named | of_tool)):
            return False
        return sum(_occurrences(said, turn) for turn in self._turns) < 2

    def _again(self, value: Any, used: Sequence[Any], *, within: bool) -> bool:  # noqa: ANN401 - from JSON
        """Say whether others of the call have a value as often as it was said, alone or `within` more.

        What nobody said in these words, a day for instance, is not given to a further one.
        """
        clock = _CLOCK.fullmatch(value) if isinstance(value, str) else None
        if (number := _as_number(clock[1] if clock else value)) is not None:
            taken_up = Counter(each for other in used for each in _numbers_of(other))
            known = [each for each in self._numbers if each == number]
            known = known or [
                each for each in self._numbers if _related(number, each) and not (clock or within)
            ]
            if known:
                return all(self._numbers[each] <= taken_up[each] for each in known)
        if isinstance(value, str) and (phrase := _unarticled(value)):
            taken = [_unarticled(str(each)) for each in used]
            spent = sum(_occurrences(phrase, other) if within else int(phrase == other) for other in taken)
            said = _occurrences(phrase, self._words)
            return 0 < said <= spent or (within and not said and value in used)
        return False

    def _backs(
        self,
        value: Any,  # noqa: ANN401 - from JSON
        name: str,
        about: Mapping[str, Any],
        of_tool: frozenset[str] = frozenset(),
    ) -> bool:
        if isinstance(value, bool):
            own = [
                term
                for term in terms(f"{_spaced(name)} {about.get('description', '')}")
                if term not in of_tool
            ]
            return self._knows(own) if own else self._mentions(_spaced(name))
        if isinstance(value, int | float):
            return self._counts(_float(value))
        if isinstance(value, str) and "enum" in about:
            return self._mentions(f"{_spaced(name)} {_spaced(value)}")
        if isinstance(value, str):
            if not value.isascii() and fold(value) in self._folded:
                return True  # of a language written without spaces, too
            if _PROSE.fullmatch(value) and not self._numbers.keys() >= {*digits(_MOMENT.sub("", value))}:
                return False  # a sentence with a number of the model's own
            if day := _DATE.fullmatch(value):
                return bool(self._numbers[float(day[1])]) or value in self._days
            return not value.strip() or self._mentions(value) or any(map(self._counts, digits(value)))
        if isinstance(value, list):
            return all(self._backs(each, name, items(about)) for each in value)
        return True

    def _speaks_of(self, name: str) -> bool:
        """Say whether an argument is named: "volume and brightness to 30" gives both what is said once."""
        named = terms(_spaced(name))
        return bool(named) and all(any(alike(term, known) for known in self._stems) for term in named)

    def _counts(self, value: float) -> bool:
        return any(_related(value, known) for known in self._numbers)

    def _mentions(self, text: str) -> bool:
        return self._knows(terms(text) or list(map(stem, words(text))))

    def _knows(self, stems: Sequence[str]) -> bool:
        return any(alike(term, known) for term in stems for known in self._stems)


def _unused_numbers(calls: Sequence[ToolCall], request: str) -> Iterator[str]:
    used = {abs(number) for call in calls for number in _numbers_in(call.arguments)}
    for number in dict.fromkeys(digits(_ITEM.sub("", request))):
        if not any(_related(number, each) for each in used):
            yield f"{number:g}"


def _unused_names(calls: Sequence[ToolCall], shown: Mapping[str, ToolSpec], request: str) -> Iterator[str]:
    called = [shown[name] for name in {call.name for call in calls} & shown.keys()]
    used = [json.dumps(call.arguments, ensure_ascii=False) for call in calls]
    held = {stem(word) for text in (*used, *map(_about, called)) for word in words(_spaced(text))}
    for name in dict.fromkeys(_NAME.findall(request)):
        word = words(name)[0]
        if (
            word[:3] not in _CALENDAR
            and word not in STOP_WORDS
            and not any(alike(stem(word), each) for each in held)
        ):
            yield name


def _numbers_in(value: Any) -> Iterator[float]:  # noqa: ANN401 - from JSON
    if isinstance(value, str):
        yield from digits(value)
    elif isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _numbers_in(each)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield _float(value)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond all floats is no number anybody speaks of
        return math.inf


def _as_number(value: Any) -> float | None:  # noqa: ANN401 - from JSON
    """Return a number, or the one that is all of a text."""
    if isinstance(value, str):
        return digits(value)[0] if _NUMERAL.fullmatch(value.strip()) else None
    return _float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _numbers_of(value: Any) -> list[float]:  # noqa: ANN401 - from JSON
    """Return the numbers that a value takes up: itself, or those of a code or a day; of one a sentence only speaks."""
    if isinstance(value, str):
        return [] if " " in value.strip() else digits(value)
    return [] if (number := _as_number(value)) is None else [number]


def _unarticled(text: str) -> list[str]:
    found = words(text)
    return found[1:] if len(found) > 1 and found[0] in _ARTICLES else found


def _related(one: float, other: float) -> bool:
    return any(
        math.isclose(abs(one) * factor, other) or math.isclose(abs(one), other * factor)
        for factor in _FACTORS
    )


def _occurrences(phrase: list[str], among: list[str]) -> int:
    return sum(among[start : start + len(phrase)] == phrase for start in range(len(among) - len(phrase) + 1))


def _neat(value: Any) -> Any:  # noqa: ANN401 - from JSON
    return value.strip() or value if isinstance(value, str) else value


def _is_free(about: Mapping[str, Any], value: Any) -> bool:  # noqa: ANN401 - from JSON
    """Say whether a value can only have been said: it is none of a list, no code, and the tool gives none itself."""
    if isinstance(value, list):
        return all(_is_free(items(about), each) for each in value)
    if about.get("type") not in ("string", "integer", "number") or not about.keys().isdisjoint(_GIVEN):
        return False
    return not (isinstance(value, str) and value.isalpha() and len(value) <= _CODE_CHARACTERS)


def _stands_out_in(passages: str, value: Any) -> bool:  # noqa: ANN401 - from JSON
    """Say whether a value stands in passages, and is none of the words and numbers that stand anywhere."""
    spelt = str(value).strip()
    stands_out = len(spelt.split()) > 1 or (len(spelt) > 2 and (not spelt.isalpha() or spelt[0].isupper()))
    return stands_out and fold(spelt) in passages


def _subject(name: str, about: Mapping[str, Any]) -> str:
    """Return what an argument is, as it stands in the middle of a sentence."""
    told = re.sub(r"(?i)^\s*format(?:ted)?(?:\s+as\b|\s*:)", "as", str(about.get("description") or ""))
    first = _FURTHER.split(told, maxsplit=1)[0].strip()
    if _FORM.match(lower(first)):
        return f"{_spaced(name).lower()} ({lower(first[:_SUBJECT_CHARACTERS])})"
    return lower(first[:_SUBJECT_CHARACTERS] or _spaced(name))


def _about(tool: ToolSpec) -> str:
    return f"{_spaced(tool.name)} {tool.description}"


def _spaced(name: str) -> str:
    return " ".join(name_words(name))


def _distinct(calls: Sequence[ToolCall]) -> list[ToolCall]:
    """Return each call once, the first of those that are the same."""
    kept: dict[str, ToolCall] = {}
    for call in calls:
        kept.setdefault(call.spelt, call)
    return list(kept.values())
