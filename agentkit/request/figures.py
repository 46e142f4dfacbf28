"""The numbers that a text speaks of, in digits and in words (pure, English)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from agentkit.context.words import words
from agentkit.request.dates import CARDINALS

_NUMBER = re.compile(
    r"(?<![A-Za-z\d^*_])((?:\d+(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?)(?:(?::(\d\d))?\s*([ap])\.?m\b)?",
    re.IGNORECASE,
)
"""Digits behind a letter or a power sign (`v0`, `m/s^2`) are part of a word."""
_COUNTS = CARDINALS | {
    "zero": 0, "hundred": 100, "thousand": 1000, "half": 0.5, "quarter": 0.25, "once": 1, "single": 1, "first": 1,
    "twice": 2, "double": 2, "couple": 2, "pair": 2, "both": 2, "second": 2, "third": 3, "fourth": 4, "fifth": 5,
    "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10, "eleventh": 11, "twelfth": 12, "dozen": 12,
    "million": 1_000_000, "billion": 1_000_000_000, "noon": 12, "midnight": 0, "fortnight": 14, "daily": 365,
    "weekly": 52, "monthly": 12, "quarterly": 4, "yearly": 1, "annually": 1, "semiannually": 2,
}  # fmt: skip
_FRACTION = re.compile(r"(?<![\d/.,])(\d{1,3})/([1-9]\d{0,2})(?![\d/])")
_DECIMAL_COMMA = re.compile(r"(?<![\d.,])(\d+),(\d{1,2})(?![\d,])")
_PART = re.compile(r"(?<!\d)(\d{0,9})\s?([\u00bc-\u00be\u2153-\u215e])")
_ONE_OF_A_UNIT = re.compile(
    r"\b(?:an?|each|every|per|next|last|past|this|coming|following|previous)"
    r" (?:second|minute|hour|day|week|month|quarter|year|decade|dozen)\b"
)
_AND_A_PART = re.compile(r"\b(\w+)(?: \w+)? and a (half|quarter)\b")


def spoken(text: str) -> Iterator[float]:
    """Yield every number that `text` speaks of, as often as it does, in each way it can be read."""
    said = words(text)
    yield from digits(text)
    yield from (float(_COUNTS[word]) for word in said if word in _COUNTS)
    yield from _composed(said)
    yield from _parts_of_numbers(text)


def digits(text: str) -> list[float]:
    """Return the numbers that `text` writes in digits; hours as a clock of 24 hours has them."""
    found = []
    for match in _NUMBER.finditer(text):
        number = float(match[1].replace(",", ""))
        if match[3] and number <= 12:
            number = number % 12 + (12 if match[3] in "pP" else 0)
            found += [float(match[2])] if match[2] else []
        found.append(number)
    return found


def _composed(said: Sequence[str]) -> Iterator[float]:
    """Yield the numbers that several words make: `twenty five`, `a hundred and fifty`, `two hours and a half`."""
    total = current = last = 0.0
    count = 0
    for word in (*said, ""):
        value = float(_COUNTS.get(word, -1))
        if count and (word == "and" and last >= 100):
            continue
        if count and word in ("hundred", "dozen") and 0 < current < 100:
            current *= value
        elif count and value >= 1000 and current:
            total, current = total + current * value, 0.0
        elif count and 0 < value < 100 and (last >= 100 or (20 <= last <= 90 and value < 10)):
            current += value
        else:
            if count > 1:
                yield total + current
            total, current, count = 0.0, max(value, 0.0), 0
            if value < 0:
                last = 0.0
                continue
        last, count = value, count + 1
    for first, part in _AND_A_PART.findall(" ".join(said)):
        if first in _COUNTS or first in ("a", "an"):
            yield _COUNTS.get(first, 1) + _COUNTS[part]


def _parts_of_numbers(text: str) -> Iterator[float]:
    """Yield fractions, decimals behind a comma, and the one of `an hour`: `1/2`, `1\u00bd`, `1,5`."""
    yield from (int(above) / int(below) for above, below in _FRACTION.findall(text))
    yield from (float(f"{whole}.{part}") for whole, part in _DECIMAL_COMMA.findall(text))
    yield from (int(whole or 0) + unicodedata.numeric(part) for whole, part in _PART.findall(text))
    yield from (1.0 for _ in _ONE_OF_A_UNIT.finditer(text.lower()))
