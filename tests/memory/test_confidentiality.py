"""Nothing that was remembered can be read in what was written: not as text, vector, id or key, in no encoding."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from agentkit_memory import FileState, NewRecord
from agentkit_memory.header import VaultHeader
from tests import canary

if TYPE_CHECKING:
    from tests.memory.conftest import Vaults

CANARIES = ("zanzibar marmalade telescope", "/home/quixotic/umbrella.txt", "Kaleidoskop-Überschrift")
MESSAGE = "periwinkle conversation canary"
SETTING = "gossamer setting canary"


@pytest.mark.slow
@pytest.mark.parametrize("with_snapshot", [False, True])
def test_nothing_written_is_readable(
    vaults: Vaults,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    memory_folders: Callable[[], Path],
    with_snapshot: bool,
) -> None:
    for name in ("work", "home", "tmp", "cache"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for variable, name in (("HOME", "home"), ("TMPDIR", "tmp"), ("XDG_CACHE_HOME", "cache")):
        monkeypatch.setenv(variable, str(tmp_path / name))
    options = {"index_folder": memory_folders()} if with_snapshot else {}
    vault = vaults.create(**options)
    text, path, title = CANARIES
    record = NewRecord(text, source=path, title=title, kind="document", origin="document")
    vectors = vaults.embedder.embed([text] * 40)
    vectors += np.random.default_rng(1).standard_normal(vectors.shape).astype(np.float32) / 10
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = vault.add([record] * 39, vectors[:39])
    vault.replace_file(FileState(path + ".x", 1, 1, "digest-canary-value", 1), [], vaults.embedder.embed([]))
    vault.append_message("c", {"role": "user", "text": MESSAGE})
    vault.set_setting("key-canary-name", SETTING)
    vault.warm(wait=True)
    ids += vault.add([record], vectors[39:])
    assert vault.search(text, vectors[0])
    stored = [
        vector.astype("<f4").tobytes() for vector in vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    ]
    blobs = [
        *[vector[:32] for vector in stored],
        *[bytes.fromhex(each) for each in ids],
        *[each.encode() for each in ids],
        vaults.passphrase,
        *[
            vault._access.master.subkey(purpose)
            for purpose in ("database", "snapshot", "header", "head", "digest")
        ],
        vault._access.master._key,
    ]
    wanted = canary.needles([*CANARIES, MESSAGE, SETTING, "digest-canary-value", "key-canary-name"], blobs)
    places = [vaults.folder, tmp_path]
    assert canary.hits(places, wanted) == []  # while open: the write-ahead log
    vault.delete(ids[:3])
    assert canary.hits(places, wanted) == []
    vault.close()
    assert canary.hits(places, wanted) == []
    vaults.open().close()
    assert {each.name for each in vaults.folder.iterdir()} == {
        "vault.json",
        "vault.db",
        "head.sealed",
        "lock",
    }
    for name in ("work", "home", "tmp", "cache"):
        assert list((tmp_path / name).rglob("*")) == []


def test_the_search_for_canaries_can_find_them(tmp_path: Path) -> None:
    wanted = canary.needles([CANARIES[0]], [b"\x01\x02\x03\x04" * 8])
    for data in (
        CANARIES[0].encode("utf-16-le"),
        base64.b64encode(b"before " + CANARIES[0].encode() + b" after"),
        b"\xff" + b"\x01\x02\x03\x04" * 8,
        b"...telescope...",
    ):
        (tmp_path / "file").write_bytes(data)
        assert canary.hits([tmp_path], wanted), data


def test_everything_is_private_to_its_user(vaults: Vaults) -> None:
    before = os.umask(0)
    try:
        vault = vaults.create()
        vaults.add(vault, ["x"])
        assert vaults.folder.stat().st_mode & 0o077 == 0
        for path in vaults.folder.iterdir():
            assert path.stat().st_mode & 0o077 == 0, path.name
    finally:
        os.umask(before)


def test_the_header_tells_nothing_but_how_to_unlock(vaults: Vaults) -> None:
    vaults.create().close()
    header = VaultHeader.read(vaults.folder)
    assert "wrapped" not in repr(header)
    assert vaults.embedder.name not in (vaults.folder / "vault.json").read_text()
