# ruff: noqa: RUF001 - DeepSeek writes its markup with letters of its own
"""Calls survive being written and read, and half a call is never a call."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.messages import ToolCall, ToolSpec
from agentkit.models.formats import choose
from agentkit.models.formats.families import FORMATS
from agentkit.models.formats.fitting import Fitting
from agentkit.models.formats.json_call import JsonCall
from agentkit.models.formats.syntax import ParsedCall
from agentkit.models.formats.tool_format import Parsed, ToolFormat

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PLAIN_MARKS = (
    "\n</parameter>",
    "\n<\\/parameter>",
    "<\\escape>",
    "}",
    ")",
    '"',
    "\\",
    "{",
    "[",
    "]",
    ", ",
    ">\n",
    "'",
)
EVERY = pytest.mark.parametrize("tool_format", FORMATS.values(), ids=FORMATS)
KINDS = {bool: "boolean", int: "integer", float: "number", str: "string"}


def marks_of(tool_format: ToolFormat) -> list[str]:
    """Return all that means something in a family's markup, whole and without the white space around it."""
    fixed = (
        tool_format.trigger,
        tool_format.opening,
        tool_format.between,
        tool_format.closing,
        *tool_format.stop,
    )
    results = (tool_format.result_opening, tool_format.result_closing, tool_format.template_trigger or "")
    envelope = tool_format.envelope.marks if tool_format.envelope else ()
    every = (*fixed, *results, *envelope, *tool_format.syntax.marks, *PLAIN_MARKS)
    return sorted({each for mark in every for each in (mark, mark.strip()) if each})


def texts_of(tool_format: ToolFormat) -> st.SearchStrategy[str]:
    return st.lists(TEXT | st.sampled_from(marks_of(tool_format)), max_size=3).map("".join)


@functools.cache
def calls_of(tool_format: ToolFormat, least: int = 0) -> st.SearchStrategy[list[ToolCall]]:
    """Return lists of calls, several of one tool among them, with the marks of the family wherever a text stands."""
    texts = texts_of(tool_format)
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=6,
    )

    def calls(words: tuple[list[str], list[str]]) -> st.SearchStrategy[list[ToolCall]]:
        names, keys = map(st.sampled_from, words)
        arguments = st.dictionaries(keys, values, max_size=3)
        return st.lists(st.builds(ToolCall, st.just(""), names, arguments), min_size=least, max_size=4)

    pool = st.lists(texts, min_size=1, max_size=3)
    return st.tuples(pool, pool).flatmap(calls)


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
    """Return tools that take what the calls say, all the calls of one name."""
    tools = []
    for name, same in groupby(sorted(calls, key=attrgetter("name")), key=attrgetter("name")):
        given = [call.arguments for call in same]
        schemas: dict[str, list[dict[str, Any]]] = {}
        for key, value in (item for arguments in given for item in arguments.items()):
            schemas.setdefault(key, []).append(schema_of(value))
        parameters = {
            "type": "object",
            "properties": {key: {"anyOf": each} for key, each in schemas.items()},
            "required": [key for key in schemas if all(key in arguments for arguments in given)],
            "additionalProperties": False,
        }
        tools.append(ToolSpec(name, "", parameters))
    return tools


def written(tool_format: ToolFormat, calls: Sequence[ToolCall]) -> tuple[str, Fitting]:
    fitting = Fitting(tool_format, tools_for(calls))
    return tool_format.render_calls([fitting.show(call) for call in calls], fitting.shown), fitting


def meant(parsed: Parsed, fitting: Fitting) -> list[ParsedCall]:
    return [fitting.mean(call) for call in parsed.calls]


def bare(calls: Iterable[ToolCall]) -> list[ParsedCall]:
    return [ParsedCall(call.name, call.arguments) for call in calls]


@EVERY
@settings(max_examples=50, deadline=None)
@given(data=st.data(), text=TEXT)
def test_reading_what_was_written_gives_the_same(
    tool_format: ToolFormat, data: st.DataObject, text: str
) -> None:
    calls = data.draw(calls_of(tool_format))
    markup, fitting = written(tool_format, calls)
    text = "" if tool_format.leading and calls else text
    parsed = tool_format.parse(text + markup, fitting.shown)
    assert (parsed.text, meant(parsed, fitting), parsed.complete) == (text, bare(calls), True)


@EVERY
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_what_breaks_off_is_not_complete(tool_format: ToolFormat, data: st.DataObject) -> None:
    calls = data.draw(calls_of(tool_format, least=1))
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


def test_the_page_on_adding_a_family_shows_one_as_it_is() -> None:
    root = Path(__file__).parents[3]
    page = (root / "docs" / "tool-formats.md").read_text(encoding="utf-8")
    _, _, adding = page.partition("## Adding a family")
    shown, written = (
        block.strip("\n") for block in re.findall(r"```(?:python)?\n(.*?)```", adding, flags=re.DOTALL)[:2]
    )
    assert shown in (root / "agentkit" / "models" / "formats" / "families.py").read_text(encoding="utf-8")
    calls = [ParsedCall("add", {"n": 1}), ParsedCall("add", {"n": 2})]
    assert written == FORMATS["mistral"].render_calls(calls)
    assert FORMATS["mistral"].parse(written) == Parsed("", tuple(calls), complete=True)
    sign = re.search(r'\("(\S+)", (\w+)\)', adding)
    assert sign is not None
    assert f'    ("{sign[1]}", {sign[2]}),\n' in inspect.getsource(choose)
