"""How much memory a model needs, worked out from the header of its file before a byte of its weights is read.

Weights, keys and values are exact for attention models; the buffers of the computation are an upper bound, fitted
to what llama.cpp of llama-cpp-python 0.3.36 reports. Each is one that the engine takes with the settings given.
Not covered: the fixed state of recurrent layers, which is small, and weights rearranged for the processor, which
are a copy of those that were in the file, and those can be dropped again.
"""

from __future__ import annotations

from dataclasses import dataclass

from agentkit.errors import LimitError
from agentkit.models.gguf import GGUFHeader
from agentkit.models.gguf_types import TENSOR_TYPES
from agentkit.models.ram_free import free_bytes

DEFAULT_CONTEXT_TOKENS = 4096
"""The window where nobody asked for another, unless the model was trained for less."""
BATCH_TOKENS = 512
PROCESS_BYTES = 96 << 20
"""The worker itself: Python, its libraries, and the vocabulary prepared for grammars."""
_CELLS = 256
"""llama.cpp rounds the window up to a multiple of this."""
_BY_NAME = {kind.name.lower(): kind for kind in TENSOR_TYPES.values()}


@dataclass(frozen=True, slots=True)
class RamNeed:
    """What one model needs at one size of the window."""

    context_tokens: int
    weights_bytes: int
    kv_bytes_per_token: int
    kv_bytes: int
    buffers_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it, and the process around it."""
        return self.weights_bytes + self.kv_bytes + self.buffers_bytes + PROCESS_BYTES


def default_context(header: GGUFHeader) -> int:
    """Return the window a model gets where nobody asked for another."""
    return min(DEFAULT_CONTEXT_TOKENS, header.context_length or DEFAULT_CONTEXT_TOKENS)


def kv_bytes_per_token(header: GGUFHeader, *, k_type: str = "f16", v_type: str = "f16") -> int:
    """Return the bytes that the keys and values of one token take; 0 where the header does not say.

    Args:
        header: Of the model.
        k_type: How keys are kept, like `f16` or `q8_0`.
        v_type: How values are kept.
    """
    each = (
        header.embedding_length // header.head_count if header.embedding_length and header.head_count else 0
    )
    numbers = header.heads_kv_total or 0
    keys = _size(k_type, header.key_length or each)
    return numbers * (keys + _size(v_type, header.value_length or each))


def ram_need(
    header: GGUFHeader,
    context_tokens: int | None = None,
    *,
    k_type: str = "f16",
    v_type: str = "f16",
    batch_tokens: int = BATCH_TOKENS,
    output_rows: int = 1,
    flash_attention: bool = True,
) -> RamNeed:
    """Return what a model needs.

    Args:
        header: Of the model.
        context_tokens: The window, of all sequences together; default: `default_context`.
        k_type: How keys are kept.
        v_type: How values are kept.
        batch_tokens: How many tokens are computed at once.
        output_rows: How many rows of logits are kept at once.
        flash_attention: Without it, the scores of every head against the whole window are kept.
    """
    tokens = context_tokens or default_context(header)
    cells = -(-tokens // _CELLS) * _CELLS
    width, inner = header.embedding_length or 0, header.feed_forward_length or 0
    scores = 2 if flash_attention else 4 * ((header.head_count or 0) + 1)
    batch = min(batch_tokens, cells)
    block = batch * (4 * (8 * width + 2 * inner) + cells * scores)
    rows = output_rows * 4 * ((header.vocab_size or 0) + 2 * width)
    return RamNeed(
        context_tokens=tokens,
        weights_bytes=header.tensor_bytes,
        kv_bytes_per_token=(each := kv_bytes_per_token(header, k_type=k_type, v_type=v_type)),
        kv_bytes=cells * each,
        buffers_bytes=max(block, rows) + rows,
    )


def largest_context(
    header: GGUFHeader,
    free: int,
    *,
    k_type: str = "f16",
    v_type: str = "f16",
    batch_tokens: int = BATCH_TOKENS,
    flash_attention: bool = True,
) -> int:
    """Return the largest window that fits into `free` bytes, as a multiple of 256 or all the model was trained for.

    0 where not even the smallest does.
    """
    trained = header.context_length or DEFAULT_CONTEXT_TOKENS

    def fits(tokens: int) -> bool:
        need = ram_need(
            header,
            tokens,
            k_type=k_type,
            v_type=v_type,
            batch_tokens=batch_tokens,
            flash_attention=flash_attention,
        )
        return need.total_bytes <= free

    if fits(trained):
        return trained
    low, high = 0, trained // _CELLS  # in cells of 256: `low` fits, `high` is not known to
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle * _CELLS) else (low, middle - 1)
    return low * _CELLS


def require_ram(
    name: str,
    header: GGUFHeader,
    context_tokens: int | None = None,
    *,
    k_type: str = "f16",
    v_type: str = "f16",
    batch_tokens: int = BATCH_TOKENS,
    flash_attention: bool = True,
    free: int | None = None,
) -> RamNeed:
    """Check that a model fits into memory before it is loaded; return what it needs.

    Args:
        name: Of the model, for the message.
        header: Of the model.
        context_tokens: The window asked for.
        k_type: How keys are kept.
        v_type: How values are kept.
        batch_tokens: How many tokens are computed at once.
        flash_attention: Whether it will be used.
        free: Bytes that can be taken; default: what the system says, and no check where it says nothing.

    Raises:
        LimitError: It does not fit; the hint names the largest window that would.
    """
    need = ram_need(
        header,
        context_tokens,
        k_type=k_type,
        v_type=v_type,
        batch_tokens=batch_tokens,
        flash_attention=flash_attention,
    )
    free = free_bytes() if free is None else free
    if free is None or need.total_bytes <= free:
        return need
    largest = largest_context(
        header,
        free,
        k_type=k_type,
        v_type=v_type,
        batch_tokens=batch_tokens,
        flash_attention=flash_attention,
    )
    raise LimitError(
        f"{name} needs {_mb(need.total_bytes)} MB of memory at a context of {need.context_tokens} tokens "
        f"(weights {_mb(need.weights_bytes)}, keys and values {_mb(need.kv_bytes)}, "
        f"buffers {_mb(need.buffers_bytes)}), and {_mb(free)} MB are free",
        hint=f"a context of {largest} tokens is the largest that fits"
        if largest
        else "no context fits: choose a smaller model, or a smaller quantisation of this one",
    )


def _size(kind: str, numbers: int) -> int:
    """Return the bytes of `numbers` numbers kept as `kind`, in whole blocks."""
    packed = _BY_NAME[kind.lower()]
    return -(-numbers // packed.block) * packed.size


def _mb(count: int) -> int:
    return -(-count // 1_000_000)
