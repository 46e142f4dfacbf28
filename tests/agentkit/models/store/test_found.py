"""Models of other programs are found where those keep them, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentkit.models.found import FoundModel, found_models
from agentkit.models.store import ModelStore


def put(path: Path, raw: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return path


def ollama(folder: Path, name: str, digest: str, raw: bytes) -> None:
    layer = {
        "mediaType": "application/vnd.ollama.image.model",
        "digest": f"sha256:{digest}",
        "size": len(raw),
    }
    other = {"mediaType": "application/vnd.ollama.image.license", "digest": "sha256:00", "size": 1}
    put(folder / "manifests/registry.ollama.ai" / name, json.dumps({"layers": [other, layer]}).encode())
    put(folder / f"blobs/sha256-{digest}", raw)


def named(found: list[FoundModel]) -> dict[str, str]:
    return {f"{model.owner}/{model.name}": model.suggested_name for model in found}


def test_each_program_is_looked_up_where_it_keeps_its_models(tmp_path: Path, gguf_bytes: bytes) -> None:
    ollama(tmp_path / ".ollama/models", "library/llama3.2/1b", "ab" * 32, gguf_bytes)
    ollama(tmp_path / ".ollama/models", "somebody/tiny/latest", "cd" * 32, gguf_bytes)
    put(tmp_path / ".lmstudio/models/owner/repo/Tiny-Q4.gguf", gguf_bytes)
    put(tmp_path / ".local/share/Jan/data/llamacpp/models/jan-tiny/model.gguf", gguf_bytes)
    put(tmp_path / ".llamafile/one.gguf", gguf_bytes)
    put(tmp_path / ".cache/llama.cpp/two.gguf", gguf_bytes)
    blob = put(tmp_path / ".cache/huggingface/hub/models--own--repo/blobs/ef", gguf_bytes)
    link = blob.parents[1] / "snapshots/123/sub/hub.gguf"
    link.parent.mkdir(parents=True)
    link.symlink_to(blob)
    found = found_models(tmp_path, {})
    assert named([model for model in found if model.path.is_relative_to(tmp_path)]) == {
        "ollama/llama3.2:1b": "llama3.2-1b",
        "ollama/somebody/tiny:latest": "tiny-latest",
        "lmstudio/owner/repo/Tiny-Q4.gguf": "tiny-q4",
        "jan/jan-tiny": "jan-tiny",
        "llamafile/one.gguf": "one",
        "llama.cpp/two.gguf": "two",
        "huggingface/own/repo/sub/hub.gguf": "hub",
    }
    assert {model.size_bytes for model in found if model.path.is_relative_to(tmp_path)} == {len(gguf_bytes)}


def test_folders_named_by_the_environment_are_used(tmp_path: Path, gguf_bytes: bytes) -> None:
    ollama(tmp_path / "o", "library/a/b", "ab" * 32, gguf_bytes)
    put(tmp_path / "h/models--own--repo/snapshots/1/x.gguf", gguf_bytes)
    put(tmp_path / "l/y.gguf", gguf_bytes)
    environment = {
        "OLLAMA_MODELS": str(tmp_path / "o"),
        "HF_HUB_CACHE": str(tmp_path / "h"),
        "LLAMA_CACHE": str(tmp_path / "l"),
    }
    assert set(named(found_models(tmp_path / "nobody", environment))) == {
        "ollama/a:b",
        "huggingface/own/repo/x.gguf",
        "llama.cpp/y.gguf",
    }


@pytest.mark.parametrize(
    "manifest", [b"", b"{}", b"[1]", b'{"layers": [1]}', b'{"layers": 3}', b"[" * 100_000, b"\xff"]
)
def test_damaged_and_foreign_files_are_passed_over(tmp_path: Path, manifest: bytes) -> None:
    put(tmp_path / "o/manifests/r/library/m/t", manifest)
    put(tmp_path / ".lmstudio/models/text.gguf", b"no model")
    put(tmp_path / ".lmstudio/models/empty.gguf", b"")
    (tmp_path / ".lmstudio/models/dangling.gguf").symlink_to(tmp_path / "nowhere")
    (tmp_path / ".lmstudio/models/loop.gguf").symlink_to(tmp_path / ".lmstudio/models/loop.gguf")
    assert found_models(tmp_path, {"OLLAMA_MODELS": str(tmp_path / "o")}) == []


def test_a_manifest_cannot_point_outside_the_blobs(tmp_path: Path, gguf_bytes: bytes) -> None:
    put(tmp_path / "secret.gguf", gguf_bytes)
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": "../../secret.gguf"}
    put(tmp_path / "o/manifests/r/library/m/t", json.dumps({"layers": [layer]}).encode())
    assert found_models(tmp_path, {"OLLAMA_MODELS": str(tmp_path / "o")}) == []


def test_what_is_found_can_be_brought_in(tmp_path: Path, gguf_bytes: bytes) -> None:
    ollama(tmp_path / "o", "library/llama3.2/1b", "ab" * 32, gguf_bytes)
    (model,) = found_models(tmp_path / "nobody", {"OLLAMA_MODELS": str(tmp_path / "o")})
    stored = ModelStore(tmp_path / "models").import_file(model.path, model.suggested_name)
    assert stored.path.name.endswith(".gguf")
    assert stored.path.samefile(model.path)  # no second copy on the disk
