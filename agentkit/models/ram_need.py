"""How much memory a model needs, worked out from the header of its file before a byte of its weights is read.

Weights, keys and values are exact for attention models; the buffers of the computation are an upper bound, fitted
to what llama.cpp of llama-cpp-python 0.3.36 reports. Each is one that the engine takes with the settings given.
Not covered: the fixed state of recurrent layers, which is small, and weights rearranged for the processor, which
are a copy of those that were in the file, and those can be dropped again. What lies on graphics cards is not counted
where it is said how many layers do; blocks count as equally large there, and whether a card holds them is not asked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentkit.errors import LimitError
from agentkit.models.gguf import GGUFHeader
from agentkit.models.gguf_types import TENSOR_TYPES
from agentkit.models.ram_free import free_bytes

if TYPE_CHECKING:
    from agentkit.models.levers import Levers

DEFAULT_CONTEXT_TOKENS = 4096
"""The window where nobody asked for another, unless the model was trained for less."""
BATCH_TOKENS = 512
STREAM_TOKENS = 16
"""The least of a batch that each of several answers gets: `decoder.MIN_SLICE`, which only the worker can import."""
PROCESS_BYTES = 96 << 20
"""The worker itself: Python, its libraries, and the vocabulary prepared for grammars."""
_CELLS = 256
"""llama.cpp rounds the window up to a multiple of this."""
_BLOCK = re.compile(r"blk\.(\d+)\.")
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
    gpu_layers: int | None = None,
) -> RamNeed:
    """Return what a model needs of the machine's memory.

    Args:
        header: Of the model.
        context_tokens: The window, of all sequences together; default: `default_context`.
        k_type: How keys are kept.
        v_type: How values are kept.
        batch_tokens: How many tokens are computed at once.
        output_rows: How many rows of logits are kept at once.
        flash_attention: Without it, the scores of every head against the whole window are kept.
        gpu_layers: How many layers lie on graphics cards; `None`: not known, and all are counted.
    """
    tokens = context_tokens or default_context(header)
    cells = -(-tokens // _CELLS) * _CELLS
    width, inner = header.embedding_length or 0, header.feed_forward_length or 0
    scores = 2 if flash_attention else 4 * ((header.head_count or 0) + 1)
    batch = min(batch_tokens, cells)
    block = batch * (4 * (8 * width + 2 * inner) + cells * scores)
    rows = output_rows * 4 * ((header.vocab_size or 0) + 2 * width)
    each = kv_bytes_per_token(header, k_type=k_type, v_type=v_type)
    blocks = header.block_count or 1
    here = max(0, blocks - max(0, (gpu_layers or 0) - 1))  # llama.cpp counts the output as the last layer
    return RamNeed(
        context_tokens=tokens,
        weights_bytes=header.tensor_bytes - (_on_cards(header, here) if gpu_layers else 0),
        kv_bytes_per_token=each,
        kv_bytes=cells * each * here // blocks,
        buffers_bytes=max(block, rows) + rows,
    )


def largest_context(
    header: GGUFHeader,
    free: int,
    *,
    k_type: str = "f16",
    v_type: str = "f16",
    batch_tokens: int = BATCH_TOKENS,
    output_rows: int = 1,
    flash_attention: bool = True,
    gpu_layers: int | None = None,
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
            output_rows=output_rows,
            flash_attention=flash_attention,
            gpu_layers=gpu_layers,
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
    output_rows: int = 1,
    flash_attention: bool = True,
    gpu_layers: int | None = None,
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
        output_rows: How many rows of logits are kept at once.
        flash_attention: Whether it will be used.
        gpu_layers: How many layers lie on graphics cards; `None`: not known, and all are counted.
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
        output_rows=output_rows,
        flash_attention=flash_attention,
        gpu_layers=gpu_layers,
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
        output_rows=output_rows,
        flash_attention=flash_attention,
        gpu_layers=gpu_layers,
    )
    hint = (
        f"a context of {largest} tokens is the largest that fits"
        if largest
        else "no context fits: choose a smaller model, or a smaller quantisation of this one"
    )
    if gpu_layers is None and has_card():
        hint += (
            ", or say how many layers lie on the graphics card: agentkit models levers MODEL --gpu-layers N"
        )
    raise LimitError(
        f"{name} needs {_mb(need.total_bytes)} MB of memory at a context of {need.context_tokens} tokens "
        f"(weights {_mb(need.weights_bytes)}, keys and values {_mb(need.kv_bytes)}, "
        f"buffers {_mb(need.buffers_bytes)}), and {_mb(free)} MB are free",
        hint=hint,
    )


def has_card() -> bool:
    """Return whether a driver offers a graphics card that computes; whether llama.cpp can use it is not asked."""
    return Path("/dev/kfd").exists() or any(Path("/dev").glob("nvidia[0-9]*"))


def need_with(header: GGUFHeader, levers: Levers, *, output_rows: int = 1) -> RamNeed:
    """Return what a model needs when it is run with `levers`; see `ram_need`."""
    return ram_need(
        header,
        levers.context_tokens,
        k_type=levers.k_type,
        v_type=levers.v_type,
        batch_tokens=levers.batch_tokens,
        output_rows=output_rows,
        flash_attention=levers.flash_attention,
        gpu_layers=levers.gpu.layers,
    )


def misfit(need: RamNeed, free: int | None) -> str:
    """Return why a model does not fit into `free` bytes of memory; empty if it does, or nothing is known of them."""
    if free is None or need.total_bytes <= free:
        return ""
    return f"needs {need.total_bytes / 1e6:,.0f} MB of memory, and {free / 1e6:,.0f} MB are free"


def _on_cards(header: GGUFHeader, first: int) -> int:
    """Return the bytes of the output and of the blocks from number `first` on."""

    def moves(name: str) -> bool:
        block = _BLOCK.match(name)
        return int(block[1]) >= first if block else name.startswith("output")

    moved = sum(tensor.size for tensor in header.tensors if moves(tensor.name))
    every = sum(tensor.size for tensor in header.tensors)
    return header.tensor_bytes * moved // every if every else 0  # they may be planned in another quantisation


def _size(kind: str, numbers: int) -> int:
    """Return the bytes of `numbers` numbers kept as `kind`, in whole blocks."""
    packed = _BY_NAME[kind.lower()]
    return -(-numbers // packed.block) * packed.size


def _mb(count: int) -> int:
    return -(-count // 1_000_000)
