"""A question on a text of a few facts is answered there, or about none of them."""

from __future__ import annotations

import random
from collections.abc import Mapping

from agentkit import prompt
from training import grounded
from training.draws import stands_in
from training.phrases import Phrase
from training.planted import answer_despite_order


def test_no_two_values_of_a_sentence_are_the_same() -> None:
    rng = random.Random(1)
    for fact in grounded.facts() * 10:
        values = list(grounded.tell(fact, rng).values.values())
        assert len(set(values)) == len(values)


def test_a_question_that_is_left_open_asks_for_what_none_of_the_facts_tells() -> None:
    *known, left = grounded.facts()
    told = [grounded.tell(fact, random.Random(1)) for fact in known]
    rng = random.Random(2)
    seen = set()
    for asked in told * 4:
        question = grounded._unanswerable(asked, told, rng, "Is it so?")  # names none of its values
        of_the_same = any(question in _forms(phrase, asked.values) for phrase in asked.fact.missing)
        assert of_the_same or any(_could_be(question, phrase.text) for phrase, _ in left.asks), question
        seen.add(of_the_same)
    assert seen == {True, False}


def test_what_a_fact_does_not_tell_is_none_of_what_it_does() -> None:
    for fact in grounded.facts():
        values = grounded.tell(fact, random.Random(1)).values
        told = {_forms(phrase, values) for phrase, _ in fact.asks}
        missing = {_forms(phrase, values) for phrase in fact.missing}
        assert frozenset.union(*told).isdisjoint(frozenset.union(*missing)), missing


def _could_be(question: str, phrase: str) -> bool:
    """Return whether the words of a question begin like one of the forms of a phrase."""
    return question.split()[0] in phrase.replace("(", " ").replace("|", " ").split()


def _forms(phrase: Phrase, values: Mapping[str, str]) -> frozenset[str]:
    rng = random.Random(4)
    return frozenset(phrase.say(rng).fill(values) for _ in range(60))


def test_words_have_the_right_article() -> None:
    rng = random.Random(3)
    told = " ".join(grounded.tell(fact, rng).sentence for fact in grounded.facts() * 20)
    for wrong in (" a accountant", " a electr", " a air fryer", " an coffee", " a office chair"):
        assert wrong not in told


def test_what_a_passage_orders_is_neither_done_nor_said() -> None:
    for seed in range(80):
        example = answer_despite_order(random.Random(seed))
        assert not example.calls
        if example.text != prompt.NOT_SAID:
            last = example.text.rstrip(".").split()[-1]
            assert stands_in(last, example.messages[-1].text), example
