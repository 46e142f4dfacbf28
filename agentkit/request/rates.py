"""A sum that its units settle: so much for each, and how many of them (pure, English).

"What do 3.5 kg cost at 2.40 a kilo?" is a product, "How many hours do 500 km take at 80 km/h?" a quotient. A small
model takes one for the other; the units do not. Only a question with two numbers and one rate is read, and only where
a unit stands at both.
"""

from __future__ import annotations

import re

from agentkit.context.words import words
from agentkit.request.dates import CARDINALS

_CURRENCY = r"[$\u20ac\u00a3\u00a5]"
_AMOUNT = (
    rf"(?<![\w.,:/-]){_CURRENCY}?\s?(?P<value>\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?|\d+(?:\.\d+)?)"
    r"(?![\d,:-]\d|%|\s?percent|(?:st|nd|rd|th)\b)"
)
_UNIT = r"[^\W\d_]+"
_NUMBER = re.compile(_AMOUNT)
_RATE = re.compile(
    rf"{_AMOUNT}\s*(?P<of>(?:{_UNIT}\s+)?(?:{_UNIT}\s*)??)"
    r"(?:\b(?:per|an?|each|every|for\s+(?:each|every|one))\s+|/\s?)"
    rf"(?:single\s+)?(?P<each>{_UNIT})\b",
    re.IGNORECASE,
)
"""`2.40 a kilo`, `80 km/h`, `12 euros per head`."""
_ONE = re.compile(
    rf"\b(?:an?|one|each|every)\s+(?:{_UNIT}\s+(?:of\s+(?:{_UNIT}\s+){{1,4}}?)?)??(?P<each>{_UNIT})\s+"
    rf"(?:of\s+(?:{_UNIT}\s+){{1,4}}?)?"
    rf"(?:costs?|weighs?|is\s+worth|holds?|takes?|contains?|has|is|lasts?|needs?|uses?|gives?)\s+(?:about\s+)?{_AMOUNT}\s*(?P<of>{_UNIT})?",
    re.IGNORECASE,
)
"""`each box weighs 12 kg`."""
_ASKS = re.compile(
    r"\b(?:how (?:much|many|far|long|big|high)|what(?:'s|'ll| (?:do|does|did|is|are|was|will|would|must)\b)|total"
    r"|cost of|price of|altogether|in all|come to|work out|calculate|compute)\b",
    re.IGNORECASE,
)
_NO_SUM = re.compile(
    r"\b(?:good|fair|cheap\w*|expensive|better|should|why|more|less|fewer|than|left|remain\w*|extra|plus|minus|discount|off|"
    r"average|twice|double|half|percent|split|both|also|each other)\b",
    re.IGNORECASE,
)
_WORDS = re.compile(rf"^(?:\s*{_UNIT}\b){{0,3}}")
_HOW_MANY = re.compile(rf"\bhow many ({_UNIT})", re.IGNORECASE)
_HOW_LONG = re.compile(r"\bhow long\b", re.IGNORECASE)
_TIMES = frozenset({"second", "minute", "hour", "day", "week", "month", "year"})
_COUNTED = frozenset(CARDINALS) - {"one"}
"""A third number may stand there as a word."""
_READ_CHARACTERS = 400
"""A longer request is about more than one sum."""
_SAME = {
    "h": "hour", "hr": "hour", "min": "minute", "s": "second", "sec": "second", "kg": "kilo", "kilogram": "kilo",
    "kilogramme": "kilo", "g": "gram", "l": "litre", "liter": "litre", "km": "kilometre", "kilometer": "kilometre",
    "m": "metre", "meter": "metre", "cm": "centimetre", "centimeter": "centimetre", "mi": "mile",
}  # fmt: skip


def rate_sum(request: str) -> str | None:
    """Return the expression for what `request` asks, or `None` where the units do not settle it.

    Args:
        request: What the user said, of any length.
    """
    text = " ".join(request[: _READ_CHARACTERS + 1].split())
    numbers = list(_NUMBER.finditer(text))
    if len(text) > _READ_CHARACTERS or len(numbers) != 2 or not _ASKS.search(text) or _NO_SUM.search(text):
        return None
    if not _COUNTED.isdisjoint(words(text)):
        return None
    rates = [match for pattern in (_RATE, _ONE) for match in pattern.finditer(text)]
    if len(rates) != 1 or not (rate := rates[0])["each"]:
        return None
    others = [each for each in numbers if each.start("value") != rate.start("value")]
    if len(others) != 1:
        return None
    amount, value = others[0]["value"].replace(",", ""), rate["value"].replace(",", "")
    each, of = _unit(rate["each"]), _units(rate["of"] or "")
    units = _units(text[others[0].end() :])
    if each in units:
        return None if units & of else f"{value} * {amount}"
    counted = _HOW_MANY.search(text)
    is_asked = _unit(counted[1]) == each if counted else each in _TIMES and _HOW_LONG.search(text)
    return f"{amount} / {value}" if units & of and is_asked else None


def _units(text: str) -> set[str]:
    """Return the first words of `text`, up to anything else, as units."""
    return {_unit(word) for word in _WORDS.findall(text)[0].split()}


def _unit(word: str) -> str:
    """Return a unit in one form."""
    lower = word.lower()
    singular = _SAME.get(lower) or (lower[:-1] if lower.endswith("s") and len(lower) > 2 else lower)
    return _SAME.get(singular, singular)
