"""The contract of an embedder, on the shipped fake and on the real model by both paths."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentkit_memory import Embedder, EmbedderError, HashEmbedder, MiniLMEmbedder, SentenceTransformerEmbedder
from agentkit_memory import safetensors as tensors

SCRIPTS = [
    "The quick brown fox jumps over the lazy dog.",
    "Ça va être difficile: naïve Ærø, Straße, İstanbul, ﬁne",
    "나는 내일 학교에 갑니다",
    "मैं कल स्कूल जाऊँगा",
    "我明天去学校学习中文",
    "これは日本語の文章です",
    "Это предложение на русском языке",
    "هذه جملة مكتوبة باللغة العربية",
    "ΑΘΗΝΑ είναι η πρωτεύουσα",
    "ภาษาไทย ทดสอบ",
    "😀 emoji 👩‍👩‍👧 and \u200d joiners",
    "def f(x): return x ** 2  # code",
    "a",
    "",
    "   \n\t ",
    "x" * 3000,
    "supercalifragilistic " * 400,
]


@pytest.fixture(scope="module")
def minilm(minilm_path: Path) -> MiniLMEmbedder:
    return MiniLMEmbedder(minilm_path)


@pytest.fixture(
    params=["hash", pytest.param("minilm", marks=[pytest.mark.model, pytest.mark.slow])],
)
def embedder(request: pytest.FixtureRequest) -> Embedder:
    if request.param == "hash":
        return HashEmbedder()
    made: Embedder = request.getfixturevalue("minilm")
    return made


def test_vectors_are_unit_float32_rows(embedder: Embedder) -> None:
    vectors = embedder.embed(SCRIPTS)
    assert vectors.shape == (len(SCRIPTS), embedder.dimensions)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert embedder.embed([]).shape == (0, embedder.dimensions)


def test_a_vector_depends_on_its_text_alone(embedder: Embedder) -> None:
    together = embedder.embed(SCRIPTS[:6])
    for text, vector in zip(SCRIPTS[:6], together, strict=True):
        assert np.allclose(embedder.embed([text])[0], vector, atol=1e-5)
    assert np.array_equal(embedder.embed(SCRIPTS[:3]), embedder.embed(SCRIPTS[:3]))


def test_like_texts_are_nearer_than_unlike_ones(embedder: Embedder) -> None:
    cat, cats, tax = embedder.embed(["the cat sleeps", "the cat is sleeping", "income tax return form"])
    assert cat @ cats > cat @ tax


def test_invalid_unicode_is_embedded_not_refused(embedder: Embedder) -> None:
    assert np.isfinite(embedder.embed(["lone \ud800 surrogate", "\0"])).all()


@pytest.mark.model
@pytest.mark.slow
def test_long_texts_are_cut_and_counted(minilm: MiniLMEmbedder) -> None:
    before = minilm.truncated
    words = ["word"] * 254
    inside, over = " ".join(words), " ".join([*words, "word", "other"])
    assert minilm.count_pieces(inside) == 256
    assert minilm.count_pieces(over) == 258
    vectors = minilm.embed([inside, over])
    assert minilm.truncated == before + 1
    assert np.allclose(vectors[0], vectors[1], atol=1e-5)


@pytest.mark.model
@pytest.mark.slow
def test_the_numpy_pass_gives_what_sentence_transformers_gives(
    minilm: MiniLMEmbedder, minilm_path: Path
) -> None:
    bulk = SentenceTransformerEmbedder(minilm_path)
    assert (bulk.name, bulk.dimensions, bulk.max_pieces) == (
        minilm.name,
        minilm.dimensions,
        minilm.max_pieces,
    )
    ours = minilm.embed(SCRIPTS)
    bulk.half = False
    cosines = np.einsum("ij,ij->i", ours, bulk.embed(SCRIPTS))
    assert cosines.min() >= 0.99999, dict(zip(SCRIPTS, cosines, strict=True))
    bulk.half = True
    halves = np.einsum("ij,ij->i", ours, bulk.embed(SCRIPTS))
    assert halves.min() >= 0.999
    assert bulk.embed([]).shape == (0, 384)


@pytest.mark.model
@pytest.mark.slow
def test_the_light_embedder_needs_neither_torch_nor_transformers(minilm_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from agentkit_memory import MiniLMEmbedder\n"
        "MiniLMEmbedder(Path(sys.argv[1])).embed(['x'])\n"
        "print([name for name in ('torch', 'transformers', 'sentence_transformers', 'chromadb', 'scipy', "
        "'agentkit', 'agentkit_tools', 'llama_cpp') if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, str(minilm_path)], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("config.json", lambda data: data.replace(b'"bert"', b'"gpt2"')),
        ("config.json", lambda data: data.replace(b"384", b"380")),
        ("config.json", lambda data: b"{"),
        ("tokenizer.json", lambda data: data[:1000]),
        ("model.safetensors", lambda data: data[:1_000_000]),
        ("model.safetensors", lambda data: b""),
    ],
)
def test_damaged_model_files_are_refused(
    minilm_path: Path, tmp_path: Path, file: str, change: Callable[[bytes], bytes]
) -> None:
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        if name == file:
            (tmp_path / name).write_bytes(change((minilm_path / name).read_bytes()))
        else:
            (tmp_path / name).symlink_to(minilm_path / name)
    with pytest.raises(EmbedderError):
        MiniLMEmbedder(tmp_path)


def test_missing_model_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EmbedderError):
        MiniLMEmbedder(tmp_path)
    with pytest.raises(EmbedderError):
        SentenceTransformerEmbedder(tmp_path)


@pytest.mark.parametrize("modules", ['[{"type": "evil.Module"}]', "{}", "[]x", '[{"path": ""}]', "[3]"])
def test_a_model_folder_that_names_code_is_refused_before_torch_is_imported(
    tmp_path: Path, modules: str
) -> None:
    (tmp_path / "modules.json").write_text(modules)
    with pytest.raises(EmbedderError):
        SentenceTransformerEmbedder(tmp_path)


def _file(path: Path, header: Any, data: bytes = b"", size: int | None = None) -> Path:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded) if size is None else size) + encoded + data)
    return path


def _tensor(shape: Any, offsets: Any, dtype: Any = "F32") -> dict[str, Any]:
    return {"t": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


def test_a_sound_safetensors_file_is_read(tmp_path: Path) -> None:
    values = np.arange(6, dtype="<f4")
    header = {
        "__metadata__": {"format": "pt"},
        **_tensor([2, 3], [0, 24]),
        "ids": {"dtype": "I64", "shape": [1], "data_offsets": [24, 32]},
    }
    read = tensors.read(_file(tmp_path / "x", header, values.tobytes() + bytes(8)))
    assert np.array_equal(read["t"], values.reshape(2, 3))
    assert list(read) == ["t"]


@pytest.mark.parametrize(
    "header",
    [
        _tensor([2, 3], [0, 28]),
        _tensor([2, 3], [-4, 20]),
        _tensor([2, 3], [4, 28]),
        _tensor([2, 3], [24, 0]),
        _tensor([-2, -3], [0, 24]),
        _tensor([1 << 62, 1 << 62], [0, 24]),
        _tensor([2, "3"], [0, 24]),
        _tensor([2, 3], [0]),
        _tensor([2, 3], [0.0, 24.0]),
        _tensor(6, [0, 24]),
        _tensor([6], [0, 24], dtype=3),
        {"t": []},
        [],
        b"{",
        b"[" * 9000,
        b"\xff\xfe",
    ],
)
def test_a_malformed_safetensors_file_is_refused(tmp_path: Path, header: Any) -> None:
    with pytest.raises(EmbedderError):
        tensors.read(_file(tmp_path / "x", header, bytes(24)))


def test_a_safetensors_header_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    for size in (1 << 63, 1 << 20, 5000):
        with pytest.raises(EmbedderError):
            tensors.read(_file(tmp_path / "x", {}, b"", size))
    (tmp_path / "x").write_bytes(b"abc")
    with pytest.raises(EmbedderError):
        tensors.read(tmp_path / "x")
    shutil.rmtree(tmp_path)
    with pytest.raises(EmbedderError):
        tensors.read(tmp_path / "x")
