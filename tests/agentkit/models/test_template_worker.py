"""Asking what a template is like runs it in a locked process, and whatever it does is said and not suffered."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentkit.errors import ConfigError
from agentkit.messages import Message, ToolSpec
from agentkit.models.base import REQUIRED, Sampling, finish
from agentkit.models.engine import Engine
from agentkit.models.template_worker import try_template
from agentkit.spawn import LocalSpawner

SPAWNER = LocalSpawner()


def test_a_template_is_said_to_be_of_its_family() -> None:
    said = try_template(None, SPAWNER)
    assert (said["format"], said["because"]) == ("generic", "the template knows no tools")
    assert said["the_template_writes"] == "nothing"
    assert said["trigger"] == "<tool_call>"
    thinks = try_template(
        "{% for m in messages %}{{ m.content }}{% endfor %}{# <think> #}", SPAWNER, "llama3"
    )
    assert (thinks["format"], thinks["because"], thinks["thoughts"]) == (
        "llama3",
        "it was asked for",
        "<think>",
    )
    assert thinks["calls_at_once"] == 1


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__.__mro__ }}",
        "{% for",
        "{% for i in range(9999) %}{{ 'a' * 9999 }}{% endfor %}",
        "hello",
    ],
)
def test_a_hostile_template_is_refused_in_words(source: str) -> None:
    assert set(try_template(source, SPAWNER)) == {"refused"}


def test_a_format_nobody_knows_is_an_error_that_lists_the_others(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="hermies") as caught:
        try_template(None, SPAWNER, "hermies")
    assert "hermes" in str(caught.value.hint)
    with pytest.raises(ConfigError, match="hermies"):
        Engine(tmp_path / "a.gguf", SPAWNER, tool_format="hermies")


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen-coder", "lfm2", "llama3", "mistral-args"])
def test_a_model_calls_in_the_format_that_is_asked_for(
    smollm2_path: Path, tools: tuple[ToolSpec, ...], name: str
) -> None:
    engine = Engine(smollm2_path, SPAWNER, context_tokens=1024, tool_format=name)
    try:
        assert engine.describe()["tool_format"] == name
        stream = engine.complete(
            [Message.user("What is the weather in Oslo?")],
            tools=tools,
            choice=REQUIRED,
            sampling=Sampling(max_tokens=200),
        )
        calls = finish(stream).calls
        assert calls
        assert {call.name for call in calls} <= {tool.name for tool in tools}
    finally:
        engine.close()
