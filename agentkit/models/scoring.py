"""How well a model predicts a text: perplexity, and how far its predictions lie from those of a reference (pure).

A text is cut into windows of `WINDOW_TOKENS`; the first `CHUNK_TOKENS` of each are context only, the rest is scored.
At most `CHUNK_TOKENS` rows of logits exist at a time: with 49,152 tokens in the vocabulary one row is 192 KiB.

The reference is kept compactly: of each row the `TOP` likeliest tokens with their log-probabilities, 8 bytes each;
everything else is one remainder. The divergence over these classes is a lower bound of that over all tokens, and
with 256 of them so near to it that levels keep their order.
Source: Kullback-Leibler divergence; the bound is the data processing inequality (Cover & Thomas, §2.8).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHUNK_TOKENS = 128
WINDOW_TOKENS = 512
TOP = 256


@dataclass(frozen=True, slots=True)
class Reference:
    """What the reference predicted, row by row."""

    tokens: NDArray[np.int32]
    """Shape (rows, TOP)."""
    log_probabilities: NDArray[np.float32]
    """Shape (rows, TOP), of the same tokens."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens to decode together."""

    tokens: Sequence[int]
    first: bool
    """Whether the cache is to be emptied before."""
    targets: Sequence[int]
    """The token behind each; empty where the chunk is context only."""


def chunks(tokens: Sequence[int]) -> Iterator[Chunk]:
    """Yield a text in the order it is decoded; what does not fill a window at its end is left out."""
    for start in range(0, len(tokens) - WINDOW_TOKENS, WINDOW_TOKENS):
        for at in range(start, start + WINDOW_TOKENS, CHUNK_TOKENS):
            scored = at > start
            yield Chunk(
                tokens[at : at + CHUNK_TOKENS],
                first=not scored,
                targets=tokens[at + 1 : at + 1 + CHUNK_TOKENS] if scored else (),
            )


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return log-probabilities of rows of logits; safe for any finite logits."""
    import numpy as np

    shifted = logits - logits.max(axis=1, keepdims=True)
    total = np.exp(shifted).sum(axis=1, keepdims=True)
    scores: NDArray[np.float32] = shifted - np.log(total)
    return scores


def loss(log_probabilities: NDArray[np.float32], targets: Sequence[int]) -> NDArray[np.float32]:
    """Return the negative log-probability of each target."""
    import numpy as np

    chosen = log_probabilities[np.arange(len(targets)), np.asarray(targets)]
    losses: NDArray[np.float32] = -chosen
    return losses


def top(log_probabilities: NDArray[np.float32], count: int = TOP) -> Reference:
    """Return the likeliest tokens of each row."""
    import numpy as np

    count = min(count, log_probabilities.shape[1])
    tokens = np.argpartition(log_probabilities, -count, axis=1)[:, -count:].astype(np.int32)
    return Reference(tokens, np.take_along_axis(log_probabilities, tokens, axis=1))


def divergence(reference: Reference, log_probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the divergence of each row from the reference, in nats: 0 where both predict the same."""
    import numpy as np

    theirs = reference.log_probabilities.astype(np.float64)
    ours = np.take_along_axis(log_probabilities, reference.tokens, axis=1).astype(np.float64)
    named = (np.exp(theirs) * (theirs - ours)).sum(axis=1)
    their_rest = np.clip(1 - np.exp(theirs).sum(axis=1), 1e-9, 1)
    our_rest = np.clip(1 - np.exp(ours).sum(axis=1), 1e-9, 1)
    whole = named + their_rest * np.log(their_rest / our_rest)
    return np.asarray(np.maximum(whole, 0), np.float32)
