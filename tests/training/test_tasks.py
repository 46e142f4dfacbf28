"""Every example is one the runtime itself would accept, and follows from what is said in it."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from agentkit.memory_tools import memory_tools
from agentkit.messages import Role
from agentkit_tools.builtin import builtin_tools
from agentkit_tools.sandbox import NoSandbox
from training.grounded import facts, tell
from training.mix import PASSAGES, TASKS, groups, held_out_tools, is_held_out, tasks, trained_tools
from training.tasks import OWN, Example, ask
from training.tools import catalogue, show


def examples(seed: int, count: int) -> list[Example]:
    return list(itertools.islice(tasks(seed, trained_tools()), count))


def test_the_same_seed_gives_the_same_examples() -> None:
    assert examples(5, 50) == examples(5, 50)
    assert examples(5, 50) != examples(6, 50)


def test_every_kind_of_task_comes_as_often_as_it_should() -> None:
    counted = Counter(example.task for example in examples(1, 2000))
    wanted = {name: share for name, (_, share) in (*TASKS.items(), *PASSAGES.items())}
    for name, share in wanted.items():
        assert counted[name] / 2000 == pytest.approx(share / sum(wanted.values()), abs=0.04)


def test_the_examples_of_a_group_begin_alike_and_ask_for_different_things() -> None:
    for group in itertools.islice(groups(4, trained_tools()), 300):
        first = group[0]
        assert all((each.messages[0], each.tools) == (first.messages[0], first.tools) for each in group)
        assert len({example.messages[1].text for example in group}) == len(group)


def test_every_call_is_valid_and_of_a_tool_that_is_shown() -> None:
    for example in examples(2, 1500):
        shown = {tool.name: tool for tool in example.tools}
        assert len(shown) == len(example.tools)
        for call in example.calls:
            schema = json.loads(json.dumps(shown[call.name].parameters).replace('"float"', '"number"'))
            errors = list(Draft202012Validator(schema).iter_errors(call.arguments))
            assert not errors, f"{example.task}: {errors[0].message}"


def test_whatever_a_tool_is_asked_the_call_is_valid() -> None:
    rng = random.Random(8)
    for tool in catalogue():
        for _ in range(12):
            shown = show(tool, rng)
            schema = json.loads(json.dumps(shown.spec.parameters).replace('"float"', '"number"'))
            asked = ask(shown, rng)
            errors = list(Draft202012Validator(schema).iter_errors(asked.call.arguments))
            assert not errors, f"{tool.name}, {asked.text}: {errors[0].message}"


def test_what_is_not_a_call_says_something() -> None:
    for example in examples(3, 500):
        assert bool(example.text) != bool(example.calls)
        assert example.messages[-1].role in (Role.USER, Role.TOOL)


def test_every_tool_can_be_shown_and_asked_for() -> None:
    rng = random.Random(1)
    assert len(catalogue()) > 1200
    for tool in catalogue():
        spec = show(tool, rng).spec
        Draft202012Validator.check_schema(
            json.loads(json.dumps(spec.parameters).replace('"float"', '"number"'))
        )
        assert spec.name
        assert spec.description


def test_no_parameter_is_shown_under_the_name_of_another() -> None:
    rng = random.Random(3)
    for tool in catalogue():
        for _ in range(20):
            shown = show(tool, rng)
            assert len(set(shown.names.values())) == len(shown.names), tool.name


def test_held_out_tools_are_never_trained_on() -> None:
    names = {tool.name for tool in held_out_tools()}
    assert len(names) > 30
    assert not names & {tool.name for tool in trained_tools()}
    assert all(is_held_out(tool) for tool in held_out_tools())


def test_every_fact_tells_what_it_can_be_asked() -> None:
    rng = random.Random(1)
    for fact in facts():
        told = tell(fact, rng)
        for question, answer in fact.asks:
            words = answer.say(rng)
            assert question.say(rng).fill(told.values)
            for slot in words.slots():
                assert told.values[slot].lower() in told.sentence.lower()


def test_nobody_goes_from_one_place_to_the_same() -> None:
    for example in examples(8, 1500):
        for call in example.calls:
            texts = [value for value in call.arguments.values() if isinstance(value, str)]
            assert len(set(texts)) == len(texts), call


def test_where_nothing_is_needed_the_call_is_made_as_it_is() -> None:
    for example in itertools.islice(tasks(9, trained_tools(), {"needs_nothing": 1.0}), 100):
        (call,) = example.calls
        (tool,) = (each for each in example.tools if each.name == call.name)
        assert not tool.parameters.get("required")


def test_the_tools_to_judge_by_that_need_nothing_are_a_task_of_their_own() -> None:
    ready = {tool.name for tool in held_out_tools(needing_nothing=True) if tool.needs_nothing}
    assert len(ready) >= 8
    assert not ready & {tool.name for tool in held_out_tools()}


def test_held_out_tools_are_asked_for_in_wordings_that_are_kept_back() -> None:
    trained = {ask.text for tool in trained_tools() for ask in tool.asks}
    for tool in held_out_tools():
        assert not {ask.text for ask in tool.asks} & trained
        whole = next(each for each in catalogue() if each.name == tool.name)
        assert tool.asks == (whole.kept or whole.asks)
    assert sum(bool(tool.kept) for tool in held_out_tools()) > 30


def test_what_no_request_speaks_of_is_never_filled_in() -> None:
    rng = random.Random(2)
    shown = [show(tool, rng) for tool in trained_tools() for _ in range(3)]
    more = [each for each in shown if len(each.spec.parameters["properties"]) > len(each.names)]
    assert len(more) / len(shown) == pytest.approx(0.2, abs=0.05)
    for each in more:
        (extra,) = set(each.spec.parameters["properties"]) - set(each.names.values())
        assert extra not in each.spec.parameters["required"]
        assert extra not in each.arguments(dict.fromkeys(each.tool.parameters, 1))


def test_two_three_and_four_calls_are_asked_for() -> None:
    counted = Counter(len(each.calls) for each in examples(9, 2000) if each.task == "several_tools")
    assert set(counted) == {2, 3, 4}
    assert counted[4] / counted.total() > 0.1


def test_the_tools_that_come_with_agentkit_are_trained_on_as_they_are() -> None:
    """As they are shown at run time; another tool that computes is never shown beside the calculator."""
    built_in = [
        *builtin_tools(NoSandbox(), Path(), list, datetime.now),
        *memory_tools(None, None, None, said=""),  # type: ignore[arg-type] # none is called
    ]
    own = {tool.name: tool for tool in trained_tools() if tool.domain == OWN}
    for tool in built_in:
        written = own[tool.name]
        assert tool.description == written.about[0]
        assert list(tool.parameters["properties"]) == list(written.parameters)
        assert set(tool.parameters.get("required", ())) == {
            each.name for each in written.parameters.values() if not each.optional
        }
    formulas = {name for tool in catalogue() if tool.domain == "formulas" for name in (tool.name, *tool.also)}
    shown = [{tool.name for tool in example.tools} for example in examples(8, 1500)]
    assert sum("calculator" in names for names in shown) > 20
    assert not any("calculator" in names and names & formulas for names in shown)
