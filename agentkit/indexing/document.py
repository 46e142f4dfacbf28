"""What a reader makes of a file: a title, and blocks of text that know their place.

Plain values only, so that the reader worker, the chunker and the core agree on one shape.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from agentkit.errors import IndexingError

BlockKind = Literal["paragraph", "heading", "code", "table", "list"]
_KINDS: frozenset[str] = frozenset(get_args(BlockKind))


@dataclass(frozen=True, slots=True)
class Block:
    """One piece of a document that belongs together: a paragraph, a heading, a table row, a list item."""

    text: str
    place: str
    """Where it stands: `page 2`, `lines 10-24`, `row 7`, `paragraph 3`; may be empty."""
    kind: BlockKind = "paragraph"
    level: int = 0
    """Depth of a heading, 1 to 6; 0 for everything else."""


@dataclass(frozen=True, slots=True)
class Document:
    """A file as text, in reading order."""

    title: str
    blocks: tuple[Block, ...]
    notes: tuple[str, ...] = ()
    """What the reader had to assume or leave out, in words; holds no content."""


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """What one file may cost; more is refused, never cut."""

    file_bytes: int = 64 << 20
    characters: int = 8_000_000
    blocks: int = 500_000
    pages: int = 3_000
    zip_entries: int = 2_000
    zip_entry_bytes: int = 64 << 20
    zip_total_bytes: int = 256 << 20
    zip_ratio: int = 200
    memory_bytes: int = 1 << 30
    """Address space of the reader worker."""
    cpu_seconds: int = 60


DEFAULT_LIMITS = ReadLimits()


def block_to_wire(block: Block) -> list[object]:
    """Return the plain form that crosses process borders."""
    return [block.text, block.place, block.kind, block.level]


def block_from_wire(value: object) -> Block:
    """Read what `block_to_wire` wrote; the worker that sent it may have been taken over.

    Raises:
        IndexingError: The value has another shape.
    """
    match value:
        case [str(text), str(place), str(kind), int(level)] if (
            kind in _KINDS and 0 <= level <= 6 and len(place) <= 80
        ):
            return Block(text, place, kind, level)  # type: ignore[arg-type]  # narrowed by _KINDS
    raise IndexingError("the reader sent a block of another shape")


_PLACE = re.compile(r"(line|page|row|paragraph)s? (\d+)(?:-(\d+))?")


def place_at(unit: str, first: int, last: int | None = None) -> str:
    """Write a place: `place_at("line", 10, 24)` is `lines 10-24`, `place_at("page", 2)` is `page 2`."""
    return f"{unit} {first}" if last is None or last == first else f"{unit}s {first}-{last}"


def parse_place(place: str) -> tuple[str, int, int] | None:
    """Read what `place_at` wrote as (unit, first, last); `None` when it is written otherwise."""
    found = _PLACE.fullmatch(place)
    if found is None:
        return None
    first = int(found[2])
    return found[1], first, int(found[3] or first)


def merge_places(first: str, last: str) -> str:
    """Return the place that spans from `first` to `last`."""
    one, other = parse_place(first), parse_place(last)
    if one and other and one[0] == other[0]:
        return place_at(one[0], min(one[1], other[1]), max(one[2], other[2]))
    return first if first == last or not last else f"{first} to {last}" if first else last
