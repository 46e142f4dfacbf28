# ruff: noqa: RUF001 - DeepSeek writes its markup with letters of its own
"""Calls survive being written and read, and half a call is never a call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.messages import ToolCall, ToolSpec
from agentkit.models.formats.families import FORMATS
from agentkit.models.formats.fitting import Fitting
from agentkit.models.formats.json_call import JsonCall
from agentkit.models.formats.syntax import ParsedCall
from agentkit.models.formats.tool_format import Parsed, ToolFormat

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
MARKS = st.sampled_from(
    ["</parameter>", "\n</parameter>", "\n<\\/parameter>", "<escape>", "<\\escape>", "}", ")", '"', "\\"]
)
STRINGS = st.lists(TEXT | MARKS, max_size=3).map("".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | STRINGS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
CALLS = st.lists(
    st.builds(ToolCall, st.just(""), STRINGS, st.dictionaries(STRINGS, VALUES, max_size=3)), max_size=4
)
EVERY = pytest.mark.parametrize("tool_format", FORMATS.values(), ids=FORMATS)
KINDS = {bool: "boolean", int: "integer", float: "number", str: "string"}


def schema_of(value: Any) -> dict[str, Any]:
    """Return a schema that says of which type a value is, sometimes by listing it."""
    match value:
        case None:
            return {"type": "null"}
        case list():
            return {"type": "array", "items": {"anyOf": [schema_of(each) for each in value]} if value else {}}
        case dict():
            return {
                "type": "object",
                "properties": {key: schema_of(each) for key, each in value.items()},
                "required": list(value),
                "additionalProperties": False,
            }
    if isinstance(value, str) and len(value) % 3 == 1:
        return {"enum": [value, value + "!"]}
    return {"type": KINDS[type(value)]}


def tools_for(calls: Iterable[ToolCall]) -> list[ToolSpec]:
    """Return tools that take what the calls say; of calls of one name, the last one is kept."""
    return [
        ToolSpec(call.name, "", schema_of(call.arguments))
        for call in {each.name: each for each in calls}.values()
    ]


def one_of_each(calls: Iterable[ToolCall]) -> list[ToolCall]:
    """Return the calls without those of a name that comes again."""
    return list({call.name: call for call in calls}.values())


def written(tool_format: ToolFormat, calls: Sequence[ToolCall]) -> tuple[str, Fitting]:
    fitting = Fitting(tool_format, tools_for(calls))
    return tool_format.render_calls([fitting.show(call) for call in calls], fitting.shown), fitting


def meant(parsed: Parsed, fitting: Fitting) -> list[ParsedCall]:
    return [fitting.mean(call) for call in parsed.calls]


def bare(calls: Iterable[ToolCall]) -> list[ParsedCall]:
    return [ParsedCall(call.name, call.arguments) for call in calls]


@EVERY
@settings(max_examples=50, deadline=None)
@given(calls=CALLS.map(one_of_each), text=TEXT)
def test_reading_what_was_written_gives_the_same(
    tool_format: ToolFormat, calls: list[ToolCall], text: str
) -> None:
    markup, fitting = written(tool_format, calls)
    text = "" if tool_format.leading and calls else text
    parsed = tool_format.parse(text + markup, fitting.shown)
    assert (parsed.text, meant(parsed, fitting), parsed.complete) == (text, bare(calls), True)


@EVERY
@settings(max_examples=8, deadline=None)
@given(calls=CALLS.map(one_of_each).filter(bool))
def test_what_breaks_off_is_not_complete(tool_format: ToolFormat, calls: list[ToolCall]) -> None:
    markup, fitting = written(tool_format, calls)
    start = len(tool_format.trigger)
    for cut in range(start, len(markup.rstrip())):
        parsed = tool_format.parse(markup[:cut], fitting.shown)
        # without a mark behind the last call, or with one behind each, those before the cut may stand by themselves
        assert not parsed.complete or len(parsed.calls) < len(calls)
        assert meant(parsed, fitting) == bare(calls)[: len(parsed.calls)]


@pytest.mark.parametrize(
    "tool_format", [each for each in FORMATS.values() if isinstance(each.syntax, JsonCall)]
)
@pytest.mark.parametrize(
    "body",
    [
        '{"name": "f"}',
        '{"name": 1, "arguments": {}}',
        '{"name": "f", "arguments": [1]}',
        "[]",
        '{"name": "f", "arguments": {"x": NaN}}',
        '{"name": "f", "arguments": {}, "more": 1}',
        "[" * 100_000,
    ],
)
def test_what_is_no_call_is_none(tool_format: ToolFormat, body: str) -> None:
    opening = "" if tool_format.leading else tool_format.trigger
    parsed = tool_format.parse(opening + tool_format.opening + body + tool_format.closing)
    assert parsed.calls == ()
    assert not parsed.complete or not parsed.text.find(tool_format.trigger) >= 0


@pytest.mark.parametrize(
    ("name", "markup"),
    [
        ("qwen-coder", "<tool_call>\n<function=f>\n<parameter=a>\n1\n</function>\n</tool_call>"),
        (
            "qwen-coder",
            "<tool_call>\n<function=f>\n<parameter=a>\nx\n</parameter>\n</function>\n</tool_call>",
        ),
        ("qwen-coder", "<tool_call>\n<function=f\n</tool_call>"),
        ("lfm2", "<|tool_call_start|>[f(a=1]<|tool_call_end|>"),
        ("lfm2", "<|tool_call_start|>[f(a=1 b=2)]<|tool_call_end|>"),
        ("lfm2", "<|tool_call_start|>[f(1)]<|tool_call_end|>"),
        ("lfm2", "<|tool_call_start|>[f(a=__import__('os'))]<|tool_call_end|>"),
        ("functiongemma", "<start_function_call>call:f{a:<escape>x}<end_function_call>"),
        ("functiongemma", "<start_function_call>call:f{a:" + "[" * 100_000 + "<end_function_call>"),
        ("functiongemma", "<start_function_call>f{a:1}<end_function_call>"),
        ("mistral-args", "[TOOL_CALLS]f[ARGS][1]"),
        (
            "deepseek-v3.1",
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        ),
        ("harmony", "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"),
    ],
)
def test_half_markup_of_any_family_is_none(name: str, markup: str) -> None:
    parsed = FORMATS[name].parse(markup, [ToolSpec("f", "", {"type": "object", "properties": {"a": {}}})])
    assert (parsed.calls, parsed.complete) == ((), False)


@EVERY
def test_text_behind_the_calls_is_not_part_of_the_format(tool_format: ToolFormat) -> None:
    call = ToolCall("", "f", {})
    markup, fitting = written(tool_format, [call])
    assert tool_format.parse(markup, fitting.shown).complete
    assert not tool_format.parse(markup + " and more", fitting.shown).complete


@pytest.mark.parametrize("name", ["hermes", "generic", "qwen-coder", "bare-list"])
def test_a_tool_is_one_line_with_what_a_model_needs(name: str) -> None:
    parameters = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    block = FORMATS[name].render_tools([ToolSpec("count", "Count {things}.", parameters)])
    line = (
        '{"name": "count", "description": "Count {things}.", '
        '"parameters": {"n": {"type": "integer"}}, "required": ["n"]}'
    )
    assert line in block.splitlines()


@EVERY
def test_a_block_of_tools_names_each_and_says_how_to_call(tool_format: ToolFormat) -> None:
    parameters = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    block = tool_format.render_tools(
        [ToolSpec(name, f"About {name}.", parameters) for name in ("one", "two")]
    )
    assert all(text in block for text in ("one", "two", "About one.", "About two."))
    assert "{tools}" not in block
