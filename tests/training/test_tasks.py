"""Every example is one the runtime itself would accept, and none is one it will be judged by."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from agentkit.messages import Role
from training.grounded import facts, tell
from training.mix import PASSAGES, TASKS, groups, held_out_tools, is_held_out, tasks, trained_tools
from training.tasks import Example
from training.tools import catalogue, show

DATA = Path(os.environ.get("AGENTKIT_DATA") or Path(__file__).parents[3] / "shared" / "data")
BENCHMARKS = ("simple_python", "multiple", "parallel", "parallel_multiple", "irrelevance")
WORDS_IN_COMMON = 9


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


def test_what_is_not_a_call_says_something() -> None:
    for example in examples(3, 500):
        assert bool(example.text) != bool(example.calls)
        assert example.messages[-1].role in (Role.USER, Role.TOOL)


def test_every_tool_can_be_shown_and_asked_for() -> None:
    rng = random.Random(1)
    assert len(catalogue()) > 400
    for tool in catalogue():
        spec = show(tool, rng).spec
        Draft202012Validator.check_schema(
            json.loads(json.dumps(spec.parameters).replace('"float"', '"number"'))
        )
        assert spec.name
        assert spec.description


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


def judged_by() -> Iterator[tuple[str, str]]:
    """Yield the questions of the public benchmarks, each with where it is from."""
    for name in BENCHMARKS:
        for line in (DATA / "bfcl" / f"BFCL_v4_{name}.json").read_text(encoding="utf-8").splitlines():
            for turn in json.loads(line)["question"]:
                yield from ((name, message["content"]) for message in turn)


def runs(text: str) -> set[tuple[str, ...]]:
    """Return the runs of words of a text, numbers left out: they are what is drawn anyway."""
    words = re.findall(r"[a-z]+", text.lower())
    return {tuple(words[at : at + WORDS_IN_COMMON]) for at in range(len(words) - WORDS_IN_COMMON + 1)}


@pytest.mark.slow
@pytest.mark.skipif(
    not (DATA / "bfcl").is_dir(), reason="the public test data is not here: set AGENTKIT_DATA"
)
def test_nothing_is_taken_from_the_public_benchmarks() -> None:
    theirs = {run for _, text in judged_by() for run in runs(text)}
    schemas = set()
    for name in BENCHMARKS:
        for line in (DATA / "bfcl" / f"BFCL_v4_{name}.json").read_text(encoding="utf-8").splitlines():
            for function in json.loads(line)["function"]:
                schemas.add((function["name"], tuple(sorted(function["parameters"]["properties"]))))
    for example in examples(4, 4000):
        question = next(message.text for message in example.messages if message.role is Role.USER)
        shared = runs(question) & theirs
        assert not shared, f"{example.task} shares words with a benchmark: {shared}"
        for tool in example.tools:
            assert (tool.name, tuple(sorted(tool.parameters["properties"]))) not in schemas, tool.name
