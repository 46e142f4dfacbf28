"""The catalogue: what filters ask about each record, in memory, so that a search need not ask the database.

A record has a place, counted from 0, which it keeps while the vault is open; places of deleted records stay empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from agentkit_memory.record import Filter


class Entry(NamedTuple):
    """One record, as filters see it."""

    id: str
    row: int
    """In the database."""
    kind: str
    origin: str
    privacy: str
    source: str
    created: float


class Catalogue:
    """Places, ids and what is asked about them. Not thread-safe."""

    def __init__(self) -> None:
        import numpy as np

        self.ids: list[str] = []
        """By place."""
        self._place: dict[str, int] = {}
        self._names: dict[str, int] = {}
        """Numbers of kinds, origins and privacies."""
        self._sources: dict[str, int] = {}
        columns = [
            ("row", "i8"),
            ("kind", "i4"),
            ("origin", "i4"),
            ("privacy", "i4"),
            ("source", "i4"),
            ("created", "f8"),
        ]
        self._rows = np.zeros(256, np.dtype([*columns, ("length", "f4"), ("alive", "?")]))
        """By place; the first `len(ids)` are in use."""

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, record_id: object) -> bool:
        return record_id in self._place

    def add(self, entries: Sequence[Entry], lengths: NDArray[Any]) -> NDArray[np.int32]:
        """Give each record a place and note how many words it has; return the places."""
        import numpy as np

        first, end = len(self.ids), len(self.ids) + len(entries)
        if end > len(self._rows):
            grown = np.zeros(max(end, 2 * len(self._rows)), self._rows.dtype)
            grown[:first] = self._rows[:first]
            self._rows = grown
        names, sources = self._names, self._sources
        self._rows[first:end] = [
            (
                entry.row,
                names.setdefault(entry.kind, len(names)),
                names.setdefault(entry.origin, len(names)),
                names.setdefault(entry.privacy, len(names)),
                sources.setdefault(entry.source, len(sources)),
                entry.created,
                length,
                True,
            )
            for entry, length in zip(entries, lengths, strict=True)
        ]
        self.ids += [entry.id for entry in entries]
        self._place |= {entry.id: first + number for number, entry in enumerate(entries)}
        return np.arange(first, end, dtype=np.int32)

    def delete(self, ids: Iterable[str]) -> None:
        """Empty the places of records; ids that are not known are passed over."""
        for each in ids:
            place = self._place.pop(each, None)
            if place is not None:
                self.ids[place] = ""
                self._rows[place] = 0

    def rename_source(self, old: str, new: str) -> None:
        """Follow a file that was given another path."""
        number = self._sources.pop(old, None)
        if number is None:
            return
        kept = self._sources.get(new)
        if kept is None:
            self._sources[new] = number
        else:
            column = self._rows["source"]
            column[column == number] = kept

    def places(self, ids: Iterable[str]) -> list[int]:
        """Return the places of the records that are known among `ids`."""
        return [place for place in map(self._place.get, ids) if place is not None]

    def rows(self, places: Sequence[int] | NDArray[Any]) -> list[int]:
        """Return where in the database the records at these places are."""
        rows: list[int] = self._rows["row"][places].tolist()
        return rows

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Which places hold a record, by place."""
        alive: NDArray[np.bool_] = self._rows["alive"][: len(self.ids)]
        return alive

    @property
    def lengths(self) -> NDArray[np.float32]:
        """Words of each record, by place; 0 where there is none."""
        lengths: NDArray[np.float32] = self._rows["length"][: len(self.ids)]
        return lengths

    def matching(self, where: Filter) -> NDArray[np.bool_]:
        """Return which places hold a record that passes `where`, by place."""
        import numpy as np

        rows = self._rows[: len(self.ids)]
        passes = rows["alive"].copy()
        asked = ("kind", where.kinds), ("origin", where.origins), ("privacy", where.privacies)
        for column, wanted in asked:
            if wanted:
                passes &= np.isin(rows[column], [self._names[each] for each in wanted if each in self._names])
        if where.under:
            folder = where.under.rstrip("/") + "/"
            inside = [
                number
                for source, number in self._sources.items()
                if source == where.under or source.startswith(folder)
            ]
            passes &= np.isin(rows["source"], inside)
        if where.source:
            passes &= rows["source"] == self._sources.get(where.source, -1)
        if where.since is not None:
            passes &= rows["created"] >= where.since
        if where.until is not None:
            passes &= rows["created"] < where.until
        return passes
