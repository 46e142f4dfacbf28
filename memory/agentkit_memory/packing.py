"""Make a file of the vector index smaller before it is sealed, where that costs little.

Floats are split by the place of their bytes: the last ones, sign and exponent, are much alike and shrink to a third;
the others are noise, and are kept as they are, so that unpacking costs no more than it saves. Other files are
deflated whole. Not covered: data from others; what is unpacked was authenticated before.
Source: RFC 1950; the byte shuffle of HDF5 and Blosc; layout in memory/README.md §5.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FLOAT_BYTES: Final = 4
_SAMPLE: Final = 1 << 16
_BLOCK: Final = 1 << 16
"""Bytes of each part joined at a time: they stay in the processor's cache."""
_WORTH: Final = 0.9
"""What deflate must leave at most of a sample, or the part is kept as it is."""


def pack(data: bytes, *, floats: bool) -> list[tuple[int, bytes]]:
    """Return the parts of `data`: the size of each, and its bytes as they are or, if those are fewer, deflated.

    Args:
        data: A whole file.
        floats: Whether most of it is floats of four bytes: there are four parts then, one for each byte of a float,
            else one.
    """
    import numpy as np

    values = np.frombuffer(data, np.uint8)
    if not floats:
        return [_deflate(values, zlib.Z_DEFAULT_STRATEGY)]
    return [_deflate(np.ascontiguousarray(values[at::FLOAT_BYTES]), zlib.Z_RLE) for at in range(FLOAT_BYTES)]


def unpack(parts: Sequence[tuple[int, memoryview]]) -> Iterator[memoryview]:
    """Yield the bytes of a file, block by block, from what `pack` made; a block lasts until the next is asked for.

    Raises:
        ValueError: It made something else.
    """
    import numpy as np

    whole = [np.frombuffer(_inflated(size, kept), np.uint8) for size, kept in parts]
    block = np.empty((_BLOCK, len(whole)), np.uint8)
    for start in range(0, max(map(len, whole)), _BLOCK):
        size = 0
        for at, part in enumerate(whole):
            piece = part[start : start + _BLOCK]
            block[: len(piece), at] = piece
            size += len(piece)
        yield block.data.cast("B")[:size]


def _inflated(size: int, kept: memoryview) -> memoryview | bytes:
    if len(kept) == size:
        return kept
    try:
        part = zlib.decompress(kept, bufsize=size)
    except zlib.error:
        part = b""
    if len(part) != size:
        raise ValueError("a part is not deflated, or of another size")
    return part


def _deflate(part: NDArray[np.uint8], strategy: int) -> tuple[int, bytes]:
    sample = _deflated(part[:_SAMPLE], strategy)
    if len(sample) > _WORTH * min(len(part), _SAMPLE):
        return len(part), part.tobytes()
    small = _deflated(part, strategy)
    return len(part), small if len(small) < len(part) else part.tobytes()


def _deflated(part: NDArray[np.uint8], strategy: int) -> bytes:
    packer = zlib.compressobj(1, strategy=strategy)
    return packer.compress(part.data) + packer.flush()
