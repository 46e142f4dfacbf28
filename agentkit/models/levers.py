"""The levers of a model: how it is run, not what it is."""

from __future__ import annotations

from dataclasses import dataclass

from agentkit.errors import ConfigError
from agentkit.models.cache_levers import check_cache_levers
from agentkit.models.formats.choose import format_named
from agentkit.models.gpu import GpuUse, check_gpu

RANGES = {
    "threads": (1, 1024),
    "batch_tokens": (32, 8192),
    "context_tokens": (1, (1 << 31) - 1),
    "cache_tokens": (1, (1 << 31) - 1),
    "streams": (1, 64),
}
"""What each number may be; the model and the memory may allow less."""


@dataclass(frozen=True, slots=True)
class Levers:
    """How a model is run."""

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
    context_tokens: int | None = None
    """Size of the window; `None`: 4096, or what the model was trained for if that is less."""
    tool_format: str = "auto"
    """How calls are written, one of `FORMATS`; `auto`: as the chat template shows."""
    gpu: GpuUse = GpuUse()  # noqa: RUF009 - frozen


def check_levers(levers: Levers) -> None:
    """Refuse values that no model could run with.

    Raises:
        ConfigError: A number is out of its range, or levers do not go together.
    """
    check_range("threads", levers.threads)
    check_range("batch_tokens", levers.batch_tokens)
    if levers.context_tokens is not None:
        check_range("context_tokens", levers.context_tokens)
    check_cache_levers(levers.k_type, levers.v_type, levers.window, flash_attention=levers.flash_attention)
    format_named(levers.tool_format)
    check_gpu(levers.gpu)


def check_range(name: str, value: object) -> None:
    """Refuse a number outside `RANGES`.

    Raises:
        ConfigError: It is, or it is no whole number.
    """
    low, high = RANGES[name]
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        what = value if isinstance(value, (int, float)) else f"of type {type(value).__name__}"
        raise ConfigError(f"{name} is {what}, outside {low} to {high}")
