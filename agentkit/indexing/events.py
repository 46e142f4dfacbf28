"""What an indexing run yields, as it happens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Progress:
    """The run is about to read `path`, or is still at it; `done` of `total` changed files are finished."""

    done: int
    total: int
    path: Path


@dataclass(frozen=True, slots=True)
class FileIndexed:
    """A new or changed file is in the index, committed to disk."""

    path: Path
    chunks: int
    seconds: float
    """Reading, and its share of the embedding."""
    notes: tuple[str, ...] = ()
    """What the reader had to assume, such as the encoding."""


@dataclass(frozen=True, slots=True)
class FileSkipped:
    """A file is not in the index, or no longer as it is now; the others are not affected."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class FileRemoved:
    """A file is gone, and so is what the index held of it."""

    path: Path


@dataclass(frozen=True, slots=True)
class FileRenamed:
    """A file has another path; its chunks were kept."""

    old: Path
    new: Path


@dataclass(frozen=True, slots=True)
class FileUnchanged:
    """A file is as the index knows it."""

    path: Path


@dataclass(frozen=True, slots=True)
class IndexFinished:
    """The run is over: how many files went each way."""

    indexed: int
    unchanged: int
    removed: int
    renamed: int
    skipped: int
    seconds: float


IndexEvent = FileIndexed | FileSkipped | FileRemoved | FileRenamed | FileUnchanged | Progress | IndexFinished
