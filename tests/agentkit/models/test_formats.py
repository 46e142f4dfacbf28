"""Calls survive being written and read, and half a call is never a call."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.messages import ToolSpec
from agentkit.models.formats.choose import choose_format, fingerprint
from agentkit.models.formats.families import FORMATS, GENERIC, HERMES
from agentkit.models.formats.syntax import ParsedCall
from agentkit.models.formats.tool_format import ToolFormat

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
CALLS = st.lists(st.builds(ParsedCall, TEXT, st.dictionaries(TEXT, VALUES, max_size=3)), max_size=4)
EVERY = pytest.mark.parametrize("tool_format", FORMATS.values(), ids=FORMATS)


@EVERY
@given(calls=CALLS, text=TEXT)
def test_reading_what_was_written_gives_the_same(
    tool_format: ToolFormat, calls: list[ParsedCall], text: str
) -> None:
    parsed = tool_format.parse(text + tool_format.render_calls(calls))
    assert (parsed.text, list(parsed.calls), parsed.complete) == (text, calls, True)


@EVERY
@given(calls=CALLS.filter(bool), data=st.data())
def test_what_breaks_off_is_not_complete(
    tool_format: ToolFormat, calls: list[ParsedCall], data: st.DataObject
) -> None:
    whole = tool_format.render_calls(calls)
    start = len(tool_format.trigger)
    cut = data.draw(st.integers(start, len(whole.rstrip()) - 1))
    parsed = tool_format.parse(whole[:cut])
    # several blocks in a row: the ones before the cut stand as a message of their own
    whole_blocks = tool_format.between.strip().startswith(tool_format.closing.strip())
    assert not parsed.complete or (whole_blocks and len(parsed.calls) < len(calls))
    assert list(parsed.calls) == calls[: len(parsed.calls)]


@EVERY
@pytest.mark.parametrize(
    "body",
    [
        '{"name": "f"}',
        '{"name": 1, "arguments": {}}',
        '{"name": "f", "arguments": [1]}',
        "[]",
        '{"name": "f", "arguments": {"x": NaN}}',
        '{"name": "f", "arguments": {}, "id": 1}',
        "[" * 100_000,
    ],
)
def test_what_is_no_call_is_none(tool_format: ToolFormat, body: str) -> None:
    parsed = tool_format.parse(tool_format.trigger + tool_format.opening + body + tool_format.closing)
    assert (parsed.calls, parsed.complete) == ((), False)


@EVERY
def test_text_behind_the_calls_is_not_part_of_the_format(tool_format: ToolFormat) -> None:
    assert not tool_format.parse(tool_format.render_calls([ParsedCall("f", {})]) + " and more").complete


@pytest.mark.parametrize("tool_format", [HERMES, GENERIC], ids=lambda each: each.name)
def test_a_tool_is_one_line_with_what_a_model_needs(tool_format: ToolFormat) -> None:
    parameters = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    block = tool_format.render_tools([ToolSpec("count", "Count {things}.", parameters)])
    line = (
        '{"name": "count", "description": "Count {things}.", '
        '"parameters": {"n": {"type": "integer"}}, "required": ["n"]}'
    )
    assert line in block.splitlines()


def test_the_format_follows_the_template() -> None:
    assert choose_format("anything", shows_tools=False) is GENERIC
    assert choose_format('<tool_call> {"name": x, "arguments": y}', shows_tools=True) is HERMES
    assert choose_format("[TOOL_CALLS]", shows_tools=True) is GENERIC
    assert fingerprint("a") != fingerprint("b")
