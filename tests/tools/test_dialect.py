"""Schemas of any dialect are brought into the words of the standard, and tools that do not say it are closed."""

from __future__ import annotations

from typing import Any

import pytest

from agentkit_tools.dialect import MAX_DEPTH, DialectError, closed, standard


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"type": "Float"}, {"type": "number"}),
        ({"type": ["str", "none"]}, {"type": ["string", "null"]}),
        ({"type": "int", "nullable": True}, {"type": ["integer", "null"]}),
        ({"enum": ["a"], "nullable": True}, {"enum": ["a", None]}),
        ({"type": "integer", "nullable": False}, {"type": "integer"}),
        ({"minimum": 3, "exclusiveMinimum": True}, {"exclusiveMinimum": 3}),
        ({"maximum": 3, "exclusiveMaximum": False}, {"maximum": 3}),
        ({"type": "string", "required": True}, {"type": "string"}),
        ({"items": [{"type": "long"}, True]}, {"items": [{"type": "integer"}, True]}),
        ({"properties": {"type": {"type": "bool"}}}, {"properties": {"type": {"type": "boolean"}}}),
        ({"default": {"type": "float"}, "x-guidance": {}}, {"default": {"type": "float"}}),
    ],
)
def test_words_of_other_dialects_become_those_of_the_standard(given: Any, meant: Any) -> None:
    assert standard(given) == meant


def test_parameters_require_no_names_they_do_not_list() -> None:
    inner = {"type": "object", "properties": {"b": {}}, "required": ["b", "c"]}
    parameters = {"properties": {"a": inner}, "required": ["a", "z"], "anyOf": [inner]}
    assert standard(parameters, close=True) == {
        "type": "object",
        "properties": {"a": {**inner, "required": ["b"]}},
        "required": ["a", "z"],  # the alternative may list it
        "anyOf": [inner],
    }
    assert standard({"required": ["z"]}, close=True) == {
        "type": "object",
        "properties": {},
        "required": ["z"],
    }
    assert standard(parameters)["properties"]["a"] == inner


def _deep(levels: int) -> Any:
    schema: Any = {}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


@pytest.mark.parametrize(
    "schema",
    [[], None, {"type": "zork"}, {"type": 5}, {"properties": []}, {"anyOf": {}}, _deep(MAX_DEPTH + 1)],
)
def test_what_is_no_schema_is_refused(schema: Any) -> None:
    with pytest.raises(DialectError):
        standard(schema)


@pytest.mark.parametrize(
    ("parameters", "taken"),
    [
        ({"type": "object", "properties": {"a": {}}}, True),
        ({"type": "object", "additionalProperties": False}, True),
        ({"type": "dict", "patternProperties": {"^x": {}}}, True),
        ({"type": "object", "additionalProperties": True}, False),
        ({"type": "object", "additionalProperties": {"type": "string"}}, False),
        ({"type": "object", "allOf": [{"properties": {"a": {}}}]}, False),
        ({"type": "object", "$ref": "#/$defs/a"}, False),
        ({"type": ["object", "null"]}, False),
        ({"properties": {}}, False),
    ],
)
def test_parameters_are_closed_where_they_do_not_say_otherwise(
    parameters: dict[str, Any], taken: bool
) -> None:
    assert closed(parameters) == ({**parameters, "additionalProperties": False} if taken else None)
