"""Which records others were made from, and where those came from.

A chunk's id ends when its file is read anew or vanishes; rounds, facts and messages made from it still name it. A row
of `cited` outlives the record, so that forgetting the file still reaches them; it goes when it is forgotten, or when
nothing names it any more. Runs inside the caller's transaction.
Covered: an answer that is being written while its source is read anew. Ids that ended lately are kept in memory until
the vault is closed.
Not covered: an answer whose source ended before the last `LATELY` ids did.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from agentkit_memory import rows
from agentkit_memory.database import Database
from agentkit_memory.record import Filter, Record

LATELY: Final = 10_000
"""Ids that ended in this session and are kept in memory: more than there are between a search and its answer."""
_COLUMNS: Final = "id, kind, source, origin, privacy, created"
_TABLES: Final = ("cited", "temp.retired")
_ID: Final = re.compile("[0-9a-f]{32}")


def note(database: Database, ids: Iterable[str]) -> None:
    """Keep where the records among `ids` come from: what is stored now was made from them."""
    for some in _runs(ids):
        for table in ("records", "temp.retired"):
            database.change(
                f"INSERT OR IGNORE INTO cited ({_COLUMNS}) SELECT {_COLUMNS} FROM {table} "  # noqa: S608 - ours
                f"WHERE id IN ({rows.marks(some)})",
                some,
            )


def retire(database: Database, ids: Iterable[str]) -> None:
    """Remember records that are about to be deleted until the vault is closed: an answer may name them yet."""
    for some in _runs(ids):
        database.change(
            f"INSERT OR REPLACE INTO temp.retired ({_COLUMNS}) SELECT {_COLUMNS} FROM records "  # noqa: S608
            f"WHERE id IN ({rows.marks(some)})",
            some,
        )
    database.change(
        "DELETE FROM temp.retired WHERE row <= (SELECT max(row) FROM temp.retired) - ?", (LATELY,)
    )


def move(database: Database, old: str, new: str) -> None:
    """Follow a file that was given another path."""
    for table in _TABLES:
        database.change(
            f"UPDATE {table} SET source = ? WHERE kind = 'document' AND source = ?",  # noqa: S608
            (new, old),
        )


def ids_where(database: Database, where: Filter) -> list[str]:
    """Return the ids that pass `where`, of records that are gone among them."""
    condition, bindings = rows.sql(where)
    return [
        identity.hex()
        for table in _TABLES
        for (identity,) in database.rows(f"SELECT id FROM {table} WHERE {condition}", bindings)  # noqa: S608
    ]


def gone(database: Database, ids: Iterable[str]) -> list[Record]:
    """Return what is known of the records among `ids` that are gone: where they came from, without words."""
    found = {
        row[0].hex(): row[1:]
        for some in _runs(ids)
        for table in _TABLES
        for row in database.rows(
            f"SELECT {_COLUMNS} FROM {table} WHERE id IN ({rows.marks(some)}) "  # noqa: S608
            "AND id NOT IN (SELECT id FROM records)",
            some,
        )
    }
    return [
        Record(identity, "", source, kind, "", "", origin, privacy, created, (), 0)
        for identity, (kind, source, origin, privacy, created) in found.items()
    ]


def drop(database: Database, ids: Iterable[str]) -> None:
    """Forget where these came from."""
    for some in _runs(ids):
        for table in _TABLES:
            database.change(f"DELETE FROM {table} WHERE id IN ({rows.marks(some)})", some)  # noqa: S608


def prune(database: Database) -> None:
    """Forget where those came from that no record and no message names any more."""
    known = {identity.hex() for (identity,) in database.rows("SELECT id FROM cited")}
    if not known:
        return
    for (sources,) in database.rows("SELECT sources FROM records WHERE sources != '[]'"):
        known.difference_update(json.loads(sources))
    for (message,) in database.rows("SELECT message FROM messages"):
        known -= of_message(json.loads(message))
    drop(database, known)


def of_message(message: dict[str, Any]) -> set[str]:
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


def _runs(ids: Iterable[str]) -> Iterator[Sequence[bytes]]:
    """Yield ids as they are stored, some at a time; a source may be named by anything else, which is passed over."""
    return rows.chunks([bytes.fromhex(each) for each in dict.fromkeys(ids) if _ID.fullmatch(each)])
