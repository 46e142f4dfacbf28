"""A call never raises and never hangs: whatever a tool does becomes an output a model can read."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from agentkit_tools import (
    Tool,
    Toolbox,
    ToolDefinitionError,
    ToolFailedError,
    ToolInputError,
    ToolOutput,
    tool,
)

SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string", "maxLength": 5}, "count": {"type": "integer"}},
    "required": ["text"],
    "additionalProperties": False,
}
NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}


def box(run: Any, *, parameters: dict[str, Any] = NOTHING, timeout: float = 30.0) -> Toolbox:
    return Toolbox([Tool("it", "x", parameters, run=run, timeout_seconds=timeout)])


def test_tools_are_found_by_name_in_the_order_given() -> None:
    @tool
    def second() -> str:
        """Second."""
        return "2"

    @tool
    def first() -> str:
        """First."""
        return "1"

    toolbox = Toolbox([second, first])
    assert toolbox.names() == ("second", "first")
    assert (len(toolbox), list(toolbox), toolbox.get("first")) == (2, [second, first], first)
    assert toolbox.call("first", {}) == ToolOutput("1")
    with pytest.raises(ToolInputError) as caught:
        toolbox.get("frist")
    assert caught.value.hint == "did you mean first?"
    assert toolbox.call("frist", {}).is_error
    with pytest.raises(ToolDefinitionError, match="two tools named first"):
        Toolbox([first, first])


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "text is missing"),
        ({"text": 1}, "text: should be string"),
        ({"text": "abcdefgh"}, "text: is longer than 5 characters"),
        ({"text": "a", "more": "secret"}, "more is not known"),
    ],
)
def test_arguments_of_a_tool_with_a_bare_schema_are_checked(arguments: dict[str, Any], problem: str) -> None:
    output = box(lambda _: ToolOutput("ran"), parameters=SCHEMA).call("it", arguments)
    assert output.is_error
    assert problem in output.text
    assert "secret" not in output.text
    assert "abcdefgh" not in output.text
    assert (
        box(lambda _: ToolOutput("ran"), parameters=SCHEMA).call("it", {"text": "a", "count": 2}).text
        == "ran"
    )


@pytest.mark.parametrize(("pattern", "fits"), [("^(a+)+$", False), ("^a+b?!$", True), ("^(?=a)", False)])
def test_a_pattern_in_a_bare_schema_cannot_keep_a_call_busy(pattern: str, fits: bool) -> None:
    parameters = {**NOTHING, "properties": {"text": {"type": "string", "pattern": pattern}}}
    started = time.monotonic()
    output = box(lambda _: ToolOutput("ran"), parameters=parameters).call("it", {"text": "a" * 2000 + "!"})
    assert output.is_error is not fits
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    "schema",
    [{"type": "zork"}, {"$ref": "#/nowhere"}, {"pattern": 5}, {"properties": []}, 5],
)
def test_a_schema_nothing_can_be_checked_against_is_an_error_output(schema: Any) -> None:
    output = box(lambda _: ToolOutput("ran"), parameters={**NOTHING, "properties": {"text": schema}}).call(
        "it", {"text": "secret"}
    )
    assert output.is_error
    assert "secret" not in output.text


@pytest.mark.parametrize(
    "failure", [ValueError("no luck"), ToolFailedError("no luck", hint="try"), SystemExit("no luck")]
)
def test_whatever_a_tool_raises_becomes_an_error_output(failure: BaseException) -> None:
    def run(_: Mapping[str, Any]) -> ToolOutput:
        raise failure

    output = box(run).call("it", {})
    assert output.is_error
    assert "no luck" in output.text


def test_a_tool_that_outruns_its_time_is_given_up() -> None:
    stop = threading.Event()

    def run(_: Mapping[str, Any]) -> ToolOutput:
        stop.wait()
        return ToolOutput("late")

    output = box(run, timeout=0.02).call("it", {})
    stop.set()
    assert output.is_error
    assert "no answer in 0.02 s" in output.text


def test_context_variables_reach_the_tool() -> None:
    who = contextvars.ContextVar("who", default="nobody")
    who.set("Ada")
    assert box(lambda _: ToolOutput(who.get())).call("it", {}).text == "Ada"


def test_long_output_is_cut_between_characters_and_says_so() -> None:
    text = box(lambda _: ToolOutput("é" * 40_000)).call("it", {}).text
    kept, _, note = text.rpartition("\n")
    assert kept == "é" * 32_768
    assert note == "[cut: 65536 of 80000 bytes are shown]"


def test_output_cannot_steer_a_terminal() -> None:
    hostile = (
        "a\x1b[31mb\x1b]52;c;aGFjaw==\x07c\x1b]8;;http://x\x1b\\d\x9b2Je\x07\r\bf\u202eg\tok\n\x1bc\ud800"
    )
    text = box(lambda _: ToolOutput(hostile)).call("it", {}).text
    assert text == "abcd2Jefg\tok\n?"
