"""What a call may look like, said once for every constraint back-end: a small tree of parts.

A format describes its markup with these, and a back-end (`agentkit.models.grammar`) makes its own grammar of them.
Only `Mark` may become control tokens of the model; whatever a tool or a schema brought in is `Text` or `Json`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Mark:
    """Fixed markup of a family: where the vocabulary has a token of such a spelling, that token."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """Fixed characters, written with ordinary tokens whatever they spell."""

    text: str


@dataclass(frozen=True, slots=True)
class Json:
    """One JSON value, its separators `", "` and `": "`."""

    schema: dict[str, Any]
    """In the form of `agentkit.models.normalise`."""


@dataclass(frozen=True, slots=True)
class Raw:
    """Any characters but `stop`, and then `stop`, which is markup."""

    stop: str
    least: int = 0
    """Characters before `stop`."""
    most: int | None = 4096


@dataclass(frozen=True, slots=True)
class Row:
    """Parts one after another."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several parts."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A part several times, with `between` between two of them."""

    part: Part
    least: int
    most: int | None
    """`None`: without an end."""
    between: Part | None = None


Part = Mark | Text | Json | Raw | Row | Choice | Repeat


def row(*parts: Part) -> Part:
    """Return `parts` one after another, the empty ones left out."""
    kept = tuple(part for part in parts if part not in (Mark(""), Text(""), Row(())))
    return kept[0] if len(kept) == 1 else Row(kept)


def optional(part: Part) -> Part:
    """Return a part that may be left out."""
    return Repeat(part, 0, 1)


def fields(items: Sequence[tuple[Part, bool]], separator: str) -> Part:
    """Return fields in a fixed order, with `separator` between two that are there.

    Args:
        items: Each with whether it has to be there.
        separator: Plain characters.
    """
    comma = Text(separator)
    needed = next((at for at, (_, required) in enumerate(items) if required), None)
    if needed is None:  # any of them may be the first one
        starts = [row(part, *_following(items[at + 1 :], comma)) for at, (part, _) in enumerate(items)]
        return optional(Choice(tuple(starts))) if starts else Row(())
    before = [optional(row(part, comma)) for part, _ in items[:needed]]
    return row(*before, items[needed][0], *_following(items[needed + 1 :], comma))


def _following(items: Sequence[tuple[Part, bool]], comma: Part) -> list[Part]:
    return [row(comma, part) if required else optional(row(comma, part)) for part, required in items]
