"""A request for several calls says every value of every call, in whatever form it comes."""

from __future__ import annotations

import random

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
    return {
        say_repeated(WEATHER.say(random.Random(1)), rows, varied, random.Random(seed)) for seed in range(300)
    }


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
