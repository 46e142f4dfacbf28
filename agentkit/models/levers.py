"""The levers of a model's speed: how it is run, not what it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Levers:
    """How a model is run, as far as that can change its speed."""

    threads: int
    flash_attention: bool = True
    repack: bool = True
    """Rearrange weights for this processor."""
    batch_tokens: int = 512
    """Tokens of a prompt computed at once."""
