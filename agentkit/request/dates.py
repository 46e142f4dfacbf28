"""Which days a text speaks of, said on a given day: `tomorrow`, `last Friday`, `in two weeks`, `3 March` (pure).

Rules, no model, English only. Where a phrase can mean two days (`next Friday` said on a Monday), both are given: they
are keys for finding a text again, and a key too many does less harm than one too few.
Not covered: times of day, seasons, feasts, and days given by their place in a month (`the second Sunday of May`).
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator
from datetime import date, datetime, timedelta

MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_UNITS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = (
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
CARDINALS = {word: number for number, word in enumerate((*_UNITS, *_TEENS), 1)}
CARDINALS |= {word: 10 * number for number, word in enumerate(_TENS, 2)}
_NUMBERS = {"a": 1, "an": 1, **CARDINALS}
_COUNT = (
    rf"\d{{1,3}}(?:,\d{{3}})+|\d{{1,5}}|an?|{'|'.join([*_UNITS, *_TEENS])}"
    rf"|(?:{'|'.join(_TENS)})(?:[ -](?:{'|'.join(_UNITS)}))?"
)
_WHOLE = r"(?<![\w.,/-])(?<!half )(?<!hundred )(?<!hundred and )(?<!thousand )(?<!thousand and )"
"""What may not stand before a count: `2.5 years` and `half a year` name no day, rather than a wrong one."""
_SAID = {
    "day before yesterday": -2, "day after tomorrow": 2, "yesterday": -1, "last night": -1, "today": 0, "tonight": 0,
    "this morning": 0, "this afternoon": 0, "this evening": 0, "tomorrow": 1,
}  # fmt: skip
_MONTH = rf"(?P<month>{'|'.join(MONTHS)}|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\b\.?"
_DAY = r"(?P<day>[0-3]?\d)(?:st|nd|rd|th)?"
_YEAR = r"(?:,?\s+(?P<year>(?:19|20)\d\d))?"
_FORMS = (
    re.compile(rf"\b(?P<said>{'|'.join(_SAID)})\b"),
    re.compile(rf"\b(?:(?P<which>next|last|this|on|by|until|since)\s+)(?P<weekday>{'|'.join(WEEKDAYS)})\b"),
    re.compile(
        rf"\b(?:(?P<ahead>in)\s+)?{_WHOLE}(?P<count>{_COUNT})\s+(?P<unit>day|week|month|year)s?"
        r"(?P<back>\s+ago)?\b"
    ),
    re.compile(r"\b(?P<iso_year>(?:19|20)\d\d)-(?P<iso_month>[01]\d)-(?P<iso_day>[0-3]\d)\b"),
    re.compile(rf"\b{_DAY}\s+(?:of\s+)?{_MONTH}{_YEAR}\b"),
    re.compile(rf"\b{_MONTH}\s+{_DAY}{_YEAR}\b"),
)


def dates(text: str, today: date | None = None) -> list[date]:
    """Return the days that `text`, said on `today` (by default the day it is), names, in order and each once."""
    today = today or datetime.now().astimezone().date()
    folded = " ".join(text.lower().split())
    found = [
        (match.start(), day)
        for form in _FORMS
        for match in form.finditer(folded)
        for day in _days(match, today)
    ]
    return list(dict.fromkeys(day for _, day in sorted(found)))


def spell(day: date) -> str:
    """Return a day in every form it may be asked for: `2026-03-03 Tuesday 3 March 2026`."""
    return f"{day.isoformat()} {WEEKDAYS[day.weekday()].title()} {day.day} {MONTHS[day.month - 1].title()} {day.year}"


def _days(match: re.Match[str], today: date) -> Iterator[date]:
    found = match.groupdict()
    try:
        if found.get("said"):
            yield today + timedelta(_SAID[found["said"]])
        elif found.get("weekday"):
            yield from _weekday(found["which"], WEEKDAYS.index(found["weekday"]), today)
        elif found.get("unit"):
            if found["ahead"] or found["back"]:
                yield _moved(today, _count(found["count"]) * (-1 if found["back"] else 1), found["unit"])
        elif found.get("iso_year"):
            yield date(int(found["iso_year"]), int(found["iso_month"]), int(found["iso_day"]))
        else:
            yield _named(found, today)
    except (ValueError, OverflowError):
        return  # 31 June is no day


def _weekday(which: str, weekday: int, today: date) -> Iterator[date]:
    ahead = (weekday - today.weekday()) % 7
    if which in ("last", "since"):
        yield today - timedelta((today.weekday() - weekday) % 7 or 7)
    elif which == "next":
        yield today + timedelta(ahead or 7)
        if weekday > today.weekday():  # of this week, or of the one after
            yield today + timedelta(ahead + 7)
    else:
        yield today + timedelta(ahead)
        if which == "on":  # of what was, or of what is to come
            yield today + timedelta(ahead - 7)


def _count(said: str) -> int:
    digits = said.replace(",", "")
    return int(digits) if digits.isdecimal() else sum(_NUMBERS[word] for word in re.split("[ -]", said))


def _moved(today: date, count: int, unit: str) -> date:
    if unit in ("day", "week"):
        return today + timedelta(count * (7 if unit == "week" else 1))
    months = today.year * 12 + today.month - 1 + count * (12 if unit == "year" else 1)
    year, month = divmod(months, 12)
    return date(year, month + 1, min(today.day, monthrange(year, month + 1)[1]))


def _named(found: dict[str, str | None], today: date) -> date:
    """Return a day with its month, in the year that is named or else brings it nearest."""
    month = next(
        number for number, name in enumerate(MONTHS, 1) if name.startswith((found["month"] or "")[:3])
    )
    day = int(found["day"] or 0)
    if found["year"]:
        return date(int(found["year"]), month, day)
    near = [
        date(year, month, day)
        for year in (today.year - 1, today.year, today.year + 1)
        if _exists(year, month, day)
    ]
    return min(near, key=lambda each: abs(each - today))


def _exists(year: int, month: int, day: int) -> bool:
    return 1 <= day <= monthrange(year, month)[1]
