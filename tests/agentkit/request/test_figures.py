"""Numbers are read in digits and in words, and numbers that only stand side by side are not added up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.request.figures import digits, spoken


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("3 eggs and 1,250.50 euros", [3, 1250.5]),
        ("at 7:30 pm, or at 12 a.m.", [30, 19, 0]),
        ("v0 in m/s^2", []),
        ("no number at all", []),
        ("", []),
    ],
)
def test_digits_are_read(text: str, wanted: list[float]) -> None:
    assert digits(text) == wanted


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("twenty five chairs", 25),
        ("a hundred and five pages", 105),
        ("two thousand three hundred", 2300),
        ("two hours and a half", 2.5),
        ("a third of 3/4", 0.75),
        ("1½ litres", 1.5),
        ("2,5 kg", 2.5),
        ("80 kilometres an hour", 1),
        ("at noon", 12),
    ],
)
def test_words_are_read(text: str, number: float) -> None:
    assert number in list(spoken(text))


def test_what_stands_side_by_side_is_not_added_up() -> None:
    assert sorted(spoken("five six seven")) == [5, 6, 7]


def test_a_number_is_there_as_often_as_it_is_said() -> None:
    assert list(spoken("30 and again 30")).count(30) == 2


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    assert all(number >= 0 for number in spoken(text))
