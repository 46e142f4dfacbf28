"""`ask`, `run` and `chat`: what is shown of a turn, what is asked of the person, and how it ends."""

from __future__ import annotations

import io
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentkit.cli.approve import Approver
from agentkit.cli.output import Output
from agentkit.errors import LockedError, WorkerLostError
from agentkit.events import (
    Approval,
    CallRefused,
    CallSettled,
    Ending,
    Event,
    Finished,
    Prompted,
    Recalled,
    TextDelta,
    ToolDenied,
    ToolFinished,
    ToolStarted,
    to_wire,
)
from agentkit.messages import Evidence, ToolCall, Usage

EVIDENCE = Evidence("r1", "/notes/boiler.md", "lines 1-2", "It was serviced\x1b[31m on 3 March.", 0.9)
CALL = ToolCall("c1", "run_python", {"code": "print(1)\nprint('\x1b[2Jx')", "times": 3})
APPROVAL = Approval(CALL, "Run Python code.\nMore words.", ("execute",), "run_python can execute", "document")


def finished(
    text: str,
    ending: Ending = Ending.ANSWERED,
    evidence: tuple[Evidence, ...] = (),
    confidence: str = "medium",
) -> Finished:
    return Finished(text, ending, evidence, Usage(10, 3), confidence, "its words stand in the passages")


def says(*events: Event) -> Any:
    """Return an answer to `run` that emits these events."""

    def answer(request: dict[str, Any], session: Any) -> dict[str, Any]:
        for event in events:
            session.emit(to_wire(event))
        return {"ending": "answered"}

    return answer


def asks(request: dict[str, Any], session: Any) -> dict[str, Any]:
    """Ask whether a call may run, and end with what was said."""
    decision = session.ask({"approval": to_wire(APPROVAL)}).get("decision")
    session.emit(to_wire(ToolStarted(CALL) if decision == "allow" else ToolDenied(CALL, "the user said no")))
    if decision == "allow":
        session.emit(to_wire(ToolFinished(CALL, "1", False, 0.1, "bubblewrap")))
    session.emit(to_wire(finished(f"it was {decision}")))
    return {}


ANSWERED = says(
    Prompted({"question": 10}, 4096, 0, ()),
    Recalled((EVIDENCE,)),
    TextDelta(" On 3"),
    TextDelta(" March."),
    finished("On 3 March.", evidence=(EVIDENCE,)),
)


def test_an_answer_stands_with_its_sources_and_confidence(core: Any, run: Any) -> None:
    core.answers["run"] = ANSWERED
    ended = run("ask", "when", "was", "it?", "--seed", "7", "-m", "other")
    assert ended.code == 0
    assert ended.out == (
        "On 3 March.\n\nsources:\n  /notes/boiler.md, lines 1-2\n    “It was serviced on 3 March.”\n"
        "confidence: medium (its words stand in the passages)\n"
    )
    asked = core.asked_for("run")
    assert (asked["text"], asked["mode"], asked["model"]) == ("when was it?", "ask", "other")
    assert asked["sampling"] == {"seed": 7}


def test_what_an_agent_says_stands_with_what_it_rests_on(core: Any, run: Any) -> None:
    core.answers["run"] = ANSWERED
    assert "sources:\n  /notes/boiler.md" in run("run", "when was it?").out


def test_a_passage_that_the_answer_repeats_is_not_written_twice(core: Any, run: Any) -> None:
    core.answers["run"] = says(finished(f"Your documents say: {EVIDENCE.quote}", evidence=(EVIDENCE,)))
    out = run("ask", "what does it say?").out
    assert out.count("It was serviced on 3 March.") == 1
    assert "sources:\n  /notes/boiler.md, lines 1-2\nconfidence" in out


@pytest.mark.parametrize(("request_", "told"), [("Who won?", True), ("Hello", False)])
def test_a_question_answered_from_nothing_is_marked_and_talk_is_not(
    request_: str, told: bool, core: Any, run: Any
) -> None:
    core.answers["run"] = says(TextDelta("The home team"), finished("The home team", confidence="low"))
    assert ("confidence: low" in run("run", request_).out) is told


def test_every_lever_of_sampling_can_be_typed(core: Any, run: Any) -> None:
    core.answers["run"] = ANSWERED
    levers = ("top_p=0.9", "top_k=40", "reproducible=true")
    assert run("ask", "when?", *(word for lever in levers for word in ("--lever", lever))).code == 0
    assert core.asked_for("run")["sampling"] == {"top_p": 0.9, "top_k": 40, "reproducible": True}
    for lever, problem in (
        ("warmth=1", "no lever with a value"),
        ("top_p", "no lever with a value"),
        ("top_k=many", "takes a number, not 'many'"),
        ("reproducible=1", "takes true or false"),
        ("alternatives=5", "no verb shows them"),
    ):
        ended = run("ask", "when?", "--lever", lever)
        assert ended.code == 2
        assert problem in ended.err


def test_an_answer_in_json_is_one_document(core: Any, run: Any) -> None:
    core.answers["run"] = ANSWERED
    said = json.loads(run("ask", "when?", "--json").out)
    assert {
        "request",
        "answer",
        "ending",
        "evidence",
        "confidence",
        "confidence_reason",
        "usage",
        "calls",
    } <= said.keys()
    assert said["answer"] == "On 3 March."
    assert said["evidence"][0]["place"] == "lines 1-2"


@pytest.mark.parametrize("said", ["", "That is not in your documents."])
def test_what_is_not_there_is_said_once_and_is_a_success(said: str, core: Any, run: Any) -> None:
    core.answers["run"] = says(finished(said, Ending.NOT_FOUND))
    ended = run("ask", "who?")
    assert ended.code == 0
    assert ended.out.lower().count("not in your documents") == 1
    assert json.loads(run("ask", "who?", "--json").out)["ending"] == "not_found"


def test_the_last_word_counts_where_it_differs_from_what_was_streamed(core: Any, run: Any) -> None:
    core.answers["run"] = says(TextDelta("perhaps"), finished("certainly"))
    assert run("ask", "x").out.startswith("perhaps\ncertainly\n")


def test_the_question_may_come_from_standard_input(core: Any, run: Any) -> None:
    core.answers["run"] = ANSWERED
    run("ask", "-", stdin="line one\nline two\n")
    assert core.asked_for("run")["text"] == "line one\nline two\n"
    assert run("ask", "-", stdin="x" * 200_001).code == 2


@pytest.mark.parametrize("ending", [each for each in Ending if each.value.endswith(("limit", "call"))])
def test_a_limit_is_code_7_and_said(ending: Ending, core: Any, run: Any) -> None:
    core.answers["run"] = says(finished("", ending))
    ended = run("run", "x")
    assert ended.code == 7
    assert "(stopped: " in ended.err


def test_a_lost_worker_is_one_line(core: Any, run: Any) -> None:
    def lost(request: dict[str, Any], session: Any) -> dict[str, Any]:
        session.emit(to_wire(TextDelta("I was say")))
        raise WorkerLostError("the engine worker was killed", hint="try again")

    core.answers["run"] = lost
    ended = run("run", "x")
    assert (ended.code, ended.out) == (1, "I was say\n")
    assert ended.err == "agentkit: error: the engine worker was killed\nagentkit: hint: try again\n"


def test_calls_are_shown_as_they_happen_with_their_arguments(core: Any, run: Any) -> None:
    call = ToolCall("c1", "calculator", {"expression": "6*7"})
    core.answers["run"] = says(
        ToolStarted(call),
        ToolFinished(call, "42", False, 0.01, "core"),
        ToolDenied(CALL, "no"),
        finished("42"),
    )
    ended = run("run", "what is 6*7?", "--yes", "-c", "sums")
    assert ended.out == "42\n"
    assert 'calculator {"expression": "6*7"}' in ended.err
    assert "gave: 42  (core, 0.01 s)" in ended.err
    assert "run_python did not run: no" in ended.err
    asked = core.asked_for("run")
    assert (asked["mode"], asked["yes"], asked["conversation"]) == ("agent", True, "sums")
    calls = json.loads(run("run", "x", "--json").out)["calls"]
    assert calls[0] | {"id": ""} == {
        "id": "", "name": "calculator", "arguments": {"expression": "6*7"}, "text": "42", "is_error": False,
        "seconds": 0.01, "where": "core",
    }  # fmt: skip
    assert calls[1]["reason"] == "no"


def test_without_a_person_a_question_is_answered_with_no(core: Any, run: Any) -> None:
    core.answers["run"] = asks
    ended = run("run", "x", stdin="y\n")
    assert ended.out == "it was nobody\n"
    assert "there is nobody to ask" in ended.err


def test_a_question_is_no_json_document_of_its_own_where_there_is_to_be_one(core: Any, run: Any) -> None:
    core.answers["run"] = asks
    assert json.loads(run("run", "x", "--json").out)["answer"] == "it was nobody"
    lines = [json.loads(line) for line in run("chat", "--json", stdin="x\n").out.splitlines()]
    assert any(line.get("call", {}).get("name") == "run_python" for line in lines)


@pytest.mark.parametrize(
    ("typed", "decision"),
    [("y", "allow"), ("YES\n", "allow"), ("", "deny"), ("n", "deny"), ("yess", "deny"), ("ja", "deny")],
)
def test_only_yes_is_yes(typed: str, decision: str) -> None:
    shown = io.StringIO()
    approve = Approver(Output(stdout=io.StringIO(), stderr=shown), ask=lambda question: typed)
    assert approve({"approval": to_wire(APPROVAL)}) == {"decision": decision}
    said = shown.getvalue()
    assert "run_python wants to run" in said
    assert "  | code = print(1)\n  | print('\\x1b[2Jx')\n  | times = 3\n" in said  # exact, and nothing acts
    assert "it can: execute" in said
    assert "documents: somebody else may have written this" in said
    assert "asked because: run_python can execute" in said


def test_chat_takes_a_line_a_turn_and_keeps_one_conversation(core: Any, run: Any) -> None:
    core.answers["run"] = ANSWERED
    core.answers["forget_conversation"] = {}
    core.answers["tools"] = {
        "tools": [{"name": "calculator", "decision": "allow", "description": "Compute."}]
    }
    ended = run(
        "chat",
        "-c",
        "work",
        stdin="hello\n\n/help\n/tools\n/sources\n/nonsense\nagain\n/forget\n/bye\nnever\n",
    )
    assert ended.code == 0
    turns = [each for each in core.asked if each["op"] == "run"]
    assert [(each["text"], each["conversation"], each["mode"]) for each in turns] == [
        ("hello", "work", "agent"),
        ("again", "work", "agent"),
    ]
    assert ended.out.count("On 3 March.") == 2
    assert "/notes/boiler.md, lines 1-2" in ended.out
    assert "calculator" in ended.err
    assert "there is no command /nonsense" in ended.err
    assert core.asked_for("forget_conversation")["id"] == "work"


def test_a_chat_at_its_prompt_opens_the_vault_again_that_was_locked_meanwhile(core: Any, run: Any) -> None:
    def answer(request: dict[str, Any], session: Any) -> dict[str, Any]:
        if core.vault == "locked":
            raise LockedError("the vault is locked", hint="agentkit unlock")
        core.vault = "locked"  # by the time of the next
        said: dict[str, Any] = ANSWERED(request, session) if "text" in request else {}
        return said

    core.keyring = True
    core.answers["run"] = core.answers["forget_conversation"] = answer
    ended = run("chat", "-c", "t", stdin="hello\nagain\n/forget\n")
    assert ended.code == 0
    assert ended.out.count("On 3 March.") == 2
    assert ended.err.count("the vault was locked") == 2
    assert "forgot the conversation t" in ended.err


def test_a_chat_whose_vault_was_locked_and_that_can_ask_nobody_ends(core: Any, run: Any) -> None:
    def locked(request: dict[str, Any], session: Any) -> dict[str, Any]:
        core.vault = "locked"
        raise LockedError("the vault is locked", hint="agentkit unlock")

    core.answers["run"] = locked
    assert run("chat", stdin="hello\n").code == LockedError.exit_code


def test_a_chat_without_a_name_gets_one_and_says_it(core: Any, run: Any) -> None:
    core.answers["run"] = ANSWERED
    ended = run("chat", "--no-tools", stdin="hello\n")
    name = core.asked_for("run")["conversation"]
    assert f"agentkit chat -c {name}" in ended.err
    assert core.asked_for("run")["mode"] == "chat"


def test_chat_json_is_a_line_for_each_event(core: Any, run: Any) -> None:
    core.answers["run"] = ANSWERED
    lines = [json.loads(line) for line in run("chat", "--json", stdin="hello\n").out.splitlines()]
    assert [each["type"] for each in lines] == ["Prompted", "Recalled", "TextDelta", "TextDelta", "Finished"]


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_on_a_terminal_ctrl_c_stops_the_turn_ctrl_d_ends_and_no_history_is_written(
    core: Any, terminal: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = threading.Event()

    def answer(request: dict[str, Any], session: Any) -> dict[str, Any]:
        if request["text"] != "the long one":
            return dict(ANSWERED(request, session))
        session.emit(to_wire(TextDelta("and so on")))
        try:
            session.wait(30)
        finally:
            stopped.set()
        return {}

    core.answers["run"] = answer
    monkeypatch.setenv("HOME", str(tmp_path))
    chat = terminal("chat", "-c", "t")
    chat.wait_for(">")
    chat.type("the long one\r")
    chat.wait_for("and so on")
    chat.type("\x03")
    chat.wait_for("(stopped)")
    chat.wait_for(">")
    assert stopped.wait(10)
    chat.type("my secret question\r")
    chat.wait_for("3 March.")
    chat.wait_for(">")
    chat.type("\x04")
    assert chat.end() == 0
    assert core.asked_for("run")["text"] == "my secret question"
    readable = [path for path in tmp_path.rglob("*") if path.is_file() and b"my secret" in path.read_bytes()]
    assert readable == []


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize(("typed", "decision"), [("y\r", "allow"), ("\r", "deny")])
def test_on_a_terminal_a_person_is_asked(typed: str, decision: str, core: Any, terminal: Any) -> None:
    core.answers["run"] = asks
    run = terminal("run", "x")
    run.wait_for("allow this once? [y/N]")
    run.type(typed)
    run.wait_for(f"it was {decision}")
    assert run.end() == 0


def test_with_a_schema_the_output_is_one_value_and_the_choice_of_tools_crosses(
    core: Any, run: Any, tmp_path: Path
) -> None:
    schema = tmp_path / "place.json"
    schema.write_text('{"type": "object", "properties": {"name": {"type": "string"}}}')
    core.answers["run"] = says(
        TextDelta("It is Oslo."), replace(finished("It is Oslo."), output={"name": "Oslo"})
    )
    ended = run(
        "run", "which", "city?", "--schema", str(schema), "--tool-choice", "calculator", "--votes", "4"
    )
    assert ended.code == 0
    assert json.loads(ended.out) == {"name": "Oslo"}
    asked = core.asked_for("run")
    assert asked["form"] == json.loads(schema.read_text())
    assert asked["votes"] == 4
    assert asked["tool_choice"] == {"name": "calculator"}
    whole = json.loads(run("run", "which?", "--schema", str(schema), "--json").out)
    assert (whole["answer"], whole["output"]) == ("It is Oslo.", {"name": "Oslo"})


@pytest.mark.parametrize("text", ["", "no json", "[1]"])
def test_a_file_without_a_schema_is_told_in_two_lines(core: Any, run: Any, tmp_path: Path, text: str) -> None:
    schema = tmp_path / "place.json"
    schema.write_text(text)
    ended = run("run", "which?", "--schema", str(schema))
    assert ended.code == 2
    assert ended.err.startswith("agentkit: error: place.json ")


def test_a_call_that_cannot_be_made_is_shown_with_the_reason(core: Any, run: Any) -> None:
    core.answers["run"] = says(CallRefused((CALL,), "maximum fails at $.times", True), finished("It is 1."))
    ended = run("run", "x")
    assert "run_python cannot be called so: maximum fails at $.times; it is told so" in ended.err


def test_what_was_left_out_of_a_call_is_named_and_nothing_else_of_its_choice(core: Any, run: Any) -> None:
    settled = CallSettled(5, ("run_python.seconds",)), CallSettled(5, ())
    core.answers["run"] = says(*settled, finished("It is 1."))
    ended = run("run", "x")
    assert ended.err.splitlines() == ["  left out, as nobody spoke of it: run_python.seconds"]
