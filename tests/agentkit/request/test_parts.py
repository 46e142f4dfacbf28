"""A request for several things comes apart where it leads on, and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.request.parts import MAX_PARTS, is_order, parts

RAIN, TRAIN = "Will it rain in Oslo?", "Book the train to Bergen."


@pytest.mark.parametrize(
    "request_",
    [
        f"{RAIN} {TRAIN}",
        f"1. {RAIN}\n2. {TRAIN}",
        f"Do this for me:\n- {RAIN}\n- {TRAIN}",
        f"{RAIN} Also, {TRAIN}",
        f"{RAIN} After that: {TRAIN}",
        f"{RAIN} I also need this: {TRAIN}",
        f"{RAIN};{TRAIN}",
    ],
)
def test_several_things_come_apart(request_: str) -> None:
    assert parts(request_) == [RAIN, TRAIN]


def test_an_order_of_two_words_counts_where_it_names_something() -> None:
    assert parts("Read boats.txt and send a mail to Ole.") == ["Read boats.txt", "send a mail to Ole."]
    for request in ("Open the door and call me.", "Double 7 and add 93.1.", "Write a.txt:\nFeed the cat."):
        assert parts(request) == [request]


@pytest.mark.parametrize(
    "request_",
    [
        "",
        "Rain?",
        TRAIN,
        "The mass is 3 kg and the volume is 2 liters. What is the density?",
        "I have 40 euros. My friend has 30. How much do we have?",
        "Compare the rivers of Peru, Chile and Brazil.",
        "Is 3.5 more than 2.5?",
    ],
)
def test_one_thing_stays_whole(request_: str) -> None:
    assert parts(request_) == [request_]


def test_what_is_stated_stays_with_what_is_asked() -> None:
    assert parts(f"The mass is 3 kg. What does it weigh on Mars? {TRAIN}") == [
        "The mass is 3 kg. What does it weigh on Mars?",
        TRAIN,
    ]


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        (
            "My bag did not turn up. Report that, please. Also, how far is it to Graz?",
            ["My bag did not turn up. Report that, please.", "how far is it to Graz?"],
        ),
        (
            "Plan a garden of 20 m2; the soil is sandy. Then order 3 bags of lime. That would be great.",
            ["Plan a garden of 20 m2; the soil is sandy.", "order 3 bags of lime. That would be great."],
        ),
        (
            "Convert 5 miles to km and what is the capital of Peru?",
            ["Convert 5 miles to km", "what is the capital of Peru?"],
        ),
        (
            "Our roof leaks at two places. Could you find a roofer? I can pay 900 euros.",
            ["Our roof leaks at two places. Could you find a roofer? I can pay 900 euros."],
        ),
        (
            "Seven boxes weigh 3 kg each. What is that in pounds? Next, add tea to my list and tell me the time.",
            [
                "Seven boxes weigh 3 kg each. What is that in pounds?",
                "add tea to my list",
                "tell me the time.",
            ],
        ),
    ],
)
def test_what_points_back_stays_with_what_is_before_it(request_: str, wanted: list[str]) -> None:
    assert parts(request_) == wanted


@given(st.text(alphabet="aI .?;,-1\n2)é", max_size=200))
def test_every_part_stands_in_the_request_and_they_are_few(request_: str) -> None:
    found = parts(request_)
    assert 1 <= len(found) <= MAX_PARTS
    assert all("".join(part.split()) in "".join(request_.split()) for part in found)


@pytest.mark.parametrize(
    ("request_", "is_one"),
    [
        ("Book a table at Kumo", True),
        ("could you please wake me at six?", True),
        ("Track parcel XK-33", True),
        ("Remember that Ole moved to Bergen", False),
        ("Ole moved to Bergen", False),
        ("Books are dear to me", False),
        ("What is the rent?", False),
        ("", False),
    ],
)
def test_an_order_begins_with_what_is_to_be_done(request_: str, *, is_one: bool) -> None:
    assert is_order(request_) is is_one
