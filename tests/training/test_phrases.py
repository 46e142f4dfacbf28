"""A phrase gives every one of its forms and nothing else."""

from __future__ import annotations

import random

import pytest

from training.phrases import Phrase, PhraseError


def forms(text: str) -> set[str]:
    rng = random.Random(1)
    return {Phrase(text).say(rng).fill({"x": "X", "y": "Y"}) for _ in range(300)}


@pytest.mark.parametrize(
    ("text", "all_forms"),
    [
        ("plain", {"plain"}),
        ("(a|b|)c", {"ac", "bc", "c"}),
        ("go[ to {x}]", {"go", "go to X"}),
        ("go[fast? quickly]", {"go", "go quickly"}),
        ("(a (b|c)|d)[ [{x}]{y}]", {"a b", "a c", "d", "a b XY", "a b Y", "a c XY", "a c Y", "d XY", "d Y"}),
        (r"\[{x}\]", {"[X]"}),
    ],
)
def test_all_forms_are_said(text: str, all_forms: set[str]) -> None:
    assert forms(text) == all_forms


def test_what_is_said_of_a_flag_is_what_it_becomes() -> None:
    phrase = Phrase("a room[quiet? away from the street][quiet! to the street]")
    for seed in range(50):
        said = phrase.say(random.Random(seed))
        text = said.fill({})
        assert said.flags.get("quiet") is {True: True}.get(
            "away" in text, False if "to the" in text else None
        )


def test_required_is_what_every_form_has() -> None:
    phrase = Phrase("{a}(| {b})({c}|{c} and {d})[{e}][f? f]")
    assert phrase.required == {"a", "c"}
    assert phrase.mentioned == {"a", "b", "c", "d", "e", "f"}


@pytest.mark.parametrize("text", ["(a|b", "(a)", "[a", "a)", "a]", "{}", "{A b}", "a}"])
def test_a_malformed_phrase_is_refused(text: str) -> None:
    with pytest.raises(PhraseError):
        Phrase(text)
