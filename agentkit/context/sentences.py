"""Cut a text into sentences with their offsets; what must not be torn stays one piece.

Atomic: a fenced or indented block of code up to the length limit, a table row, a list item, a heading.
Every piece is a slice of the text (`text[start:end]`), in order and without overlap; what lies between two
pieces is white space. A piece longer than the limit (minified JSON, a log without line ends) is cut at line
ends, else at spaces, else hard: otherwise nothing of it could ever be selected.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

LIMIT_CHARACTERS = 800

_ABBREVIATIONS = frozenset(
    """
    mr mrs ms dr prof st sr jr no nr vs etc eg ie e.g i.e a.m p.m approx dept est fig ref inc ltd co corp
    jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri sat sun
    vol pp p ed al cf ca resp tel ext
    """.split()  # noqa: SIM905 - readable
)
_END = re.compile(
    r"[.!?\u2026]+[\"'\u201d\u2019)\]]*(?=\s)|[\u3002\uff01\uff1f]+[\u300d\u300f\u201d\u2019)]*"
)
_ITEM = re.compile(r"\s*(?:[-*+•·]|\(?\d{1,3}[.)]|[a-zA-Z][.)]|\[[ xX]\])\s+\S")
_FENCE = re.compile(r"\s*(```|~~~)")
_HEADING = re.compile(r"\s{0,3}#{1,6}\s")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One piece of a text."""

    start: int
    """Offset of its first character."""
    end: int
    """Offset after its last character."""
    text: str
    block: int
    """Number of the paragraph, list item, row or code block it stands in."""


def sentences(text: str, *, limit: int = LIMIT_CHARACTERS) -> list[Sentence]:
    """Cut `text` into sentences and atomic pieces, in order.

    Args:
        text: Any text.
        limit: Characters of the longest piece.
    """
    return [
        Sentence(start, end, text[start:end], number)
        for number, (first, last, atomic) in enumerate(_blocks(text))
        for low, high in ([(first, last)] if atomic else _prose(text, first, last))
        for start, end in _at_most(text, low, high, limit)
    ]


def _blocks(text: str) -> Iterator[tuple[int, int, bool]]:
    """Yield (start, end, atomic) of each paragraph, item, row, heading or code block."""
    offset = 0
    open_start: int | None = None  # of the paragraph being gathered
    open_end = 0
    fence: tuple[int, str] | None = None
    for line in text.splitlines(keepends=True):
        start, end = offset, offset + len(line.rstrip())
        offset += len(line)
        if fence is not None:
            open_end = max(end, open_end)
            if line.strip().startswith(fence[1]):
                yield fence[0], end, True
                fence = None
            continue
        opened = _FENCE.match(line)
        single = bool(_HEADING.match(line)) or _is_row(line)
        if (not line.strip() or opened or single or _ITEM.match(line)) and open_start is not None:
            yield open_start, open_end, False
            open_start = None
        if opened:
            fence = (start + _indent(line), opened[1])
            open_end = end
        elif single:
            yield start + _indent(line), end, True
        elif line.strip():
            if open_start is None:
                open_start = start + _indent(line)
            open_end = end
    if fence is not None:
        yield fence[0], max(open_end, fence[0]), True
    elif open_start is not None:
        yield open_start, open_end, False


def _is_row(line: str) -> bool:
    stripped = line.strip()
    return (
        stripped.count("|") >= 2
        or "\t" in stripped
        or bool(re.fullmatch(r"[^.!?]*(?:[;,][^\s,;][^,;]*){2,}", stripped))
    )


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _prose(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the sentences between two offsets."""
    begin = start
    for match in _END.finditer(text, start, end):
        if _is_abbreviation(text, begin, match):
            continue
        yield begin, match.end()
        begin = match.end()
        while begin < end and text[begin].isspace():
            begin += 1
    if begin < end:
        yield begin, end


def _is_abbreviation(text: str, begin: int, match: re.Match[str]) -> bool:
    """Say whether the full stop belongs to a word, so that the sentence goes on."""
    if match[0] != ".":
        return False
    before = re.search(r"[\w.]*$", text[begin : match.start()])
    word = before[0] if before else ""
    if len(word) == 1 and word.isalpha() and word.isupper():
        return True  # an initial
    if word.lower() in _ABBREVIATIONS:
        return True
    if word.isdigit() and not text[begin : match.start() - len(word)].strip():
        return True  # the number of a list item
    after = text[match.end() : match.end() + 40].lstrip()
    return after[:1].islower()


def _at_most(text: str, start: int, end: int, limit: int) -> Iterator[tuple[int, int]]:
    """Yield pieces of at most `limit` characters, cut at the best place there is."""
    while end - start > limit:
        cut = max(text.rfind("\n", start + limit // 2, start + limit), -1)
        if cut <= start:
            cut = text.rfind(" ", start + limit // 2, start + limit)
        if cut <= start:
            cut = start + limit
        if text[start:cut].strip():
            yield start, start + len(text[start:cut].rstrip())
        start = cut
        while start < end and text[start].isspace():
            start += 1
    if start < end:
        yield start, end
