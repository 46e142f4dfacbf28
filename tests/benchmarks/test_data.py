"""Fewer questions than there are stand for all of them."""

from __future__ import annotations

import pytest

from benchmarks._data import evenly


@pytest.mark.parametrize(
    ("most", "taken"),
    [
        (None, list(range(10))),
        (0, []),
        (1, [0]),
        (3, [0, 3, 6]),
        (10, list(range(10))),
        (99, list(range(10))),
    ],
)
def test_some_questions_are_taken_from_beginning_to_end(most: int | None, taken: list[int]) -> None:
    assert evenly(range(10), most) == taken


def test_of_nothing_nothing_is_taken() -> None:
    assert evenly([], 5) == []
