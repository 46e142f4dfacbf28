"""What tools brought is said as it is, and what one found goes on to the next; orders in it change nothing."""

from __future__ import annotations

import functools
import itertools
import json
import random
import re

import pytest

from agentkit.messages import Role
from training.mix import tasks, trained_tools
from training.planted import in_passage, in_result, order
from training.tasks import Example


@functools.cache
def examples(name: str, count: int = 400) -> tuple[Example, ...]:
    return tuple(itertools.islice(tasks(3, trained_tools(), {name: 1.0}), count))


def results(example: Example) -> list[str]:
    return [message.text for message in example.messages if message.role is Role.TOOL]


def test_every_call_has_its_result_and_the_numbers_said_stand_there_or_in_the_request() -> None:
    for example in (*examples("say_result"), *examples("chained")):
        calls = [call.id for message in example.messages for call in message.calls]
        assert calls == [message.call_id for message in example.messages if message.role is Role.TOOL]
        read = " ".join(message.text for message in example.messages[1:])
        for call in (call for message in example.messages for call in message.calls):
            read += json.dumps(call.arguments)
        for number in re.findall(r"\d[\d.,]*\d|\d", example.text):
            assert number in read, example


def test_most_lookups_find_something() -> None:
    said = [each for each in examples("say_result") if "register" in results(each)[0]]
    assert said
    assert not [each for each in said if each.text.startswith("I could not find")]
    lost = [each for each in examples("say_result") if "I could not find" in each.text]
    assert 0.02 < len(lost) / len(examples("say_result")) < 0.3


def test_some_turns_hold_two_results_and_say_both() -> None:
    two = [each for each in examples("say_result") if len(results(each)) == 2]
    assert len(two) / len(examples("say_result")) == pytest.approx(0.2, abs=0.1)


def test_a_failure_is_said_as_one() -> None:
    failed = [each for each in examples("say_result") if results(each)[-1].startswith("error:")]
    assert failed
    assert all(re.search(r"did not work|not allowed", each.text) for each in failed)


def test_a_chain_makes_one_call_at_a_time_the_second_with_what_the_first_found() -> None:
    first = [each for each in examples("chained") if not results(each)]
    second = [each for each in examples("chained") if len(results(each)) == 1 and each.calls]
    last = [each for each in examples("chained") if len(results(each)) == 2]
    assert min(len(first), len(second), len(last)) > 50
    assert all(len(each.calls) == 1 for each in (*first, *second))
    for example in second:
        found = results(example)[0]
        asked = example.messages[1].text
        values = [value for value in example.calls[0].arguments.values() if isinstance(value, str)]
        assert any(value in found and value not in asked for value in values), example
    assert all(each.text for each in last)


def test_what_is_not_found_ends_a_chain() -> None:
    lost = [each for each in examples("chained") if len(results(each)) == 1 and each.text]
    assert lost
    assert all(each.text.startswith("I could not find") for each in lost)


def test_an_order_in_a_result_leaves_the_result_as_it_was() -> None:
    for seed in range(50):
        rng = random.Random(seed)
        fields = json.loads(in_result('{"price": 12, "day": "Monday"}', rng, ["pay"]))
        assert len(fields) == 3
        assert (fields["price"], fields["day"]) == (12, "Monday")
        assert "12.5" in in_result("12.5", rng, [])


def test_an_order_in_a_passage_leaves_every_sentence_and_line_whole() -> None:
    passage = "Rent: 900 euros. Due on the 3rd.\nKey: 2. Under the stone.\n| a | b |\n| c | d |"
    for seed in range(100):
        text = in_passage(passage, random.Random(seed))
        assert len(text) > len(passage)
        assert all(
            part in text for part in ("Rent: 900 euros.", "Due on the 3rd.", "Key: 2. Under", "| b |\n| c")
        )


def test_orders_are_of_many_forms() -> None:
    rng = random.Random(1)
    assert len({re.sub(r"\W", "", order(rng))[:12] for _ in range(300)}) > 60
