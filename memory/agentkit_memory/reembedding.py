"""Re-embed a vault: give every record a vector of another model, and let those take the old ones' place in one commit.

The new vectors gather beside the old ones, which answer until the switch. Killed anywhere, the next call goes on where
the last commit ended; for another model than was begun with, it begins anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from agentkit_memory import rows
from agentkit_memory.access import Access
from agentkit_memory.database import Database
from agentkit_memory.embed import Embedder, embedding_texts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH: Final = 256
"""Records a commit."""


@dataclass(frozen=True, slots=True)
class Reembedded:
    """How far it is."""

    done: int
    """Records that have a vector of the new model."""
    total: int
    finished: bool = False
    """Whether the new vectors have taken the old ones' place."""


@dataclass(frozen=True, slots=True)
class _Text:
    row: int
    id: bytes
    kind: str
    title: str
    text: str


def gather(access: Access, embedder: Embedder, bulk: Embedder) -> Iterator[Reembedded]:
    """Embed every record that has no new vector yet, a batch a commit.

    Args:
        access: Of an open vault; others may use it between two batches, and while one is embedded.
        embedder: Names the model, and counts word pieces.
        bulk: Embeds; the same model.
    """
    with access.transaction() as database:
        _begin(database, embedder)
    after = -1
    while True:
        with access.reading() as database:
            total = int(database.scalar("SELECT count(*) FROM records"))
            done = int(database.scalar("SELECT count(*) FROM next_vectors"))
            batch = _batch(database, after)
        yield Reembedded(done, total)
        if not batch:
            return
        after = batch[-1].row
        parts = [embedding_texts(embedder, each.kind, each.title, each.text) for each in batch]
        texts = [text for some in parts for text in some]
        vectors = rows.check_vectors(bulk.embed(texts), len(texts), embedder.dimensions)
        with access.transaction() as database:
            _keep(database, batch, vectors, [len(some) for some in parts])


def switch(database: Database, embedder: Embedder) -> bool:
    """Put the gathered vectors in the old ones' place; return whether every record had one.

    Runs inside the caller's transaction. A new epoch begins, so that no snapshot of the old ones is used again.
    """
    if _batch(database, -1, limit=1):
        return False
    database.change("DELETE FROM vectors")
    database.change("INSERT INTO vectors (row, vector) SELECT row, vector FROM next_vectors")
    database.change("DELETE FROM next_vectors")
    database.change("DELETE FROM meta WHERE key IN ('next_embedder', 'next_dimensions')")
    meta = ("embedder", embedder.name), ("dimensions", embedder.dimensions), ("epoch", os.urandom(16))
    database.change_many("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", meta)
    return True


def _begin(database: Database, embedder: Embedder) -> None:
    """Drop what was gathered for another model."""
    meta = dict(database.rows("SELECT key, value FROM meta"))
    if (meta.get("next_embedder"), meta.get("next_dimensions")) == (embedder.name, embedder.dimensions):
        return
    database.change("DELETE FROM next_vectors")
    fresh = ("next_embedder", embedder.name), ("next_dimensions", embedder.dimensions)
    database.change_many("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", fresh)


def _batch(database: Database, after: int, *, limit: int = BATCH) -> list[_Text]:
    found = database.rows(
        "SELECT row, id, kind, title, text FROM records WHERE row > ? "
        "AND NOT EXISTS (SELECT 1 FROM next_vectors WHERE next_vectors.row = records.row) ORDER BY row LIMIT ?",
        (after, limit),
    )
    return [_Text(*row) for row in found]


def _keep(
    database: Database, batch: Sequence[_Text], vectors: NDArray[np.float32], counts: Sequence[int]
) -> None:
    """Store vectors of records that are still what they were when they were embedded."""
    starts = accumulate(counts, initial=0)
    database.change_many(
        "INSERT OR REPLACE INTO next_vectors (row, vector) "
        "SELECT row, ? FROM records WHERE row = ? AND id = ? AND title = ? AND text = ?",
        [
            (vectors[start : start + count].tobytes(), each.row, each.id, each.title, each.text)
            for each, start, count in zip(batch, starts, counts, strict=False)
        ],
    )
