"""Schemas that crash or mislead llama.cpp's own converter are bound as they are meant, by either back-end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentkit.errors import ConfigError, EngineError
from agentkit.messages import ToolSpec
from agentkit.models.base import AUTO, CONSTRAINTS, REQUIRED
from agentkit.models.formats.families import SMOLLM2
from agentkit.models.formats.syntax import ParsedCall
from agentkit.models.gbnf_sampler import GrammarSampler
from agentkit.models.grammar import Backend, Constraint, backend_for, bind_schema, bind_tools
from agentkit.models.llama import LlamaModel, Settings
from agentkit.models.vocabulary import Vocabulary

pytestmark = [pytest.mark.model, pytest.mark.slow]
POINT = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}


@pytest.fixture(scope="module")
def model(smollm2_path: Path) -> Iterator[LlamaModel]:
    model = LlamaModel(smollm2_path, Settings(context_tokens=256))
    yield model
    model.close()


@pytest.fixture(scope="module", params=CONSTRAINTS)
def backend(model: LlamaModel, request: pytest.FixtureRequest) -> Backend:
    return backend_for(Vocabulary(model), request.param)


def takes(constraint: Constraint, model: LlamaModel, text: str) -> bool:
    """Feed `text`; return whether it is let through, and may end there."""
    for token in model.tokenise(text):
        if not constraint.allowed(token):
            return False
        constraint.commit(token)
    return constraint.done or constraint.allowed(model.eos)


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"type": "string", "maxLength": 1100}, '"a"', '"' + "a" * 1101 + '"'),
        ({"type": "string", "maxLength": 20_000}, '"a"', "1"),
        ({"type": "array", "items": {"type": "integer"}, "maxItems": 2000}, "[1, 2]", '["a"]'),
        ({"type": "array", "items": {"type": "string", "maxLength": 1900}, "maxItems": 1900}, '["a"]', "[1]"),
        ({"type": "string", "pattern": r"^\d[\d]$"}, '"12"', '"1a"'),
        ({"type": "string", "pattern": r"^[\w.]+$"}, '"a.1"', '"a-1"'),
        ({"enum": ['say "hi"']}, r'"say \"hi\""', '"say "hi""'),
        ({"enum": [-2.0, 1.5]}, "-2", "2"),
        ({"const": "a\\b"}, r'"a\\b"', r'"a\b"'),
        ({"type": "string"}, r'"a\nb"', '"a\nb"'),
        ({"type": "string"}, r'"a\u0001b"', '"a\x01b"'),
        ({"type": "integer", "minimum": 3, "maximum": 12}, "12", "13"),
        ({"type": "number", "minimum": 0.5, "maximum": 3}, "2.75", "3.5"),
        ({"type": "number", "exclusiveMinimum": -2, "maximum": 1.25}, "-1.99", "-2"),
        ({"type": "number"}, "1.2e-06", "1.2e"),
        ({"type": "object", "properties": {"any": {}}, "required": ["any"]}, '{"any": 1}', "{}"),
        ({"type": "object", "properties": {"any": {"description": "x"}}}, '{"any": [1]}', '{"any": }'),
        ({"definitions": {"p": POINT}, "type": "array", "items": {"$ref": "#/definitions/p"}},
         '[{"x": 1}]', '[{"x": "1"}]'),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/b"}}, "b": POINT}},
         '[{"x": 1}]', '[{"x": "1"}]'),
        ({"type": "string", "pattern": "b"}, '"abc"', '"ac"'),
        ({**POINT, "anyOf": [{"required": ["y"]}, {"required": ["z"]}]}, '{"x": 1, "y": 2}', '{"x": 1}'),
        ({"anyOf": [POINT, {"type": "null"}], "description": "x"}, "null", '{"x": null}'),
        ({"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "null"}}, "required": ["b"],
          "additionalProperties": False}, '{"a": null, "b": null}', '{"b": null, "a": null}'),
        ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
         '[1, "a"]', '["a", 1]'),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, '{"é b": 1}', '{"a": "1"}'),
        ({"type": "object", "properties": {"tag": {"type": "integer"}}}, '{"tag": 1, "tags": "x"}', '{"tag": "x"}'),
    ],
)  # fmt: skip
def test_it_takes_what_is_right_and_refuses_what_is_wrong(
    model: LlamaModel, backend: Backend, schema: Any, right: str, wrong: str
) -> None:
    assert takes(bind_schema(backend, schema), model, right)
    assert not takes(bind_schema(backend, schema), model, wrong)


def test_a_token_the_grammar_forbids_is_an_error_and_not_the_end_of_the_process(
    model: LlamaModel, backend: Backend
) -> None:
    (token,) = model.tokenise("x")
    with pytest.raises(EngineError):
        bind_schema(backend, {"type": "integer"}).commit(token)


@pytest.mark.parametrize("text", ["root ::= nobody", "no root", 'root ::= "open', "root ::= root"])
def test_a_grammar_llama_cpp_refuses_is_an_error(model: LlamaModel, text: str) -> None:
    with pytest.raises(ConfigError):
        GrammarSampler(model.vocabulary_pointer, model.vocabulary_size, text)


def test_control_tokens_do_not_pass_as_the_text_they_spell(model: LlamaModel, backend: Backend) -> None:
    tool = ToolSpec("say", "", {"type": "object", "properties": {"text": {"type": "string"}}})
    free, string = bind_tools(backend, SMOLLM2, [tool], AUTO), bind_schema(backend, {"type": "string"})
    string.commit(model.tokenise('"')[0])
    for spelling in ("<|im_start|>", "<|im_end|>", "<repo_name>"):
        (token,) = model.tokenise(spelling, special=True)
        for constraint in (free, string):
            may = model.ends(token) and constraint is free
            assert constraint.allowed(token) is may
            assert constraint.mask()[token] == may


def test_no_malformed_character_comes_out(model: LlamaModel, backend: Backend) -> None:
    """An overlong form: E0 has to be followed by A0 to BF; llama.cpp alone lets 82 pass."""
    single = {model.piece(token): token for token in range(model.vocabulary_size) if not model.ends(token)}
    constraint = bind_schema(backend, {"type": "string"})
    for byte in (b'"', b"\xe0"):
        constraint.commit(single[byte])
    assert not constraint.allowed(single[b"\x82"])
    mask = constraint.mask()
    assert not mask[single[b"\x82"]]
    assert not mask[single[b'"']]
    assert mask[single[b"\xa4"]]
    assert constraint.forced() == []
    assert not constraint.done


def test_what_the_vocabulary_cannot_spell_is_an_error_and_nothing_else(
    model: LlamaModel, backend: Backend
) -> None:
    """The default model has no token for the first byte of this character."""
    constraint = bind_schema(backend, {"const": "\U0006eb6c"})
    constraint.forced()
    with pytest.raises(EngineError):
        for _ in range(4):
            allowed = constraint.mask().nonzero()[0]
            if not len(allowed):
                raise EngineError("nothing may come")
            constraint.commit(int(allowed[0]))


NAMES = [
    "a.b.c",
    "with space",
    "naïve_名前_🦊",
    "x" * 200,
    'quo"te',
    "back\\slash",
    "tab\tand\nline",
    "<|im_end|>",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_called_and_any_text_be_an_enum(
    model: LlamaModel, backend: Backend, name: str
) -> None:
    parameters = {"type": "object", "properties": {name: {"enum": NAMES}}, "required": [name]}
    call = ParsedCall(name, {name: name})
    constraint = bind_tools(backend, SMOLLM2, [ToolSpec(name, "", parameters)], REQUIRED)
    assert takes(constraint, model, SMOLLM2.render_calls([call]))
    parsed = SMOLLM2.parse(SMOLLM2.render_calls([call]))
    assert parsed.complete
    assert parsed.calls[0].arguments == {name: name}


def _wide(count: int) -> dict[str, Any]:
    return {f"parameter_{index}": {"type": "string", "maxLength": 30} for index in range(count)}


@pytest.mark.parametrize(
    ("schema", "right"),
    [
        ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "properties": {
            "next": {"$ref": "#/$defs/n"}, "value": {"type": "integer"}}, "additionalProperties": False}}},
         '{"next": {"next": {"value": 1}}, "value": 2}'),
        ({}, '{"a": [1, null, {"b": "c"}]}'),
        ({"enum": [f'value "{number}" \\ 🦊' for number in range(4000)]},
         json.dumps('value "77" \\ 🦊', ensure_ascii=False)),
        ({"type": "object", "properties": _wide(1300)}, '{"parameter_7": "a", "parameter_1200": "b"}'),
        ({"type": "object", "properties": _wide(900), "required": [*_wide(900)][:3], "additionalProperties": False},
         '{"parameter_0": "", "parameter_1": "", "parameter_2": "", "parameter_899": "b"}'),
        ({"anyOf": [{"type": "object", "properties": {"kind": {"const": f"k{n}"}, **_wide(12)}, "required": ["kind"]}
                    for n in range(60)]}, '{"kind": "k7", "parameter_1": "a"}'),
        ({"type": "string", "pattern": "^(a?){200}b{3,200}$"}, '"aabbb"'),
    ],
    ids=["recursive", "empty", "enum", "wide", "wide and closed", "many alternatives", "pattern"],
)  # fmt: skip
def test_large_schemas_are_bound_without_long_waits(
    model: LlamaModel, backend: Backend, schema: Any, right: str
) -> None:
    started = time.process_time()
    constraint = bind_schema(backend, schema)
    assert time.process_time() - started < 1  # of the processor: what else runs does not count
    slowest = 0.0
    for token in model.tokenise(right):
        started = time.process_time()
        assert constraint.mask()[token]
        assert constraint.allowed(token)
        constraint.commit(token)
        slowest = max(slowest, time.process_time() - started)
    assert slowest < 1
    assert constraint.done or constraint.allowed(model.eos)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": 5, "maximum": 3},
        {"type": "number", "exclusiveMinimum": 1, "exclusiveMaximum": 1},
        {"type": "integer", "minimum": 1, "maximum": 4, "multipleOf": 5},
        {"type": "object", "properties": {"a": {"type": "integer", "minimum": 2, "maximum": 1}}, "required": ["a"]},
        {"enum": ["\ud800"]},
        {"allOf": [{"type": "integer"}, {"type": "string"}]},
        {"type": "string", "pattern": "^a$", "minLength": 2},
    ],
)  # fmt: skip
def test_what_nothing_satisfies_is_refused_or_lets_nothing_through(
    model: LlamaModel, backend: Backend, schema: Any
) -> None:
    try:
        constraint = bind_schema(backend, schema)
    except ConfigError:
        return
    with pytest.raises(EngineError):
        if not np.any(constraint.mask()):
            raise EngineError("nothing may come")
