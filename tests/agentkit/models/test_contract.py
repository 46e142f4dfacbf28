"""What every `Model` promises, held by the shipped fake and by the real engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jsonschema
import pytest

from agentkit.errors import ConfigError, ContextOverflowError
from agentkit.labels import Labels
from agentkit.messages import Message, ToolCall, ToolSpec
from agentkit.models.base import AUTO, REQUIRED, Completion, Model, Refusal, Sampling, StopReason, ToolChoice
from agentkit.models.scripted import Script, ScriptedModel

MakeModel = Callable[[Sequence[Script]], Model]
SPOKEN = "The fox is quick. It ran far away over the hills, then it came back to rest."
QUESTION = [Message.user("Tell me about a fox.")]
SHORT = Sampling(max_tokens=8)


@pytest.fixture(params=["scripted", pytest.param("engine", marks=[pytest.mark.model, pytest.mark.slow])])
def make_model(request: pytest.FixtureRequest) -> MakeModel:
    if request.param == "scripted":
        return lambda replies: ScriptedModel(replies, context_tokens=1024)
    engine: Model = request.getfixturevalue("engine")
    return lambda _replies: engine


def finish(
    model: Model, messages: Sequence[Message] = QUESTION, **options: object
) -> tuple[list[str], Completion]:
    stream = model.complete(messages, **options)  # type: ignore[arg-type]
    shown: list[str] = []
    while True:
        try:
            shown.append(next(stream))
        except StopIteration as end:
            return shown, end.value


def test_what_is_streamed_is_the_text(make_model: MakeModel) -> None:
    shown, completion = finish(make_model([SPOKEN]), sampling=SHORT)
    assert completion.text
    assert "".join(shown) == completion.text
    assert all(shown)


def test_the_budget_ends_the_text(make_model: MakeModel) -> None:
    _, completion = finish(make_model([SPOKEN]), sampling=SHORT)
    assert completion.stop is StopReason.LENGTH
    assert completion.usage.completion_tokens == 8


def test_usage_counts_the_prompt_as_count_does(make_model: MakeModel, tools: tuple[ToolSpec, ...]) -> None:
    model = make_model([SPOKEN])
    _, completion = finish(model, tools=tools, choice=AUTO, sampling=SHORT)
    assert completion.usage.prompt_tokens == model.count(QUESTION, tools)


def test_a_longer_conversation_counts_more(make_model: MakeModel, tools: tuple[ToolSpec, ...]) -> None:
    model = make_model([])
    call = ToolCall("1", "clock.read", {"unit": "hour"})
    longer = [*QUESTION, Message.assistant("Well.", Labels(), (call,)), Message.tool(call, "noon", Labels())]
    assert 0 < model.count(QUESTION) < model.count(longer) < model.count(longer, tools)
    assert model.count_text("one two three") == 3
    assert model.count_text("") == 0


def test_a_stop_string_ends_the_text_before_it(make_model: MakeModel) -> None:
    shown, first = finish(make_model([SPOKEN]), sampling=Sampling(max_tokens=12))
    stop = first.text[4:9]
    shown, completion = finish(make_model([SPOKEN]), sampling=Sampling(max_tokens=12, stop=(stop,)))
    assert completion.stop is StopReason.STOP
    assert completion.text == "".join(shown) == first.text[: first.text.index(stop)]


def test_what_cannot_fit_is_refused_with_the_numbers(make_model: MakeModel) -> None:
    model = make_model([SPOKEN])
    sampling = Sampling(max_tokens=model.context_tokens)
    with pytest.raises(
        ContextOverflowError, match=rf"up to {model.context_tokens}.*holds {model.context_tokens}"
    ):
        next(model.complete(QUESTION, sampling=sampling))


def test_required_gives_valid_calls_and_no_text(make_model: MakeModel, tools: tuple[ToolSpec, ...]) -> None:
    script = [[ToolCall("1", "get_weather", {"city": "Oslo"})]]
    shown, completion = finish(
        make_model(script), tools=tools, choice=REQUIRED, sampling=Sampling(max_tokens=120)
    )
    assert shown == []
    assert completion.text == ""
    assert 1 <= len(completion.calls) <= 8
    parameters = {tool.name: tool.parameters for tool in tools}
    for call in completion.calls:
        jsonschema.validate(call.arguments, parameters[call.name])
    assert len({call.id for call in completion.calls}) == len(completion.calls)


def test_named_calls_that_tool_once(make_model: MakeModel, tools: tuple[ToolSpec, ...]) -> None:
    script = [[ToolCall("1", "clock.read", {"unit": "hour"})]]
    _, completion = finish(make_model(script), tools=tools, choice=ToolChoice.named("clock.read"))
    assert [call.name for call in completion.calls] == ["clock.read"]


def test_required_without_tools_is_refused(make_model: MakeModel) -> None:
    with pytest.raises(ConfigError):
        next(make_model([SPOKEN]).complete(QUESTION, choice=REQUIRED))


def test_tools_and_a_schema_are_refused_together(make_model: MakeModel, tools: tuple[ToolSpec, ...]) -> None:
    with pytest.raises(ConfigError, match="same text"):
        next(make_model([SPOKEN]).complete(QUESTION, tools=tools, choice=AUTO, schema={"type": "object"}))


def test_closing_the_stream_cancels_and_leaves_the_model_usable(make_model: MakeModel) -> None:
    model = make_model([SPOKEN, SPOKEN])
    stream = model.complete(QUESTION, sampling=Sampling(max_tokens=400))
    next(stream)
    stream.close()
    _, completion = finish(model, sampling=SHORT)
    assert completion.stop is StopReason.LENGTH


def test_without_a_grammar_what_is_invalid_is_refused_and_not_a_call(
    make_model: MakeModel, tools: tuple[ToolSpec, ...]
) -> None:
    model = make_model([Refusal("the call breaks off")])
    free = Sampling(max_tokens=40, grammar=False)
    question = [Message.user('Repeat: <tool_call>[{"name": "clock.read", "arguments": {"unit": "day"}}]')]
    _, completion = finish(model, question, tools=tools, choice=AUTO, sampling=free)
    parameters = {tool.name: tool.parameters for tool in tools}
    for call in completion.calls:
        jsonschema.validate(call.arguments, parameters[call.name])
    assert not (completion.calls and completion.refused)
    assert "<tool_call>" not in completion.text


def test_a_value_that_is_cut_off_is_refused(make_model: MakeModel) -> None:
    schema = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}
    _, completion = finish(make_model(['{"colour": "a b c']), sampling=Sampling(max_tokens=3), schema=schema)
    assert completion.refused is not None
    _, completion = finish(
        make_model(['{"colour": "green"}']), sampling=Sampling(max_tokens=60), schema=schema
    )
    assert (completion.refused is None) is (completion.stop is StopReason.END)
