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


def tiny_gguf(*, architecture: str = "llama", seed: int = 0, template: str = "{{ messages }}") -> GGUFWriter:
    vocabulary = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    return (
        GGUFWriter()
        .text("general.architecture", architecture)
        .text("general.name", f"tiny {seed}")
        .text("general.license", "cc0-1.0")
        .u32("general.file_type", 1)
        .u32(f"{architecture}.context_length", 512)
        .u32(f"{architecture}.block_count", 2)
        .u32(f"{architecture}.embedding_length", 8)
        .u32(f"{architecture}.attention.head_count", 2)
        .u32s(f"{architecture}.attention.head_count_kv", [1, 2])
        .text("tokenizer.ggml.model", "llama")
        .texts("tokenizer.ggml.tokens", vocabulary)
        .u32("tokenizer.ggml.bos_token_id", 1)
        .u32("tokenizer.ggml.eos_token_id", 2)
        .text("tokenizer.chat_template", template)
        .tensor("token_embd.weight", (8, 259), kind=1, size=8 * 259 * 2)
        .tensor("output_norm.weight", (8,), size=32)
    )
