"""A question on a passage is answered there in so many words, or left open there."""

from __future__ import annotations

import functools
import random
import re
import tomllib

import pytest

from training import profiles
from training.grounded import Asked
from training.phrases import articles
from training.profiles import ask, draw, tell


def words(text: str) -> str:
    return f" {' '.join(re.findall(r'[a-z0-9]+', text.lower()))} "


@functools.cache
def asked(seed: int, count: int) -> tuple[Asked, ...]:
    rng = random.Random(seed)
    return tuple(ask(rng) for _ in range(count))


def test_an_answer_stands_in_the_passage_and_what_is_left_open_does_not() -> None:
    for each in asked(1, 250):
        assert (words(each.answer) in words(each.passage)) is each.is_said, each


def test_no_question_gives_its_answer_away() -> None:
    assert not [each for each in asked(1, 250) if words(each.answer) in words(each.question)]


def test_a_fifth_is_left_open_and_half_is_typed_as_into_a_search_box() -> None:
    each = asked(1, 250)
    assert sum(not one.is_said for one in each) / len(each) == pytest.approx(profiles.LEFT_OPEN, abs=0.08)
    assert sum(not one.question.endswith("?") for one in each) / len(each) == pytest.approx(0.5, abs=0.1)


def test_every_wording_of_a_part_holds_the_answers_to_its_questions() -> None:
    rng = random.Random(1)
    for profile in profiles.profiles():
        values = draw(profile, rng)
        for part in profile.parts:
            for says in part.says:
                sentence = tell(profile, [profiles.Part((says,), ())], values, rng, named=False)
                for _, answer in part.asks:
                    text = articles(answer.say(rng).fill(values))
                    assert words(text) in words(sentence), f"{sentence!r} does not hold {text!r}"
                    assert len(text.split()) <= 12


def test_values_of_one_passage_differ() -> None:
    rng = random.Random(2)
    for profile in profiles.profiles():
        values = [value for name, value in draw(profile, rng).items() if name != "name"]
        assert len({value.lower() for value in values}) == len(values)


def test_a_subject_is_named_before_it_is_called_it() -> None:
    rng = random.Random(3)
    for profile in profiles.profiles():
        values = draw(profile, rng)
        passage = tell(profile, profile.parts, values, rng, named=False)
        assert values["name"].lower() in passage[:150].lower()


def test_a_drawn_word_has_the_right_article() -> None:
    assert not [each for each in asked(1, 250) if re.search(r"\ba [aeio](?!u)", each.passage)]


def test_there_are_many_kinds_of_subjects_each_with_parts_to_leave_out() -> None:
    assert len(profiles.profiles()) >= 28
    for profile in profiles.profiles():
        assert len(profile.parts) >= 7
        assert all(len(part.says) >= 2 and part.asks for part in profile.parts)


def test_a_profile_that_speaks_of_what_it_does_not_draw_is_refused() -> None:
    row = tomllib.loads(
        'name = "{town}"\nshort = ["the town"]\ndraws = { town = "town" }\n'
        'parts = [{ says = ["{it} is old."], asks = { "Who is {mayor}?" = "old" } }]'
    )
    with pytest.raises(ValueError, match="mayor"):
        profiles._read(row)
