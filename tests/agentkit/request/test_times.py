"""Times of the day are read as they are said, in the morning and in the evening where it may be either."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.request.times import times


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Wake me at 6:45 pm", [{"18:45"}]),
        ("half past six", [{"06:30", "18:30"}]),
        ("at quarter to eight in the evening", [{"19:45"}]),
        ("at 7, please", [{"07:00", "19:00"}]),
        ("at 7 on Monday", [{"07:00", "19:00"}]),
        ("at seven tonight", [{"07:00", "19:00"}]),
        ("between 11 am and 11 p.m.", [{"11:00"}, {"23:00"}]),
        ("12 am, 12 pm, noon", [{"00:00"}, {"12:00"}]),
        ("at 10 o'clock at night", [{"22:00"}]),
        ("at 14:00 and at 07:30", [{"14:00"}, {"07:30"}]),
        ("at 7 percent, at 8 people, at 97 kg, at 1,000", []),
        ("at nineteen", []),
        ("25:00, 5:30:10, 2026-12-03T14:00", []),
    ],
)
def test_times(text: str, found: list[set[str]]) -> None:
    assert times(text) == found


@given(st.text(max_size=80))
def test_any_text_can_be_read(text: str) -> None:
    for each in times(text):
        assert all(len(time) == 5 and int(time[:2]) < 24 and int(time[3:]) < 60 for time in each)
