"""A request for several calls says every value of every call, in whatever form it comes."""

from __future__ import annotations

import random

import pytest

from training.phrases import Phrase
from training.repeats import say_repeated

WEATHER = Phrase("What is the weather in {city} on {day}, in {unit}?")
ROWS = [
    {"city": "Oslo", "day": "Monday", "unit": "kelvin"},
    {"city": "Rome", "day": "Friday", "unit": "kelvin"},
    {"city": "Lima", "day": "Sunday", "unit": "kelvin"},
]


def said(varied: list[str]) -> set[str]:
    rows = [{**ROWS[0], **{name: row[name] for name in varied}} for row in ROWS]
    return {text for text in forms(WEATHER, rows, varied) if text is not None}


def forms(
    phrase: Phrase, rows: list[dict[str, str]], varied: list[str], *, alone: bool = True
) -> set[str | None]:
    asked = phrase.say(random.Random(1))
    return {say_repeated(asked, rows, varied, random.Random(seed), alone=alone) for seed in range(300)}


def test_every_value_is_said() -> None:
    for text in said(["city", "day"]):
        assert all(row[name] in text for row in ROWS for name in ("city", "day")), text
        assert text.count("kelvin") == 1, text


def test_what_changes_is_said_in_several_ways() -> None:
    one = said(["city"])
    assert "What is the weather in Oslo, Rome and Lima on Monday, in kelvin?" in one
    assert "What is the weather in Oslo, in Rome and in Lima on Monday, in kelvin?" in one
    assert "What is the weather in Oslo on Monday, in kelvin? Do the same for Rome and Lima." in one


def test_values_that_belong_together_are_said_together() -> None:
    two = said(["city", "day"])
    assert "What is the weather in Oslo on Monday, in Rome on Friday and in Lima on Sunday, in kelvin?" in two
    assert (
        "What is the weather in Oslo, Rome and Lima on Monday, Friday and Sunday, in kelvin respectively?"
        in two
    )


def test_what_is_left_out_goes_only_with_a_value_that_says_what_it_is() -> None:
    asked = forms(WEATHER, ROWS, ["city"], alone=False)
    assert not [text for text in asked if text and "Do the same" in text]


@pytest.mark.parametrize(
    "phrase",
    [
        "What is the hypotenuse for sides of {a} and {b}?",
        "Multiply {a} * {b}.",
        "Run `{b}` with {a}.",
        "I have {a} kilos. What is that in all, with {a} and {b} more?",
    ],
)
def test_no_list_begins_where_it_would_say_something_else(phrase: str) -> None:
    rows = [{"a": "58", "b": "40"}, {"a": "58", "b": "55"}, {"a": "58", "b": "7"}]
    assert forms(Phrase(phrase), rows, ["b"], alone=False) == {None}


def test_what_is_said_once_for_each_call_lies_within_a_sentence() -> None:
    phrase = Phrase("We fly to {place}. How far is that, in {unit}, as the crow flies?")
    rows = [{"place": "Savannah", "unit": "miles"}, {"place": "Quebec", "unit": "kilometers"}]
    asked = forms(phrase, rows, ["place", "unit"])
    assert None in asked
    assert not [text for text in asked if text and text.count("How far") > 1]
