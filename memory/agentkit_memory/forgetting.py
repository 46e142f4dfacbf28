"""Forget records and what was made from them, and prove that they are gone.

What was derived carries the ids of its sources: records made from a forgotten one go with it, and messages of a
conversation that were made from one, or repeat its text, keep their place but lose their words; a round that repeats
one goes, and with a round the words of its messages.
The proof reads every page of the database as it is on the disk, decrypted, free pages too; the log is empty by then and
the snapshot removed. A piece that a record or message still kept also holds is not counted.
Not covered: copies and backups made before (rotate, and destroy what opened them), and the file a document was
read from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from agentkit_memory import rows, terms
from agentkit_memory.database import Database
from agentkit_memory.record import Record
from agentkit_memory.search import Finder

FORGOTTEN: Final = "[forgotten]"
SHORTEST: Final = 12
"""Characters from which a text repeated in a message counts as the same; shorter ones occur by chance."""
_SPEAKER: Final = re.compile(r"^(?:user|assistant): ", re.MULTILINE)
_PROBES: Final = 96
_PROBE_CHARACTERS: Final = 32
_PROBE_BYTES: Final = 32
_WORDS: Final = {
    "records": ("text", "title", "source"),
    "files": ("path",),
    "roots": ("path",),
    "messages": ("message",),
    "settings": ("value",),
}
"""Where words of what is kept may lie."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was forgotten, and what was found of it afterwards."""

    ids: tuple[str, ...]
    """Records that are gone, those made from others among them."""
    derived: int
    """How many of them were made from others."""
    messages: int
    """Messages whose words were removed."""
    conversations: tuple[str, ...]
    """Conversations those messages are in."""
    probes: int
    """Pieces of texts, titles, paths, ids and vectors that were looked for."""
    pages_scanned: int
    pages_with_traces: int
    """Occurrences of those pieces in decrypted pages; 0 is the proof."""
    searches_with_traces: int
    """Of them and their terms, how many the search still holds or finds; 0 is the proof."""

    @property
    def proven(self) -> bool:
        """Whether nothing was found."""
        return not self.pages_with_traces and not self.searches_with_traces


def with_derived(database: Database, ids: Sequence[str]) -> list[str]:
    """Return `ids` and those of every record made from them, directly or not."""
    known = dict.fromkeys(ids)
    fresh = set(ids)
    rows_with_sources = database.rows("SELECT id, sources FROM records WHERE sources != '[]'")
    made_from = [(identity.hex(), set(json.loads(sources))) for identity, sources in rows_with_sources]
    while fresh:
        fresh = {identity for identity, sources in made_from if identity not in known and sources & fresh}
        known |= dict.fromkeys(fresh)
    return list(known)


def repeating(database: Database, gone: Sequence[Record]) -> list[str]:
    """Return the ids of the rounds of conversations that repeat the text of one of `gone`."""
    texts = _texts(gone)
    rounds = database.rows("SELECT id, text FROM records WHERE kind = 'round'") if texts else []
    return [identity.hex() for identity, said in rounds if any(text in said for text in texts)]


def redact(database: Database, gone: Sequence[Record]) -> tuple[int, tuple[str, ...]]:
    """Take the words out of messages made from `gone`, repeating one or said in one; return how many, and where."""
    ids, texts, rounds = {record.id for record in gone}, _texts(gone), _spoken(gone)
    touched, conversations = 0, dict[str, None]()
    for conversation, number, text in database.rows("SELECT conversation, number, message FROM messages"):
        message = json.loads(text)
        if not (_sources(message) & ids or _repeats(message, [*texts, *rounds.get(conversation, ())])):
            continue
        kept = _blank(message)
        database.change(
            "UPDATE messages SET message = ? WHERE conversation = ? AND number = ?",
            (json.dumps(kept, ensure_ascii=False, separators=(",", ":")), conversation, number),
        )
        touched += 1
        conversations[conversation] = None
    return touched, tuple(conversations)


def prove(
    database: Database, finder: Finder, gone: Sequence[Record], vectors: Sequence[bytes]
) -> tuple[int, int, int, int]:
    """Return how many pieces were sought, pages read, traces found in pages, and traces found by searching."""
    packed = (terms.pack(f"{record.title} {record.text}") for record in gone)
    pieces = [bytes.fromhex(record.id) for record in gone]
    pieces += [piece for blob in (*vectors, *packed) for piece in _telling(blob)]
    pieces += [
        piece.encode()
        for record in gone
        for text in (record.text, record.title, record.source)
        for piece in _pieces(text)
    ]
    pieces = list(dict.fromkeys(pieces))
    step = max(1, len(pieces) // _PROBES)
    wanted = pieces[::step][: 2 * _PROBES]
    counts = database.scan(wanted)
    ids = [bytes.fromhex(record.id) for record in gone]
    traces = sum(
        count
        for piece, count in zip(wanted, counts, strict=True)
        if count and not _elsewhere(database, piece, ids)
    )
    pages = int(database.scalar("PRAGMA page_count"))
    orphans = sum(
        database.scalar(f"SELECT count(*) FROM {table} WHERE row NOT IN (SELECT row FROM records)")  # noqa: S608
        for table in ("vectors", "next_vectors", "terms")
    )
    return len(wanted), pages, traces, orphans + finder.traces(gone, vectors)


def _texts(gone: Sequence[Record]) -> list[str]:
    texts = (record.text.strip() for record in gone if record.kind != "round")
    return [text for text in texts if len(text) >= SHORTEST]


def _spoken(gone: Sequence[Record]) -> dict[str, list[str]]:
    """Return what was said in rounds, by conversation: phrases of a model may well recur in others."""
    found: dict[str, list[str]] = {}
    for record in gone:
        if record.kind == "round":
            parts = (part.strip() for part in _SPEAKER.split(record.text))
            found.setdefault(record.source, []).extend(part for part in parts if len(part) >= SHORTEST)
    return found


def _pieces(text: str) -> list[str]:
    size = _PROBE_CHARACTERS
    if len(text) < SHORTEST:
        return []
    starts = {0, max(0, len(text) // 2 - size), max(0, len(text) - size)}
    return [text[start : start + size] for start in sorted(starts)]


def _telling(blob: bytes) -> list[bytes]:
    """Return the part of a vector or of entries that is least likely to occur by chance; none, when all are likely."""
    size = _PROBE_BYTES
    parts = [blob[start : start + size] for start in range(0, len(blob) - size + 1, size)]
    best = max(parts, key=lambda part: len(set(part)), default=b"")
    return [best] if len(set(best)) >= size // 4 else []


def _elsewhere(database: Database, piece: bytes, gone: Sequence[bytes]) -> bool:
    """Whether something that is kept holds the same piece."""
    places = [("vectors", "vector"), ("next_vectors", "vector"), ("terms", "entries")]
    kept = "SELECT id FROM {0} JOIN records USING (row) WHERE instr({1}, ?)"
    found = (row[0] for place in places for row in database.rows(kept.format(*place), (piece,)))
    if any(identity not in gone for identity in found):
        return True
    try:
        text = piece.decode()
    except UnicodeDecodeError:
        return False
    return any(
        database.scalar(f"SELECT 1 FROM {table} WHERE instr({column}, ?) LIMIT 1", (text,)) is not None  # noqa: S608
        for table, columns in _WORDS.items()
        for column in columns
    )


def _sources(message: dict[str, Any]) -> set[str]:
    """Return the record ids in a message's labels: `[origin, privacy, [ids]]`, or a plain list of `sources`."""
    found: set[str] = set()
    match message.get("labels"):
        case [_, _, [*ids]]:
            found |= {str(each) for each in ids}
        case {"sources": [*ids]}:
            found |= {str(each) for each in ids}
    match message.get("sources"):
        case [*ids]:
            found |= {str(each) for each in ids}
    return found


def _repeats(value: Any, texts: Sequence[str]) -> bool:  # noqa: ANN401 - any JSON value
    match value:
        case str():
            return any(text in value for text in texts)
        case [*each]:
            return any(_repeats(one, texts) for one in each)
        case dict():
            return any(_repeats(one, texts) for one in value.values())
    return False


def _blank(message: dict[str, Any]) -> dict[str, Any]:
    """Return the message without words: its shape stays, so that a conversation can still be loaded."""
    kept = {**message, "text": FORGOTTEN}
    if isinstance(message.get("calls"), list):
        kept["calls"] = [
            {**call, "arguments": {}} if isinstance(call, dict) else [*call[:2], {}]
            for call in message["calls"]
        ]
    return kept


def vectors_of(database: Database, ids: Sequence[str], dimensions: int) -> list[bytes]:
    """Return the stored vectors of `ids`, to look for them later."""
    found = rows.vectors_of(database, ids, dimensions).values()
    return [vector.tobytes() for vectors in found for vector in vectors]
