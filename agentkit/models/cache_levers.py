"""How keys and values are kept, what happens when the window is full, and which of these go together (pure)."""

from __future__ import annotations

from agentkit.errors import ConfigError
from agentkit.models.gguf import GGUFHeader
from agentkit.models.gguf_types import TENSOR_TYPES

KV_TYPES = ("f16", "q8_0")
"""Others are not offered: q4_0 harms what a model can work out long before its perplexity tells."""
WINDOWS = ("recompute", "shift")
"""`recompute` is exact; `shift` moves what is computed, which still remembers a little of what was dropped."""
_BLOCKS = {kind.name.lower(): kind.block for kind in TENSOR_TYPES.values()}


def check_cache_levers(k_type: str, v_type: str, window: str, *, flash_attention: bool) -> None:
    """Refuse levers that do not exist or do not go together.

    Raises:
        ConfigError: A word is none of those above; values are quantised without flash attention; keys are quantised
            and shifted, which would round them once more at every shift.
    """
    for what, given, known in (("keys", k_type, KV_TYPES), ("values", v_type, KV_TYPES)):
        if given not in known:
            raise ConfigError(
                f"{what} cannot be kept as {given[:20]!r}", hint=f"choose one of {', '.join(known)}"
            )
    if window not in WINDOWS:
        raise ConfigError(
            f"there is no window mode {window[:20]!r}", hint=f"choose one of {', '.join(WINDOWS)}"
        )
    if v_type != "f16" and not flash_attention:
        raise ConfigError(
            f"values as {v_type} need flash attention, which is off",
            hint="turn flash attention on, or keep values as f16",
        )
    if k_type != "f16" and window == "shift":
        raise ConfigError(
            f"keys as {k_type} lose a little at every shift of the window",
            hint="keep keys as f16, or let the window be recomputed",
        )


def check_heads(header: GGUFHeader, k_type: str, v_type: str) -> None:
    """Refuse a quantisation whose blocks do not divide the heads of this model.

    Raises:
        ConfigError: They do not; the message has the numbers.
    """
    each = (
        header.embedding_length // header.head_count if header.embedding_length and header.head_count else 0
    )
    for what, kind, length in (
        ("keys", k_type, header.key_length or each),
        ("values", v_type, header.value_length or each),
    ):
        block = _BLOCKS[kind]
        if length % block:
            raise ConfigError(
                f"{what} cannot be kept as {kind}: the heads of this model have {length} numbers, "
                f"and {kind} packs {block} at a time",
                hint=f"keep {what} as f16",
            )
