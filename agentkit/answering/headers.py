"""Which line at the head of a mail a question asks for: who wrote it, to whom, when, about what (pure, English).

`wrote` does not stand in `From: Anna Lindqvist`, so no search by words finds it.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from agentkit.context.words import alike, terms

_LINE = re.compile(r"(From|Sender|To|Date|Sent|Received|Subject):[ \t]*(\S.*)", re.IGNORECASE)
_WHEN = re.compile(r"\bwhen\b|\b(?:what|which) (?:day|date|time)\b", re.IGNORECASE)
_WHO = re.compile(r"\bwho(?:m|se)?\b", re.IGNORECASE)
_TO = re.compile(
    r"\bto who(?:m)?\b|\bwho(?:m)?\b.*\bto\W*$|\b(?:recipient|addressee|addressed)\b", re.IGNORECASE
)
_WRITTEN = frozenset(
    terms("write writes wrote written send sends sent sender author mailed come came date day time")
)
_LEAST_LINES = 2


def header_asked(question: str, named: Collection[str], text: str) -> tuple[str, str] | None:
    """Return the line of the head that `question` asks for, and its value; nothing where it asks for another thing.

    Args:
        question: What is asked of the text.
        named: Stems of the words that only say which text is meant.
        text: A mail, its head first.
    """
    head = [
        found for line in text.partition("\n\n")[0].splitlines() if (found := _LINE.fullmatch(line.strip()))
    ]
    if len(head) < _LEAST_LINES:
        return None
    rest = [term for term in terms(question) if not any(alike(term, each) for each in named)]
    wanted: tuple[str, ...]
    if "subject" in rest:
        wanted, rest = ("subject",), [term for term in rest if term != "subject"]
    elif _WHEN.search(question):
        wanted = ("date", "sent", "received")
    elif _TO.search(question):
        wanted = ("to",)
    elif _WHO.search(question):
        wanted = ("from", "sender")
    else:
        return None
    names = (line[2] for line in head if line[1].lower() not in (*wanted, "subject"))
    known = {*_WRITTEN, *(term for name in names for term in terms(name))}
    if not all(term in known for term in rest) or (rest and _WRITTEN.isdisjoint(rest)):
        return None  # it asks for more: `who wrote the report?`, `who is Ole?`
    return next(((line[0], line[2]) for line in head if line[1].lower() in wanted), None)
