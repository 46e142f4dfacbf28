"""What logits say about a token that was chosen, beyond which one it was (pure).

All of it comes from the logits as the model gave them, before any grammar, penalty or temperature: a token the
grammar forced still says what the model thought of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Signal:
    """What is known of one chosen token."""

    token: int
    log_probability: float
    entropy: float
    """Of the whole distribution, in nats."""
    removed: float | None
    """The probability of all tokens the grammar forbade here; `None` where that was not looked at."""
    alternatives: tuple[tuple[int, float], ...] = ()
    """The likeliest tokens with their log-probabilities, the likeliest first."""


class Reader:
    """Reads signals off rows of logits; keeps its arrays, so that a row costs a pass or two and no memory."""

    def __init__(self, size: int) -> None:
        self._shifted = np.empty(size, np.float32)
        self._weights = np.empty(size, np.float32)
        self._ones = np.ones(size, np.float32)

    def read(
        self,
        logits: NDArray[np.float32],
        token: int,
        *,
        allowed: NDArray[np.bool_] | None = None,
        bound: bool = False,
        alternatives: int = 0,
    ) -> Signal:
        """Return what `logits` say about `token`.

        Args:
            logits: One row, as the model gave it.
            token: The one that was chosen.
            allowed: For every token, whether the grammar let it come; `None` where that is not known.
            bound: Whether there is a grammar.
            alternatives: How many of the likeliest tokens to name.
        """
        shifted, weights = self._shifted, self._weights
        np.subtract(logits, logits.max(), out=shifted)
        np.exp(shifted, out=weights)
        total = float(np.dot(weights, self._ones))  # half the time of a sum
        log_total = math.log(total)
        chosen = float(shifted[token]) - log_total
        if shifted.min() == -np.inf:  # it has no weight, but would make the product nan
            np.maximum(shifted, -1e4, out=shifted)
        expected = float(np.dot(weights, shifted)) / total
        removed: float | None = None if bound else 0.0
        if allowed is not None:
            np.multiply(weights, allowed, out=self._shifted)
            removed = min(1.0, max(0.0, 1 - float(self._shifted.sum()) / total))
        return Signal(
            token, chosen, log_total - expected, removed, self._top(logits, log_total, alternatives)
        )

    def _top(
        self, logits: NDArray[np.float32], log_total: float, count: int
    ) -> tuple[tuple[int, float], ...]:
        if not count:
            return ()
        best = np.argpartition(logits, -count)[-count:]
        best = best[np.argsort(-logits[best], kind="stable")]
        top = float(logits[best[0]])
        return tuple((int(token), float(logits[token]) - top - log_total) for token in best)


def mean_log_probability(signals: Sequence[Signal]) -> float | None:
    """Return the mean over the tokens that were chosen; `None` where none was."""
    if not signals:
        return None
    mean = float(np.mean([signal.log_probability for signal in signals], dtype=np.float64))
    return mean if np.isfinite(mean) else None
