"""A run that was stopped goes on where it was, and its figures are of what was asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentkit.messages import ToolCall
from agentkit.models.base import Refusal
from agentkit.models.scripted import ScriptedModel
from benchmarks._bfcl import CATEGORIES, NO_CALL, Question
from benchmarks.tool_calling import (
    KEYS,
    Asker,
    Kept,
    Result,
    figures,
    main,
    parser,
    reasons,
    settings_of,
    table,
)

SETTINGS = {"model": "m.gguf", "selection": False}


def result(number: int, way: str = "auto", category: str = "multiple", wrong: str | None = None) -> Result:
    return Result(way, f"{category}_{number}", category, wrong, 1, 10, 0.5)


def test_what_was_finished_is_kept_though_the_last_line_was_cut(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    kept = Kept(file, SETTINGS)
    kept.add(result(1))
    kept.add(result(2, wrong="no call"))
    file.write_text(file.read_text()[:-20])
    again = Kept(file, SETTINGS)
    assert again.results == {("auto", "multiple_1"): result(1)}
    again.add(result(3))
    assert len(Kept(file, SETTINGS).results) == 2


def question(text: str, category: str, *answers: dict[str, Any]) -> Question:
    parameters: dict[str, Any] = {"type": "dict", "properties": {}, "required": []}
    wave = {"name": "wave", "description": "Wave.", "parameters": parameters}
    return Question("1", category, text, [wave], list(answers))


@pytest.mark.parametrize(("category", "refused"), [("simple_python", "refused"), (NO_CALL, None)])
def test_a_right_call_in_a_message_that_breaks_off_is_not_right(category: str, refused: str | None) -> None:
    asked = question("Wave!", category, *([] if category == NO_CALL else [{"wave": {}}]))
    call = ToolCall("1", "wave", {})
    model = ScriptedModel([[call], Refusal("the call breaks off", (call,))])
    asker = Asker(model, None, None, None)
    assert asker.ask(asked, "auto").wrong == (None if asked.answers else "called")
    assert asker.ask(asked, "auto").wrong == refused


def test_a_question_that_names_its_function_has_to_be_a_call_of_it_unless_nothing_is_forced() -> None:
    asked = question("Call the wave function.", "simple_python", {"wave": {}})
    wrong = {}
    for forcing in (True, False):
        asker = Asker(ScriptedModel(["I wave."]), None, None, None, forcing=forcing)
        wrong[forcing] = asker.ask(asked, "auto").wrong
    assert wrong == {True: "EngineError", False: "no call"}  # the script may not speak where it must call


def test_an_agent_is_measured_unless_something_else_is_asked_for_and_results_know_of_which(
    tmp_path: Path,
) -> None:
    model = tmp_path / "m.gguf"
    model.write_bytes(b"GGUF")
    agent = settings_of(parser().parse_args([]), model, model)
    assert (agent["selection"], agent["forced"], agent["votes"]) == (True, True, 4)
    plain = settings_of(parser().parse_args(["--all-tools", "--unforced", "--no-votes"]), model, None)
    assert (plain["selection"], plain["forced"], plain["votes"]) == (False, False, None)
    assert plain["adapter"] != agent["adapter"]
    assert settings_of(parser().parse_args([]), model, None)["votes"] is None
    assert not any(isinstance(value, dict | list) for value in agent.values())


def test_results_of_other_settings_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    Kept(file, SETTINGS)
    with pytest.raises(SystemExit, match="other settings"):
        Kept(file, {**SETTINGS, "selection": True})


def test_the_figures_are_shares_in_percent_and_irrelevance_is_asked_once() -> None:
    kept = Kept(None, SETTINGS)
    for each in (result(1), result(2, wrong="no call"), result(3, category=NO_CALL)):
        kept.add(each)
    found = figures(kept, ["required", "auto"])
    assert found["bfcl_auto_multiple"] == 50.0
    assert found["bfcl_auto_multiple_n"] == 2
    assert found["bfcl_required_irrelevance"] == found["bfcl_auto_irrelevance"] == 100.0
    assert "bfcl_required_multiple" not in found
    assert "50.0" in table(found, ["required", "auto"])


def test_each_category_has_its_share_with_and_without_the_grammar_or_null() -> None:
    assert set(KEYS) == {*CATEGORIES, *(f"{each}_unconstrained" for each in CATEGORIES)}
    kept = Kept(None, SETTINGS)
    for each in (
        result(1),
        result(1, "free", wrong="no call"),
        result(2, "free"),
        result(1, "required", wrong="x"),
    ):
        kept.add(each)
    found = figures(kept, ["required", "auto", "free"])
    assert (found["multiple"], found["multiple_unconstrained"]) == (100.0, 50.0)
    assert {found[key] for key in KEYS if key not in {"multiple", "multiple_unconstrained"}} == {None}


def test_why_answers_were_wrong_is_for_people_and_the_object_is_flat() -> None:
    kept = Kept(None, SETTINGS)
    for number, wrong in enumerate(("no call", "cut off", "no call", None)):
        kept.add(result(number, wrong=wrong))
    assert reasons(kept, ["auto"]) == "wrong, auto, multiple: no call (2), cut off (1)"
    assert all(value is None or isinstance(value, float | int) for value in figures(kept, ["auto"]).values())


def test_without_the_data_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AGENTKIT_DATA", str(tmp_path))
    assert main([]) == 0
    said = capsys.readouterr()
    assert "AGENTKIT_DATA" in said.err
    assert json.loads(said.out) == dict.fromkeys(KEYS)
