"""The scripted model keeps to its script, and refuses what the real engine would."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.errors import EngineError
from agentkit.messages import Message, ToolCall, ToolSpec
from agentkit.models.base import AUTO, REQUIRED
from agentkit.models.scripted import ScriptedModel

QUESTION = [Message.user("hello there")]
TOOL = ToolSpec("look", "Look.", {"type": "object", "properties": {}, "additionalProperties": False})


@given(st.text(max_size=60))
def test_it_says_exactly_the_text(text: str) -> None:
    assert "".join(ScriptedModel([text]).complete(QUESTION)) == text


def test_a_callable_answers_the_messages() -> None:
    model = ScriptedModel([lambda messages: messages[-1].text.upper()])
    assert "".join(model.complete(QUESTION)) == "HELLO THERE"
    assert model.prompts == [tuple(QUESTION)]


def test_the_end_of_the_script_is_an_error() -> None:
    with pytest.raises(EngineError, match="ended"):
        next(ScriptedModel([]).complete(QUESTION))


def test_calls_of_what_was_not_offered_are_refused() -> None:
    calls = [ToolCall("1", "leap", {})]
    for options in ({}, {"tools": [TOOL], "choice": AUTO}):
        with pytest.raises(EngineError, match="leap"):
            next(ScriptedModel([calls]).complete(QUESTION, **options))  # type: ignore[arg-type]


def test_speaking_where_it_must_call_is_refused() -> None:
    with pytest.raises(EngineError, match="speaks"):
        next(ScriptedModel(["no"]).complete(QUESTION, tools=[TOOL], choice=REQUIRED))
