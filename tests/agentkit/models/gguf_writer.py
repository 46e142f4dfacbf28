"""Write GGUF files from the description of the format, right ones and wrong ones."""

from __future__ import annotations

import struct


def _string(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


class GGUFWriter:
    """Lays out a GGUF v3 file; says what it is told, right or wrong."""

    def __init__(self) -> None:
        self.pairs: list[bytes] = []
        self.tensors: list[bytes] = []
        self.data = b""

    def text(self, key: str, value: str) -> GGUFWriter:
        self.pairs.append(_string(key) + struct.pack("<I", 8) + _string(value))
        return self

    def u32(self, key: str, value: int) -> GGUFWriter:
        self.pairs.append(_string(key) + struct.pack("<II", 4, value))
        return self

    def texts(self, key: str, values: list[str]) -> GGUFWriter:
        body = b"".join(_string(value) for value in values)
        self.pairs.append(_string(key) + struct.pack("<IIQ", 9, 8, len(values)) + body)
        return self

    def u32s(self, key: str, values: list[int]) -> GGUFWriter:
        self.pairs.append(
            _string(key) + struct.pack("<IIQ", 9, 4, len(values)) + struct.pack(f"<{len(values)}I", *values)
        )
        return self

    def f32(self, key: str, value: float) -> GGUFWriter:
        self.pairs.append(_string(key) + struct.pack("<If", 6, value))
        return self

    def tensor(
        self, name: str, shape: tuple[int, ...], *, kind: int = 0, size: int = 0, data: bytes | None = None
    ) -> GGUFWriter:
        dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        self.tensors.append(_string(name) + dimensions + struct.pack("<IQ", kind, len(self.data)))
        data = b"\x01" * size if data is None else data
        self.data += data + b"\0" * (-len(data) % 32)
        return self

    def file(self) -> bytes:
        head = b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.pairs))
        head += b"".join(self.pairs) + b"".join(self.tensors)
        return head + b"\0" * (-len(head) % 32) + self.data
