"""What finds the nearest vectors: the protocol, and the exact index.

An index holds random ids and unit vectors; never a text, a name, a path or a label.
The same contract tests run on `ExactIndex` and on `ChromaIndex`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class VectorIndex(Protocol):
    """Finds the nearest vectors by cosine. Not thread-safe."""

    name: str

    def put(self, ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Add vectors, or replace those whose id is known.

        Args:
            ids: One a row, none twice.
            vectors: (n, dimensions), float32, unit length.
        """
        ...

    def delete(self, ids: Collection[str]) -> None:
        """Drop vectors; ids that are not known are passed over."""
        ...

    def search(self, vector: NDArray[np.float32], k: int) -> list[tuple[str, float]]:
        """Return up to `k` ids and their cosines, nearest first.

        Args:
            vector: (dimensions,), unit length.
            k: At least 1.
        """
        ...

    def __len__(self) -> int: ...

    def close(self) -> None:
        """Let go of the memory; safe to call twice."""
        ...


class ExactIndex:
    """Compares with every vector: exact, nothing to build, and quick up to some 100,000 vectors."""

    name = "exact"

    def __init__(self, dimensions: int) -> None:
        import numpy as np

        self._vectors = np.empty((0, dimensions), np.float32)
        """(capacity, dimensions): the first `len(self)` rows are in use."""
        self._ids: list[str] = []
        self._place: dict[str, int] = {}

    def put(self, ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Add vectors, or replace those whose id is known."""
        import numpy as np

        needed = len(self._ids) + len(ids)
        if needed > len(self._vectors):
            grown = np.empty((max(needed, 2 * len(self._vectors), 256), self._vectors.shape[1]), np.float32)
            grown[: len(self._ids)] = self._vectors[: len(self._ids)]
            self._vectors = grown
        for identity, vector in zip(ids, vectors, strict=True):
            place = self._place.setdefault(identity, len(self._ids))
            if place == len(self._ids):
                self._ids.append(identity)
            self._vectors[place] = vector

    def delete(self, ids: Collection[str]) -> None:
        """Drop vectors: the last one moves into the gap, and its old place is overwritten."""
        for identity in ids:
            place = self._place.pop(identity, None)
            if place is None:
                continue
            last = len(self._ids) - 1
            self._vectors[place] = self._vectors[last]
            self._vectors[last] = 0
            moved = self._ids.pop()
            if place != last:
                self._ids[place], self._place[moved] = moved, place

    def search(self, vector: NDArray[np.float32], k: int) -> list[tuple[str, float]]:
        """Return up to `k` ids and their cosines, nearest first."""
        import numpy as np

        if not self._ids:
            return []
        cosines = self._vectors[: len(self._ids)] @ np.asarray(vector, np.float32)
        k = min(k, len(cosines))
        best = np.argpartition(-cosines, k - 1)[:k]
        best = best[np.argsort(-cosines[best], kind="stable")]
        return [(self._ids[each], float(cosines[each])) for each in best]

    def __len__(self) -> int:
        return len(self._ids)

    def close(self) -> None:
        """Let go of the memory."""
        self._vectors = self._vectors[:0].copy()
        self._ids, self._place = [], {}
