"""A tool that no grammar can be made of is found out before it stands beside one that works."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from llguidance import LLTokenizer

from agentkit.errors import ConfigError
from agentkit.messages import ToolSpec
from agentkit.models.base import AUTO, CONSTRAINTS
from agentkit.models.formats.families import FORMATS, QWEN_CODER, SMOLLM2
from agentkit.models.formats.fitting import Fitting
from agentkit.models.formats.message import MessageShape
from agentkit.models.formats.tool_format import ToolFormat
from agentkit.models.gbnf_message import message_rules
from agentkit.models.grammar import backend_for, bind_tools
from agentkit.models.guidance import Guidance
from agentkit.models.llama import LlamaModel, Settings
from agentkit.models.normalise import _normalised, normalise
from agentkit.models.outline import outline
from agentkit.models.usable import _refusal, refusal
from agentkit.models.vocabulary import Vocabulary
from agentkit_tools import Tool, Toolbox, ToolOutput
from agentkit_tools.dialect import WORDS

NEVER: tuple[dict[str, Any], ...] = (
    {"type": "integer", "minimum": 5, "maximum": 3},
    {"type": "integer", "minimum": 1, "maximum": 4, "multipleOf": 5},
    {"type": "string", "pattern": "^a$", "minLength": 2},
    {"enum": ["\ud800"]},
    {"type": "array", "minItems": 2, "maxItems": 1, "items": {"type": "null"}},
    {"enum": []},
    {"type": "integer", "minimum": 1, "maximum": 4, "multipleOf": 5000},
    {"type": "string", "pattern": "^(a|b)*a(a|b){14}$", "maxLength": 3},
    {"type": "string", "minLength": 5000},
    {"type": "array", "minItems": 1, "items": {"type": "number", "exclusiveMinimum": 1, "maximum": 1}},
    {"$ref": "#/properties/a", "allOf": [{"type": "integer"}, {"type": "string"}]},
)
"""What nothing satisfies."""
PARTLY: tuple[dict[str, Any], ...] = tuple(
    around
    for never in NEVER[:3]
    for around in (
        never,
        {"type": "array", "items": never},
        {"type": "array", "prefixItems": [never]},
        {"type": "object", "additionalProperties": never},
        {"type": "object", "patternProperties": {"^x": never}, "additionalProperties": False},
        {"type": "object", "properties": {"b": never}},
        {"anyOf": [never, {"type": "null"}]},
    )
)
"""What has a part that nothing satisfies, and can do without it."""


def taking(schema: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": schema}, "required": ["a"] if required else []}


@pytest.mark.parametrize("schema", NEVER, ids=str)
def test_what_nothing_satisfies_is_refused(schema: dict[str, Any]) -> None:
    assert refusal(taking(schema)) is not None
    assert refusal(taking({"type": "integer"})) is None


@pytest.mark.parametrize("name", ["smollm2", "qwen-coder", "functiongemma", "lfm2"])
@pytest.mark.parametrize("schema", PARTLY, ids=str)
def test_a_part_that_nothing_satisfies_is_left_out_and_the_rest_can_be_bound(
    schema: dict[str, Any], name: str
) -> None:
    """llguidance leaves some of these out by itself, and makes no grammar at all of others."""
    parameters = taking(schema, required=False)
    assert refusal(parameters) is None
    shape = MessageShape(FORMATS[name], (ToolSpec("tool", "Do something.", parameters),), most=1, free=False)
    Guidance(LLTokenizer("byte"), 256, {}).message(shape)
    message_rules(shape, {})


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^a+$", "minLength": 900, "maxLength": 950},
        {"type": "string", "pattern": "^(a|b)*a(a|b){14}$"},
        {"type": "number", "minimum": 0.1, "maximum": 0.2, "multipleOf": 0.2},
        {"type": "integer", "minimum": 5, "maximum": 7, "multipleOf": 1.5},
        {"type": "integer", "minimum": 4000, "maximum": 6000, "multipleOf": 5000},
        {"type": "array", "maxItems": 1000, "items": {"type": "string", "minLength": 1000}},
        {"type": "string", "format": "date"},
    ],
    ids=str,
)
def test_what_something_satisfies_is_not_refused(schema: dict[str, Any]) -> None:
    assert refusal(taking(schema)) is None


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"enum": [object()]}, "the schema is no JSON"),
        ({"enum": ["\ud800", "a"]}, "the schema holds half a character"),
        (
            {"type": "string", "minLength": 5000},
            "minLength 5000 is more than the 4096 characters a text may have",
        ),
        (
            {
                "type": "object",
                "properties": {f"p{n}": {"type": "array", "maxItems": 900 + n} for n in range(70)},
            },
            "the grammar has more than 60000 rules",
        ),
    ],
)
def test_the_reason_says_what_is_wrong(schema: dict[str, Any], reason: str) -> None:
    assert refusal(taking(schema)) == reason


def endless(node: dict[str, Any]) -> dict[str, Any]:
    return {"$defs": {"n": node}, **taking({"$ref": "#/$defs/n"}, required=False)}


def test_recursion_without_an_end_is_refused() -> None:
    node: dict[str, Any] = {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}}
    assert refusal(endless(node)) is None
    assert refusal(endless({**node, "required": ["n"]})) is not None


class Counting:
    """A back-end that makes nothing, and counts."""

    def __init__(self) -> None:
        self.made = 0

    def message(self, shape: MessageShape) -> Any:
        self.made += len(shape.tools)
        return shape

    def value(self, form: dict[str, Any]) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize("tool_format", [SMOLLM2, QWEN_CODER], ids=["smollm2", "qwen-coder"])
def test_300_tools_are_looked_at_once(tool_format: ToolFormat) -> None:
    tools = [
        ToolSpec(
            f"tool {n}",
            f"Do {n}.",
            taking({"type": "string", "format": "date", "title": f"{tool_format.name} {n}"}),
        )
        for n in range(300)
    ]
    backend = Counting()
    started = time.process_time()
    bind_tools(backend, tool_format, tools, AUTO)
    assert time.process_time() - started < 1
    before = _refusal.cache_info().misses, _normalised.cache_info().misses
    bind_tools(backend, tool_format, tools, AUTO)
    assert (_refusal.cache_info().misses, _normalised.cache_info().misses) == before
    assert backend.made == 600


@pytest.mark.slow
@pytest.mark.parametrize(
    "each",
    [
        {"type": "string", "description": "x" * 40},
        {"type": "string", "pattern": "^(a|b)*a(a|b){14}c{9}$", "maxLength": 16},
        {"type": "number", "minimum": 0.1, "maximum": 0.9, "multipleOf": 0.0007},
    ],
    ids=["plain", "patterns", "steps"],
)
def test_no_tool_takes_long_to_look_at(each: dict[str, Any]) -> None:
    properties = {f"p{n}": {**each, "title": str(n)} for n in range(1300)}
    if "pattern" in each:
        properties = {
            name: {**one, "pattern": f"{name}|{each['pattern']}"} for name, one in properties.items()
        }
    started = time.process_time()
    refusal({"type": "object", "properties": properties})
    assert time.process_time() - started < 2


@pytest.mark.parametrize(("word", "meant"), sorted(WORDS.items()))
def test_a_tool_in_any_dialect_works_from_its_registration_to_its_run(word: str, meant: str) -> None:
    value = {
        "object": {},
        "array": [],
        "number": 1.5,
        "integer": 2,
        "string": "a",
        "boolean": True,
        "null": None,
    }[meant]
    for given, said in (({"type": word}, value), ({"type": word.upper(), "nullable": True}, None)):
        made = Tool("it", "Do it.", taking(given), run=lambda arguments: ToolOutput(repr(dict(arguments))))
        assert refusal(made.parameters) is None
        normalise(made.parameters, close=True).check({"a": said})
        assert Toolbox([made]).call("it", {"a": said}) == ToolOutput(repr({"a": said}))
        assert Toolbox([made]).call("it", {"a": said, "b": 1}).is_error


def test_names_that_are_required_and_not_listed_are_never_asked_for() -> None:
    parameters = {**taking({"type": "integer"}), "required": ["a", "zz"]}
    normalise(parameters, close=True).check({"a": 1})


@pytest.mark.parametrize("required", [True, "a", None])
def test_required_that_lists_nothing_requires_nothing(required: object) -> None:
    made = Tool(
        "it", "Do it.", {**taking({"type": "integer"}), "required": required}, run=lambda _: ToolOutput("ran")
    )
    spec = ToolSpec(*made.spec())
    assert refusal(spec.parameters) is None
    assert "- a (integer, optional)" in outline(spec)
    for each in FORMATS.values():
        assert Fitting(each, [spec]).shown
    assert Toolbox([made]).call("it", {}).text == "ran"


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_what_is_not_refused_can_be_bound(smollm2_path: Path, name: str) -> None:
    model = LlamaModel(smollm2_path, Settings(repack=False))
    backend = backend_for(Vocabulary(model), name)
    optional = [taking(each, required=False) for each in (*NEVER, *PARTLY)]
    for schema in (*optional, *map(taking, NEVER), taking({})):
        tool = ToolSpec("tool", "Do something.", schema)
        if refusal(schema) is None:
            bind_tools(backend, SMOLLM2, [tool], AUTO)
        else:
            with pytest.raises(ConfigError):
                bind_tools(backend, SMOLLM2, [tool], AUTO)
    model.close()
