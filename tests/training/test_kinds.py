"""A value is said as a person says it, and stands in the call as its schema asks."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from agentkit_tools.calculator import calculate
from training.kinds import Kind, KindError, kind


def draws(of: Kind, count: int = 60) -> list[tuple[str, Any]]:
    """Return what is said and what it means, `count` times; every value fits the schema."""
    rng, check = random.Random(1), Draft202012Validator(dict(of.schema))
    values = [of.draw(rng) for _ in range(count)]
    for value in values:
        check.validate(value.json)
    return [(value.said, value.json) for value in values]


def test_any_tells_no_list_and_takes_its_type_from_the_values() -> None:
    assert kind("any", ["the Nile", "the Po"]).schema == {"type": "string"}
    often = kind("any", {"once": 1, "twice": 2})
    assert often.schema == {"type": "integer"}
    assert set(draws(often)) == {("once", 1), ("twice", 2)}
    with pytest.raises(KindError, match="integer, string"):
        kind("any", {"once": 1, "often": "often"})


def test_a_value_has_no_article_unless_it_is_a_sentence_or_a_title() -> None:
    assert set(draws(kind("any", ["the Nile", "The Roxy"]))) == {
        ("the Nile", "Nile"),
        ("The Roxy", "The Roxy"),
    }
    assert ("the Danube", "Danube") in draws(kind("river"), count=100)
    assert set(draws(kind("clause", ["the sun sets"]))) == {("the sun sets", "the sun sets")}
    assert set(draws(kind("any", {"'the cat'": "the cat"}))) == {("'the cat'", "the cat")}


def test_what_is_quoted_is_meant_without_its_marks() -> None:
    assert set(draws(kind("quoted", ["go on"]))) == {
        ("go on", "go on"),
        ("'go on'", "go on"),
        ('"go on"', "go on"),
    }


def test_an_object_holds_what_its_phrase_says() -> None:
    address = kind(
        "object",
        fields={
            "floor": "int 20 30",
            "city": {"kind": "any", "of": ["Ulm"], "about": "Where"},
            "day": "date",
        },
        said="{city}, floor {floor}[ on {day}]",
    )
    assert address.schema["required"] == ["floor", "city"]
    assert address.schema["properties"]["city"] == {"type": "string", "description": "Where"}
    for said, meant in draws(address):
        assert said.startswith(f"Ulm, floor {meant['floor']}")
        assert ("day" in meant) == (" on " in said)


def test_a_list_may_hold_objects() -> None:
    legs = kind("list 2 2 object", fields={"to": "city", "days": "int 20 90"}, said="{days} days in {to}")
    for said, meant in draws(legs):
        assert said == " and ".join(f"{each['days']} days in {each['to']}" for each in meant)


@pytest.mark.parametrize("said", ["", "{city}", "{city} and {day} and {hour}"])
def test_an_object_says_each_of_its_fields_and_no_more(said: str) -> None:
    with pytest.raises(KindError, match="does not speak of city, day"):
        kind("object", fields={"city": "city", "day": "date"}, said=said)


def test_a_saying_holds_what_it_means_or_else_what_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "made_up.toml").write_text(
        """
        [[saying]]
        said = ["{count} (tickets|seats) at {price}", "{count} times {price}"]
        means = "{count} * {price}"
        slots = { count = "int 20 90", price = { kind = "any", of = { "two fifty" = 2.5 } } }
        [[saying]]
        said = ["my {thing} is green"]
        slots = { thing = { kind = "any", of = ["bike"] } }
        """,
        encoding="utf-8",
    )
    monkeypatch.setattr("training.kinds.SAYINGS", tmp_path)
    seen = draws(kind("saying made_up"))
    assert ("my bike is green", "my bike is green") in seen
    sums = [(said, meant) for said, meant in seen if "two fifty" in said]
    assert sums
    for said, meant in sums:
        assert meant == f"{said.split(' ', 1)[0]} * 2.5"


@pytest.mark.parametrize(
    ("said", "fault"),
    [("{count} seats", "does not give price"), ("{count} at {price} on {day}", "speaks of day")],
)
def test_a_saying_gives_what_it_means_and_no_more(
    said: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = f"""
        [[saying]]
        said = ["{said}"]
        means = "{{count}} * {{price}}"
        slots = {{ count = "int 2 9", price = "money 2 90" }}
        """
    (tmp_path / "wrong.toml").write_text(written, encoding="utf-8")
    monkeypatch.setattr("training.kinds.SAYINGS", tmp_path)
    with pytest.raises(KindError, match=fault):
        kind("saying wrong")


def test_every_sum_can_be_calculated() -> None:
    for said, meant in draws(kind("saying sums"), 2000):
        assert re.search(r"\d", calculate(meant)), said
