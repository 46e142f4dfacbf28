"""Read the table of tensors in a GGUF file: names, shapes and places, each checked before it is believed.

Source: GGUF specification v2 and v3, ggml/docs/gguf.md; the checks of `gguf_init_from_file` in llama.cpp.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from agentkit.models.gguf_source import U64, Source
from agentkit.models.gguf_types import TENSOR_TYPES

MAX_NAME_BYTES = 63
MAX_DIMENSIONS = 4
MAX_ELEMENTS = 2**63 - 1
_U32 = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a file."""

    name: str
    shape: tuple[int, ...]
    """In ggml's order: the length of a row first; 1 to 4 numbers."""
    kind: str
    """How its elements are packed, like `Q4_1`."""
    size: int
    """In bytes."""

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def read_table(source: Source, count: int, alignment: int) -> tuple[Tensor, ...]:
    """Read the table of `count` tensors that starts where `source` stands.

    Raises:
        ModelRefusedError: A name, shape, type or place in it is wrong.
    """
    seen: set[bytes] = set()
    tensors: list[Tensor] = []
    spans: list[tuple[int, int]] = []
    for _ in range(count):
        name = source.take(source.length(MAX_NAME_BYTES, "a tensor name"))
        if not name or name in seen:
            source.refuse(f"tensor {len(seen)} of {count} has no name of its own")
        seen.add(name)
        tensor = _tensor(source, name.decode(errors="replace"))
        offset = source.number(U64)
        if offset % alignment:
            source.refuse(f"tensor {tensor.name!r} starts at {offset}, not a multiple of {alignment}")
        spans.append((offset, offset + tensor.size))
        tensors.append(tensor)
    _check_spans(source, spans, start=-(-source.place // alignment) * alignment)
    return tuple(tensors)


def heaviest_type(tensors: Iterable[Tensor]) -> str:
    """Return the type that holds the most bytes; `unknown` without tensors."""
    by_type: dict[str, int] = {}
    for tensor in tensors:
        by_type[tensor.kind] = by_type.get(tensor.kind, 0) + tensor.size
    return max(by_type, key=by_type.__getitem__, default="unknown")


def _tensor(source: Source, name: str) -> Tensor:
    dimensions = source.number(_U32)
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        source.refuse(f"tensor {name!r} has {dimensions} dimensions, not 1 to {MAX_DIMENSIONS}")
    shape = tuple(source.number(U64) for _ in range(dimensions))
    elements = math.prod(shape)  # Python integers: no wrap-around to hide behind
    if not 1 <= elements <= MAX_ELEMENTS:
        source.refuse(f"tensor {name!r} claims {elements} elements")
    number = source.number(_U32)
    kind = TENSOR_TYPES.get(number)
    if kind is None:
        source.refuse(f"tensor {name!r} has the unknown type {number}", hint="a newer engine may read it")
    if shape[0] % kind.block:
        source.refuse(
            f"tensor {name!r}: rows of {shape[0]} do not divide into {kind.name} blocks of {kind.block}"
        )
    return Tensor(name, shape, kind.name, elements // kind.block * kind.size)


def _check_spans(source: Source, spans: list[tuple[int, int]], *, start: int) -> None:
    room = source.size - start
    before = 0
    for begin, end in sorted(spans):
        if end > room:
            source.refuse(f"truncated: the tensors need {start + end} bytes, the file has {source.size}")
        if begin < before:
            source.refuse(f"two tensors overlap at byte {start + begin}")
        before = end
