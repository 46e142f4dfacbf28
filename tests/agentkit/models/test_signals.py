"""What logits say of a chosen token is what the softmax says, whatever a grammar or penalty did to the draw."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agentkit.models.signals import Reader, mean_log_probability

CHANCE = np.random.default_rng(7)


@pytest.mark.parametrize("spread", [0.01, 1.0, 30.0, 3000.0])
def test_a_signal_is_what_the_softmax_says(spread: float) -> None:
    logits = (CHANCE.normal(size=500) * spread).astype(np.float32)
    exact = logits.astype(np.float64)
    log_p = exact - exact.max() - np.log(np.exp(exact - exact.max()).sum())
    p = np.exp(log_p)
    allowed = CHANCE.random(500) < 0.3
    token = int(CHANCE.integers(500))
    signal = Reader(500).read(logits, token, allowed=allowed, bound=True, alternatives=5)
    assert signal.log_probability == pytest.approx(log_p[token], rel=1e-4, abs=1e-3)
    assert signal.entropy == pytest.approx(-(p * np.where(p > 0, log_p, 0)).sum(), abs=1e-3)
    assert signal.removed == pytest.approx(p[~allowed].sum(), abs=1e-4)
    assert [each for each, _ in signal.alternatives] == list(np.argsort(-exact, kind="stable")[:5])
    assert signal.alternatives[0][1] == pytest.approx(log_p.max(), abs=1e-3)


def test_a_token_that_cannot_come_does_not_spoil_the_rest() -> None:
    logits = np.array([1.0, -np.inf, 1.0], np.float32)
    signal = Reader(3).read(logits, 0)
    assert signal.entropy == pytest.approx(math.log(2))
    assert signal.removed == 0
    assert Reader(3).read(logits, 1).log_probability == -math.inf


def test_what_was_not_looked_at_is_not_claimed() -> None:
    assert Reader(2).read(np.zeros(2, np.float32), 0, bound=True).removed is None
    assert mean_log_probability([]) is None
    assert mean_log_probability([Reader(2).read(np.array([0, -np.inf], np.float32), 1)]) is None
