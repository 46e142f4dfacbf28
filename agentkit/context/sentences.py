"""Cut a text into sentences with their offsets; what must not be torn stays one piece.

Atomic: a fenced block of code up to the length limit, a table row, a list item's number, a heading. A line
that ends where the next word would still have fitted ends a piece: lists, code and addresses are not wrapped prose.
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
    mr mrs ms dr prof st sr jr no nr vs eg ie e.g i.e approx dept est fig ref inc ltd co corp
    jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri sat sun
    vol pp p ed al cf ca resp tel ext
    """.split()  # noqa: SIM905 - readable
)
_END = re.compile(
    r"(?<![.!?\u2026])[.!?\u2026]++[\"'\u201d\u2019)\]]*(?=\s)|[\u3002\uff01\uff1f]+[\u300d\u300f\u201d\u2019)]*"
)
_ITEM = re.compile(r"\s*(?:[-*+•·]|\(?\d{1,3}[.)]|[a-zA-Z][.)]|\[[ xX]\])\s+\S")
_LAST_WORD = re.compile(r"(?<![\w.])[\w.]*$")
LONGEST_WORD = 40
"""Characters in front of a full stop that are looked at."""
_FENCE = re.compile(r"\s*(```|~~~)")
_HEADING = re.compile(r"\s{0,3}#{1,6}\s")
_CELLS = re.compile(r"[^:,|.]{1,40}: .*, [^:,|.]{1,40}: ")
_LEAD = re.compile(r"\(?\d{1,3}[.)]\s+\S+(?:\s+\S+){0,3}")
_LEAST_WIDTH = 60
"""Characters under which a line is never taken for wrapped prose."""


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
    lines = text.splitlines(keepends=True)
    width = max((len(line.rstrip()) for line in lines), default=0)
    offset = 0
    gathered: tuple[int, int] | None = None  # the paragraph so far
    fence: tuple[int, str] | None = None
    for number, line in enumerate(lines):
        start, end = offset + len(line) - len(line.lstrip()), offset + len(line.rstrip())
        offset += len(line)
        if fence is not None:
            if line.strip().startswith(fence[1]):
                yield fence[0], end, True
                fence = None
            continue
        opened = _FENCE.match(line)
        single = bool(_HEADING.match(line)) or _is_row(line)
        if gathered and (not line.strip() or opened or single or _ITEM.match(line)):
            yield *gathered, False
            gathered = None
        if opened:
            fence = (start, opened[1])
        elif single:
            yield start, end, True
        elif line.strip():
            gathered = (gathered[0] if gathered else start, end)
            if _is_deliberate(line, lines[number + 1 : number + 2], width):
                yield *gathered, False
                gathered = None
    if fence is not None:
        yield fence[0], len(text.rstrip()), True
    elif gathered is not None:
        yield *gathered, False


def _is_row(line: str) -> bool:
    stripped = line.strip()
    if stripped.count("|") >= 2 or "\t" in stripped or _CELLS.match(stripped):
        return True
    return stripped.count(",") >= 2 and ", " not in stripped and " " not in stripped.split(",")[0]


def _is_deliberate(line: str, following: list[str], width: int) -> bool:
    """Say whether a line ends although the first word of the next one would have fitted."""
    word = following[0].split()[:1] if following else []
    end = len(line.rstrip())
    if not word:
        return False
    if word[0][0].islower() and len(line.split()) > 3 and line.rstrip()[-1] not in ".:;{}()":
        return False  # a sentence that goes on, in a text wrapped unevenly
    return end < _LEAST_WIDTH or end + 1 + len(word[0]) <= width


def _prose(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the sentences between two offsets."""
    begin = start
    for match in _END.finditer(text, start, end):
        if _is_abbreviation(text, begin, match) or (
            begin == start and _is_lead(text, begin, match.end(), end)
        ):
            continue
        yield begin, match.end()
        begin = match.end()
        while begin < end and text[begin].isspace():
            begin += 1
    if begin < end:
        yield begin, end


def _is_lead(text: str, begin: int, end: int, last: int) -> bool:
    """Say whether a numbered item starts with a few words that only name what follows: "2. Seed swap. Mei ..."."""
    return end < last and text[end - 1] == "." and bool(_LEAD.fullmatch(text, begin, end - 1))


def _is_abbreviation(text: str, begin: int, match: re.Match[str]) -> bool:
    """Say whether the full stop belongs to a word, so that the sentence goes on."""
    if match[0] != ".":
        return False
    before = _LAST_WORD.search(text[max(begin, match.start() - LONGEST_WORD) : match.start()])
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
