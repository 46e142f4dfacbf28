"""Read the header of a GGUF file, which may come from an attacker, before the engine ever sees it.

Covered: every count, length, type, offset and overlap of the container; values the engine trusts blindly
(token ids, byte tokens, head counts). What is wrong raises `ModelRefusedError`; bad bytes raise nothing else.
Not covered: what the weights do, and what the chat template does; it is returned as text and never rendered.

Source: GGUF specification v2 and v3, ggml/docs/gguf.md; the checks of `gguf_init_from_file` in llama.cpp.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path

from agentkit.models.gguf_source import MAX_STRING_BYTES, U64, Source, opened
from agentkit.models.gguf_tensors import Tensor, heaviest_type, read_table
from agentkit.models.gguf_types import FILE_TYPES

MAX_KEYS = 65_536
MAX_TENSORS = 65_536
MAX_KEY_BYTES = 65_535
MAX_ARRAY_ITEMS = 16 << 20
MAX_VOCABULARY = 2 << 20
MAX_ALIGNMENT = 65_536
MAX_TEMPLATE_BYTES = 1 << 20

_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
_UNPACK = {kind: struct.Struct("<" + code) for kind, code in _SCALARS.items()}
_INTEGERS = frozenset({0, 1, 2, 3, 4, 5, 10, 11})
_U32 = _UNPACK[4]
_NO_TOKEN = 2**32 - 1  # llama.cpp's own mark for "there is none"
_TOKENS = "tokenizer.ggml.tokens"
_WANTED = frozenset(
    {
        "general.architecture",
        "general.name",
        "general.license",
        "general.type",
        "adapter.type",
        "tokenizer.ggml.model",
        "tokenizer.chat_template",
    }
)
# sic: llama.cpp's spelling
_SPECIAL = ["bos", "eos", "eot", "eom", "unknown", "seperator", "padding", "mask"]
_BYTE_TOKEN = re.compile(rb"<0x([0-9A-F]{2})>")


@dataclass(frozen=True, slots=True)
class GGUFHeader:
    """What a GGUF file says of itself, checked for consistency."""

    architecture: str
    """As llama.cpp names it, like `llama`; whether the engine knows it is the engine's business."""
    name: str | None
    licence: str | None
    content: str
    """`model`, `adapter`, `mmproj`, …: `general.type`, and `model` where it is not given."""
    parts: int
    """Number of files the model is split into; 1 is a whole model."""
    context_length: int | None
    """Tokens the model was trained for."""
    block_count: int | None
    head_count: int | None
    """The largest, where it differs between blocks."""
    head_count_kv: int | None
    heads_kv_total: int | None
    """Of all blocks together: blocks differ, and some keep no keys and values at all."""
    key_length: int | None
    """Numbers in one key of one head."""
    value_length: int | None
    feed_forward_length: int | None
    """The largest, where it differs between blocks."""
    embedding_length: int | None
    vocab_size: int | None
    tokenizer_model: str | None
    """`gpt2` (byte pairs), `llama` (SentencePiece), `bert`, …."""
    bos_id: int | None
    eos_id: int | None
    chat_template: str | None
    """Jinja source from the file: untrusted; render it only in a sandbox."""
    file_type: int | None
    quantisation: str
    """Like `Q4_K_M`; else the type that holds the most bytes; `unknown` without tensors."""
    tensor_count: int
    tensor_bytes: int
    parameters: int
    """Number of elements in all tensors."""
    file_bytes: int
    tensors: tuple[Tensor, ...] = field(default=(), compare=False, repr=False)
    adapter_type: str | None = None
    """`lora`, in a file that is an adapter."""
    lora_alpha: float | None = None
    """What the adapter's rank is divided into to scale it; 0 and `None`: it is not scaled so."""
    keys: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    """Everything the file has a value for."""


@dataclass(frozen=True, slots=True)
class _Array:
    """Where an array lies; read only when somebody needs its items."""

    kind: int
    count: int
    place: int


_Value = int | float | str | _Array | None


def read_header(path: Path) -> GGUFHeader:
    """Read and check the header of the GGUF file at `path`.

    Takes memory and time bounded by the limits of this module, whatever the file says.

    Raises:
        NotFoundError: There is no such file.
        ModelError: It cannot be read, or is no regular file.
        ModelRefusedError: It is malformed, truncated or unsafe.
    """
    with opened(path) as (descriptor, size):
        return _Parser(Source(descriptor, size, path.name)).header()


class _Parser:
    """One pass over the header."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._refuse = source.refuse
        self._values: dict[str, _Value] = {}
        self._kinds: dict[str, int] = {}

    def header(self) -> GGUFHeader:
        """Parse everything and return the summary."""
        count = self._preamble()
        tensors = read_table(self._source, count, self._alignment())
        architecture = self._text("general.architecture")
        if architecture is None or not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", architecture):
            self._refuse("general.architecture is missing or no plain name")
        vocab = self._check_vocabulary(architecture)
        blocks = self._integer(f"{architecture}.block_count", least=1, most=MAX_TENSORS)
        heads, heads_kv = self._check_shape(architecture)
        file_type = self._integer("general.file_type")
        return GGUFHeader(
            architecture=architecture,
            name=self._text("general.name"),
            licence=self._text("general.license"),
            content=self._text("general.type") or "model",
            parts=self._integer("split.count", most=MAX_TENSORS) or 1,
            context_length=self._integer(f"{architecture}.context_length", least=1, most=2**31 - 1),
            block_count=blocks,
            head_count=heads,
            head_count_kv=heads_kv,
            heads_kv_total=self._total(f"{architecture}.attention.head_count_kv", blocks, default=heads),
            key_length=self._integer(f"{architecture}.attention.key_length", most=2**20),
            value_length=self._integer(f"{architecture}.attention.value_length", most=2**20),
            feed_forward_length=self._largest(f"{architecture}.feed_forward_length", most=2**31 - 1),
            embedding_length=self._integer(f"{architecture}.embedding_length", least=1, most=2**24),
            vocab_size=vocab,
            tokenizer_model=self._text("tokenizer.ggml.model"),
            bos_id=self._token("bos", vocab),
            eos_id=self._token("eos", vocab),
            chat_template=self._template(),
            file_type=file_type,
            quantisation=heaviest_type(tensors)
            if file_type is None
            else FILE_TYPES.get(file_type, heaviest_type(tensors)),
            tensor_count=count,
            tensor_bytes=sum(tensor.size for tensor in tensors),
            parameters=sum(tensor.elements for tensor in tensors),
            tensors=tensors,
            adapter_type=self._text("adapter.type"),
            lora_alpha=self._real("adapter.lora.alpha"),
            keys=frozenset(self._values),
            file_bytes=self._source.size,
        )

    # -- container ---------------------------------------------------------------------------------

    def _preamble(self) -> int:
        """Read magic, version, counts and all keys; return the number of tensors."""
        source = self._source
        if source.size == 0:
            self._refuse("empty: 0 bytes")
        if source.size < 24:
            self._refuse(f"truncated: {source.size} bytes, a header has at least 24")
        if source.take(4) != b"GGUF":
            self._refuse("not a GGUF file: wrong magic", hint="agentkit reads .gguf models only")
        version = source.number(_U32)
        if version not in (2, 3):
            self._refuse(
                f"GGUF version {version} is not 2 or 3", hint="get a little-endian GGUF version 3 of it"
            )
        tensors, keys = source.number(U64), source.number(U64)
        if tensors > MAX_TENSORS:
            self._refuse(f"claims {tensors} tensors, over the limit of {MAX_TENSORS}")
        if keys > MAX_KEYS:
            self._refuse(f"claims {keys} keys, over the limit of {MAX_KEYS}")
        for _ in range(keys):
            self._pair()
        return tensors

    def _pair(self) -> None:
        source = self._source
        raw = source.take(source.length(MAX_KEY_BYTES, "a key"))
        try:
            key = raw.decode()
        except UnicodeDecodeError:
            self._refuse(f"a key before byte {source.place} is not UTF-8")
        if not key or "\0" in key:
            self._refuse(f"a key before byte {source.place} is empty or holds a NUL")
        if key in self._values:
            self._refuse(f"the key {key[:80]!r} is there twice")
        kind = source.number(_U32)
        self._kinds[key] = kind
        if kind == _ARRAY:
            self._values[key] = self._array(key)
        elif kind == _STRING:
            length = source.length(MAX_STRING_BYTES, f"the value of {key[:80]!r}")
            self._values[key] = None
            if key in _WANTED:
                self._values[key] = self._decode(key, source.take(length))
            else:
                source.skip(length)
        elif kind in _UNPACK:
            value = source.number(_UNPACK[kind])
            if kind == 7 and value > 1:
                self._refuse(f"the boolean {key[:80]!r} is {value}")
            self._values[key] = value
        else:
            self._refuse(f"the key {key[:80]!r} has the unknown type {kind}")

    def _array(self, key: str) -> _Array:
        source = self._source
        kind, count = source.number(_U32), source.number(U64)
        if kind not in _UNPACK and kind != _STRING:
            problem = "nested arrays" if kind == _ARRAY else f"items of the unknown type {kind}"
            self._refuse(f"the array {key[:80]!r} has {problem}")
        if count > MAX_ARRAY_ITEMS:
            self._refuse(f"the array {key[:80]!r} claims {count} items, over the limit of {MAX_ARRAY_ITEMS}")
        place = source.place
        if kind == _STRING:
            source.skip_strings(count)
        else:
            source.skip(count * _UNPACK[kind].size)
        return _Array(kind, count, place)

    def _decode(self, key: str, raw: bytes) -> str:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self._refuse(f"{key} is not UTF-8")

    def _alignment(self) -> int:
        if "general.alignment" not in self._values:
            return 32
        value = self._values["general.alignment"]
        if self._kinds["general.alignment"] != 4 or not isinstance(value, int):
            self._refuse("general.alignment is not an unsigned 32-bit number")
        if not 1 <= value <= MAX_ALIGNMENT or value & (value - 1):
            self._refuse(f"general.alignment is {value}, not a power of two up to {MAX_ALIGNMENT}")
        return value

    # -- values the engine trusts ------------------------------------------------------------------

    def _text(self, key: str) -> str | None:
        value = self._values.get(key)
        if key in self._values and not isinstance(value, str):
            self._refuse(f"{key} is not a string")
        return value if isinstance(value, str) else None

    def _template(self) -> str | None:
        template = self._text("tokenizer.chat_template")
        if template is not None and (size := len(template.encode())) > MAX_TEMPLATE_BYTES:
            self._refuse(f"the chat template has {size} bytes, over the limit of {MAX_TEMPLATE_BYTES}")
        return template

    def _integer(self, key: str, *, least: int = 0, most: int = 2**63 - 1) -> int | None:
        """Return an integer value in its range, or `None` where the key is missing."""
        if key not in self._values:
            return None
        value = self._values[key]
        if self._kinds[key] not in _INTEGERS or not isinstance(value, int):
            self._refuse(f"{key} is not an integer")
        if not least <= value <= most:
            self._refuse(f"{key} is {value}, outside {least} to {most}")
        return value

    def _real(self, key: str) -> float | None:
        """Return a 32-bit number that is finite, or `None` where the key is missing; llama.cpp aborts on others."""
        value = self._values.get(key)
        if key in self._values and (
            self._kinds[key] != 6 or not isinstance(value, float) or not math.isfinite(value)
        ):
            self._refuse(f"{key} is no finite 32-bit number")
        return value if isinstance(value, float) else None

    def _largest(self, key: str, *, most: int) -> int | None:
        """Return an integer, or the largest of an array with one per block."""
        value = self._values.get(key)
        if not isinstance(value, _Array):
            return self._integer(key, most=most)
        numbers = self._numbers(key, value)
        if min(numbers) < 0 or max(numbers) > most:
            self._refuse(f"{key} goes from {min(numbers)} to {max(numbers)}, outside 0 to {most}")
        return max(numbers)

    def _total(self, key: str, blocks: int | None, *, default: int | None) -> int | None:
        """Return the sum over all blocks of what is one number for all of them, or an array with one per block."""
        value = self._values.get(key)
        if isinstance(value, _Array):
            return sum(self._numbers(key, value))
        each = self._integer(key)
        each = default if each is None else each
        return None if each is None or blocks is None else each * blocks

    def _numbers(self, key: str, value: _Array) -> list[int]:
        if value.kind not in _INTEGERS or not 1 <= value.count <= MAX_TENSORS:
            self._refuse(f"{key} is no list of integers")
        form = _UNPACK[value.kind]
        self._source.jump(value.place)
        return [self._source.number(form) for _ in range(value.count)]

    def _token(self, which: str, vocab: int | None) -> int | None:
        key = f"tokenizer.ggml.{which}_token_id"
        value = self._integer(key, least=-1)
        if value is None or value in (-1, _NO_TOKEN):
            return None
        if vocab is not None and value >= vocab:
            self._refuse(f"{key} is {value}, but there are {vocab} tokens")
        return value

    def _check_vocabulary(self, architecture: str) -> int | None:
        """Check token ids and byte tokens; return the number of tokens."""
        declared = self._integer(f"{architecture}.vocab_size", most=MAX_ARRAY_ITEMS)
        tokens = self._values.get(_TOKENS)
        if tokens is None and _TOKENS not in self._values:
            return declared
        if not isinstance(tokens, _Array) or tokens.kind != _STRING:
            self._refuse(f"{_TOKENS} is no list of strings")
        if tokens.count > MAX_VOCABULARY:
            self._refuse(f"claims {tokens.count} tokens, over the limit of {MAX_VOCABULARY}")
        for name, kinds in (("scores", frozenset({6})), ("token_type", _INTEGERS)):
            beside = self._values.get(f"tokenizer.ggml.{name}")
            if f"tokenizer.ggml.{name}" not in self._values:
                continue
            if not isinstance(beside, _Array) or beside.kind not in kinds or beside.count != tokens.count:
                self._refuse(f"tokenizer.ggml.{name} is no list of {tokens.count} numbers")
        for which in _SPECIAL:
            self._token(which, tokens.count)
        if self._text("tokenizer.ggml.model") == "llama":
            self._check_byte_tokens(tokens)
        return tokens.count

    def _check_byte_tokens(self, tokens: _Array) -> None:
        """Refuse a SentencePiece vocabulary that cannot spell every byte: tokenising aborts the engine."""
        self._source.jump(tokens.place)
        spelt: set[int] = set()
        for token in self._source.strings(tokens.count):
            if len(token) == 1:
                spelt.add(token[0])
            elif len(token) == 6 and (match := _BYTE_TOKEN.fullmatch(token)):
                spelt.add(int(match[1], 16))
            if len(spelt) == 256:
                break  # they stand at the start of every real vocabulary
        else:
            self._refuse(f"the vocabulary has tokens for {len(spelt)} of 256 bytes; others crash the engine")

    def _check_shape(self, architecture: str) -> tuple[int | None, int | None]:
        heads = self._largest(f"{architecture}.attention.head_count", most=MAX_TENSORS)
        heads_kv = self._largest(f"{architecture}.attention.head_count_kv", most=MAX_TENSORS)
        if heads and heads_kv == 0:
            self._refuse(f"{heads} attention heads share 0 key-value heads")
        self._integer(f"{architecture}.rope.dimension_count", most=2**20)
        return heads, heads_kv
