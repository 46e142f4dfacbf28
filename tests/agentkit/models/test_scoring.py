"""Perplexity and divergence: right on numbers worked out by hand, and on the real model."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from agentkit.errors import ConfigError
from agentkit.models.levers import Levers
from agentkit.models.measuring import Measured, text
from agentkit.models.scoring import (
    CHUNK_TOKENS,
    WINDOW_TOKENS,
    Reference,
    chunks,
    divergence,
    log_softmax,
    loss,
    top,
)
from agentkit.models.sliding import SINK_TOKENS, Window
from agentkit.models.workbench import Workbench
from agentkit.spawn import LocalSpawner
from tests.agentkit.models.test_scheduler import plain


def test_each_token_is_scored_once_behind_enough_context() -> None:
    tokens = list(range(3 * WINDOW_TOKENS + 100))
    parts = list(chunks(tokens))
    assert [part.first for part in parts] == [True, False, False, False] * 3
    assert max(len(part.tokens) for part in parts) == CHUNK_TOKENS
    scored = [target for part in parts for target in part.targets]
    assert len(scored) == len(set(scored)) == 3 * (WINDOW_TOKENS - CHUNK_TOKENS)
    for part in parts:
        if part.targets:
            assert list(part.targets) == [token + 1 for token in part.tokens]


def test_losses_are_negative_log_probabilities() -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]], np.float32)) + 1000
    assert loss(log_softmax(logits), [1, 2]) == pytest.approx([math.log(4), -math.log(0.8)], abs=1e-3)


def test_divergence_is_zero_of_itself_and_never_above_the_whole_sum() -> None:
    chance = np.random.default_rng(7)
    ours, theirs = (log_softmax(chance.normal(0, 3, (40, 500)).astype(np.float32)) for _ in range(2))
    whole = (np.exp(theirs) * (theirs - ours)).sum(axis=1)
    everything = divergence(top(theirs, 500), ours)
    some = divergence(top(theirs, 100), ours)
    assert everything == pytest.approx(whole, rel=1e-3)
    assert (some <= whole + 1e-3).all()
    assert some.mean() > 0.8 * whole.mean()
    assert divergence(top(theirs, 100), theirs) == pytest.approx(np.zeros(40), abs=1e-5)


def test_a_reference_keeps_the_likeliest_tokens() -> None:
    row = log_softmax(np.array([[0, 9, 1, 8, 2]], np.float32))
    kept: Reference = top(row, 2)
    assert set(kept.tokens[0].tolist()) == {1, 3}


def test_the_shipped_text_is_long_enough_and_plain() -> None:
    assert 20_000 < len(text().encode()) < 40_000
    assert "Gutenberg" not in text()


@pytest.mark.model
@pytest.mark.slow
def test_the_real_model_scores_the_same_twice_and_differs_from_itself_by_nothing(smollm2_path: Path) -> None:
    with Measured(smollm2_path, LocalSpawner()) as worker:
        first = worker.score(Levers(1), tokens=WINDOW_TOKENS + 1)
        again = worker.score(Levers(1), first, tokens=WINDOW_TOKENS + 1)
        without = worker.score(Levers(1, flash_attention=False), first, tokens=WINDOW_TOKENS + 1)
    assert first.tokens == WINDOW_TOKENS - CHUNK_TOKENS
    assert 10 < first.perplexity < 60
    assert again.perplexity == first.perplexity
    assert again.divergence == pytest.approx(0, abs=1e-6)
    assert without.perplexity == pytest.approx(first.perplexity, rel=0.01)


@pytest.mark.model
@pytest.mark.slow
def test_a_window_that_moves_predicts_about_as_well_as_one_computed_again(smollm2_path: Path) -> None:
    window = Window(256 + SINK_TOKENS, SINK_TOKENS)
    with Measured(smollm2_path, LocalSpawner()) as worker:
        moved, again = (
            worker.losses(Levers(1), text(), tokens=513, window=window, shift=shift).mean()
            for shift in (True, False)
        )
    assert moved != again
    assert moved == pytest.approx(again, abs=math.log(1.05))


@pytest.mark.model
@pytest.mark.slow
def test_any_text_is_scored_as_llama_cpp_predicts_it(smollm2_path: Path) -> None:
    import llama_cpp  # noqa: TID251 - what is promised is that both agree

    llama = llama_cpp.Llama(str(smollm2_path), n_ctx=768, logits_all=True, n_threads=2, verbose=False)
    try:
        for sample in (text()[:2500], "A fox and <|im_end|> naïve 猫 🦊."):
            tokens = llama.tokenize(sample.encode(), add_bos=False, special=False)
            llama.n_tokens = 0
            llama.eval(tokens)
            logits = np.asarray(llama.scores[: len(tokens) - 1], np.float32)
            exact = loss(log_softmax(logits), tokens[1:])
            with Measured(smollm2_path, LocalSpawner()) as worker:
                ours = worker.losses(Levers(2, flash_attention=False, batch_tokens=32), sample)
            assert len(ours) == len(tokens) - 1
            assert ours == pytest.approx(exact, abs=0.05)
            assert ours.sum(dtype="f8") == pytest.approx(exact.sum(dtype="f8"), rel=1e-3)
    finally:
        llama.close()


def test_a_text_begins_as_the_model_wants_it(tmp_path: Path) -> None:
    """This one starts every text with a token of its own, and sees it before each window, as llama.cpp does."""
    path, start = plain(tmp_path / "model.gguf"), 1
    bench = Workbench(path, Levers(1), context_tokens=WINDOW_TOKENS, rows=CHUNK_TOKENS)
    try:
        tokens = bench.tokenise("a fox " * 200)
        assert tokens[0] == start
        assert start not in tokens[1:]
        losses, _, _ = bench.score(tokens[: 2 * WINDOW_TOKENS + 1], None, lambda *_: None)
        second = [start, *tokens[WINDOW_TOKENS + 1 : 2 * WINDOW_TOKENS + 1]]
        alone, _, _ = bench.score(second, None, lambda *_: None)
        assert losses[len(alone) :].tolist() == alone.tolist()
        text = bench.slide(bench.tokenise("a"), Window(400, SINK_TOKENS), lambda *_: None, shift=False)
        assert len(text) == len(bench.tokenise("a")) - 1 > 0
    finally:
        bench.close()


@pytest.mark.model
@pytest.mark.slow
def test_a_text_begins_with_itself_where_the_model_wants_nothing_before_it(smollm2_path: Path) -> None:
    bench = Workbench(smollm2_path, Levers(1), context_tokens=WINDOW_TOKENS)
    try:
        assert len(bench.tokenise("a")) == 1
    finally:
        bench.close()


@pytest.mark.model
@pytest.mark.slow
def test_what_cannot_be_scored_is_a_typed_error(smollm2_path: Path) -> None:
    with Measured(smollm2_path, LocalSpawner()) as worker:
        for nothing, count in (("", 0), ("a", 1)):
            with pytest.raises(ConfigError, match=f"a text of {count} tokens cannot be scored"):
                worker.losses(Levers(1), nothing)
        with pytest.raises(ConfigError, match="a window of 128 tokens is too small"):
            worker.losses(Levers(1), "a b c", window=Window(128, SINK_TOKENS))
        assert worker.losses(Levers(1), "a b c").shape == (2,)
