"""Rows into batches of about equal work, in an order that depends on nothing but the rows and the seed (pure)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
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
        return max(len(row.tokens) for row in self.rows)

    def padded(self, padding: int = 0) -> list[list[int]]:
        """Return the tokens, (rows, length), with `padding` behind the shorter ones."""
        return [[*row.tokens, *[padding] * (self.length - len(row.tokens))] for row in self.rows]

    def places(self) -> list[tuple[int, int, int]]:
        """Return for each row its number, where its completion begins and where it ends."""
        return [(number, row.begin, len(row.tokens)) for number, row in enumerate(self.rows)]


def batches(rows: Sequence[Row], batch_tokens: int, seed: int) -> Iterator[Batch]:
    """Yield all rows in batches of at most `batch_tokens`, padding included; a longer row comes alone."""
    rng = random.Random(seed)
    for start in range(0, len(rows), WINDOW_ROWS):
        window = sorted(rows[start : start + WINDOW_ROWS], key=lambda row: len(row.tokens))
        made: list[Batch] = []
        held: list[Row] = []
        for row in window:
            if held and len(row.tokens) * (len(held) + 1) > batch_tokens:
                made.append(Batch(tuple(held)))
                held = []
            held.append(row)
        if held:
            made.append(Batch(tuple(held)))
        rng.shuffle(made)
        yield from made
