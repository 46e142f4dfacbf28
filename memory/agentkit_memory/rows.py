"""Records as rows: insert, read, filter and delete them, with their vectors. Runs inside the caller's transaction."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from agentkit_memory.catalogue import Entry
from agentkit_memory.database import Database
from agentkit_memory.errors import EmbeddingMismatchError, RecordError
from agentkit_memory.record import Filter, NewRecord, Record
from agentkit_memory.terms import pack

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TEXT_LIMIT: Final = 1 << 20
NAME_LIMIT: Final = 4096
SOURCES_LIMIT: Final = 10_000
Value = TypeVar("Value")
_COLUMNS: Final = "id, text, source, kind, place, title, origin, privacy, created, sources, position"
_LABEL: Final = re.compile(r"[a-z][a-z_]{0,31}")
_PREFIX: Final = re.compile("[0-9a-f]{1,32}")
_LAST: Final = "\U0010ffff"
"""Sorts after every other character, so that `prefix .. prefix + _LAST` is every text with that prefix."""
TERM_PAGE: Final = 10_000
"""Records whose terms are read at once."""
CHUNK: Final = 500
"""Ids per statement: well under SQLite's limit of bound variables."""


def check(record: NewRecord) -> None:
    """Refuse a record that cannot be stored.

    Raises:
        RecordError: A text or name is too long or not valid Unicode, or a label is not a plain word.
    """
    if len(record.text) > TEXT_LIMIT:
        raise RecordError(f"a record's text has {len(record.text)} characters; the limit is {TEXT_LIMIT}")
    for name in ("source", "place", "title"):
        if len(getattr(record, name)) > NAME_LIMIT:
            raise RecordError(f"a record's {name} is longer than {NAME_LIMIT} characters")
    for name in ("kind", "origin", "privacy"):
        if not _LABEL.fullmatch(getattr(record, name)):
            raise RecordError(f"a record's {name} is a word of a-z and the underscore, of 1 to 32 characters")
    if record.created is not None and not math.isfinite(record.created):
        raise RecordError("a record's time is not finite")
    try:
        "".join((record.text, record.source, record.place, record.title, *record.sources)).encode()
    except UnicodeEncodeError:
        raise RecordError("a record's text or a name in it is not valid Unicode (lone surrogates)") from None
    if len(record.sources) > SOURCES_LIMIT or any(len(source) > NAME_LIMIT for source in record.sources):
        raise RecordError(
            f"a record has over {SOURCES_LIMIT} sources, or one longer than {NAME_LIMIT} characters"
        )


def check_vectors(embeddings: NDArray[np.floating[Any]], count: int, dimensions: int) -> NDArray[np.float32]:
    """Return `embeddings` as `count` float32 rows.

    Raises:
        EmbeddingMismatchError: They have another shape, or are not finite.
    """
    import numpy as np

    vectors = np.ascontiguousarray(embeddings, dtype="<f4")
    if count == 0 and vectors.size == 0:
        return vectors.reshape(0, dimensions)
    if vectors.shape != (count, dimensions):
        raise EmbeddingMismatchError(
            f"vectors of shape ({count}, {dimensions}) are needed; these have {vectors.shape}",
            hint="embed with the model the vault was made with, or: agentkit memory reembed",
        )
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and lengths.all()):
        raise EmbeddingMismatchError("a vector is zero or not finite")
    # Cosines are taken as dot products everywhere; half-precision embedders leave lengths a little off.
    return np.ascontiguousarray(vectors / lengths, dtype="<f4")


@dataclass(frozen=True, slots=True)
class Inserted:
    """Records that were inserted, in order, as the lexical index wants them."""

    entries: list[Entry]
    packed: list[bytes]
    """Their terms."""
    names: list[str]
    """Of their vectors, in order, as the index wants them."""

    @property
    def ids(self) -> list[str]:
        """Their fresh ids."""
        return [entry.id for entry in self.entries]


def insert(
    database: Database,
    records: Sequence[NewRecord],
    vectors: NDArray[np.float32],
    counts: Sequence[int],
    now: float,
) -> Inserted:
    """Insert records with their terms and their vectors: the first `counts[0]` are of the first record."""
    inserted, end = Inserted([], [], []), 0
    for record, count in zip(records, counts, strict=True):
        start, end = end, end + count
        identity, entries = os.urandom(16), pack(f"{record.title} {record.text}")
        created = float(now if record.created is None else record.created)
        database.change(
            f"INSERT INTO records ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - our columns
            (
                identity,
                record.text,
                record.source,
                record.kind,
                record.place,
                record.title,
                record.origin,
                record.privacy,
                created,
                json.dumps(record.sources),
                record.position,
            ),
        )
        row = database.last_row
        database.change(
            "INSERT INTO vectors (row, vector) VALUES (?, ?)", (row, vectors[start:end].tobytes())
        )
        database.change("INSERT INTO terms (row, entries) VALUES (?, ?)", (row, entries))
        inserted.entries.append(
            Entry(identity.hex(), row, record.kind, record.origin, record.privacy, record.source, created)
        )
        inserted.packed.append(entries)
        inserted.names.extend(vector_names(identity.hex(), count))
    return inserted


def vector_names(record_id: str, count: int) -> list[str]:
    """Return what the index calls the vectors of a record: its id, and for those after the first a number too."""
    return [record_id, *(f"{record_id}.{number}" for number in range(1, count))]


def get(database: Database, ids: Sequence[str]) -> dict[str, Record]:
    """Return the records that exist among `ids`."""
    found = (
        _record(row)
        for some in chunks([id_bytes(each) for each in ids])
        for row in database.rows(
            f"SELECT {_COLUMNS} FROM records WHERE id IN ({marks(some)})",  # noqa: S608
            some,
        )
    )
    return {record.id: record for record in found}


def select(database: Database, where: Filter, *, limit: int, offset: int) -> list[Record]:
    """Return the records that pass `where`, in the order they were added."""
    condition, bindings = sql(where)
    return [
        _record(row)
        for row in database.rows(
            f"SELECT {_COLUMNS} FROM records WHERE {condition} ORDER BY row LIMIT ? OFFSET ?",  # noqa: S608
            [*bindings, limit, offset],
        )
    ]


def page(database: Database, after: int, limit: int) -> tuple[list[Record], int]:
    """Return up to `limit` records of the rows after `after`, in order, and the last of those rows."""
    found = database.rows(
        f"SELECT {_COLUMNS}, row FROM records WHERE row > ? ORDER BY row LIMIT ?",  # noqa: S608
        (after, limit),
    )
    return [_record(row[:-1]) for row in found], found[-1][-1] if found else after


def count(database: Database, where: Filter) -> int:
    """Return how many records pass `where`."""
    condition, bindings = sql(where)
    return int(database.scalar(f"SELECT count(*) FROM records WHERE {condition}", bindings))  # noqa: S608


def ids_where(database: Database, where: Filter) -> list[str]:
    """Return the ids of the records that pass `where`."""
    condition, bindings = sql(where)
    rows = database.rows(f"SELECT id FROM records WHERE {condition}", bindings)  # noqa: S608
    return [identity.hex() for (identity,) in rows]


def ids_with_prefix(database: Database, prefix: str, limit: int) -> list[str]:
    """Return up to `limit` ids that begin with `prefix`; none, when it is no part of an id."""
    prefix = prefix.lower()
    if not _PREFIX.fullmatch(prefix):
        return []
    low, high = bytes.fromhex(prefix.ljust(32, "0")), bytes.fromhex(prefix.ljust(32, "f"))
    found = database.rows("SELECT id FROM records WHERE id BETWEEN ? AND ? LIMIT ?", (low, high, limit))
    return [identity.hex() for (identity,) in found]


def neighbours(database: Database, record_id: str, before: int, after: int) -> list[Record]:
    """Return the records beside one in the same source, in order; the record itself is not among them."""
    found = database.row("SELECT source, kind, position FROM records WHERE id = ?", (id_bytes(record_id),))
    if found is None or not found[0]:
        return []
    source, kind, position = found
    rows = database.rows(
        f"SELECT {_COLUMNS} FROM records WHERE source = ? AND kind = ? AND position BETWEEN ? AND ? AND id != ? "  # noqa: S608
        "ORDER BY position, row",
        (source, kind, position - before, position + after, id_bytes(record_id)),
    )
    return [_record(row) for row in rows]


def rewrite(
    database: Database, record_id: str, fresh: NewRecord, vectors: NDArray[np.float32]
) -> Inserted | None:
    """Put another title, text and other vectors in a record's place; `None` when there is no such record."""
    found = database.row(
        "SELECT row, kind, origin, privacy, source, created FROM records WHERE id = ?", (id_bytes(record_id),)
    )
    if found is None:
        return None
    row, *rest = found
    entries = pack(f"{fresh.title} {fresh.text}")
    database.change("UPDATE records SET title = ?, text = ? WHERE row = ?", (fresh.title, fresh.text, row))
    database.change("UPDATE vectors SET vector = ? WHERE row = ?", (vectors.tobytes(), row))
    database.change("UPDATE terms SET entries = ? WHERE row = ?", (entries, row))
    database.change("DELETE FROM next_vectors WHERE row = ?", (row,))
    return Inserted([Entry(record_id, row, *rest)], [entries], vector_names(record_id, len(vectors)))


def delete(database: Database, ids: Iterable[str]) -> list[str]:
    """Delete records with their vectors and postings; return the ids that existed."""
    gone = []
    for some in chunks([id_bytes(each) for each in ids]):
        rows = database.rows(f"DELETE FROM records WHERE id IN ({marks(some)}) RETURNING id", some)  # noqa: S608
        gone += [identity.hex() for (identity,) in rows]
    return gone


def vectors_of(database: Database, ids: Sequence[str], dimensions: int) -> dict[str, NDArray[np.float32]]:
    """Return the stored vectors of the records that exist among `ids`, each (vectors, dimensions)."""
    import numpy as np

    return {
        identity.hex(): np.frombuffer(vector, "<f4").reshape(-1, dimensions)
        for some in chunks([id_bytes(each) for each in ids])
        for identity, vector in database.rows(
            f"SELECT id, vector FROM records JOIN vectors USING (row) WHERE id IN ({marks(some)})",  # noqa: S608
            some,
        )
    }


def several(database: Database, ids: Sequence[str], dimensions: int) -> dict[str, int]:
    """Return how many vectors those records among `ids` have that have more than one."""
    return {
        identity.hex(): size // (4 * dimensions)
        for some in chunks([id_bytes(each) for each in ids])
        for identity, size in database.rows(
            f"SELECT id, length(vector) FROM records JOIN vectors USING (row) WHERE id IN ({marks(some)})",  # noqa: S608
            some,
        )
        if size > 4 * dimensions
    }


def cosines_at(database: Database, at: Sequence[int], vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the cosine of `vector` and the nearest vector of each of these rows, all of which exist."""
    import numpy as np

    found = dict[int, bytes]()
    for some in chunks(at):
        found |= dict(database.rows(f"SELECT row, vector FROM vectors WHERE row IN ({marks(some)})", some))  # noqa: S608
    blobs = [found[each] for each in at]
    cosines: NDArray[np.float32] = np.frombuffer(b"".join(blobs), "<f4").reshape(-1, len(vector)) @ vector
    if len(cosines) == len(at):
        return cosines
    ends = np.cumsum([len(blob) // (4 * len(vector)) for blob in blobs])
    nearest: NDArray[np.float32] = np.maximum.reduceat(cosines, [0, *ends[:-1]])
    return nearest


@dataclass(frozen=True, slots=True)
class VectorPage:
    """The vectors of some records, in the order of their rows."""

    names: list[str]
    vectors: NDArray[np.float32]
    """(names, dimensions)."""
    last_row: int


def vector_page(database: Database, dimensions: int, after: int, *, size: int = 2000) -> VectorPage | None:
    """Return the vectors of up to `size` rows after `after`; `None` when there is none."""
    import numpy as np

    found = database.rows(
        "SELECT row, id, vector FROM records JOIN vectors USING (row) WHERE row > ? ORDER BY row LIMIT ?",
        (after, size),
    )
    if not found:
        return None
    matrix = np.frombuffer(b"".join(each[2] for each in found), "<f4").reshape(-1, dimensions)
    names = [
        name
        for _, identity, blob in found
        for name in vector_names(identity.hex(), len(blob) // (4 * dimensions))
    ]
    return VectorPage(names, matrix, found[-1][0])


def term_page(database: Database, after: int) -> tuple[list[Entry], list[bytes], int] | None:
    """Return some records of the rows after `after`, their terms, and the last row; `None` when there is none."""
    found = database.rows(
        "SELECT row, id, kind, origin, privacy, source, created, entries FROM records JOIN terms USING (row) "
        "WHERE row > ? ORDER BY row LIMIT ?",
        (after, TERM_PAGE),
    )
    if not found:
        return None
    entries = [Entry(row[1].hex(), row[0], *row[2:7]) for row in found]
    return entries, [row[7] for row in found], found[-1][0]


def sql(where: Filter) -> tuple[str, list[Any]]:
    """Return a filter as an SQL condition over the columns of `records`, and its bindings."""
    terms, bindings = ["1"], list[Any]()
    for column, values in (
        ("kind", where.kinds),
        ("origin", where.origins),
        ("privacy", where.privacies),
    ):
        if values:
            terms.append(f"{column} IN ({marks(values)})")
            bindings += values
    if where.under:
        inside = where.under.rstrip("/") + "/"
        terms.append("(source = ? OR (source >= ? AND source < ?))")
        bindings += [where.under, inside, inside + _LAST]
    if where.source:
        terms.append("source = ?")
        bindings.append(where.source)
    if where.since is not None:
        terms.append("created >= ?")
        bindings.append(where.since)
    if where.until is not None:
        terms.append("created < ?")
        bindings.append(where.until)
    return " AND ".join(terms), bindings


def id_bytes(record_id: str) -> bytes:
    """Return the stored form of an id.

    Raises:
        RecordError: It is not 32 hexadecimal digits.
    """
    try:
        value = bytes.fromhex(record_id)
    except ValueError:
        value = b""
    if len(value) != 16 or len(record_id) != 32:
        raise RecordError("a record id is 32 hexadecimal digits")
    return value


def chunks(values: Sequence[Value]) -> Iterator[Sequence[Value]]:
    """Yield `values` in runs that fit one statement."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]


def marks(values: Sequence[object]) -> str:
    """Return as many marks of bound variables."""
    return ",".join("?" * len(values))


def _record(row: tuple[Any, ...]) -> Record:
    identity, text, source, kind, place, title, origin, privacy, created, sources, position = row
    return Record(
        identity.hex(),
        text,
        source,
        kind,
        place,
        title,
        origin,
        privacy,
        created,
        tuple(json.loads(sources)) if sources != "[]" else (),
        position,
    )
