"""Read a safetensors file: float32 arrays over one read-only memory map, every bound checked before use.

The file is untrusted input: nothing in its header is believed beyond what fits the file.
Source: https://github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import json
import math
import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agentkit_memory.errors import EmbedderError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HEADER_LIMIT: Final = 1 << 20
TENSOR_LIMIT: Final = 10_000
_ITEM: Final = 4


def read(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return the float32 tensors of a file by name; they are views of it, read when used.

    Raises:
        EmbedderError: It is missing, or not a well-formed safetensors file; tensors of other types are passed over.
    """
    import numpy as np

    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise EmbedderError(f"{path.name} is missing in {path.parent}") from None
    except (OSError, ValueError) as error:  # ValueError: an empty file
        raise EmbedderError(f"{path.name} cannot be read: {error}") from None
    malformed = EmbedderError(f"{path.name} is not a well-formed safetensors file")
    size = int.from_bytes(data[:8], "little")
    start = 8 + size
    if len(data) < 8 or size > HEADER_LIMIT or start > len(data):
        raise malformed
    try:
        header = json.loads(data[8:start])
    except (ValueError, RecursionError):
        raise malformed from None
    if not isinstance(header, dict) or len(header) > TENSOR_LIMIT:
        raise malformed
    tensors: dict[str, NDArray[np.float32]] = {}
    for name, entry in header.items():
        if not isinstance(entry, dict) or (
            name != "__metadata__" and not isinstance(entry.get("dtype"), str)
        ):
            raise malformed
        if entry.get("dtype") != "F32":
            continue
        match entry:
            case {"shape": [*shape], "data_offsets": [int(begin), int(end)]} if (
                all(isinstance(side, int) and side >= 0 for side in shape)
                and 0 <= begin <= end <= len(data) - start
                and end - begin == _ITEM * math.prod(shape)
            ):
                flat = np.frombuffer(data, "<f4", (end - begin) // _ITEM, start + begin)
                tensors[name] = flat.reshape(shape)
            case _:
                raise malformed
    return tensors
