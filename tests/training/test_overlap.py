"""Nothing that a model is judged by is trained on: no question of a benchmark, of the notes or of the demonstration."""

from __future__ import annotations

import functools
import gzip
import itertools
import json
import os
import random
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkit.context.words import terms
from agentkit.demo import run as demo
from agentkit.messages import Role
from training import grounded, jottings, profiles
from training.draws import draw_values
from training.mix import TASKS, tasks, trained_tools
from training.planted import order
from training.tasks import Example

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("AGENTKIT_DATA") or ROOT.parent / "shared" / "data")
BENCHMARKS = ("simple_python", "multiple", "parallel", "parallel_multiple", "irrelevance")
LONG, MIDDLE, SHORT = 9, 7, 5
"""Words in a row that may not be shared: with the public sets; with the rewordings of the demonstration's requests;
with the few questions of our own. Of the last two, only where two of the words say something."""
SETS = ("bfcl", "lost_in_the_middle", "multihop_hipporag", "injecagent")
NEEDS_DATA = pytest.mark.skipif(
    not all((DATA / each).is_dir() for each in SETS),
    reason="the public test data is not here: set AGENTKIT_DATA",
)


def words(text: str) -> tuple[str, ...]:
    """Return the words of a text, numbers left out: they are what is drawn anyway."""
    return tuple(re.findall(r"[a-z]+", text.lower()))


def content(text: str) -> frozenset[str]:
    return frozenset(terms(text))


def runs(text: str, count: int) -> set[tuple[str, ...]]:
    each = words(text)
    return {each[at : at + count] for at in range(len(each) - count + 1)}


@functools.cache
def requests() -> tuple[Example, ...]:
    """Return examples about tools; what is said about a result is asked for like a call."""
    shares = {name: share for name, (_, share) in TASKS.items()}
    return tuple(itertools.islice(tasks(4, trained_tools(), shares), 4000))


@functools.cache
def questions() -> tuple[str, ...]:
    """Return every question on a passage, five times with other values and in another form."""
    rng, made = random.Random(6), list[str]()
    for _ in range(5):
        for fact in grounded.facts():
            values = {name: each.draw(rng).said for name, each in fact.draws.items()}
            made += [
                each.say(rng).fill(values) for each in (*(asked for asked, _ in fact.asks), *fact.missing)
            ]
        for profile in profiles.profiles():
            values = profiles.draw(profile, rng)
            made += [asked.say(rng).fill(values) for part in profile.parts for asked, _ in part.asks]
        for jotting in jottings.jottings():
            values = draw_values(jotting.draws, rng)
            made += [asked.say(rng).fill(values) for line in jotting.lines for asked, _ in line.asks]
            made += [each.say(rng).fill(values) for each in jotting.missing]
            made += [asked.say(rng).fill(values) for asked in jotting.missing]
    return tuple(made)


def ours() -> Iterator[str]:
    """Yield whatever is asked or ordered in the training."""
    for example in requests():
        yield next(message.text for message in example.messages if message.role is Role.USER)
    yield from questions()
    rng = random.Random(7)
    yield from (order(rng) for _ in range(300))


def judged_in_public() -> Iterator[str]:
    """Yield the questions of the public sets."""
    for name in BENCHMARKS:
        for line in (DATA / "bfcl" / f"BFCL_v4_{name}.json").read_text(encoding="utf-8").splitlines():
            yield from (message["content"] for turn in json.loads(line)["question"] for message in turn)
    with gzip.open(DATA / "lost_in_the_middle" / "nq-open-oracle.jsonl.gz", "rt", encoding="utf-8") as lines:
        yield from (json.loads(line)["question"] for line in lines)
    hotpotqa = (DATA / "multihop_hipporag" / "hotpotqa_train.json").read_text(encoding="utf-8")
    yield from (each["question"] for each in json.loads(hotpotqa))
    for name in ("dh", "ds"):
        cases = (DATA / "injecagent" / f"test_cases_{name}_base.json").read_text(encoding="utf-8")
        for case in json.loads(cases):
            yield from (case["User Instruction"], case["Attacker Instruction"])


def reworded() -> Iterator[str]:
    """Yield the rewordings of what the demonstration tells the agent to do."""
    rows = tomllib.loads((ROOT / "benchmarks" / "requests.toml").read_text(encoding="utf-8"))
    yield from itertools.chain.from_iterable(rows.values())


def judged_by_ourselves() -> Iterator[str]:
    """Yield the questions on the notes, and those of the demonstration."""
    rows = tomllib.loads((ROOT / "benchmarks" / "notes.toml").read_text(encoding="utf-8"))["question"]
    yield from (asked for row in rows for asked in row["asks"])
    yield from (demo.QUESTION, demo.PDF_QUESTION, demo.UNKNOWN)


@pytest.mark.slow
@NEEDS_DATA
def test_no_question_of_the_public_sets_is_asked() -> None:
    theirs = list(judged_in_public())
    whole = {words(each) for each in theirs}
    parts = {run for each in theirs for run in runs(each, LONG)}
    assert len(whole) > 3500
    for text in ours():
        assert words(text) not in whole, text
        assert not runs(text, LONG) & parts, text


@pytest.mark.slow
@NEEDS_DATA
def test_no_tool_of_bfcl_or_injecagent_is_shown() -> None:
    schemas, names = set(), set()
    for name in BENCHMARKS:
        for line in (DATA / "bfcl" / f"BFCL_v4_{name}.json").read_text(encoding="utf-8").splitlines():
            for function in json.loads(line)["function"]:
                schemas.add((function["name"], tuple(sorted(function["parameters"]["properties"]))))
    for kit in json.loads((DATA / "injecagent" / "tools.json").read_text(encoding="utf-8")):
        names |= {kit["name_for_model"] + tool["name"] for tool in kit["tools"]}
    assert names
    for example in requests():
        for tool in example.tools:
            assert (tool.name, tuple(sorted(tool.parameters["properties"]))) not in schemas, tool.name
            assert tool.name not in names


@pytest.mark.slow
def test_no_question_on_the_notes_or_of_the_demonstration_is_asked() -> None:
    theirs = list(judged_by_ourselves())
    whole = {content(each) for each in theirs}
    parts = {run for each in theirs for run in runs(each, SHORT) if len(content(" ".join(run))) > 1}
    for text in ours():
        assert content(text) not in whole, text
        assert not runs(text, SHORT) & parts, text


@pytest.mark.slow
def test_no_rewording_of_the_demonstrations_requests_is_asked() -> None:
    theirs = list(reworded())
    whole = {words(each) for each in theirs if len(words(each)) > 3}
    parts = {run for each in theirs for run in runs(each, MIDDLE) if len(content(" ".join(run))) > 1}
    assert len(theirs) == 90
    for text in ours():
        assert words(text) not in whole, text
        assert not runs(text, MIDDLE) & parts, text
