"""No invalid call leaves the worker, whatever the grammar let through."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from agentkit.messages import ToolSpec
from agentkit.models.base import Refusal
from agentkit.models.formats.families import FORMATS, SMOLLM2
from agentkit.models.formats.syntax import ParsedCall
from agentkit.models.grammar_for import grammar_for
from agentkit.models.normalise import InvalidError
from agentkit.models.schema_check import check_value
from agentkit.models.validate import MAX_CALLS, check_text, read_calls

PARAMETERS = {
    "type": "object",
    "properties": {"tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True}},
    "required": ["tags"],
    "additionalProperties": False,
}
TOOLS = [ToolSpec("tag", "Tag it.", PARAMETERS)]


def test_valid_calls_are_read_with_ids_of_their_own() -> None:
    markup = SMOLLM2.render_calls([ParsedCall("tag", {"tags": ["a"]})] * 2)
    calls = read_calls(SMOLLM2, markup, TOOLS, b"salt")
    assert isinstance(calls, tuple)
    assert [call.arguments for call in calls] == [{"tags": ["a"]}] * 2
    ids = [call.id for call in calls]
    assert calls == read_calls(SMOLLM2, markup, TOOLS, b"salt")
    other = read_calls(SMOLLM2, markup, TOOLS, b"other")
    assert isinstance(other, tuple)
    others = [call.id for call in other]
    assert len({*ids, *others}) == 4
    assert all(len(each) == 9 and each.isalnum() for each in ids)


def test_half_a_message_has_no_calls() -> None:
    markup = SMOLLM2.render_calls([ParsedCall("tag", {"tags": ["a"]})])
    read = read_calls(SMOLLM2, markup[:-4], TOOLS, b"")
    assert isinstance(read, Refusal)
    assert read.reason == "the call breaks off"


@pytest.mark.parametrize(
    "call",
    [
        ParsedCall("tagg", {"tags": ["a"]}),
        ParsedCall("tag", {"tags": ["secret", "secret"]}),
        ParsedCall("tag", {}),
        ParsedCall("tag", {"tags": ["a"], "more": 1}),
    ],
)
def test_one_invalid_call_spoils_the_message_and_the_reason_quotes_nothing(call: ParsedCall) -> None:
    markup = SMOLLM2.render_calls([ParsedCall("tag", {"tags": ["a"]}), call])
    read = read_calls(SMOLLM2, markup, TOOLS, b"")
    assert isinstance(read, Refusal)
    assert "secret" not in read.reason
    assert [each.arguments for each in read.calls] == [{"tags": ["a"]}, call.arguments]


def test_half_a_character_in_an_argument_is_refused_and_the_call_can_be_shown_again() -> None:
    markup = '<tool_call>[{"name": "tag", "arguments": {"tags": ["a\\ud800", "\\ud83d\\ude00"]}}]</tool_call>'
    read = read_calls(SMOLLM2, markup, TOOLS, b"")
    assert isinstance(read, Refusal)
    assert read.reason == "an argument holds half a character"
    assert [(call.name, call.arguments) for call in read.calls] == [("tag", {"tags": ["a?", "😀"]})]
    assert SMOLLM2.render_calls(read.calls).encode()


@pytest.mark.parametrize("number", ["1e999", "-1e999"])
@pytest.mark.parametrize("name", ["smollm2", "qwen-coder", "functiongemma", "lfm2"])
def test_a_number_too_large_to_be_read_is_refused(name: str, number: str) -> None:
    parameters = {"type": "object", "properties": {"n": {"type": "number"}}, "additionalProperties": False}
    tools = [ToolSpec("tag", "Tag it.", parameters)]
    markup = FORMATS[name].render_calls([ParsedCall("tag", {"n": 7})], tools).replace("7", number)
    read = read_calls(FORMATS[name], markup, tools, b"")
    assert isinstance(read, Refusal)
    assert read.reason == "an argument holds a number too large to be read"
    assert [abs(call.arguments["n"]) for call in read.calls] == [sys.float_info.max]


def test_more_calls_than_anybody_means_are_refused_and_the_first_shown() -> None:
    markup = SMOLLM2.render_calls([ParsedCall("tag", {"tags": ["a"]})] * (MAX_CALLS + 1))
    read = read_calls(SMOLLM2, markup, TOOLS, b"")
    assert isinstance(read, Refusal)
    assert read.reason == f"{MAX_CALLS + 1} calls are more than {MAX_CALLS}"
    assert [call.arguments for call in read.calls] == [{"tags": ["a"]}]


@pytest.mark.parametrize("markup", ["<tool_call>[{", "<tool_call>[{'name': tag}]</tool_call>", "<tool_call>"])
def test_what_cannot_be_read_as_a_call_is_refused_with_none_to_show(markup: str) -> None:
    assert read_calls(SMOLLM2, markup, TOOLS, b"") == Refusal("the call breaks off")


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ('{"tags": []}', True),
        ('{"tags": 1}', False),
        ('{"tags": [', False),
        ('{"tags": []} x', False),
    ],
)
def test_a_text_is_of_its_schema_or_refused(text: str, valid: bool) -> None:
    assert (check_text(text, PARAMETERS) is None) is valid


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[1e999]", "it holds a number too large to be read"),
        ("[NaN]", "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ("[" * 100_000, "it is not JSON, or breaks off"),
    ],
)
def test_what_reads_as_no_number_is_no_value(text: str, reason: str) -> None:
    assert check_text(text, {}) == Refusal(reason)
    with pytest.raises(InvalidError, match=reason):
        grammar_for({}).read(text)


@pytest.mark.parametrize(
    ("step", "value", "fits"),
    [
        (0.01, 19.99, True),
        (0.1, 0.3, True),
        (0.1, 0.35, False),
        (3, 9.0, True),
        (0.123456789, 1e308, False),
        (1e-8, 12391239123, True),
        (2, True, True),
    ],
)
def test_steps_are_counted_as_they_are_written(step: float, value: float, fits: bool) -> None:
    if fits:
        check_value(value, {"multipleOf": step})
    else:
        with pytest.raises(InvalidError, match="multipleOf fails"):
            check_value(value, {"multipleOf": step})


@pytest.mark.parametrize(("step", "value"), [("x", 1), (0, 1), (2, float("inf")), (2, float("nan"))])
def test_a_step_or_number_that_cannot_be_counted_is_no_crash(step: Any, value: float) -> None:
    with pytest.raises(InvalidError):
        check_value(value, {"multipleOf": step})


def test_nothing_is_fetched_for_a_reference() -> None:
    with pytest.raises(InvalidError, match="cannot be used"):
        check_value(1, {"$ref": "https://example.org/schema.json"})
