"""A conversation that outgrows its window: refused where all has to be exact, carried on where it may be moved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from agentkit.errors import AgentkitError, ContextOverflowError
from agentkit.messages import Message
from agentkit.models.base import Sampling, StopReason, finish
from agentkit.models.decoder import Decoder
from agentkit.models.engine import Engine
from agentkit.models.generate import Generation, Outcome
from agentkit.models.levers import Levers
from agentkit.models.llama import LlamaModel, Settings
from agentkit.models.measuring import text
from agentkit.models.scheduler import Job, Scheduler
from agentkit.models.scoring import CHUNK_TOKENS, log_softmax, loss
from agentkit.models.sliding import MAX_SHIFTS, SINK_TOKENS, Window
from agentkit.models.workbench import Workbench
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


class Book:
    """A generation that writes what it is told, a chunk at a time, and notes how well each end was predicted."""

    def __init__(self, tokens: list[int], window: Window) -> None:
        self._ahead = tokens
        self.window = window
        self.prompt = tuple(self._take())
        self.tokens = list(self.prompt)
        self.reading = 0
        self.reserve = window.tokens
        self.sampling = Sampling()
        self.outcome = Outcome(prompt_tokens=len(self.prompt))
        self.stop: StopReason | None = None
        self.losses: list[float] = []

    def _take(self) -> list[int]:
        taken, self._ahead = self._ahead[:CHUNK_TOKENS], self._ahead[CHUNK_TOKENS:]
        return taken

    def start(self, _reused: int, _origin: str) -> None:
        pass

    def let_go(self, start: int, count: int) -> None:
        del self.tokens[start : start + count]

    def advance(self, logits: NDArray[np.float32]) -> None:
        self.losses.append(float(loss(log_softmax(logits[np.newaxis]), self._ahead[:1])[0]))
        if len(self._ahead) > CHUNK_TOKENS:
            self.tokens += self._take()
        else:
            self.stop = StopReason.END

    def finish(self) -> None:
        pass


@pytest.mark.timeout(300)
def test_what_is_measured_of_a_moved_window_is_what_users_run(smollm2_path: Path) -> None:
    """`Workbench.slide` has a way of its own to the cache; `Scheduler` and `Decoder` predict the same by theirs."""
    window = Window(2 * CHUNK_TOKENS + SINK_TOKENS, SINK_TOKENS)
    bench = Workbench(smollm2_path, Levers(2), context_tokens=window.tokens, rows=CHUNK_TOKENS)
    try:
        tokens = bench.tokenise(text())[: 16 * CHUNK_TOKENS + 1]
        losses = bench.slide(tokens, window, lambda *_: None, shift=True)
        again = bench.slide(tokens[: 3 * CHUNK_TOKENS + 1], window, lambda *_: None, shift=False)
    finally:
        bench.close()
    settings = Settings(context_tokens=window.tokens, streams=1, window="shift", threads=2)
    model = LlamaModel(smollm2_path, settings)
    decoder = Decoder(model, settings)
    try:
        book = Book(tokens, window)
        errors: list[AgentkitError | None] = []
        scheduler = Scheduler(decoder)
        scheduler.submit(Job(cast("Generation", book), errors.append))
        while scheduler.busy:
            scheduler.step(lambda: False)
    finally:
        decoder.close()
        model.close()
    assert errors == [None]
    assert book.outcome.shifts > MAX_SHIFTS
    assert book.outcome.recomputed == 1
    ends = losses[CHUNK_TOKENS - 1 :: CHUNK_TOKENS]
    assert book.losses == pytest.approx(ends, abs=0.01)
    other = again[CHUNK_TOKENS - 1 :: CHUNK_TOKENS]
    assert other != pytest.approx(ends[: len(other)], abs=0.01)  # what is computed again is something else
