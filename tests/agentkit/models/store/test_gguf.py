"""`read_header`: every valid file is read, every malformed one refused, and nothing else ever happens."""

from __future__ import annotations

import json
import os
import resource
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.errors import ModelError, ModelRefusedError, NotFoundError
from agentkit.models.gguf import GGUFHeader, read_header
from agentkit.models.gguf_source import MAX_HEADER_BYTES
from agentkit.models.gguf_types import TENSOR_TYPES

if TYPE_CHECKING:
    from tests.agentkit.models.gguf_writer import GGUFWriter

CORPUS = Path(__file__).parents[5] / "shared/data/gguf_malformed"


def refusal(folder: Path, raw: bytes) -> str:
    path = folder / "model.gguf"
    path.write_bytes(raw)
    with pytest.raises(ModelRefusedError) as caught:
        read_header(path)
    assert caught.value.hint
    assert caught.value.message.startswith("model.gguf: ")
    return caught.value.message


def accepted(folder: Path, raw: bytes) -> GGUFHeader:
    path = folder / "model.gguf"
    path.write_bytes(raw)
    return read_header(path)


def test_a_valid_file_says_what_it_holds(tmp_path: Path, gguf_bytes: bytes) -> None:
    assert accepted(tmp_path, gguf_bytes) == GGUFHeader(
        architecture="llama",
        name="tiny 0",
        licence="cc0-1.0",
        content="model",
        parts=1,
        context_length=512,
        block_count=2,
        head_count=2,
        head_count_kv=2,
        heads_kv_total=3,
        key_length=None,
        value_length=None,
        feed_forward_length=None,
        embedding_length=8,
        vocab_size=259,
        tokenizer_model="llama",
        bos_id=1,
        eos_id=2,
        chat_template="{{ messages }}",
        file_type=1,
        quantisation="F16",
        tensor_count=2,
        tensor_bytes=8 * 259 * 2 + 32,
        parameters=8 * 259 + 8,
        file_bytes=len(gguf_bytes),
    )


@pytest.mark.model
def test_the_default_model_is_read_quickly(smollm2_path: Path) -> None:
    read_header(smollm2_path)
    started = time.process_time()
    header = read_header(smollm2_path)
    assert time.process_time() - started < 0.1
    assert (header.architecture, header.quantisation, header.vocab_size) == ("llama", "Q4_1", 49152)
    assert (header.context_length, header.block_count, header.head_count, header.head_count_kv) == (
        8192,
        30,
        9,
        3,
    )
    assert (header.tokenizer_model, header.bos_id, header.eos_id, header.tensor_count) == ("gpt2", 1, 2, 272)
    assert header.chat_template is not None
    assert "<|im_start|>" in header.chat_template


@pytest.mark.parametrize("cut", [0, 1, 3, 4, 23, 24, 100, 4000])
def test_a_cut_file_is_refused(tmp_path: Path, gguf_bytes: bytes, cut: int) -> None:
    assert str(cut) in refusal(tmp_path, gguf_bytes[:cut])


def test_every_truncation_is_refused(tmp_path: Path, gguf_bytes: bytes) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_bytes)
    for length in range(len(gguf_bytes) - 1, 0, -7):
        os.truncate(path, length)
        with pytest.raises(ModelRefusedError):
            read_header(path)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("general.alignment", 3, "power of two"),
        ("general.alignment", 1 << 31, "power of two"),
        ("tokenizer.ggml.padding_token_id", 259, "259 tokens"),
        ("llama.rope.dimension_count", 2**32 - 1, "outside"),
        ("llama.vocab_size", 2**32 - 1, "outside"),
        ("general.architecture", 1, "twice"),
    ],
)
def test_values_the_engine_trusts_are_checked(
    tmp_path: Path, gguf: GGUFWriter, key: str, value: int, words: str
) -> None:
    assert words in refusal(tmp_path, gguf.u32(key, value).file())


def test_a_vocabulary_that_would_crash_the_engine_is_refused(tmp_path: Path, gguf_bytes: bytes) -> None:
    assert "255 of 256 bytes" in refusal(tmp_path, gguf_bytes.replace(b"<0x41>", b"<0x4X>"))


def test_no_token_is_not_a_wrong_token(tmp_path: Path, gguf: GGUFWriter) -> None:
    header = accepted(tmp_path, gguf.u32("tokenizer.ggml.padding_token_id", 2**32 - 1).file())
    assert header.bos_id == 1


def test_tensor_table_lies_are_refused(tmp_path: Path, gguf: GGUFWriter) -> None:
    assert "overlap" in refusal(
        tmp_path, gguf.tensor("a", (4096,), size=32).tensor("b", (4096,), size=1 << 15).file()
    )


@pytest.mark.parametrize(("shape", "kind", "words"), [
    ((33,), 8, "blocks of 32"),
    ((2**32, 2**32), 0, "elements"),
    ((4,), 31, "unknown type 31"),
    ((1, 1, 1, 1, 1), 0, "5 dimensions"),
    ((2**40,), 0, "truncated"),
])  # fmt: skip
def test_impossible_tensors_are_refused(
    tmp_path: Path, gguf: GGUFWriter, shape: tuple[int, ...], kind: int, words: str
) -> None:
    assert words in refusal(tmp_path, gguf.tensor("wrong", shape, kind=kind, size=32).file())


def test_a_part_of_a_model_says_so(tmp_path: Path, gguf: GGUFWriter) -> None:
    assert accepted(tmp_path, gguf.u32("split.count", 3).file()).parts == 3


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.gguf"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        with pytest.raises(ModelError, match="not a regular file"):
            read_header(path)
    with pytest.raises(NotFoundError):
        read_header(tmp_path / "missing.gguf")


def test_a_ten_gigabyte_file_costs_no_more_than_its_header(tmp_path: Path, gguf_bytes: bytes) -> None:
    path = tmp_path / "huge.gguf"
    path.write_bytes(gguf_bytes)
    os.truncate(path, 10 << 30)
    assert read_header(path).file_bytes == 10 << 30


@pytest.mark.slow
def test_an_endless_header_stops_at_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "endless.gguf"
    counts = struct.pack("<IQQ", 3, 0, 60_000)
    array = struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 8, 16 << 20)  # 16 M empty strings: zeros
    path.write_bytes(b"GGUF" + counts + array)
    os.truncate(path, 10 << 30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelRefusedError, match=f"limit of {MAX_HEADER_BYTES} bytes"):
        read_header(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


def test_the_corpus_of_malformed_files_gets_the_verdicts_of_its_manifest() -> None:
    if not CORPUS.is_dir():
        pytest.skip("the corpus of malformed GGUF files is not beside this checkout")
    wrong: list[str] = []
    manifest = json.loads((CORPUS / "manifest.json").read_text())
    for case in manifest:
        try:
            read_header(CORPUS / "files" / f"{case['name']}.gguf")
        except ModelRefusedError:
            verdict = "reject"
        else:
            verdict = "parse"
        if case["must"] not in (verdict, "any-but-crash"):
            wrong.append(f"{case['name']}: {verdict}")
    assert wrong == []
    assert len(manifest) == 171


@pytest.mark.slow
@settings(max_examples=1500, deadline=1000)
@given(data=st.data())
def test_mutated_files_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, gguf_bytes: bytes, data: st.DataObject
) -> None:
    raw = bytearray(gguf_bytes)
    header = gguf_bytes.index(b"\x01" * 16)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, header))
        match data.draw(st.sampled_from(["byte", "number", "insert", "delete", "cut", "copy"])):
            case "byte":
                raw[place : place + 1] = data.draw(st.binary(min_size=1, max_size=1))
            case "number":
                number = data.draw(
                    st.sampled_from([0, 1, 9, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1, 2**64 - 32])
                )
                raw[place : place + 8] = struct.pack("<Q", number)
            case "insert":
                raw[place:place] = data.draw(st.binary(max_size=64))
            case "delete":
                del raw[place : place + data.draw(st.integers(1, 64))]
            case "cut":
                del raw[place:]
            case _:
                other = data.draw(st.integers(0, header))
                raw[place : place + 24] = gguf_bytes[other : other + 24]
    path = tmp_path_factory.getbasetemp() / "mutated.gguf"
    path.write_bytes(bytes(raw))
    try:
        header_read = read_header(path)
    except ModelRefusedError:
        return
    assert header_read.tensor_bytes <= header_read.file_bytes == len(raw)


def test_the_type_table_is_the_engine_own() -> None:
    """Sizes are compared with the installed library, in a process of its own."""
    code = (
        "import ctypes, glob, importlib.util, json, os;"
        "folder = os.path.dirname(importlib.util.find_spec('llama_cpp').origin);"
        "library = ctypes.CDLL(glob.glob(folder + '/lib/libggml-base.so*')[0]);"
        "library.ggml_blck_size.restype = ctypes.c_int64; library.ggml_type_size.restype = ctypes.c_size_t;"
        "print(json.dumps([[library.ggml_blck_size(i), library.ggml_type_size(i)] for i in range(43)]))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if run.returncode:
        pytest.skip("llama-cpp-python's libraries are not installed: run `make setup`")
    for number, (block, size) in enumerate(json.loads(run.stdout)):
        ours = TENSOR_TYPES.get(number)
        assert (block, size) == ((ours.block, ours.size) if ours else (0, 0))
