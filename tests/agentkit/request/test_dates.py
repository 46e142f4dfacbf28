"""Days named in words become days in the calendar."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.request.dates import dates, spell

FRIDAY = date(2026, 11, 20)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The plumber comes tomorrow.", ["2026-11-21"]),
        ("not tomorrow but the day after tomorrow", ["2026-11-21", "2026-11-22"]),
        ("the day before yesterday", ["2026-11-18"]),
        ("Last night, and again TODAY", ["2026-11-19", "2026-11-20"]),
        ("I saw him on Monday", ["2026-11-16", "2026-11-23"]),  # it may be past or to come: both
        ("by Monday", ["2026-11-23"]),
        ("next Friday", ["2026-11-27"]),
        ("next Sunday", ["2026-11-22", "2026-11-29"]),  # of this week, or the next: both
        ("last Friday", ["2026-11-13"]),
        ("in two weeks", ["2026-12-04"]),
        ("3 days ago", ["2026-11-17"]),
        ("in three months", ["2027-02-20"]),
        ("a year ago", ["2025-11-20"]),
        ("twenty-two days ago, and in sixteen days", ["2026-10-29", "2026-12-06"]),
        ("twenty one days ago", ["2026-10-30"]),
        ("1,000 days ago", ["2024-02-24"]),
        ("2.5 years ago, half a year ago or 10-12 days ago", []),
        ("a hundred days ago, or a hundred and two days ago", []),
        ("for two weeks", []),
        ("3 March", ["2027-03-03"]),
        ("on the 3rd of October", ["2026-10-03"]),
        ("March 3rd, 2025", ["2025-03-03"]),
        ("due 2026-12-24", ["2026-12-24"]),
        ("31 June, 2026-13-01 and 99 May", []),
        ("I may come", []),
    ],
)
def test_a_day_said_on_a_friday(text: str, expected: list[str]) -> None:
    assert [day.isoformat() for day in dates(text, FRIDAY)] == expected


def test_the_last_day_of_a_month_has_one_in_every_month() -> None:
    assert dates("in one month", date(2027, 1, 31)) == [date(2027, 2, 28)]
    assert dates("29 February", date(2027, 12, 1)) == [date(2028, 2, 29)]


def test_a_day_is_spelt_in_the_forms_it_is_asked_for() -> None:
    assert spell(date(2026, 3, 3)) == "2026-03-03 Tuesday 3 March 2026"


@given(st.text(max_size=80), st.dates())
def test_any_text_on_any_day_gives_days(text: str, today: date) -> None:
    for said in (text, f"{text} in 999 years, 999 years ago, 29 February, next Friday"):
        assert all(isinstance(day, date) for day in dates(said, today))
