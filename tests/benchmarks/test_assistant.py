"""An answer, a source and an absence count only where they are right; figures carry the way they came about."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentkit import prompt
from agentkit.answering.answer import NOT_FOUND
from agentkit.calling.votes import Votes
from agentkit.messages import Message, ToolCall, ToolSpec
from agentkit.models.scripted import Script, ScriptedModel
from agentkit_memory import HashEmbedder
from benchmarks import assistant
from benchmarks._passages import Asked
from benchmarks.assistant import Parts, from_passage, is_absent, measure, mixed, own, table
from training.tasks import Example

RENT = Asked("1", "How much is the monthly rent?", "Lease", "The monthly rent is 1,180 euros.", ("1,180",))
PETS = Asked("2", "Are dogs allowed?", "House rules", "Small dogs are allowed in the yard.", ("Small dogs",))
KEY = Asked("3", "Who has the key?", "Keys", "Olga Marchetti has the key of the shed.", ("Olga Marchetti",))
COPY = Asked("4", RENT.question, "Copy of the lease", RENT.passage, RENT.answers)
SAID = "The monthly rent is 1,180 euros."


def parts(*script: Script) -> Parts:
    return Parts(ScriptedModel(script), None, Votes())


@pytest.mark.parametrize(
    ("said", "absent"),
    [
        (NOT_FOUND, True),
        (f" {prompt.NOT_SAID}\n", True),
        ("", False),
        (" ", False),
        ("I do not know.", False),
    ],
)
def test_only_who_says_that_it_is_not_there_has_said_so(said: str, absent: bool) -> None:
    assert is_absent(said) is absent


@pytest.mark.parametrize("way", ["bare", "rules"])
def test_an_answer_from_a_passage_is_the_models_own_where_it_is_borne_out(way: str) -> None:
    assert from_passage(parts(SAID), RENT.question, RENT, way) == SAID


def test_with_the_rules_what_a_passage_does_not_hold_is_not_there() -> None:
    assert is_absent(from_passage(parts(), RENT.question, KEY, "rules"))
    assert from_passage(parts("It is 5 euros."), RENT.question, KEY, "bare") == "It is 5 euros."


def test_among_several_passages_the_source_has_to_be_the_right_one() -> None:
    assert assistant._among(parts(SAID), RENT, [PETS, RENT, KEY], "rules")
    assert not assistant._among(parts("It is 9,999 euros."), KEY, [PETS, RENT], "rules")
    assert not assistant._among(parts(SAID), RENT, [COPY, RENT], "rules")  # it names the copy


def test_the_right_passage_stands_now_first_now_second_now_last_and_no_other_answers() -> None:
    given = list(mixed([RENT, PETS, KEY, COPY]))
    assert [passages.index(each) for each, passages in given] == [0, 1, 2, 0]
    assert [len(passages) for _, passages in given] == [3, 3, 3, 3]
    assert all(COPY not in passages for each, passages in given if each is RENT)
    assert all(RENT not in passages for each, passages in given if each is COPY)


CLOSED = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}
TOOLS = (ToolSpec("wave", "Wave to somebody.", CLOSED), ToolSpec("sing", "Sing a song.", CLOSED))


def example(text: str, *calls: ToolCall) -> Example:
    return Example("one_call", (Message.user(text),), TOOLS, calls=calls)


def wave(to: str) -> ToolCall:
    return ToolCall("c", "wave", {"to": to})


@pytest.mark.parametrize("way", ["bare", "rules"])
def test_the_very_calls_are_right_and_no_others(way: str) -> None:
    wanted = example("Wave to Ann and to Bob.", wave("Ann"), wave("Bob"))
    assert own(parts([wave("Bob"), wave("Ann")]), wanted, way)
    assert not own(parts([wave("Ann")]), wanted, way)
    assert not own(parts("I wave."), wanted, way)
    assert own(parts("Hello."), example("Wave to whom?"), way)


def test_with_the_rules_a_request_that_names_its_tool_has_to_be_a_call_of_it() -> None:
    named = example("Use the wave tool for Ann.", wave("Ann"))
    assert own(parts([wave("Ann")]), named, "rules")
    sung = [ToolCall("c", "sing", {"to": "Ann"})]  # refused as not offered, and so nothing that was called
    assert own(parts(sung), example("Use the wave tool for Ann."), "rules")
    assert not own(parts(sung), example("Use the wave tool for Ann."), "bare")


def test_a_model_that_never_calls_and_never_answers_is_right_only_where_nothing_is_to_be_called(
    tmp_path: Path,
) -> None:
    found = measure(parts(*["No."] * 200), ["bare"], 4, tmp_path)
    assert {key: value for key, value in found.items() if not key.endswith("_n")} == {
        "own_one_call_bare": 0.0,
        "own_needs_nothing_bare": 0.0,
        "own_same_tool_bare": 0.0,
        "own_several_tools_bare": 0.0,
        "own_no_tool_fits_bare": 100.0,
        "own_something_missing_bare": 100.0,
        "own_look_up_bare": 0.0,
        "own_told_bare": 0.0,
    }
    assert {value for key, value in found.items() if key.endswith("_n")} == {4}


@pytest.mark.slow
def test_with_the_rules_the_notes_are_asked_and_the_demonstrations_requests_are_run(tmp_path: Path) -> None:
    without_talk = Parts(ScriptedModel([""] * 2000), HashEmbedder(64), Votes())
    found = measure(without_talk, ["rules"], 1, tmp_path)
    kinds = ("sum", "remember", "recall")
    assert {f"demo_{kind}_rules": found[f"demo_{kind}_rules_n"] for kind in kinds} == {
        f"demo_{kind}_rules": 30 for kind in kinds
    }
    assert found["demo_sum_rules"] == found["demo_remember_rules"] == 0.0
    assert found["notes_rules"] > 0.0  # where the model says nothing, the sentence is shown
    assert found["notes_rules_n"] > 60
    assert found["notes_demo_rules_n"] == 12
    assert found["notes_absent_rules_n"] == 20


def test_the_table_has_a_line_for_each_figure_and_a_dash_where_a_way_was_not_taken() -> None:
    found = {
        "nq_bare": 10.0,
        "nq_bare_n": 20,
        "nq_rules": 70.5,
        "nq_rules_n": 20,
        "notes_rules": 80.0,
        "notes_rules_n": 9,
    }
    assert [line.split() for line in table(found, ["bare", "rules"]).splitlines()] == [
        ["right,", "%", "bare", "rules", "n"],
        ["nq", "10.0", "70.5", "20"],
        ["notes", "-", "80.0", "9"],
    ]
