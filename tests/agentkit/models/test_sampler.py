"""Every lever does to a draw what its name says: on five tokens whose chances are known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agentkit.models.base import Sampling
from agentkit.models.llama import LlamaModel, Settings
from agentkit.models.sampler import Sampler

pytestmark = [pytest.mark.model, pytest.mark.slow]
CHANCES = (0.4, 0.3, 0.15, 0.1, 0.05)
WORDS = (" fox", " river", " stone", " copper", " wheel")
"""Each is one token, none of which ends a repetition for DRY."""
DRAWS = 100


@pytest.fixture(scope="module")
def model(smollm2_path: Path) -> Iterator[LlamaModel]:
    model = LlamaModel(smollm2_path, Settings(context_tokens=64))
    yield model
    model.close()


@pytest.fixture(scope="module")
def tokens(model: LlamaModel) -> list[int]:
    """Return the five tokens, the likeliest first."""
    return [token for word in WORDS for token in model.tokenise(word)]


@pytest.fixture(scope="module")
def logits(model: LlamaModel, tokens: list[int]) -> NDArray[np.float32]:
    row = np.full(model.vocabulary_size, -30.0, np.float32)
    row[tokens] = 20 + np.log(CHANCES)
    return row


def drawn(
    model: LlamaModel,
    logits: NDArray[np.float32],
    tokens: list[int],
    written: str,
    levers: dict[str, Any],
    *,
    bound: bool,
) -> str:
    """Return which of the five come in many draws, as numbers, the likeliest first.

    Args:
        model: Whose vocabulary it is.
        logits: One row, the same at every draw.
        tokens: The five.
        written: Which of them came before, in their order.
        levers: What is set beside the temperature, 1.
        bound: Whether a grammar allows these five only.
    """
    allowed = logits > logits.min() if bound else None
    sampler = Sampler(model, Sampling(**{"temperature": 1.0, "seed": 7, **levers}))
    try:
        for each in written:
            sampler.accept(tokens[int(each)])
        found = {tokens.index(sampler.draw(logits, allowed)) for _ in range(DRAWS)}
    finally:
        sampler.close()
    return "".join(map(str, sorted(found)))


LEVERS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "", "01234"),
    ({"temperature": 0.0}, "", "0"),
    ({"temperature": 0.02}, "", "0"),
    ({"top_k": 2}, "", "01"),
    ({"top_p": 0.5}, "", "01"),
    ({"min_p": 0.3}, "", "012"),
    ({"typical_p": 0.25}, "", "1"),  # the one whose surprise is nearest to the mean
    ({"xtc_probability": 1.0, "xtc_threshold": 0.12}, "", "234"),  # of the likely ones the least likely stays
    ({"repeat_penalty": 2.0}, "", "01234"),
    ({"repeat_penalty": 2.0}, "01", "234"),
    ({"repeat_penalty": 2.0, "penalty_tokens": 1}, "01", "0234"),
    ({"frequency_penalty": 2.0}, "0" * 10, "1234"),
    ({"presence_penalty": 2.0, "temperature": 0.05}, "0", "1"),
    ({"dry_multiplier": 5.0}, "0", "01234"),
    ({"dry_multiplier": 5.0}, "0123012", "0124"),  # 3 would make the run of 012 one longer
    ({"dry_multiplier": 5.0, "dry_allowed_length": 4}, "0123012", "01234"),
    ({"mirostat": 1, "mirostat_tau": 0.0}, "", "0"),
    ({"mirostat": 2, "mirostat_tau": 1.0}, "", "01"),
]


@pytest.mark.parametrize("bound", [False, True], ids=["free", "bound"])
@pytest.mark.parametrize(("levers", "written", "expected"), LEVERS, ids=lambda each: str(each) or "-")
def test_a_lever_leaves_what_it_says(
    model: LlamaModel,
    logits: NDArray[np.float32],
    tokens: list[int],
    levers: dict[str, Any],
    written: str,
    expected: str,
    bound: bool,
) -> None:
    assert drawn(model, logits, tokens, written, levers, bound=bound) == expected
