"""Chroma behind the vault: loaded beside exact search, sealed and restored, and kept from everything else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from agentkit_memory import TamperedError, VectorIndexError
from agentkit_memory.seal import seal
from agentkit_memory.snapshot import FILE, Snapshot, State, check_memory_backed

if TYPE_CHECKING:
    from tests.memory.conftest import Vaults

TEXTS = [f"{word} number {number}" for number in range(30) for word in ("apple", "river", "stone")]


def test_chroma_takes_over_and_answers_alike(vaults: Vaults) -> None:
    vault = vaults.create()
    ids = vaults.add(vault, TEXTS)
    assert vault.index_name == "exact"
    exact = vaults.search(vault, "river number 7", k=3)
    vault.warm(wait=True)
    vault.warm()
    assert (vault.index_name, vault.index_error) == ("chroma", None)
    assert vaults.search(vault, "river number 7", k=3)[0] == exact[0] == "river number 7"
    vault.delete(ids[:80])
    vaults.add(vault, ["a brand new apple"])
    assert vaults.search(vault, "brand new", k=1) == ["a brand new apple"]
    assert "river number 7" not in vaults.search(vault, "river number 7", k=20)


def test_changes_while_chroma_loads_are_not_lost(vaults: Vaults) -> None:
    vault = vaults.create()
    ids = vaults.add(vault, TEXTS)
    vault.warm()
    vault.delete(ids[:5])
    vaults.add(vault, ["added meanwhile"])
    vault.warm(wait=True)
    assert vault.index_name == "chroma"
    assert len(vault._finder.vectors._index or ()) == vault.count() == len(TEXTS) - 4
    assert vaults.search(vault, "added meanwhile", k=1) == ["added meanwhile"]


def test_a_snapshot_is_sealed_at_close_restored_and_caught_up(
    vaults: Vaults, memory_folders: Callable[[], Path]
) -> None:
    first = memory_folders()
    vault = vaults.create(index_folder=first)
    vaults.add(vault, TEXTS)
    vault.warm(wait=True)
    assert any(first.rglob("*.sqlite3"))
    vault.close()
    assert list(first.iterdir()) == []
    sealed = (vaults.folder / FILE).read_bytes()
    vault = vaults.open()
    vaults.add(vault, ["added without chroma"])
    vault.close()
    vault = vaults.open(index_folder=memory_folders())
    vault.warm(wait=True)
    assert vault._finder.vectors._sealed is not None  # restored, not rebuilt
    assert vaults.search(vault, "added without chroma", k=1) == ["added without chroma"]
    vault.close()
    assert (vaults.folder / FILE).read_bytes() != sealed


def test_temporary_files_of_chroma_stay_in_memory(vaults: Vaults, memory_folders: Callable[[], Path]) -> None:
    folder = memory_folders()
    with vaults.create(index_folder=folder) as vault:
        vault.warm(wait=True)
    place = Path(os.environ["SQLITE_TMPDIR"])
    assert place.stat().st_dev == folder.stat().st_dev
    assert os.access(place, os.W_OK)


def test_a_snapshot_that_is_up_to_date_is_left_alone(
    vaults: Vaults, memory_folders: Callable[[], Path]
) -> None:
    vault = vaults.create(index_folder=memory_folders())
    vaults.add(vault, TEXTS)
    vault.warm(wait=True)
    vault.close()
    sealed = (vaults.folder / FILE).read_bytes()
    vault = vaults.open(index_folder=memory_folders())
    vault.warm(wait=True)
    assert vaults.search(vault, "apple number 3", k=1) == ["apple number 3"]
    vault.close()
    assert (vaults.folder / FILE).read_bytes() == sealed


@pytest.mark.parametrize("loaded", [True, False])
def test_no_snapshot_outlives_what_was_forgotten(
    vaults: Vaults, memory_folders: Callable[[], Path], loaded: bool
) -> None:
    vault = vaults.create(index_folder=memory_folders())
    ids = vaults.add(vault, TEXTS)
    vault.warm(wait=True)
    vault.close()
    vault = vaults.open(index_folder=memory_folders())
    if loaded:
        vault.warm(wait=True)
    assert (vaults.folder / FILE).exists()
    vault.delete(ids[:1])
    assert not (vaults.folder / FILE).exists()
    vault.close()
    assert not (vaults.folder / FILE).exists()  # its files still held the deleted vector
    vault = vaults.open(index_folder=memory_folders())
    vault.warm(wait=True)
    vault.close()
    assert (vaults.folder / FILE).exists()


def test_a_bad_or_stale_snapshot_is_replaced_by_a_rebuilt_index(
    vaults: Vaults, memory_folders: Callable[[], Path]
) -> None:
    vault = vaults.create(index_folder=memory_folders())
    ids = vaults.add(vault, TEXTS)
    vault.warm(wait=True)
    vault.close()
    path = vaults.folder / FILE
    good = path.read_bytes()
    vault = vaults.open()
    vault.delete(ids[:10])
    vault.close()
    changed = bytearray(good)
    changed[len(good) // 2] ^= 1
    for data in (bytes(changed), good[:-1], good[:10], b"", good):  # the last is sound, but of an older epoch
        path.write_bytes(data)
        vault = vaults.open(index_folder=memory_folders())
        vault.warm(wait=True)
        assert vault.index_name == "chroma"
        assert len(vault._finder.vectors._index or ()) == len(TEXTS) - 10
        vault._finder.vectors._purged = True  # keep the next turn's snapshot ours
        vault.close()


def test_a_snapshot_laid_out_in_another_way_is_refused(tmp_path: Path) -> None:
    """As one of a version between releases would be: the index is rebuilt then."""
    for head in ({"files": [["data", 4]]}, {"files": [["data", [[9, 4]]]]}, {}):
        spelt = json.dumps(head).encode()
        content = len(spelt).to_bytes(4, "little") + spelt + b"data"
        (tmp_path / FILE).write_bytes(seal(bytes(32), content, b"agentkit vault v1 snapshot a"))
        with pytest.raises(TamperedError):
            Snapshot(tmp_path, bytes(32), "a").restore(tmp_path)


def test_the_whole_vault_takes_little_more_than_its_raw_vectors_and_texts(
    vaults: Vaults, memory_folders: Callable[[], Path]
) -> None:
    """The snapshot beside the database: about 0.6 of the raw bytes at 384 dimensions and texts of 1 KB."""
    from agentkit_memory import NewRecord

    number, dimensions = 3000, 384
    chance = np.random.default_rng(1)
    vectors = chance.normal(size=(number, dimensions)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vault = vaults.create(index_folder=memory_folders(), dimensions=dimensions)
    vault.add([NewRecord("x" * 1024)] * number, vectors)
    vault.warm(wait=True)
    vault.close()
    assert (vaults.folder / FILE).stat().st_size < 0.65 * (number * 1024 + vectors.nbytes)
    vault = vaults.open(index_folder=memory_folders())
    vault.warm(wait=True)
    assert vault._finder.vectors._sealed is not None  # restored, not rebuilt
    vault.close()


def test_a_snapshot_of_another_vault_is_refused(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "file").write_bytes(b"content")
    state = State("e", 1, 2, "engine")
    Snapshot(tmp_path, bytes(32), "a").save(state, source)
    assert Snapshot(tmp_path, bytes(32), "a").restore(target) == state
    assert (target / "file").read_bytes() == b"content"
    for other in (Snapshot(tmp_path, bytes(32), "b"), Snapshot(tmp_path, b"\1" * 32, "a")):
        with pytest.raises(TamperedError):
            other.restore(target)


def test_clear_index_files_are_only_put_on_a_private_empty_tmpfs(
    tmp_path: Path, memory_folders: Callable[[], Path]
) -> None:
    good = memory_folders()
    check_memory_backed(good)
    with pytest.raises(VectorIndexError):
        check_memory_backed(good / "missing")
    open_to_all = memory_folders()
    open_to_all.chmod(0o755)
    with pytest.raises(VectorIndexError):
        check_memory_backed(open_to_all)
    (good / "file").touch()
    with pytest.raises(VectorIndexError):
        check_memory_backed(good)
    if os.path.ismount("/") and not str(tmp_path).startswith("/dev/shm"):
        tmp_path.chmod(0o700)
        disk = tmp_path / "disk"
        disk.mkdir(mode=0o700)
        with pytest.raises(VectorIndexError, match="on a disk"):
            check_memory_backed(disk)


def test_exact_search_goes_on_when_chroma_fails(vaults: Vaults, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise VectorIndexError("chroma failed: Broken")

    vault = vaults.create()
    vaults.add(vault, TEXTS)
    with monkeypatch.context() as patch:
        patch.setattr("agentkit_memory.chroma.ChromaIndex.put", broken)
        with pytest.raises(VectorIndexError):
            vault.warm(wait=True)
    assert isinstance(vault.index_error, VectorIndexError)
    assert vaults.search(vault, "stone number 4", k=1) == ["stone number 4"]


HOSTILE = """
import json, os, sys
from pathlib import Path
from agentkit_memory.index import ExactIndex
from agentkit_memory.chroma import ChromaIndex
import numpy as np

index = ChromaIndex(4)
index.put(["a" * 32], np.eye(4, dtype=np.float32)[:1])
found = index.search(np.eye(4, dtype=np.float32)[0], 1)
print(json.dumps({
    "found": found,
    "modules": [name for name in ("onnxruntime", "torch", "evil") if name in sys.modules],
    "environment": [name for name in os.environ if name.startswith(("CHROMA_", "OTEL_"))],
}))
"""


@pytest.mark.slow
def test_environment_and_dotenv_reach_nothing(tmp_path: Path) -> None:
    work, home = tmp_path / "work", tmp_path / "home"
    work.mkdir()
    home.mkdir()
    (work / "evil.py").write_text("import pathlib; pathlib.Path('PWNED').touch()\nclass Evil: pass\n")
    dotenv = (
        "CHROMA_PRODUCT_TELEMETRY_IMPL=evil.Evil\nCHROMA_API_IMPL=evil.Evil\nIS_PERSISTENT=true\n"
        "PERSIST_DIRECTORY=here\n"
    )
    (work / ".env").write_text(dotenv)
    environment = {
        **os.environ,
        **dict(line.split("=") for line in dotenv.splitlines()),
        "CHROMA_OTEL_COLLECTION_ENDPOINT": "http://localhost:1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1",
        "HOME": str(home),
        "PYTHONPATH": str(work),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    ran = subprocess.run(
        [sys.executable, "-c", HOSTILE], cwd=work, env=environment, capture_output=True, text=True, check=True
    )
    report = json.loads(ran.stdout)
    assert report["found"][0][0] == "a" * 32
    assert report["modules"] == []
    assert report["environment"] == ["OTEL_SDK_DISABLED"]
    assert {path.name for path in work.iterdir()} == {"evil.py", ".env"}
    assert list(home.rglob("*")) == []
