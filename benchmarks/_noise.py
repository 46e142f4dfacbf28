"""Prompts of any length that no two rounds share."""

from __future__ import annotations

import random

WORDS = (
    "river",
    "stone",
    "copper",
    "window",
    "garden",
    "letter",
    "engine",
    "paper",
    "winter",
    "market",
    "bridge",
)


def noise(words: int, seed: int) -> str:
    """Return text that no earlier round has left in the cache."""
    chance = random.Random(seed)
    return " ".join(chance.choice(WORDS) for _ in range(words))
