"""Several requests become one that still says all of them."""

from __future__ import annotations

import random

import pytest

from training.joining import Request, decorated, joined, request
from training.phrases import Phrase


def asked(text: str, **values: str) -> Request:
    said = Phrase(text).say(random.Random(1))
    return request(said, said.fill(values))


@pytest.mark.parametrize(
    ("text", "values", "inside"),
    [
        (
            "{who} wants to sue {whom}.",
            {"who": "Alice Abbott", "whom": "Kumo"},
            "Alice Abbott wants to sue Kumo.",
        ),
        ("Weigh {what}.", {"what": "NaCl"}, "weigh NaCl."),
        ("A bus is late.", {}, "a bus is late."),
        ("I need {what}.", {"what": "rest"}, "I need rest."),
        ("HR told me.", {}, "HR told me."),
    ],
)
def test_what_was_drawn_keeps_its_capital_within_a_sentence(
    text: str, values: dict[str, str], inside: str
) -> None:
    assert asked(text, **values).inside == inside


def test_every_request_is_said_in_every_way_of_joining_them() -> None:
    each = [asked("{a} owes me money", a="Kumo"), asked("Find {a}.", a="Oslo"), asked("Is it {a}?", a="wet")]
    texts = {joined(each, random.Random(seed)).text for seed in range(300)}
    assert len(texts) > 30
    for text in texts:
        assert "Kumo owes me money" in text
        assert "ind Oslo" in text
        assert "s it wet" in text


def test_sentences_that_follow_one_another_have_an_end() -> None:
    each = [asked("Find {a}", a="Oslo"), asked("Find {a}", a="Rome")]
    for seed in range(300):
        text = joined(each, random.Random(seed)).text
        assert "Oslo Find" not in text
        assert "Oslo Also" not in text


def test_what_is_said_before_a_request_lowers_only_what_is_not_drawn() -> None:
    each = asked("{a} owes me money.", a="Kumo")
    assert all("Kumo owes" in decorated(each, random.Random(seed)) for seed in range(100))
