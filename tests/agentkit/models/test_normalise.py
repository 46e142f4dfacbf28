"""Any schema becomes one that grammars are made of, or a refusal that says why; in bounded time."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.models.normalise import MAX_STRING, InvalidError, SchemaError, normalise

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYWORDS = (
    "type", "properties", "items", "anyOf", "allOf", "oneOf", "not", "if", "then", "else", "$ref", "$defs", "enum",
    "const", "minimum", "maxLength", "pattern", "required", "additionalProperties", "patternProperties", "prefixItems",
    "format", "multipleOf", "minItems", "$id", "$schema", "$anchor", "dependentSchemas", "contains", "uniqueItems",
)  # fmt: skip
SCHEMAS = st.recursive(
    JSON | st.sampled_from(["string", "object", "#", "#/$defs/a", {"$ref": "#"}]),
    lambda inner: st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=4) | st.lists(inner, max_size=3),
    max_leaves=12,
)
TOOL = {
    "type": "dict",
    "properties": {
        "a": {"type": "float"},
        "b": {"type": "tuple", "items": {"type": "integer"}},
        "c": {"type": "any"},
        "d": {"type": "dict", "properties": {"x": {"type": "string"}}},
        "e": {"type": "string", "nullable": True, "enum": ["p"]},
    },
    "required": ["a", "zz"],
}


def test_dialects_become_the_standard_and_objects_of_tools_are_closed() -> None:
    form = normalise(TOOL, close=True).schema
    assert form["type"] == "object"
    assert form["required"] == ["a"]
    assert form["additionalProperties"] is False
    properties = form["properties"]
    assert properties["a"] == {"type": "number"}
    assert properties["b"] == {"type": "array", "items": {"type": "integer"}}
    assert properties["c"] == {}
    assert properties["d"]["additionalProperties"] is False
    assert properties["d"]["properties"] == {"x": {"type": "string", "maxLength": MAX_STRING}}
    assert properties["e"] == {"enum": ["p", None]}
    assert "additionalProperties" not in normalise({"type": "object", "properties": {"a": {}}}).schema


def test_references_are_followed_and_what_stands_beside_them_counts() -> None:
    schema = {
        "$defs": {"point": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}},
        "type": "object",
        "properties": {"at": {"$ref": "#/$defs/point", "properties": {"y": {"type": "integer"}}}},
    }
    at = normalise(schema, close=True).schema["properties"]["at"]
    assert at["properties"] == {"y": {"type": "integer"}, "x": {"type": "integer"}}
    assert at["additionalProperties"] is False
    assert at["required"] == ["x"]


def test_recursion_becomes_a_reference() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "additionalProperties": False}
    form = normalise({"$ref": "#/$defs/node", "$defs": {"node": node}}).schema
    (name,) = form["$defs"]
    assert form["$defs"][name]["properties"]["next"] == {"$ref": f"#/$defs/{name}"}


def test_what_an_alternative_requires_of_its_object_is_still_checked() -> None:
    either = [{"properties": {"x": {}}, "required": ["a"]}, {"required": ["b"]}]
    schema = {"type": "object", "properties": {"a": {}, "b": {}, "x": {}}, "anyOf": either}
    normalised = normalise(schema, close=True)
    normalised.check({"a": 1})
    with pytest.raises(InvalidError):
        normalised.check({"x": 1})


@pytest.mark.parametrize(
    ("schema", "value", "after"),
    [
        ({"type": "array", "uniqueItems": True}, [1, 1], "uniqueItems at #"),
        ({"type": "string", "minLength": 4000}, "a", "minLength 4000 at #"),
        ({"oneOf": [{"type": "integer"}, {"minimum": 3}]}, 4, "exactly one of oneOf at #"),
        ({"not": {"required": ["a"]}}, {"a": 1}, "not at #"),
        ({"if": {"type": "integer"}, "then": {"minimum": 3}}, 2, "if at #"),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, "dependentRequired at #"),
        ({"type": "integer", "minimum": 10**30}, 3, "minimum 1e+30 at #"),
    ],
)
def test_what_no_grammar_can_hold_is_named_and_checked_after(schema: Any, value: object, after: str) -> None:
    normalised = normalise(schema)
    assert after in normalised.after_checks
    with pytest.raises(InvalidError):
        normalised.check(value)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "minLength": 5, "maxLength": 3},
        {"type": "string", "minLength": 5000},
        {"type": "string", "pattern": "^a$", "minLength": 2},
        {"enum": []},
        {"enum": ["a"], "type": "integer"},
        {"allOf": [{"type": "integer"}, {"type": "string"}]},
        {"type": "object", "properties": {"a": False}, "required": ["a"]},
        {"$defs": {"n": {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "required": ["n"]}},
         "$ref": "#/$defs/n"},
        {"$ref": "#/nowhere"},
        {"$ref": "https://example.org/schema.json"},
        {"$ref": "#"},
        {"type": "zork"},
        {"type": 5},
        {"pattern": "^(?=a)"},
        {"properties": []},
        {"anyOf": {}},
        [],
        None,
        {"$ref": 5},
        {"minimum": "3"},
        False,
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(schema: Any) -> None:
    with pytest.raises(SchemaError):
        normalise(schema)


def _deep(levels: int) -> Any:
    schema: Any = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.mark.slow
@pytest.mark.parametrize(
    "schema",
    [
        _deep(60),
        _deep(900),
        {"$ref": "#/$defs/a0", "$defs": {
            f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} if n < 40 else {"type": "integer"}
            for n in range(41)}},
        {"type": "object", "properties": {f"p{n}": {"type": "string", "description": "x" * 40} for n in range(1300)}},
        {"enum": [f"value {n}" for n in range(8000)]},
        {"allOf": [{"anyOf": [{"minimum": n}, {"maximum": n}]} for n in range(30)]},
    ],
    ids=["deep", "too deep", "doubling", "wide", "enum", "product"],
)  # fmt: skip
def test_no_schema_takes_long(schema: Any) -> None:
    assert len(json.dumps(schema)) < 200_000
    started = time.monotonic()
    with suppress(SchemaError):
        normalise(schema, close=True)
    assert time.monotonic() - started < 1


@given(schema=SCHEMAS, value=JSON)
def test_any_json_is_a_schema_or_a_refusal(schema: Any, value: Any) -> None:
    try:
        normalised = normalise(schema, close=True)
    except SchemaError:
        return
    with suppress(InvalidError):
        normalised.check(value)


DATA = Path(os.environ.get("AGENTKIT_DATA") or Path(__file__).parents[4] / "shared" / "data")
SUITE = DATA / "jsonschema-suite" / "tests"


@pytest.mark.slow
@pytest.mark.parametrize("draft", ["draft2020-12", "draft7"])
def test_the_form_forbids_nothing_the_published_suite_allows(draft: str) -> None:
    """The whole suite: the form and the checks together accept exactly what is valid."""
    if not SUITE.is_dir():
        pytest.skip("the JSON-Schema-Test-Suite is not here: set AGENTKIT_DATA")
    wrong, refused, total = [], 0, 0
    for path in sorted((SUITE / draft).glob("*.json")):
        for case in json.loads(path.read_text(encoding="utf-8")):
            schema = case["schema"]
            if draft == "draft7" and isinstance(schema, dict):
                schema = {"$schema": "http://json-schema.org/draft-07/schema#", **schema}
            try:
                normalised = normalise(schema)
            except SchemaError:
                refused += sum(test["valid"] for test in case["tests"])
                continue
            for test in case["tests"]:
                total += 1
                try:
                    normalised.check(test["data"])
                    valid = True
                except InvalidError:
                    valid = False
                if valid != test["valid"]:
                    wrong.append(f"{path.name}: {case['description']}: {test['description']}")
    assert wrong == []
    assert refused / total < 0.05
