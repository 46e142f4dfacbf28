"""What the memory holds: frozen values, and nothing that acts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A text to be remembered, and where it comes from."""

    text: str
    source: str = ""
    """File path of a document, conversation id of a round."""
    kind: str = "memory"
    """`document` (a chunk of a file), `memory` (a remembered fact) or `round` (question and answer of a conversation:
    a line that begins with `user: `, and one with `assistant: `)."""
    place: str = ""
    """Where in its source: `page 2`, `lines 10-24`; may be empty."""
    title: str = ""
    origin: str = "user"
    """Who wrote it: the trust label."""
    privacy: str = "private"
    """How private it is."""
    created: float | None = None
    """Seconds since the epoch; `None` means now."""
    sources: tuple[str, ...] = ()
    """Ids of the records it was made from: what must be forgotten with it."""
    position: int = 0
    """Index of the chunk in its source, from 0."""


@dataclass(frozen=True, slots=True)
class Record:
    """A remembered text."""

    id: str
    """Random, 32 hexadecimal digits."""
    text: str
    source: str
    kind: str
    place: str
    title: str
    origin: str
    privacy: str
    created: float
    sources: tuple[str, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Hit:
    """A record that answers a search, and why it was found."""

    record: Record
    score: float
    """Fused score: it orders the hits of one search, and says nothing across searches."""
    dense: float
    """Cosine of question and record, -1 to 1; 0 when no question vector was given."""
    lexical: float
    """BM25, higher is nearer; 0 when no term of the question occurs."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which records a question is about; empty fields do not restrict."""

    kinds: tuple[str, ...] = ()
    under: str = ""
    """This path, or a file in this folder: `/a` passes `/a` and `/a/b`, not `/ab` and not `/a.md`."""
    source: str = ""
    """Exactly this one."""
    origins: tuple[str, ...] = ()
    privacies: tuple[str, ...] = ()
    since: float | None = None
    """Created at or after, seconds since the epoch."""
    until: float | None = None
    """Created before, seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class FileState:
    """What the index knows of one file."""

    path: str
    size: int
    mtime_ns: int
    digest: str
    """Of the content, as the indexer computed it."""
    chunks: int
    error: str = ""
    """Why it could not be read; empty when it was."""


@dataclass(frozen=True, slots=True)
class ConversationInfo:
    """A stored conversation, without its messages."""

    id: str
    messages: int
    created: float
    updated: float
    opening: str
    """The first 80 characters of the first user message."""
