"""Of tools alike but for a word, those whose word a request says are meant; where it says none, it is asked."""

from __future__ import annotations

from typing import Any

import pytest

from agentkit import prompt
from agentkit.calling.selection import Selection
from agentkit.calling.siblings import families, not_meant
from agentkit.messages import ToolSpec

DEGREES = {"type": "object", "properties": {"degrees": {"type": "number"}}, "required": ["degrees"]}
ROOMS = ("attic", "hall", "living_room", "sauna", "studio", "study")


def described(name: str, description: str, parameters: dict[str, Any] = DEGREES) -> ToolSpec:
    return ToolSpec(name, description, parameters)


HEATING = [
    described(f"set_{room.replace('_', '')}_heating", f"Set the heating in the {room.replace('_', ' ')}.")
    for room in ROOMS
]


@pytest.mark.parametrize(
    ("request_", "meant"),
    [
        ("Set the heating in the study to 21", {"study"}),
        ("Workshop is fine, the studios want 19", {"studio"}),
        ("Heat the hall and the sauna to 22", {"hall", "sauna"}),
        ("Put the living room at 20", {"livingroom"}),
        ("Set the heating to 20", {"attic", "hall", "livingroom", "sauna", "studio", "study"}),
        ("", {"attic", "hall", "livingroom", "sauna", "studio", "study"}),
    ],
)
def test_who_says_one_does_not_mean_the_others(request_: str, meant: set[str]) -> None:
    hidden = not_meant(request_, families(HEATING))
    assert {tool.name for tool in HEATING} - hidden == {f"set_{room}_heating" for room in meant}


@pytest.mark.parametrize(
    ("request_", "meant"),
    [
        ("Let pump 2 run for 5 minutes", {"2"}),
        ("Start pumps 1 and 3", {"1", "3"}),
        ("Run the second pump, number 4, for 3 minutes", {"3", "4"}),
    ],
)
def test_a_number_after_the_name_counts_and_not_the_one_of_minutes(request_: str, meant: set[str]) -> None:
    pumps = [described(f"start_pump_{n}", f"Start pump {n}.") for n in range(1, 7)]
    assert {tool.name for tool in pumps} - not_meant(request_, families(pumps)) == {
        f"start_pump_{n}" for n in meant
    }


@pytest.mark.parametrize(
    "tools",
    [
        [described(f"{verb}_task", f"{verb.capitalize()} a task.") for verb in ("add", "delete", "list")],
        HEATING[:2],
        [
            described("get_song", "Look up when a song came out and who wrote the words."),
            described("get_artist", "Tell where somebody who sings was born."),
            described("get_album", "List what is on a record, in order."),
        ],
        [
            described("get_hall", "Get the hall.", {"type": "object", "properties": {"a": {}}}),
            described("get_attic", "Get the attic.", {"type": "object", "properties": {"b": {}}}),
            described("get_study", "Get the study."),
        ],
        [described("", ""), described("__", ""), described("x", "")],
    ],
    ids=["another verb", "two", "other descriptions", "other parameters", "no names"],
)
def test_other_tools_are_no_family(tools: list[ToolSpec]) -> None:
    assert families(tools) == []


def test_an_article_tells_no_tools_apart() -> None:
    tools = [
        described(f"fetch_{it}", f"Fetch {a} {it}.")
        for a, it in (("an", "apple"), ("a", "pear"), ("a", "plum"))
    ]
    assert not_meant("Fetch me a snack", families(tools)) == set()
    assert not_meant("Fetch me a pear", families(tools)) == {"fetch_apple", "fetch_plum"}


def test_only_those_that_are_meant_are_shown_and_what_is_not_said_is_told() -> None:
    selection = Selection(limit=6)
    chosen = selection.choose("Set the heating in the study to 21", HEATING)
    assert [tool.name for tool in chosen.tools] == ["set_study_heating"]
    assert not chosen.undecided
    chosen = selection.choose("Set the heating to 20", HEATING)
    assert set(chosen.undecided) == {tool.name for tool in HEATING}
    assert chosen.undecided["set_hall_heating"] == ("attic", "hall", "livingroom", "sauna", "studio", "study")


def test_what_is_pinned_stays() -> None:
    chosen = Selection(pins=["set_hall_heating"]).choose("Set the heating in the study to 21", HEATING)
    assert [tool.name for tool in chosen.tools] == ["set_hall_heating", "set_study_heating"]


def test_of_many_words_a_few_are_named() -> None:
    assert prompt.which_of(("a", "b")) == "which one (a, b)"
    assert prompt.which_of([*"abcdefgh"]) == "which of 8 (a, b, c, d, e, f, ...)"
