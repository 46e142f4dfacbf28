"""What holds for every kind of passage that is asked about."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from agentkit import prompt
from training.grounded import Asked
from training.jottings import answer_from_jotting
from training.jottings import ask as ask_jotting
from training.profiles import answer_from_profile
from training.profiles import ask as ask_profile
from training.tasks import Example

KINDS = pytest.mark.parametrize(
    ("ask", "make"), [(ask_profile, answer_from_profile), (ask_jotting, answer_from_jotting)]
)


@KINDS
def test_the_same_seed_gives_the_same_questions(ask: Callable[[random.Random], Asked], make: object) -> None:
    def asked(seed: int) -> list[Asked]:
        rng = random.Random(seed)
        return [ask(rng) for _ in range(20)]

    assert asked(5) == asked(5)
    assert asked(5) != asked(6)


@KINDS
def test_the_example_says_the_answer_or_that_the_text_leaves_it_open(
    ask: Callable[[random.Random], Asked], make: Callable[[random.Random], Example]
) -> None:
    for seed in range(20):
        expected = ask(random.Random(seed))
        example = make(random.Random(seed))
        assert example.text == (expected.answer if expected.is_said else prompt.NOT_SAID)
        assert [message.text for message in example.messages] == [
            prompt.GROUNDED,
            f"Text: {expected.passage}\n\nAnswer from the text: {expected.question}",
        ]
