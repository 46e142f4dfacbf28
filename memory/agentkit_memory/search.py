"""Search: both arms bring candidates, each candidate is scored by both, and the scores are fused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentkit_memory import fusion, lexical, rows
from agentkit_memory.database import Database
from agentkit_memory.live_index import LiveIndex
from agentkit_memory.record import Filter, Hit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

POOL: Final = 50
"""Least number of candidates each arm brings."""
RANKED: Final = 1000
"""How many lexical matches get a BM25 score; those after count as no match."""


def search(
    database: Database,
    index: LiveIndex,
    question: str,
    vector: NDArray[np.float32] | None,
    *,
    k: int,
    where: Filter,
    lexical_weight: float,
    diversity: float = 0.0,
) -> list[Hit]:
    """Return the `k` nearest records, best first; see `Vault.search`."""
    depth = max(POOL, 4 * k)
    said = lexical.search(database, question, where, RANKED)
    pool = list(said)[:depth]
    near: dict[str, float] = {}
    if vector is not None:
        # Kind and origin the index knows itself; anything else is asked of the database.
        asks_database = (
            bool(where.source_prefix or where.privacies) or where.since is not None or where.until is not None
        )
        among = rows.ids_where(database, where) if asks_database else None
        # Without a word to weigh it against, the order of the cosines is the answer.
        near = dict(
            index.search(vector, depth if pool else k, kinds=where.kinds, origins=where.origins, among=among)
        )
        others = rows.vectors_of(database, [each for each in pool if each not in near], len(vector))
        pool = [*near, *pool]
        near |= {each: float(other @ vector) for each, other in others.items()}
    best = fusion.fuse(near, said, pool, lexical_weight if near else 1.0)
    if diversity and vector is not None:
        vectors = rows.vectors_of(database, [each for each, _ in best[:depth]], len(vector))
        best = fusion.diversify(best[:depth], vectors, k, diversity)
    best = best[:k]
    found = rows.get(database, [each for each, _ in best])
    return [
        Hit(found[each], score, near.get(each, 0.0), said.get(each, 0.0))
        for each, score in best
        if each in found
    ]
