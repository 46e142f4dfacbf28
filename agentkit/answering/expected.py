"""What kind of thing a question asks for, and what such a thing looks like in a text: one table, no model.

"When" wants a date, "how much" a number, "who" a name. A sentence without one cannot be the answer, however near it
is. Only English questions are recognised; any other question expects nothing and is not held against its sentences.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agentkit.request.dates import CARDINALS, MONTHS, WEEKDAYS

_MONTH = rf"(?:{'|'.join(MONTHS)}|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)"
_WEEKDAY = rf"(?:{'|'.join(WEEKDAYS)})s?"
_CLOCK = r"\b\d{1,2}[:.]\d\d\b|\b\d{1,2}\s*(?:[ap]\.?m\b|o'clock)|\bnoon\b|\bmidnight\b"
_CALENDAR = (
    rf"\b(?:{_MONTH}|{_WEEKDAY}|today|tomorrow|yesterday|spring|summer|autumn|fall|winter|morning|afternoon"
    r"|evening|night|dawn|dusk|years?|months?|weeks?|days?|daily|weekly|monthly|yearly|easter|christmas)\b"
    r"|\b(?:19|20)\d\d\b|\b\d{1,2}[./]\d{1,2}\b"
)
_COUNT = (
    rf"\d|\b(?:{'|'.join(CARDINALS)}|hundred|thousand|million|half|quarter|dozen|once|twice|every|each|daily|weekly|monthly"
    r"|yearly)\b"
)
_MONEY = r"[\u20ac$\u00a3]|\b(?:euros?|pounds?|dollars?|cents?|francs?|eur|gbp|usd|chf|free)\b|\d\.\d\d\b"
_PRICED = r"costs?|price|fees?|rent|deposit|excess|budget|salary|fine|refund"
_SPAN = r"\b(?:seconds?|minutes?|min|hours?|nights?|days?|weeks?|months?|years?|indefinite|until|since)\b"
_LENGTH = r"\d.*(?:\b(?:mm|cm|m|km|met(?:re|er)s?|kilomet(?:re|er)s?|miles?|feet|foot|ft|inch(?:es)?)\b|m2)"
_DISTANCE = r"\b(?:km|kilomet(?:re|er)s?|miles?)\b"
_NAME = r"(?-i:(?<=[\w,:(|*\"] )[\"(*]*[A-Z][\w.]+|^[\"(*]*[A-Z][\w.]+ [A-Z]\w+)"
_COLOUR = (
    r"\b(?:red|green|blue|yellow|white|black|gr[ea]y|brown|orange|purple|violet|pink|silver|gold|beige|turquoise"
    r"|cream|apricot|sage|colou?r)\b"
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of `KINDS`."""

    name: str
    question: re.Pattern[str]
    """Found in a question that asks for it."""
    answer: re.Pattern[str]
    """Found in a sentence that can hold it."""


def _kind(name: str, question: str, answer: str) -> Kind:
    return Kind(name, re.compile(question, re.IGNORECASE), re.compile(answer, re.IGNORECASE))


KINDS: tuple[Kind, ...] = (
    _kind("a time", r"\b(?:what|which) time\b", _CLOCK),
    _kind("a date", r"\b(?:what|which) (?:date|day|month|year|weekday)\b", f"{_CALENDAR}|{_CLOCK}"),
    _kind(
        "a sum of money",
        rf"\bhow (?:much|high|large|big)\b.*\b(?:{_PRICED}|pay|paid|earn|money|insured for)\b"
        rf"|\bwhat(?:'s| is| was| are| were)? (?:[\w'-]+ ){{0,4}}(?:{_PRICED})\b"
        r"(?! (?:policy|period|office|date|account|list|rule|contract))"
        r"|\bwhat (?:do|does|did|will|must|should|would|has|have)\b.*\b(?:costs?|pay|paid|earn|insured for)\b",
        _MONEY,
    ),
    _kind("a repetition", r"\bhow (?:soon|often)\b", f"{_COUNT}|{_CALENDAR}"),
    _kind("a length of time", r"\bhow long\b", f"{_SPAN}|{_LENGTH}"),
    _kind(
        "an age", r"\bhow old\b", r"\b(?:years?|(?:months?|weeks?)[ -]old|born|age|aged)\b|\b(?:19|20)\d\d\b"
    ),
    _kind("a length", r"\bhow (?:tall|far|deep|wide|thick)\b", _LENGTH),
    _kind(
        "a number", r"\bhow (?:much|many|high|big|large|fast|heavy|hot|cold|few|warm|full|strong)\b", _COUNT
    ),
    _kind(
        "a number",
        r"\b(?:what|which)\b.*\b(?:temperature|percentage|weight|length|speed|voltage|size)\b",
        _COUNT,
    ),
    _kind(
        "a date",
        r"^(?!(?:what|who|how|where|which|why)\b).*\bwhen\b",
        f"{_CALENDAR}|{_CLOCK}|{_DISTANCE}",
    ),
    _kind(
        "a telephone number",
        r"\b(?:tele)?phone number\b|\bwhat(?:'s| is)\b.*\b(?:tele)?phone\s*\??$",
        r"\d(?:[\d\s/()-]{4,})\d",
    ),
    _kind("an e-mail address", r"\be-?mail address\b", r"\S@\S"),
    _kind("a number or code", r"\b(?:number|code|pin|reference|id)\b", r"\d|(?-i:\b[A-Z]{3,}\b)"),
    _kind("a name", r"^who\b|\bwhose\b|\bwhom\b|^by who|\bname of\b", _NAME),
    _kind("a colour", r"\bcolou?r\b", _COLOUR),
)
"""Every rule there is; the first that fits the question counts."""


_READ_CHARACTERS = 2000
"""Of a longer question the beginning is looked at."""
_COUNTED = re.compile(
    r"\bhow (?:many|much) (?!is\b|are\b|was\b|were\b|do\b|does\b|did\b|can\b|should\b|of\b)(\w+)",
    re.IGNORECASE,
)


def expected(question: str) -> Kind | None:
    """Return what `question` asks for, or nothing where no rule says."""
    begun = question.strip()[:_READ_CHARACTERS]
    return next((kind for kind in KINDS if kind.question.search(begun)), None)


def counted(question: str) -> str:
    """Return what a question counts ("how many calories": calories), or an empty text."""
    found = _COUNTED.search(question)
    return found[1] if found else ""
