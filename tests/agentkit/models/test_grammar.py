"""Under the grammar nothing but valid calls can come out, whatever the model would like to say."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from agentkit.errors import ConfigError
from agentkit.messages import ToolSpec
from agentkit.models.base import AUTO, CONSTRAINTS, REQUIRED, ToolChoice
from agentkit.models.formats.families import SMOLLM2
from agentkit.models.formats.syntax import ParsedCall
from agentkit.models.grammar import MAX_CALLS, Backend, Constraint, backend_for, bind_schema, bind_tools
from agentkit.models.llama import LlamaModel, Settings
from agentkit.models.vocabulary import Vocabulary

pytestmark = [pytest.mark.model, pytest.mark.slow]


@pytest.fixture(scope="module")
def model(smollm2_path: Path) -> Iterator[LlamaModel]:
    model = LlamaModel(smollm2_path, Settings(context_tokens=256))
    yield model
    model.close()


@pytest.fixture(scope="module", params=CONSTRAINTS)
def backend(model: LlamaModel, request: pytest.FixtureRequest) -> Backend:
    return backend_for(Vocabulary(model), request.param)


def accepts(constraint: Constraint, tokens: Sequence[int]) -> bool:
    """Feed `tokens`; return whether all of them may come.

    Where the text is settled, the mask leaves out cuts that no tokeniser makes, and the check allows them.
    """
    for token in tokens:
        allowed = constraint.allowed(token)
        assert allowed or not constraint.mask()[token]
        if not allowed:
            return False
        constraint.commit(token)
    return True


def wander(model: LlamaModel, constraint: Constraint, chance: random.Random, limit: int = 400) -> str | None:
    """Take random tokens the grammar allows; return the text once it is whole."""
    data = b""
    for _ in range(limit):
        forced = constraint.forced()
        data += b"".join(map(model.piece, forced))
        if constraint.done:
            return data.decode()
        allowed = constraint.mask().nonzero()[0]
        token = int(chance.choice(allowed))
        if model.ends(token):
            return data.decode()
        constraint.commit(token)
        data += model.piece(token)
    return None


def test_random_tokens_make_valid_calls(
    model: LlamaModel, backend: Backend, tools: tuple[ToolSpec, ...]
) -> None:
    parameters = {tool.name: tool.parameters for tool in tools}
    whole = 0
    for seed in range(12):
        text = wander(model, bind_tools(backend, SMOLLM2, tools, REQUIRED), random.Random(seed))
        if text is None:
            continue
        whole += 1
        parsed = SMOLLM2.parse(text)
        assert parsed.complete
        assert parsed.text == ""
        assert 1 <= len(parsed.calls) <= MAX_CALLS
        for call in parsed.calls:
            jsonschema.validate(call.arguments, parameters[call.name])
    assert whole >= 6


@pytest.mark.parametrize(
    "call",
    [
        ParsedCall("get_wether", {"city": "Oslo"}),
        ParsedCall("get_weather", {}),
        ParsedCall("get_weather", {"city": "Oslo", "days": 8}),
        ParsedCall("get_weather", {"city": "Oslo", "day": 1}),
        ParsedCall("get_weather", {"city": 5}),
        ParsedCall("get_weather", {"city": "x" * 21}),
        ParsedCall("clock.read", {"unit": "year"}),
    ],
)
def test_what_a_tool_does_not_take_is_refused(
    model: LlamaModel, backend: Backend, tools: tuple[ToolSpec, ...], call: ParsedCall
) -> None:
    tokens = model.tokenise(SMOLLM2.render_calls([call]))
    assert not accepts(bind_tools(backend, SMOLLM2, tools, REQUIRED), tokens)


def test_more_calls_than_the_bound_are_too_many(
    model: LlamaModel, backend: Backend, tools: tuple[ToolSpec, ...]
) -> None:
    tokens = model.tokenise(
        SMOLLM2.render_calls([ParsedCall("clock.read", {"unit": "hour"})] * (MAX_CALLS + 1))
    )
    assert not accepts(bind_tools(backend, SMOLLM2, tools, REQUIRED), tokens)


def test_named_allows_one_call_of_that_tool(
    model: LlamaModel, backend: Backend, tools: tuple[ToolSpec, ...]
) -> None:
    clock, weather = ParsedCall("clock.read", {"unit": "hour"}), ParsedCall("get_weather", {"city": "Oslo"})
    for calls, fits in (([clock], True), ([weather], False), ([clock, clock], False)):
        constraint = bind_tools(backend, SMOLLM2, tools, ToolChoice.named("clock.read"))
        assert accepts(constraint, model.tokenise(SMOLLM2.render_calls(calls))) is fits


def test_free_text_may_say_anything_but_control_tokens(
    model: LlamaModel, backend: Backend, tools: tuple[ToolSpec, ...]
) -> None:
    constraint = bind_tools(backend, SMOLLM2, tools, AUTO)
    assert accepts(constraint, model.tokenise('It is <b>5 €</b>, {"no": "call"} 😀\n\n<tool'))
    assert constraint.allowed(model.eos)
    for spelling in ("<|im_start|>", "<|endoftext|>", "<repo_name>"):
        (token,) = model.tokenise(spelling, special=True)
        assert constraint.allowed(token) == model.ends(token)
    assert not constraint.done


def test_after_the_trigger_text_is_bound(
    model: LlamaModel, backend: Backend, tools: tuple[ToolSpec, ...]
) -> None:
    constraint = bind_tools(backend, SMOLLM2, tools, AUTO)
    assert accepts(constraint, model.tokenise("Sure. <tool_call>"))
    assert not constraint.allowed(model.eos)
    assert b"".join(map(model.piece, constraint.forced())) == b'[{"name": "'


def test_forced_tokens_are_the_ones_the_model_would_be_trained_on(
    model: LlamaModel, backend: Backend, tools: tuple[ToolSpec, ...]
) -> None:
    forced = bind_tools(backend, SMOLLM2, tools, REQUIRED).forced()
    assert forced == model.tokenise('<tool_call>[{"name": "')


def test_a_forced_token_does_not_cut_off_one_that_the_model_would_rather_write(
    model: LlamaModel, backend: Backend
) -> None:
    """Behind `"}` SmolLM2 writes another call, behind `"` and `}}` the end: the quote alone would decide that."""
    unit = {"type": "string", "enum": ["kJ", "kcal"]}
    schema = {"type": "object", "properties": {"unit": unit}, "required": ["unit"]}
    tool = ToolSpec("convert", "Convert.", schema)
    begun = '<tool_call>[{"name": "convert", "arguments": {"unit": "kJ'
    for ending in ('"}', '"'):
        constraint = bind_tools(backend, SMOLLM2, [tool], REQUIRED)
        assert accepts(constraint, model.tokenise(begun))
        assert constraint.forced() == []
        (token,) = model.tokenise(ending)
        assert constraint.mask()[token]
        assert accepts(constraint, [token])


def test_a_schema_binds_the_whole_text(model: LlamaModel, backend: Backend) -> None:
    schema = {
        "type": "object",
        "properties": {
            "colour": {"enum": ["red", "blue"]},
            "sizes": {"type": "array", "items": {"type": "integer"}, "maxItems": 3},
        },
        "required": ["colour", "sizes"],
        "additionalProperties": False,
    }
    for seed in range(4):
        text = wander(model, bind_schema(backend, schema), random.Random(seed))
        if text is not None:
            jsonschema.validate(json.loads(text), schema)
    assert accepts(bind_schema(backend, schema), model.tokenise('{"colour": "red", "sizes": [1, 2]}'))
    assert not accepts(bind_schema(backend, schema), model.tokenise('{"colour":  "red"'))


def test_a_schema_cannot_change_how_it_is_compiled(model: LlamaModel, backend: Backend) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"const": 1}},
        "required": ["a"],
        "additionalProperties": False,
    }
    constraint = bind_schema(backend, {**schema, "x-guidance": {"key_separator": " => "}})
    assert accepts(constraint, model.tokenise('{"a": 1}'))


def test_unknown_keywords_are_left_to_validation(model: LlamaModel, backend: Backend) -> None:
    schema: dict[str, Any] = {
        "type": "array",
        "items": {"type": "integer"},
        "uniqueItems": True,
        "maxItems": 2,
    }
    assert accepts(bind_schema(backend, schema), model.tokenise("[1, 1]"))


def test_a_schema_nobody_can_use_is_an_error_that_names_the_tool(backend: Backend) -> None:
    parameters = {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}, "additionalProperties": False}
    with pytest.raises(ConfigError, match="'lost'"):
        bind_tools(backend, SMOLLM2, [ToolSpec("lost", "", parameters)], REQUIRED)
    with pytest.raises(ConfigError, match="'absent'"):
        bind_tools(backend, SMOLLM2, [ToolSpec("lost", "", parameters)], ToolChoice.named("absent"))


def test_names_and_values_that_look_like_grammar_are_only_text(model: LlamaModel, backend: Backend) -> None:
    name = 'a"b\\c\n%json {} | /x/ <tool_call>'
    parameters = {
        "type": "object",
        "properties": {name: {"const": name}},
        "required": [name],
        "additionalProperties": False,
    }
    tool = ToolSpec(name, "", parameters)
    tokens = model.tokenise(SMOLLM2.render_calls([ParsedCall(name, {name: name})]))
    assert accepts(bind_tools(backend, SMOLLM2, [tool], REQUIRED), tokens)
