"""Schemas that crash or mislead llama.cpp's own converter are bound here as they are meant."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llguidance import LLMatcher, LLTokenizer

from agentkit.models.normalise import normalise

BYTES = LLTokenizer("byte")
OPTIONS: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
POINT = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}


def accepts(schema: Any, text: str) -> bool:
    grammar = LLMatcher.grammar_from_json_schema(json.dumps(normalise(schema).schema), overrides=OPTIONS)
    matcher = LLMatcher(BYTES, grammar, log_level=0)
    assert not matcher.is_error()
    data = list(text.encode())
    return matcher.try_consume_tokens(data) == len(data) and matcher.is_accepting()


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"type": "string", "maxLength": 1100}, '"a"', '"' + "a" * 1101 + '"'),
        ({"type": "string", "maxLength": 20_000}, '"a"', "1"),
        ({"type": "array", "items": {"type": "integer"}, "maxItems": 2000}, "[1, 2]", '["a"]'),
        ({"type": "string", "pattern": r"^\d[\d]$"}, '"12"', '"1a"'),
        ({"enum": ['say "hi"']}, r'"say \"hi\""', '"say "hi""'),
        ({"const": "a\\b"}, r'"a\\b"', r'"a\b"'),
        ({"type": "string"}, r'"a\nb"', '"a\nb"'),
        ({"type": "integer", "minimum": 3, "maximum": 12}, "12", "13"),
        ({"type": "number", "minimum": 0.5, "maximum": 3}, "2.75", "3.5"),
        ({"type": "number"}, "1.2e-06", "1.2e"),
        ({"type": "object", "properties": {"any": {}}, "required": ["any"]}, '{"any": 1}', "{}"),
        ({"type": "object", "properties": {"any": {"description": "x"}}}, '{"any": [1]}', '{"any": }'),
        ({"definitions": {"p": POINT}, "type": "array", "items": {"$ref": "#/definitions/p"}},
         '[{"x": 1}]', '[{"x": "1"}]'),
        ({"type": "string", "pattern": "b"}, '"abc"', '"ac"'),
        ({**POINT, "anyOf": [{"required": ["y"]}, {"required": ["z"]}]}, '{"x": 1, "y": 2}', '{"x": 1}'),
        ({"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "null"}}, "required": ["b"],
          "additionalProperties": False}, '{"a": null, "b": null}', '{"b": null, "a": null}'),
    ],
)  # fmt: skip
def test_it_takes_what_is_right_and_refuses_what_is_wrong(schema: Any, right: str, wrong: str) -> None:
    assert accepts(schema, right)
    assert not accepts(schema, wrong)
