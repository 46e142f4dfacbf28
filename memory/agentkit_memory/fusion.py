"""Fuse the dense and the lexical arm: a weighted sum of z-scores over the pool of candidates.

Rank fusion (RRF) was measured to lose against this; see docs/adr. Pure functions, no I/O.
Source: "Training-free lexical-dense fusion", arXiv 2606.04194.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEXICAL_WEIGHT: Final = 0.5


def fuse(
    dense: Mapping[str, float],
    lexical: Mapping[str, float],
    pool: Iterable[str],
    weight: float = LEXICAL_WEIGHT,
) -> list[tuple[str, float]]:
    """Return the candidates with their fused scores, best first; ties keep the order of `pool`.

    Args:
        dense: Cosine of each candidate; of none, when there is no question vector.
        lexical: BM25 of the candidates with a term of the question; the others count 0.
        pool: The candidates.
        weight: Share of the lexical arm, 0 to 1.
    """
    candidates = list(dict.fromkeys(pool))
    near = _standardised([dense.get(each, 0.0) for each in candidates])
    said = _standardised([lexical.get(each, 0.0) for each in candidates])
    scores = [weight * b + (1 - weight) * a for a, b in zip(near, said, strict=True)]
    return sorted(zip(candidates, scores, strict=True), key=lambda pair: -pair[1])


def diversify(
    ranked: Sequence[tuple[str, float]], vectors: Mapping[str, NDArray[np.float32]], k: int, diversity: float
) -> list[tuple[str, float]]:
    """Return `k` of `ranked`, each the best that is left when likeness to those already taken counts against it.

    Args:
        ranked: Candidates with their scores, best first.
        vectors: Of every candidate, unit length.
        k: How many.
        diversity: 0 keeps the order, 1 looks at likeness alone.

    Source: maximal marginal relevance, Carbonell and Goldstein 1998.
    """
    left = dict(ranked)
    top, low = max(left.values(), default=0.0), min(left.values(), default=0.0)
    span = (top - low) or 1.0
    likeness = dict.fromkeys(left, 0.0)
    taken: list[tuple[str, float]] = []
    while left and len(taken) < k:
        chosen = max(
            left, key=lambda each: (1 - diversity) * (left[each] - low) / span - diversity * likeness[each]
        )
        taken.append((chosen, left.pop(chosen)))
        for each in left:
            likeness[each] = max(likeness[each], float(vectors[each] @ vectors[chosen]))
    return taken


def _standardised(values: list[float]) -> list[float]:
    if not values:
        return []
    mean = math.fsum(values) / len(values)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
    # Equal values tell nothing apart; dividing by rounding noise would.
    return [(value - mean) / spread if spread > 1e-9 else 0.0 for value in values]
