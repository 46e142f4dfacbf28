"""The index that answers now: exact search at once, Chroma as soon as it has loaded in the background.

The database is the truth and the index follows it: every change is committed there first. While Chroma loads, changes
are also noted, and replayed on it before it takes over.
The index knows vectors, of which a record may have several; here they become records again (`rows.vector_names`).
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agentkit_memory import rows
from agentkit_memory.database import Database, database_errors
from agentkit_memory.errors import StorageError, StoreError, TamperedError, VectorIndexError, disk_errors
from agentkit_memory.index import ExactIndex, VectorIndex
from agentkit_memory.snapshot import Snapshot, State, check_memory_backed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_Change = tuple[Sequence[str], "NDArray[np.float32] | None"]
"""Names and vectors of an addition; `None` for vectors is a deletion."""


class LiveIndex:
    """One vault's index. Every method but `warm` and `close` is called with the vault's lock held."""

    def __init__(
        self,
        database: Database,
        dimensions: int,
        lock: AbstractContextManager[object],
        snapshot: Snapshot,
        folder: Path | None,
    ) -> None:
        if folder is not None:
            check_memory_backed(folder)
        self._database = database
        self.dimensions = dimensions
        self._lock = lock
        self._snapshot = snapshot
        self._folder = folder
        self._index: VectorIndex | None = None
        self._thread: threading.Thread | None = None
        self._pending: list[_Change] | None = None
        self._closing = False
        self._several: dict[str, int] = {}
        """Of records about to be deleted that have more than one vector, how many."""
        self._sealed: State | None = None
        """What the snapshot on disk holds, once Chroma has loaded."""
        self._purged = False
        """Whether the index folder still holds a vector that was deleted: then it must not be sealed."""
        self.error: StoreError | None = None
        """Why Chroma did not load; exact search answers."""

    @property
    def name(self) -> str:
        """Which index answers: `exact` or `chroma`."""
        return "exact" if self._index is None else self._index.name

    def put(self, names: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Follow an addition that is committed."""
        self._follow((names, vectors))

    def forget(self) -> None:
        """Prepare for a deletion about to be committed: no snapshot may outlive what it holds."""
        self._snapshot.discard()
        self._sealed = None

    def note(self, several: dict[str, int]) -> None:
        """Note how many vectors records have that have several, before they are deleted."""
        self._several |= several

    def delete(self, ids: Sequence[str]) -> None:
        """Follow a deletion that is committed."""
        counts = [self._several.pop(each, 1) for each in ids]
        pairs = zip(ids, counts, strict=True)
        self._follow(([name for each, count in pairs for name in rows.vector_names(each, count)], None))

    def search(self, vector: NDArray[np.float32], k: int) -> list[tuple[str, float]]:
        """Return up to `k` ids of records and the cosines of their nearest vectors, nearest first."""
        wide = k
        while True:
            found = self._search(vector, wide)
            nearest: dict[str, float] = {}
            for name, cosine in found:
                nearest.setdefault(name.partition(".")[0], cosine)
            if len(nearest) >= k or len(found) < wide:
                return list(nearest.items())[:k]
            wide *= 2  # several vectors of one record were among them

    def _search(self, vector: NDArray[np.float32], k: int) -> list[tuple[str, float]]:
        if self._index is not None:
            try:
                return self._index.search(vector, k)
            except VectorIndexError as error:
                self._give_up(error)
        exact = ExactIndex(self.dimensions)
        self._fill(exact, after=-1)
        self._index = exact
        return exact.search(vector, k)

    def warm(self, *, wait: bool) -> None:
        """Start loading Chroma, once; with `wait`, return when it answers.

        Raises:
            StoreError: Chroma cannot be used (only with `wait`); exact search still answers.
        """
        with self._lock:
            if self._thread is None and not self._closing:
                self._pending = []
                self._thread = threading.Thread(target=self._load, name="agentkit-index", daemon=True)
                self._thread.start()
            thread = self._thread
        if wait and thread is not None:
            thread.join()
            if self.error is not None:
                raise self.error

    def abandon(self) -> None:
        """Seal nothing more: the vault goes under other keys."""
        self._purged = True

    def close(self) -> None:
        """Stop; seal the snapshot when Chroma holds more than it. Called without the vault's lock."""
        self._closing = True
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            index, self._index, self._pending = self._index, None, None
            try:
                if index is not None:
                    index.close()
                    self._save(index)
            finally:  # the next opening wants it empty, whatever became of this one
                self._empty_folder()

    def _save(self, index: VectorIndex) -> None:
        """Seal the closed index, if there is anything new in it and nothing that was deleted."""
        if self._folder is None or index.name != "chroma" or self._purged:
            return
        from agentkit_memory.chroma import compact

        state = self._state()
        if state != self._sealed:
            with suppress(
                StorageError
            ):  # it may be missing at any time: a full disk costs the next opening a moment
                compact(self._folder)
                self._snapshot.save(state, self._folder)

    def _follow(self, change: _Change) -> None:
        if not change[0]:
            return
        if self._index is not None:
            try:
                self._apply(self._index, change)
            except VectorIndexError as error:
                self._give_up(error)
        if self._pending is not None:
            self._pending.append(change)

    def _apply(self, index: VectorIndex, change: _Change) -> None:
        names, vectors = change
        if vectors is None:
            index.delete(names)
            self._purged = True
        else:
            index.put(names, vectors)

    def _give_up(self, error: VectorIndexError) -> None:
        """Go back to exact search: the database has all that is needed."""
        self.error, self._index = error, None

    def _load(self) -> None:
        """Bring Chroma up, in its own thread."""
        try:
            for attempt in (self._restored, self._rebuilt):
                chroma = attempt()
                if chroma is not None and self._take_over(chroma):
                    return
                if self._closing:
                    return
            self.error = VectorIndexError("chroma holds another number of vectors than the database")
        except StoreError as error:
            self.error = error
        finally:
            with self._lock:
                self._pending = None

    def _restored(self) -> VectorIndex | None:
        """Return the index from its snapshot, brought up to date; `None` when there is none to trust."""
        if self._folder is None:
            return None
        try:
            state = self._snapshot.restore(self._folder)
        except TamperedError:
            state = None
        with self._lock, database_errors():
            now = self._state()
        if state is None or state.last_row > now.last_row or state != replace(now, last_row=state.last_row):
            self._empty_folder()
            return None
        from agentkit_memory.chroma import ChromaIndex

        chroma = ChromaIndex(self.dimensions, self._folder)
        self._sealed = state
        return chroma if self._fill(chroma, after=state.last_row) else None

    def _rebuilt(self) -> VectorIndex | None:
        """Return the index built anew from the database."""
        from agentkit_memory.chroma import ChromaIndex

        chroma = ChromaIndex(self.dimensions, self._folder)
        return chroma if self._fill(chroma, after=-1) else None

    def _take_over(self, chroma: VectorIndex) -> bool:
        """Catch up and let `chroma` answer; discard it when it then differs from the database."""
        with self._lock, database_errors():
            if not self._closing:
                for change in self._pending or ():
                    self._apply(chroma, change)
                size = self._database.scalar("SELECT coalesce(sum(length(vector)), 0) FROM vectors")
                if len(chroma) == size // (4 * self.dimensions):
                    old, self._index = self._index, chroma
                    if old is not None:
                        old.close()
                    return True
        chroma.close()
        self._empty_folder()
        self._sealed = None
        return False

    def _fill(self, index: VectorIndex, after: int) -> bool:
        """Put every vector of the rows after `after` into `index`; return whether that came to its end."""
        while not self._closing:
            with self._lock, database_errors():
                page = rows.vector_page(self._database, self.dimensions, after)
            if page is None:
                return True
            after = page.last_row
            index.put(page.names, page.vectors)
        index.close()
        return False

    def _state(self) -> State:
        from agentkit_memory.chroma import engine

        epoch = self._database.scalar("SELECT value FROM meta WHERE key = 'epoch'")
        last_row = self._database.scalar("SELECT coalesce(max(row), -1) FROM vectors")
        return State(epoch.hex(), last_row, self.dimensions, engine())

    def _empty_folder(self) -> None:
        if self._folder is not None:
            with disk_errors("the index folder"):
                for path in self._folder.iterdir():
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
