"""The lexical index: which records hold which terms, in memory, ranked by BM25.

Built from the entries in the database; like them, it holds hashes of words and no word. Records come in segments, each
of which is sorted once and never changed; small ones are merged, so that there are few. A deleted record counts for
nothing at once, and leaves memory with `purge`.
Source: BM25 with k1 = 1.2, b = 0.75 and the idf of Lucene, ln(1 + (N - n + 0.5) / (n + 0.5)).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentkit_memory.catalogue import Catalogue, Entry
from agentkit_memory.terms import COUNT_BITS, MOST, unpack

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

K1: Final = 1.2
B: Final = 0.75
PLACE_BITS: Final = 24
MOST_SORTED: Final = (1 << PLACE_BITS) - 1
LARGE: Final = 4_000_000
"""Postings over which segments are not merged: sorting more would be felt as a pause."""


class LexicalIndex:
    """BM25 over the records of a catalogue. Not thread-safe."""

    def __init__(self) -> None:
        self.catalogue: Final = Catalogue()
        self._segments: list[_Segment] = []

    def put(self, entries: Sequence[Entry], every: Sequence[bytes]) -> None:
        """Add records with their packed terms; those that are known are passed over."""
        import numpy as np

        fresh = [number for number, entry in enumerate(entries) if entry.id not in self.catalogue]
        if not fresh:
            return
        packed = [every[number] for number in fresh]
        numbers = unpack(b"".join(packed))
        if len(numbers) > MOST_SORTED and len(fresh) > 1:
            half = len(entries) // 2
            for part in (slice(half), slice(half, None)):
                self.put(entries[part], every[part])
            return
        counts = (numbers & np.uint64(MOST)).astype(np.uint8)
        owner = np.repeat(np.arange(len(packed), dtype=np.int32), [len(each) // 8 for each in packed])
        lengths = np.bincount(owner, weights=counts, minlength=len(packed))
        places = self.catalogue.add([entries[number] for number in fresh], lengths)
        if len(numbers):
            terms, order = _sorted(numbers >> np.uint64(COUNT_BITS + 16))
            self._segments.append(_Segment.of(terms, places[owner[order]], counts[order]))
            self._merge()

    def delete(self, ids: Sequence[str]) -> None:
        """Let records count for nothing; ids that are not known are passed over."""
        self.catalogue.delete(ids)

    def purge(self) -> int:
        """Drop every posting of a deleted record from memory; return how many postings there were."""
        alive, dropped = self.catalogue.alive, 0
        for number, segment in enumerate(self._segments):
            keep = alive[segment.places]
            gone = len(keep) - int(keep.sum())
            if gone:
                terms = segment.repeated()[keep]
                self._segments[number] = _Segment.of(terms, segment.places[keep], segment.counts[keep])
                dropped += gone
        return dropped

    def scores(self, terms: Sequence[int]) -> NDArray[np.float32]:
        """Return the BM25 of every place, (places,); 0 where no term occurs."""
        import numpy as np

        lengths, total = self.catalogue.lengths, len(self.catalogue)
        scores = np.zeros(len(lengths), np.float32)
        if not total or not terms:
            return scores
        average = float(lengths.sum(dtype=np.float64)) / total or 1.0
        norms = (K1 * (1 - B) + (K1 * B / average) * lengths).astype(np.float32)
        for term in terms:
            found = list(self._having(term))
            holding = sum(len(places) for places, _ in found)
            weight = np.float32(np.log1p((total - holding + 0.5) / (holding + 0.5)) * (K1 + 1))
            for places, counts in found:
                scores[places] += weight * counts / (counts + norms[places])
        return scores

    def holding(self, terms: Sequence[int]) -> NDArray[np.bool_]:
        """Return which places hold every one of `terms`, by place."""
        import numpy as np

        every = self.catalogue.alive.copy()
        for term in terms:
            holds = np.zeros(len(every), np.bool_)
            for places, _ in self._having(term):
                holds[places] = True
            every &= holds
        return every

    def _having(self, term: int) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32]]]:
        """Yield the places that hold a term, and how often, segment by segment."""
        import numpy as np

        alive = self.catalogue.alive
        for segment in self._segments:
            found = segment.find(term)
            places = segment.places[found]
            if len(places):
                kept = alive[places]
                yield places[kept], segment.counts[found][kept].astype(np.float32)

    def _merge(self) -> None:
        """Keep the segments few: each at least twice the size of the next, up to a size that takes long to sort."""
        import numpy as np

        while len(self._segments) > 1:
            last, before = self._segments[-1], self._segments[-2]
            if len(before.places) >= 2 * len(last.places) or len(before.places) + len(last.places) > LARGE:
                return
            terms, order = _sorted(np.concatenate([before.repeated(), last.repeated()]))
            places = np.concatenate([before.places, last.places])[order]
            counts = np.concatenate([before.counts, last.counts])[order]
            self._segments[-2:] = [_Segment.of(terms, places, counts)]


def _sorted(terms: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return terms of 40 bits, up to `MOST_SORTED` of them, in ascending order, and where each was."""
    import numpy as np

    # Sorting numbers that hold their place takes a tenth of the time of sorting places by number.
    keys = terms << np.uint64(PLACE_BITS) | np.arange(len(terms), dtype=np.uint64)
    keys.sort(kind="stable")  # much of it is sorted already
    return keys >> np.uint64(PLACE_BITS), keys & np.uint64(MOST_SORTED)


@dataclass(frozen=True, slots=True)
class _Segment:
    """The postings of some records, by term."""

    terms: NDArray[np.uint64]
    """(n,), ascending: the upper 40 of their 56 bits, which no two words of a life share."""
    starts: NDArray[np.int64]
    """(n + 1,): the postings of term i are those from starts[i] to starts[i + 1]."""
    places: NDArray[np.int32]
    counts: NDArray[np.uint8]

    @classmethod
    def of(cls, terms: NDArray[np.uint64], places: NDArray[np.int32], counts: NDArray[np.uint8]) -> _Segment:
        """Return the segment of postings that are sorted by term."""
        import numpy as np

        first = np.ones(len(terms), np.bool_)
        first[1:] = terms[1:] != terms[:-1]
        starts = np.append(np.flatnonzero(first), len(terms))
        return cls(terms[first], starts, places, counts)

    def repeated(self) -> NDArray[np.uint64]:
        """Return the term of each posting."""
        import numpy as np

        return np.repeat(self.terms, np.diff(self.starts))

    def find(self, term: int) -> slice:
        """Return where the postings of a term lie."""
        import numpy as np

        term >>= 16
        number = int(np.searchsorted(self.terms, np.uint64(term)))
        if number == len(self.terms) or int(self.terms[number]) != term:
            return slice(0, 0)
        return slice(int(self.starts[number]), int(self.starts[number + 1]))
