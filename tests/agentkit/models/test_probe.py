"""What crashed once is remembered, for this file and build only; a file that cannot be read or written harms nobody."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from agentkit.models.probe import library_key, must_not_repack, probe_key, remember_crash


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"weights")
    return path


def test_a_crash_is_remembered(tmp_path: Path, model: Path) -> None:
    cache, key = tmp_path / "probe.json", probe_key(model)
    assert not must_not_repack(cache, key)
    remember_crash(cache, key)
    assert must_not_repack(cache, key)
    assert not must_not_repack(cache, "another")


def test_another_file_has_another_key(model: Path) -> None:
    before = probe_key(model)
    assert probe_key(model) == before
    model.write_bytes(b"other weights")
    assert probe_key(model) != before


def test_another_build_of_the_same_version_has_another_key(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ModuleSpec("llama_cpp", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: spec)
    library = tmp_path / "lib" / "libllama.so"
    library.parent.mkdir()
    library.write_bytes(b"built")
    before = library_key(), probe_key(model)
    assert (library_key(), probe_key(model)) == before
    library.write_bytes(b"built with other flags")
    assert library_key() != before[0]
    assert probe_key(model) != before[1]


def test_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    cache = tmp_path / "probe.json"
    for index in range(100):
        remember_crash(cache, f"key {index}")
    assert must_not_repack(cache, "key 99")
    assert not must_not_repack(cache, "key 0")


@pytest.mark.parametrize("content", ["", "[]", "null", '{"crashed_when_repacking": 5}', "\ud800"])
def test_nonsense_is_as_good_as_nothing(tmp_path: Path, content: str) -> None:
    cache = tmp_path / "probe.json"
    cache.write_bytes(content.encode("utf-8", "surrogatepass"))
    assert not must_not_repack(cache, "key")


def test_without_a_file_nothing_is_remembered(tmp_path: Path) -> None:
    remember_crash(None, "key")
    remember_crash(tmp_path / "missing" / "probe.json", "key")
    assert not must_not_repack(None, "key")
