"""The content digest: one number over every row of the vault, kept current inside each transaction.

    digest = sum over all rows of BLAKE2b-256(key, table and values), modulo 2^256

A sum can follow an insertion, a change and a deletion without reading anything else, and does not depend on the
order of rows. Triggers of the connection feed it, so that no statement can be forgotten. Covered: rows added, removed,
changed or put back by somebody without the key. Not covered: SQLite's own indexes, which
hold no row (the file's hash and SQLite's own checks cover those).
Source: incremental multiset hashing, Clarke et al. 2003 (MSet-Add-Hash); format in memory/README.md §3.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

TABLES: Final[dict[str, tuple[str, ...]]] = {
    "meta": ("key", "value"),
    "records": (
        "row", "id", "kind", "source", "position", "place", "title", "text", "origin", "privacy", "created", "sources",
    ),
    "vectors": ("row", "vector"),
    "next_vectors": ("row", "vector"),
    "terms": ("row", "entries"),
    "files": ("path", "size", "mtime_ns", "digest", "chunks", "error"),
    "roots": ("path",),
    "messages": ("conversation", "number", "created", "message"),
    "settings": ("key", "value"),
    "cited": ("id", "kind", "source", "origin", "privacy", "created"),
}  # fmt: skip
"""Every table that holds rows of ours, with its columns in the order they are hashed."""
SIZE: Final = 32
_MODULUS: Final = 1 << 256

Value = Any
"""What SQLite stores: `None`, an integer, a float, a text or bytes."""


class ContentDigest:
    """The running sum. `add` and `subtract` are called by triggers."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._sum = 0
        self.touched = False
        """Whether a row changed since the last `restore`."""

    def fresh(self) -> ContentDigest:
        """Return a digest of no rows under the same key."""
        return ContentDigest(self._key)

    @property
    def value(self) -> bytes:
        """The digest: 32 bytes, little-endian."""
        return self._sum.to_bytes(SIZE, "little")

    def restore(self, value: bytes) -> None:
        """Take over what the last commit left."""
        self._sum = int.from_bytes(value, "little")
        self.touched = False

    def add(self, table: str, *values: Value) -> None:
        """Follow a row that was inserted."""
        self._sum = (self._sum + self._row(table, values)) % _MODULUS
        self.touched = True

    def subtract(self, table: str, *values: Value) -> None:
        """Follow a row that was deleted."""
        self._sum = (self._sum - self._row(table, values)) % _MODULUS
        self.touched = True

    def _row(self, table: str, values: tuple[Value, ...]) -> int:
        parts = [table.encode(), b"\0"]
        for value in values:
            match value:
                case str():
                    data = value.encode()
                    parts += (b"t", len(data).to_bytes(8, "little"), data)
                case bytes():
                    parts += (b"b", len(value).to_bytes(8, "little"), value)
                case int():
                    parts += (b"i", value.to_bytes(8, "little", signed=True))
                case float():
                    parts += (b"f", struct.pack("<d", value))
                case None:
                    parts.append(b"n")
        hashed = hashlib.blake2b(b"".join(parts), digest_size=SIZE, key=self._key)
        return int.from_bytes(hashed.digest(), "little")


def triggers(tables: Mapping[str, Sequence[str]]) -> str:
    """Return the SQL that lets a connection's `row_added` and `row_removed` follow every change of `tables`."""
    statements = []
    for table, columns in tables.items():
        new, old = (", ".join(f"{which}.{column}" for column in columns) for which in ("new", "old"))
        added, removed = f"SELECT row_added('{table}', {new});", f"SELECT row_removed('{table}', {old});"
        for event, body in (("INSERT", added), ("DELETE", removed), ("UPDATE", removed + added)):
            name = f"IF NOT EXISTS follow_{table}_{event}"
            statements.append(f"CREATE TEMP TRIGGER {name} AFTER {event} ON main.{table} BEGIN {body} END;")
    return "\n".join(statements)
