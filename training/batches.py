"""Rows into batches of about equal work, in an order that depends on nothing but the rows and the seed (pure)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from training.encode import Row

WINDOW_ROWS = 512
"""Rows are sorted by length only among so many neighbours, so that a batch is not all of one kind of task."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that are computed together."""

    rows: tuple[Row, ...]

    @property
    def length(self) -> int:
        """Of the longest row, in tokens."""
        return max(row.length for row in self.rows)

    def tokens(self, padding: int = 0) -> list[list[int]]:
        """Return the tokens, (rows, length), with `padding` behind the shorter ones."""
        return self._padded(lambda row: [row.shared, *(branch.tokens for branch in row.branches)], padding)

    def positions(self) -> list[list[int]]:
        """Return where each token stands in its own example, (rows, length)."""

        def read(row: Row) -> list[Sequence[int]]:
            shared = len(row.shared)
            return [range(shared), *(range(shared, shared + len(each.tokens)) for each in row.branches)]

        return self._padded(read)

    def groups(self) -> list[list[int]]:
        """Return 0 for what a row shares, and the number of the branch for all else, (rows, length)."""

        def read(row: Row) -> list[Sequence[int]]:
            branches = ([number] * len(each.tokens) for number, each in enumerate(row.branches, 1))
            return [[0] * len(row.shared), *branches]

        return self._padded(read, -1)

    def places(self) -> list[tuple[int, int, int]]:
        """Return for each example the number of its row, where its completion begins and where it ends."""
        found = []
        for number, row in enumerate(self.rows):
            start = len(row.shared)
            for branch in row.branches:
                found.append((number, start + branch.begin, start + len(branch.tokens)))
                start += len(branch.tokens)
        return found

    def _padded(self, read: Callable[[Row], Sequence[Sequence[int]]], padding: int = 0) -> list[list[int]]:
        lines = [list(itertools.chain.from_iterable(read(row))) for row in self.rows]
        return [line + [padding] * (self.length - len(line)) for line in lines]


def batches(rows: Sequence[Row], batch_tokens: int, seed: int) -> Iterator[Batch]:
    """Yield all rows in batches of at most `batch_tokens`, padding included; a longer row comes alone."""
    rng = random.Random(seed)
    for start in range(0, len(rows), WINDOW_ROWS):
        window = sorted(rows[start : start + WINDOW_ROWS], key=lambda row: row.length)
        made: list[Batch] = []
        held: list[Row] = []
        for row in window:
            if held and row.length * (len(held) + 1) > batch_tokens:
                made.append(Batch(tuple(held)))
                held = []
            held.append(row)
        if held:
            made.append(Batch(tuple(held)))
        rng.shuffle(made)
        yield from made
