"""What the grammars take and the final check passes is what a schema allows: no more, and nothing less.

The sample has each keyword of JSON Schema once, and needs nothing. The published suite lies outside the repository.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

import pytest

from agentkit.models.base import CONSTRAINTS
from agentkit.models.normalise import normalise
from benchmarks._data import data_folder
from benchmarks.grammar import MOST_SPELLINGS, accepts, compiled, compiled_gbnf, passes, spellings, suite

SAMPLE: list[tuple[Any, list[Any], list[Any]]] = [
    ({}, [None, True, 1.5, "a", [1], {"a": {}}], []),
    ({"type": "integer"}, [1, -3, 2.0], [1.5, "1", True]),
    ({"type": ["string", "null"]}, ["a", None], [1, False]),
    ({"enum": ["a", 1, None, {"b": [2]}]}, ["a", 1, {"b": [2]}], ["b", {"b": [3]}, True]),
    ({"const": {"a": [False]}}, [{"a": [False]}], [{"a": [0]}, {}]),
    ({"type": "number", "minimum": -1.5, "exclusiveMaximum": 10}, [-1.5, 9.75], [-1.6, 10]),
    ({"type": "number", "exclusiveMinimum": 0, "maximum": 0.3, "multipleOf": 0.1}, [0.1, 0.3], [0, 0.15, 0.4]),
    ({"type": "number", "multipleOf": 0.01}, [19.99, 3], [0.005]),
    ({"type": "integer", "multipleOf": 7}, [0, 21, -7], [1, 20]),
    ({"type": "string", "minLength": 2, "maxLength": 3}, ["éé", "🦊🦊🦊"], ["a", "abcd"]),
    ({"type": "string", "pattern": "^[a-c]+(x|é)$"}, ["abx", "cé"], ["x", "abxx"]),
    ({"type": "string", "pattern": "b"}, ["abc"], ["ac"]),
    ({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
     [[1], [1, 2]], [[], [1, 2, 3], ["a"]]),
    ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
     [[], [1], [1, "a"]], [["a"], [1, "a", 2]]),
    ({"type": "array", "uniqueItems": True}, [[1, 2], [True, 1]], [[1, 1], [{"a": 1}, {"a": 1.0}]]),
    ({"type": "array", "contains": {"type": "string"}, "maxContains": 1}, [[1, "a"]], [[1], ["a", "b"]]),
    ({"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a"],
      "additionalProperties": False}, [{"a": 1}, {"b": 2, "a": 1}], [{}, {"a": "1"}, {"a": 1, "c": 2}]),
    ({"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": {"type": "string"}},
     [{"a": 1, "b": "x"}, {}], [{"b": 1}, {"a": "x"}]),
    ({"type": "object", "patternProperties": {"^x_": {"type": "integer"}}, "additionalProperties": False},
     [{"x_1": 1}, {}], [{"x_1": "a"}, {"y": 1}]),
    ({"type": "object", "propertyNames": {"maxLength": 2}, "minProperties": 1}, [{"ab": 1}], [{}, {"abc": 1}]),
    ({"type": "object", "dependentRequired": {"a": ["b"]}}, [{"a": 1, "b": 2}, {"b": 1}], [{"a": 1}]),
    ({"allOf": [{"type": "integer"}, {"minimum": 3}]}, [3], [2, "a"]),
    ({"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 1}]}, [1, "a"], ["ab", None]),
    ({"oneOf": [{"type": "integer"}, {"type": "number", "minimum": 3}]}, [2, 3.5], [3, 2.5]),
    ({"type": "integer", "not": {"multipleOf": 2}}, [3], [4]),
    ({"if": {"type": "integer"}, "then": {"minimum": 3}, "else": {"type": "string"}}, [3, "a"], [2, None]),
    ({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}},
      "additionalProperties": False}}}, [{}, {"next": {"next": {}}}], [{"next": 1}, {"other": {}}]),
    ({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "integer"}], "additionalItems": False,
      "type": "array"}, [[1], []], [["a"], [1, 2]]),
]  # fmt: skip


def grammar_of(name: str, form: dict[str, Any]) -> Callable[[str], bool]:
    if name == "gbnf":
        takes = compiled_gbnf(form)
        assert takes is not None
        return takes
    matcher = compiled(form)
    assert matcher is not None
    return partial(accepts, matcher)


@pytest.mark.parametrize("name", CONSTRAINTS)
@pytest.mark.parametrize(("schema", "valid", "invalid"), SAMPLE, ids=lambda each: str(each)[:40])
def test_every_keyword_is_taken_as_it_is_meant(
    name: str, schema: Any, valid: list[Any], invalid: list[Any]
) -> None:
    normalised = normalise(schema)
    takes = grammar_of(name, normalised.schema)
    for value in (*valid, *invalid):
        taken = any(map(takes, islice(spellings(value), MOST_SPELLINGS))) and passes(normalised, value)
        assert taken is any(value is each for each in valid), value


@pytest.mark.slow
def test_the_published_suite_finds_nothing_taken_or_refused_wrongly() -> None:
    if not (data_folder() / "jsonschema-suite" / "tests").is_dir():
        pytest.skip("the JSON-Schema-Test-Suite is not here: set AGENTKIT_DATA")
    found = suite()
    for prefix in ("", "gbnf_"):
        assert found[f"{prefix}suite_false_accepts"] == 0
        assert found[f"{prefix}suite_false_rejects"] == 0
