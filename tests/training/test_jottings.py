"""A question on a note is answered there in so many words, or left open there."""

from __future__ import annotations

import functools
import random
import re
import tomllib

import pytest

from training import jottings
from training.draws import draw_values, stands_in
from training.grounded import Asked
from training.jottings import ask, write


@functools.cache
def asked(seed: int, count: int) -> tuple[Asked, ...]:
    rng = random.Random(seed)
    return tuple(ask(rng) for _ in range(count))


def test_an_answer_stands_in_the_passage_and_what_is_left_open_does_not() -> None:
    for each in asked(1, 1000):
        assert stands_in(each.answer, each.passage) is each.is_said, each


def test_numbers_of_an_answer_are_spelt_as_in_the_passage() -> None:
    for each in asked(1, 1000):
        for number in re.findall(r"[\d,.:/-]*\d", each.answer if each.is_said else ""):
            assert number in each.passage, each


def test_no_question_gives_its_answer_away() -> None:
    assert not [each for each in asked(1, 1000) if stands_in(each.answer, each.question)]


def test_what_no_line_tells_is_asked_with_no_answer() -> None:
    assert any(not each.answer for each in asked(1, 1000))
    assert all(each.answer for each in asked(1, 1000) if each.is_said)


def test_a_sixth_is_left_open_and_nothing_is_left_undrawn() -> None:
    each = asked(1, 1000)
    assert sum(not one.is_said for one in each) / len(each) == pytest.approx(jottings.LEFT_OPEN, abs=0.05)
    assert not [one for one in each if re.search(r"[{}]|_n\b", one.passage + one.question + one.answer)]


def test_passages_have_the_shapes_of_notes() -> None:
    passages = [each.passage for each in asked(1, 1000)]
    assert sum("\n" not in each for each in passages) > 350
    for mark in (r"^# ", r"^- ", r"^\* ", r"^2\. ", r"^\| ", r"^[\w ]+,[\w ]+,", r"^[\w ]+: "):
        assert sum(bool(re.search(mark, each, re.MULTILINE)) for each in passages) > 20, mark


def test_an_answer_begins_with_a_capital_unless_it_is_a_code() -> None:
    assert not [each for each in asked(1, 1000) if re.match(r"[a-z]+\b(?![-.@])", each.answer)]
    assert all(each.answer.endswith(".") for each in asked(1, 1000) if each.is_said)


def test_every_wording_of_a_line_holds_the_answers_to_its_questions() -> None:
    rng = random.Random(1)
    for jotting in jottings.jottings():
        values = draw_values(jotting.draws, rng)
        for line in jotting.lines:
            said = [phrase.say(rng, share=0).fill(values) for phrase in line.says]
            said += [" | ".join(cell.say(rng).fill(values) for cell in line.row)] if line.row else []
            for _, answer in line.asks:
                least = answer.say(rng, share=0).fill(values)
                assert all(stands_in(least, text) for text in said), f"{said} lack {least!r}"
                assert len(answer.say(rng, share=1).fill(values).split()) <= 12


def test_a_table_keeps_its_head_and_a_list_its_order() -> None:
    rng = random.Random(2)
    jotting = next(each for each in jottings.jottings() if len(each.columns) == 4)
    values = draw_values(jotting.draws, rng)
    lines = jotting.lines[1:4]
    firsts = [values[next(iter(line.row[0].mentioned))] for line in lines]
    for _ in range(30):
        text = write(jotting, lines, values, rng)
        assert [text.lower().index(first.lower()) for first in firsts] == sorted(
            text.lower().index(first.lower()) for first in firsts
        )
        if "| --- |" in text:
            assert " | ".join(jotting.columns) in text


def test_days_of_a_log_follow_one_another() -> None:
    rng = random.Random(3)
    jotting = next(each for each in jottings.jottings() if each.title[0].text == "Garden log")
    drawn = (draw_values(jotting.draws, rng) for _ in range(60))
    days = [
        [value for name, value in values.items() if name.startswith("d_")]
        for values in drawn
        if re.fullmatch(r"\d{4}-\d\d-\d\d", values["d_1"])
    ]
    assert days
    assert all(each == sorted(each) for each in days)


def test_there_are_many_kinds_of_notes_each_with_lines_to_leave_out() -> None:
    assert len(jottings.jottings()) >= 40
    for jotting in jottings.jottings():
        assert 5 <= len(jotting.lines) <= 10
        assert jotting.missing
        assert len(jotting.title) >= 3
        assert all(len(line.says) >= 2 and len(line.asks) >= 2 for line in jotting.lines)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('says = ["Rent: {rent}"], asks = { "Who is {owner}?" = "rent" }', "owner"),
        ('says = ["Rent: {rent}"], row = ["Rent"], asks = { "What do we pay?" = "{rent}" }', "wide"),
    ],
)
def test_a_jotting_that_does_not_fit_together_is_refused(line: str, problem: str) -> None:
    row = tomllib.loads(
        'title = ["Flat"]\ncolumns = ["What", "How much"]\n'
        f'draws = {{ rent = "cash 500 900" }}\nlines = [{{ {line} }}]'
    )
    with pytest.raises(ValueError, match=problem):
        jottings._read(row)
