"""Cut a document into chunks an embedder can see whole, at the borders a reader would choose.

Sentences, list items, table rows and blocks of code stay whole while they fit; a chunk never spans two
pages; a heading stays with what follows it. Nothing is lost: the chunks, joined, are the text of the blocks in order.
Not covered: overlap (it lowers precision; `Vault.neighbours` gives what stands beside a hit).
Source: sizes from the chunking report of Chroma (2024) and the 256 word pieces all-MiniLM-L6-v2 reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from agentkit.indexing.document import Block, Document, merge_places, parse_place, place_at

CountPieces = Callable[[str], int]

_MAX_HEADING = 120
_PIECE_CHARACTERS = 16
"""Characters that count as one piece at least: WordPiece takes a word of any length over 100 for one."""
_SENTENCE_END = re.compile(
    "(?:[.!?\u2026][\"'\u201d\u2019)\\]]{0,3}\\s+(?=[\"'\u201c\u2018(\\[]{0,3}[^\\W_a-z]))"
    "|(?<=[\u3002\uff01\uff1f])"  # Chinese and Japanese full stops need no space after them
)
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|No|Nr|Art|Fig|vs|etc|e\.g|i\.e|approx|ca|Jan|Feb|Mar|Apr|Jun"
    r"|Jul|Aug|Sep|Sept|Oct|Nov|Dec)\.\s*\Z"
    r"|^\s*\d{1,3}\.\s*\Z",  # the number of a section or an item
    re.MULTILINE,
)
_WORD = re.compile(r"\S+\s*")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document, small enough for the embedder."""

    text: str
    place: str
    position: int
    """Its index in the document."""
    heading: str = ""
    """The headings it stands under, outermost first, joined with ` > `; without those its own text holds."""


@dataclass(frozen=True, slots=True)
class _Unit:
    """What is never cut: a sentence, a row, an item, a line of code."""

    text: str
    place: str
    pieces: int
    glue: str
    """What stands between this unit and the one before it, when both are in one chunk."""
    heading: str
    level: int = 0


def chunks(
    document: Document, count_pieces: CountPieces, *, target_pieces: int = 160, limit_pieces: int = 220
) -> list[Chunk]:
    """Cut `document` into chunks of about `target_pieces`, never over `limit_pieces`.

    Args:
        document: What a reader made of a file.
        count_pieces: Word pieces of a text, as the embedder counts them; 16 characters are one at least.
        target_pieces: A chunk ends where the next unit would take it past this.
        limit_pieces: The most; a single unit over it is cut at words, a single word over it at characters.
    """
    made: list[Chunk] = []
    held: list[_Unit] = []

    def count(text: str) -> int:
        return max(count_pieces(text), len(text) // _PIECE_CHARACTERS)

    def give(units: list[_Unit]) -> None:
        text = units[0].text + "".join(unit.glue + unit.text for unit in units[1:])
        place = units[0].place
        for unit in units[1:]:
            place = merge_places(place, unit.place)
        made.append(Chunk(text, place, len(made), units[0].heading))

    for unit in _units(document, count, limit_pieces):
        size = sum(each.pieces for each in held)
        if held and _ends(held, size, unit, target_pieces, limit_pieces):
            body = held
            following: list[_Unit] = []
            while len(body) > 1 and body[-1].level and not unit.level:  # a heading goes with what follows it
                body, following = body[:-1], [body[-1], *following]
            if sum(each.pieces for each in following) + unit.pieces > limit_pieces:
                body, following = held, []
            give(body)
            held = following
        held.append(unit)
    if held:
        give(held)
    return made


def _ends(held: list[_Unit], size: int, unit: _Unit, target: int, limit: int) -> bool:
    """Tell whether the chunk ends before `unit`."""
    if size + unit.pieces > limit:
        return True
    last, following = parse_place(held[-1].place), parse_place(unit.place)
    if last and following and last[0] == "page" and last[1:] != following[1:]:
        return True
    if all(each.level for each in held):
        return False
    if unit.level:
        return size >= target // 3
    return size >= target * 3 // 4 and size + unit.pieces > target


def _units(document: Document, count: CountPieces, limit: int) -> Iterator[_Unit]:
    path: list[tuple[int, str]] = []
    previous: Block | None = None
    for block in document.blocks:
        if block.kind == "heading":
            path = [each for each in path if each[0] < block.level]
        above = " > ".join(text for _, text in path)
        glue = "\n\n"
        if previous and previous.kind == block.kind and block.kind in ("table", "list"):
            glue = "\n"
        for text, place, between in _pieces(block, count, limit):
            yield _Unit(text, place, count(text), glue if between is None else between, above, block.level)
        if block.kind == "heading":
            path.append((block.level, " ".join(block.text.split())[:_MAX_HEADING]))
        previous = block


def _pieces(block: Block, count: CountPieces, limit: int) -> Iterator[tuple[str, str, str | None]]:
    """Yield (text, place, glue) of each unit of a block; glue is `None` for the first."""
    if not block.text.strip():
        return
    if block.kind != "paragraph" and count(block.text) <= limit:
        yield block.text, block.place, None
        return
    # a place of lines is followed line by line, where the text has one line for each line of the file
    place = parse_place(block.place)
    if place and (place[0] != "line" or place[2] - place[1] != block.text.count("\n")):
        place = None
    line = place[1] if place else 0
    gap: str | None = None
    for part in _split(block.text, block.kind, count, limit):
        text = part.rstrip()
        lines = text.count("\n")
        if text.strip():
            kept = text if block.kind == "code" else text.lstrip()
            yield kept, place_at("line", line, line + lines) if place else block.place, gap
            gap = ""
        if gap is not None:
            gap += part[len(text) :]
        line += part.count("\n")


def _split(text: str, kind: str, count: CountPieces, limit: int) -> Iterator[str]:
    """Yield parts of `text` that, joined, are `text`, none of more than `limit` pieces."""
    for part in text.splitlines(keepends=True) if kind in ("code", "table", "list") else _sentences(text):
        if count(part) <= limit:
            yield part
        else:
            yield from _cut(part, count, limit)


def _sentences(text: str) -> Iterator[str]:
    start = 0
    for found in _SENTENCE_END.finditer(text):
        end = found.end()
        if end > start and not _ABBREVIATION.search(text, max(start, end - 16), end):
            yield text[start:end]
            start = end
    if start < len(text):
        yield text[start:]


def _cut(text: str, count: CountPieces, limit: int) -> Iterator[str]:
    """Cut what has no sentence end: at lines, else at words, else at characters."""
    parts = text.splitlines(keepends=True)
    if len(parts) == 1:
        parts = _WORD.findall(text)
        lead = len(text) - sum(map(len, parts))
        if parts and lead:
            parts[0] = text[:lead] + parts[0]
    held, size = "", 0
    for part in parts:
        pieces = count(part)
        if held and size + pieces > limit:
            yield held
            held, size = "", 0
        if pieces <= limit:
            held, size = held + part, size + pieces
        elif len(parts) > 1:
            yield from _cut(part, count, limit)
        elif len(part) == 1:
            yield part
        else:
            middle = len(part) // 2
            yield from _cut(part[:middle], count, limit)
            yield from _cut(part[middle:], count, limit)
    if held:
        yield held
