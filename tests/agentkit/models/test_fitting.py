"""Any tool can be called in any family, by names that family can write, and its calls come back under its own."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.messages import ToolCall, ToolSpec
from agentkit.models.formats.families import FORMATS
from agentkit.models.formats.fitting import Fitting, alias
from agentkit.models.formats.syntax import ParsedCall
from agentkit.models.formats.tool_format import ToolFormat
from agentkit.models.normalise import normalise

WORD = r"[A-Za-z_][A-Za-z0-9_]{0,127}"
NAMES = [
    "a.b",
    "a b",
    "ä b",
    "日本",
    "x" * 200,
    'say "hi"',
    "back\\slash",
    "a\nb",
    "",
    "class",
    "_x0123456789abcdef",
]


@given(st.text(max_size=300))
def test_an_alias_is_a_name_the_family_can_write(name: str) -> None:
    assert re.fullmatch(WORD, alias(name, WORD))
    assert alias(name, WORD) == alias(name, WORD)
    assert alias(name, None) == name


@given(st.lists(st.text(max_size=8) | st.sampled_from(NAMES), unique=True))
def test_no_two_names_come_to_the_same(names: list[str]) -> None:
    known = [*names, *(alias(name, WORD) for name in names)]
    assert len({alias(name, WORD) for name in dict.fromkeys(known)}) == len(dict.fromkeys(known))


def test_what_can_be_written_stays() -> None:
    assert alias("get_weather", WORD) == "get_weather"


@pytest.mark.parametrize("tool_format", FORMATS.values(), ids=FORMATS)
def test_every_name_comes_back(tool_format: ToolFormat) -> None:
    properties = {name: {"type": "string"} for name in NAMES}
    tools = [
        ToolSpec(name, "", {"type": "object", "properties": properties, "required": NAMES}) for name in NAMES
    ]
    fitting = Fitting(tool_format, tools)
    assert len({tool.name for tool in fitting.shown}) == len(NAMES)
    calls = [ToolCall("", name, dict.fromkeys(NAMES, "v")) for name in NAMES]
    markup = tool_format.render_calls([fitting.show(call) for call in calls], fitting.shown)
    parsed = tool_format.parse(markup, fitting.shown)
    assert parsed.complete
    assert [fitting.mean(call) for call in parsed.calls] == [
        ParsedCall(each.name, each.arguments) for each in calls
    ]
    for tool in fitting.shown:
        normalise(tool.parameters, close=True)


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {
            "anyOf": [
                {"properties": {"a": {}}, "required": ["a"]},
                {"properties": {"b": {}}, "required": ["b"]},
            ]
        },
        {
            "properties": {"a b": {"$ref": "#/$defs/t"}},
            "$defs": {"t": {"type": "integer"}},
            "required": ["a b"],
        },
    ],
)
@pytest.mark.parametrize("tool_format", FORMATS.values(), ids=FORMATS)
def test_parameters_that_are_no_list_of_names_come_back(
    tool_format: ToolFormat, parameters: dict[str, Any]
) -> None:
    fitting = Fitting(tool_format, [ToolSpec("f", "", parameters)])
    for arguments in ({"a": 1}, {"a b": 3}):
        call = ToolCall("", "f", arguments)
        markup = tool_format.render_calls([fitting.show(call)], fitting.shown)
        parsed = tool_format.parse(markup, fitting.shown)
        assert [fitting.mean(each).arguments for each in parsed.calls] == [arguments]
