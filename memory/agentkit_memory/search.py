"""Search: both arms bring candidates, each candidate is scored by both, and the scores are fused.

The lexical index is filled from the database in the background, or by the first search, which does what is left of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agentkit_memory import fusion, rows, terms
from agentkit_memory.database import Database, database_errors
from agentkit_memory.errors import StoreError
from agentkit_memory.live_index import LiveIndex
from agentkit_memory.postings import LexicalIndex
from agentkit_memory.record import Filter, Hit, Record
from agentkit_memory.snapshot import Snapshot

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EVERYTHING: Final = Filter()
"""No restriction."""
POOL: Final = 50
"""Least number of candidates each arm brings."""
SOUGHT: Final = 20
"""Deleted records that are looked for by their own words and vectors."""
FEW: Final = 3000
"""Vectors that are read from the database and compared one by one rather than sought in the index."""


class Finder:
    """Finds records of one vault. Every method but `warm` and `close` is called with the vault's lock held."""

    def __init__(
        self,
        database: Database,
        dimensions: int,
        lock: AbstractContextManager[object],
        snapshot: Snapshot,
        folder: Path | None,
    ) -> None:
        self._database = database
        self._lock = lock
        self._snapshot = snapshot
        self._folder = folder
        self.vectors = self._index(dimensions, folder)
        self._words = LexicalIndex()
        self._filled_to = -1
        """The highest row the lexical index holds."""
        self._filled = False
        self._filling: threading.Thread | None = None
        self._closing = False

    # Following the database

    def put(self, added: rows.Inserted, vectors: NDArray[np.float32]) -> None:
        """Follow an addition that is committed."""
        self.vectors.put(added.names, vectors)
        if self._filled or self._filled_to >= 0:  # else it is all still to be read
            self._words.put(added.entries, added.packed)

    def delete(self, ids: Sequence[str]) -> None:
        """Follow a deletion that is committed."""
        self.vectors.delete(ids)
        self._words.delete(ids)

    def rename_source(self, old: str, new: str) -> None:
        """Follow a file that was given another path."""
        self._words.catalogue.rename_source(old, new)

    def purge(self) -> None:
        """Leave nothing of what was deleted in memory, its words least of all."""
        self._words.purge()
        terms.forget_words()

    def traces(self, gone: Sequence[Record], vectors: Sequence[bytes]) -> int:
        """Return how much of records that were deleted and purged is still held, or found by their own words."""
        import numpy as np

        left, ids = self._words.purge(), {record.id for record in gone}
        for record in gone[:SOUGHT]:
            hits = self.search(record.text, None, k=10, where=EVERYTHING, lexical_weight=1.0)
            left += sum(hit.record.id in ids for hit in hits)
        for vector in vectors[:SOUGHT]:
            found = self.vectors.search(np.frombuffer(vector, "<f4"), 10)
            left += sum(each in ids for each, _ in found)
        return left

    # Searching

    def search(
        self,
        question: str,
        vector: NDArray[np.float32] | None,
        *,
        k: int,
        where: Filter,
        lexical_weight: float,
        diversity: float = 0.0,
    ) -> list[Hit]:
        """Return the `k` nearest records, best first; see `Vault.search`."""
        self._fill()
        catalogue = self._words.catalogue
        passes = None if where == EVERYTHING else catalogue.matching(where)
        depth = max(POOL, 4 * k)
        scores = self._words.scores(terms.of_question(question))
        said = [catalogue.ids[place] for place in _best(scores, passes, depth)]
        near: dict[str, float] = {}
        if vector is not None:
            # Without a word to weigh it against, the order of the cosines is the answer.
            near = self._nearest(vector, depth if said else k, passes)
            near |= self._cosines(catalogue.places(each for each in said if each not in near), vector)
        pool = list(dict.fromkeys([*near, *said]))
        lexical = dict(zip(pool, scores[catalogue.places(pool)].tolist(), strict=True))
        best = fusion.fuse(near, lexical, pool, lexical_weight if near else 1.0)
        if diversity and vector is not None:
            stored = rows.vectors_of(self._database, [each for each, _ in best[:depth]], len(vector))
            vectors = {each: several[0] for each, several in stored.items()}
            best = fusion.diversify(best[:depth], vectors, k, diversity)
        best = best[:k]
        found = rows.get(self._database, [each for each, _ in best])
        return [Hit(found[each], score, near.get(each, 0.0), lexical[each]) for each, score in best]

    def every_word(self, query: str, where: Filter) -> list[str]:
        """Return the ids of the records in which every word of `query` occurs, as `terms.occur` has it."""
        wanted = terms.of_question(query)
        if not wanted:
            return []
        self._fill()
        catalogue = self._words.catalogue
        places = (self._words.holding(wanted) & catalogue.matching(where)).nonzero()[0].tolist()
        words = terms.asked(query)  # a term stands for several: the text itself decides
        found = rows.get(self._database, [catalogue.ids[place] for place in places])
        return [each for each, record in found.items() if terms.occur(words, f"{record.title} {record.text}")]

    def _nearest(
        self, vector: NDArray[np.float32], k: int, passes: NDArray[np.bool_] | None
    ) -> dict[str, float]:
        """Return the nearest of the places that pass, with their cosines, nearest first."""
        if passes is None:
            return dict(self.vectors.search(vector, k))
        catalogue, every, passing = self._words.catalogue, len(self._words.catalogue), int(passes.sum())
        # The index knows no labels: ask it for as many more as are likely to be dropped, if that is not too many.
        wide = 2 * k * every // max(1, passing)
        if wide <= FEW:
            found = dict(self.vectors.search(vector, wide))
            places = catalogue.places(found)
            kept = [catalogue.ids[place] for place in places if passes[place]]
            if len(kept) >= k:
                return {each: found[each] for each in kept[:k]}
        near = dict[str, float]()
        for some in _runs(passes.nonzero()[0].tolist(), FEW):
            near |= self._cosines(some, vector)
            near = dict(sorted(near.items(), key=lambda pair: -pair[1])[:k])
        return near

    def _cosines(self, places: list[int], vector: NDArray[np.float32]) -> dict[str, float]:
        catalogue = self._words.catalogue
        cosines = rows.cosines_at(self._database, catalogue.rows(places), vector)
        return dict(zip((catalogue.ids[place] for place in places), cosines.tolist(), strict=True))

    # Filling and closing

    def warm(self, *, wait: bool) -> None:
        """Fill the lexical index and load Chroma in the background, once; with `wait`, return when both answer.

        Raises:
            StoreError: Chroma cannot be used (only with `wait`); exact search still answers.
        """
        with self._lock:
            if not self._filled and self._filling is None and not self._closing:
                self._filling = threading.Thread(target=self._fill_slowly, name="agentkit-words", daemon=True)
                self._filling.start()
            thread = self._filling
        if wait and thread is not None:
            thread.join()
        self.vectors.warm(wait=wait)

    def detach(self) -> LiveIndex:
        """Answer by exact search from now on; return the index that did, for the caller to close without the lock."""
        old, self.vectors = self.vectors, self._index(self.vectors.dimensions, None)
        old.abandon()
        return old

    def restart(self, dimensions: int) -> None:
        """Begin anew with other vectors, after `detach`; Chroma loads again when it is asked to."""
        self.vectors = self._index(dimensions, self._folder)

    def close(self) -> None:
        """Stop; seal what is worth it. Called without the vault's lock."""
        self._closing = True
        if self._filling is not None:
            self._filling.join()
        self.vectors.close()
        self._words = LexicalIndex()
        terms.forget_words()

    def _index(self, dimensions: int, folder: Path | None) -> LiveIndex:
        return LiveIndex(self._database, dimensions, self._lock, self._snapshot, folder)

    def _fill_slowly(self) -> None:
        """Fill the lexical index in a thread of its own, letting others in between two pages."""
        while not self._closing and not self._filled:
            try:
                with self._lock, database_errors():
                    self._fill_page()
            except StoreError:  # whoever searches meets it, and is told
                return

    def _fill(self) -> None:
        while not self._filled:
            self._fill_page()

    def _fill_page(self) -> None:
        if self._filled:
            return
        page = rows.term_page(self._database, self._filled_to)
        if page is None:
            self._filled = True
            return
        entries, packed, self._filled_to = page
        self._words.put(entries, packed)


def _best(scores: NDArray[np.float32], passes: NDArray[np.bool_] | None, limit: int) -> list[int]:
    """Return the places with the highest scores over 0, best first; of equals the older first."""
    import numpy as np

    if passes is not None:
        scores = np.where(passes, scores, 0)
    found = np.flatnonzero(scores)
    if len(found) > limit:
        least = np.partition(scores[found], -limit)[-limit]
        found = found[scores[found] >= least]
    order: list[int] = found[np.argsort(-scores[found], kind="stable")][:limit].tolist()
    return order


def _runs(values: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
