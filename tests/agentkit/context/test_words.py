"""Content words and numbers, so that equal things are found equal."""

from __future__ import annotations

import pytest

from agentkit.context.words import alike, numbers, respelt, terms


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Who services the boilers?", "the boiler is serviced"),
        ("Wi-Fi password", "wifi passwords"),
        ("Café Zoë", "cafe zoe"),
        ("Joana's letters", "a letter of Joana\u2019s"),
        ("stopping", "stopped"),
        ("1,180 euros", "1180 euro"),
        ("What I'm allergic to, don't you know?", "allergic"),
    ],
)
def test_the_same_words_in_two_forms(one: str, other: str) -> None:
    assert sorted(terms(one)) == sorted(terms(other))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1,250.00 euros and 12,5 %", ["1250", "12.5"]),
        ("at 07:25 on 6 October", ["7:25", "6"]),
        ("at 7:25, then 00:00", ["7:25", ":00"]),
        ("K2209 and QX7714", []),
        ("call 0555 0190", ["5550190"]),
        ("call 555 0190 or +49 30 1234567", ["5550190", "49301234567"]),
        ("chip 985 141 000 123, 1 250 euros", ["985141000123", "1250"]),
        ("In 2023 12 people came", ["2023", "12"]),
        ("Room 4 12 chairs, 120 2023 years", ["4", "12", "120", "2023"]),
        ("no figures", []),
    ],
)
def test_numbers_have_one_spelling(text: str, found: list[str]) -> None:
    assert numbers(text) == found


@pytest.mark.parametrize(
    ("text", "source", "wanted"),
    [
        ("1800 euros.", "insured for up to 1,800 euros", "1,800 euros."),
        ("at 7:25", "departs 07:25", "at 07:25"),
        ("12.50 and 3", "12.5 euros or 12.50 euros", "12.50 and 3"),
        ("K2209", "k 2209", "K2209"),
        ("", "1", ""),
    ],
)
def test_numbers_are_spelt_as_the_source_spells_them(text: str, source: str, wanted: str) -> None:
    assert respelt(text, source) == wanted


def test_long_words_with_one_root_are_alike_and_short_ones_are_not() -> None:
    assert alike("allergic", "allergy")
    assert not alike("cat", "car")
