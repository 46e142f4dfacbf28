"""A conversation that outgrows its window: refused where all has to be exact, carried on where it may be moved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agentkit.errors import ContextOverflowError
from agentkit.messages import Message
from agentkit.models.base import Sampling, StopReason, finish
from agentkit.models.engine import Engine
from agentkit.models.sliding import MAX_SHIFTS
from agentkit.spawn import LocalSpawner

pytestmark = [pytest.mark.model, pytest.mark.slow]
END = 2
"""`<|im_end|>`: without it the model writes on for as long as it may."""
STORY = [Message.system("You tell stories."), Message.user("Tell me a long story.")]
ENDLESS = Sampling(max_tokens=240, logit_bias=((END, -100.0),), repeat_penalty=1.2)


@pytest.fixture(scope="module")
def shifting(smollm2_path: Path) -> Iterator[Engine]:
    engine = Engine(smollm2_path, LocalSpawner(), context_tokens=256, cache_tokens=1024, window="shift")
    yield engine
    engine.close()


def test_an_answer_goes_on_behind_the_window(shifting: Engine) -> None:
    said = shifting.describe()
    assert (said["window"], said["window_shifts"]) == ("shift", True)
    completion = finish(shifting.complete(STORY, sampling=ENDLESS, conversation="story"))
    usage = completion.usage
    assert completion.stop is StopReason.LENGTH
    assert usage.completion_tokens == 240
    assert usage.prompt_tokens + usage.completion_tokens > 256
    assert "window shifted" in usage.cache
    assert all(-20 < signal.log_probability <= 0 for signal in completion.signals)


def test_where_nothing_may_be_moved_it_is_computed_again(shifting: Engine) -> None:
    completion = finish(shifting.complete(STORY, sampling=replace(ENDLESS, reproducible=True)))
    assert completion.usage.completion_tokens == 240
    assert "window recomputed" in completion.usage.cache
    assert "shifted" not in completion.usage.cache


def test_after_so_many_moves_in_one_answer_it_is_computed_again(smollm2_path: Path) -> None:
    engine = Engine(smollm2_path, LocalSpawner(), context_tokens=64, window="shift")
    try:
        completion = finish(engine.complete(STORY, sampling=replace(ENDLESS, max_tokens=260)))
    finally:
        engine.close()
    assert completion.usage.completion_tokens == 260
    assert completion.usage.cache == f"cold; window shifted {MAX_SHIFTS} times; window recomputed 1 times"
    assert all(-20 < signal.log_probability <= 0 for signal in completion.signals)


def test_an_exact_window_refuses_what_does_not_fit(engine: Engine) -> None:
    assert engine.describe()["window_shifts"] is False
    with pytest.raises(ContextOverflowError, match="but the window holds 1024"):
        finish(engine.complete(STORY, sampling=replace(ENDLESS, max_tokens=1020)))


def test_a_conversation_without_its_oldest_turn_goes_on_with_the_rest(
    shifting: Engine, engine: Engine
) -> None:
    short = Sampling(max_tokens=4)
    turns = [
        [Message.user(f"{name} " * 60), Message.assistant("I see.", STORY[0].labels)]
        for name in ("river", "stone", "copper")
    ]
    last = Message.user("Which words?")
    for model, origin in ((shifting, "shifted"), (engine, "reused")):
        finish(model.complete([STORY[0], *turns[0], *turns[1], last], sampling=short, conversation="words"))
        later = [STORY[0], *turns[1], turns[2][0]]
        usage = finish(model.complete(later, sampling=short, conversation="words")).usage
        assert usage.cache == origin
        assert (usage.reused_tokens > usage.prompt_tokens // 2) is (model is shifting)
