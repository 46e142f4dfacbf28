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
    k_type: str = "f16"
    """How keys are kept: `f16` or `q8_0`."""
    v_type: str = "f16"
    """How values are kept; `q8_0` needs flash attention."""
    window: str = "recompute"
    """What happens when the window is full; see `agentkit.models.cache_levers`."""
