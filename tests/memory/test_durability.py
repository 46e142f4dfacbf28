"""What was acknowledged survives: a killed process, a full disk, a file that may not grow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentkit_memory import DiskFullError, StorageError, StoreError, WrongPassphraseError
from agentkit_memory.durable import write_file
from agentkit_memory.head import Head

if TYPE_CHECKING:
    from tests.memory.conftest import Vaults

ADDER = """
import sys
from pathlib import Path
from agentkit_memory import FileState, HashEmbedder, NewRecord, Vault

embedder = HashEmbedder(64)
vault = Vault.open(Path(sys.argv[1]), passphrase=sys.argv[2].encode(), allow_weak_kdf=True)
number = int(sys.argv[3])
while True:
    texts = [f"record {number} part {part}" for part in range(3)]
    records = [NewRecord(text, source=f"/f{number}", kind="document") for text in texts]
    if number % 2:
        ids = vault.replace_file(FileState(f"/f{number}", 1, 1, "d", 3), records, embedder.embed(texts))
    else:
        ids = vault.add(records, embedder.embed(texts))
    print(*ids, flush=True)
    if number % 5 == 0:
        print("deleting", *ids, flush=True)  # until it is acknowledged they may be there or not
        if number % 2:
            vault.remove_file(f"/f{number}")
        else:
            vault.delete(ids)
        print("deleted", *ids, flush=True)
    number += 1
"""


@pytest.mark.slow
def test_kill_9_loses_nothing_acknowledged_and_leaves_nothing_half_done(vaults: Vaults) -> None:
    vaults.create().close()
    kept: set[str] = set()
    gone: set[str] = set()
    for kill in range(6):
        # Killed after so many lines, each time at another place of the loop.
        child = subprocess.Popen(
            [sys.executable, "-c", ADDER, str(vaults.folder), vaults.passphrase.decode(), str(kill * 1000)],
            stdout=subprocess.PIPE,
            text=True,
        )
        with child:
            assert child.stdout is not None
            for _ in range(5 + 7 * kill):
                _note(child.stdout.readline(), kept, gone)
            os.kill(child.pid, signal.SIGKILL)
            for line in child.stdout:
                if line.endswith("\n"):
                    _note(line, kept, gone)
        vault = vaults.open()
        assert {record.id for record in vault.get(sorted(kept))} == kept
        assert vault.get(sorted(gone)) == []
        # Three chunks a step, all or none, and file states agree with them.
        assert vault.count() % 3 == 0
        sources = {record.source for record in vault.records(limit=10_000)}
        assert {path for path in sources if int(path[2:]) % 2} == vault.files().keys()
        vault.verify()
        vault.close()
    assert len(kept) > 100


def _note(line: str, kept: set[str], gone: set[str]) -> None:
    match line.split():
        case ["deleting", *ids]:
            kept.difference_update(ids)
        case ["deleted", *ids]:
            gone.update(ids)
        case ids:
            kept.update(ids)


def test_a_full_disk_is_said_and_rolled_back(vaults: Vaults) -> None:
    vault = vaults.create()
    vaults.add(vault, ["kept"])
    pages = vault._access.database.scalar("PRAGMA page_count")
    vault._access.database.scalar(
        f"PRAGMA max_page_count = {pages + 20}"
    )  # SQLite's own word for a full disk
    with pytest.raises(DiskFullError) as refused:
        vaults.add(vault, ["x" * 100_000] * 5)
    assert refused.value.exit_code == 7
    assert vault.count() == 1
    vault._access.database.scalar("PRAGMA max_page_count = 1000000")
    vaults.add(vault, ["more"])
    assert [record.text for record in vault.records()] == ["kept", "more"]
    vault.verify()


LIMITED = """
import resource, signal, sys
from pathlib import Path
from agentkit_memory import HashEmbedder, NewRecord, StorageError, Vault

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
embedder = HashEmbedder(64)
vault = Vault.open(Path(sys.argv[1]), passphrase=sys.argv[2].encode(), allow_weak_kdf=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
try:
    while True:
        vault.add([NewRecord("y" * 10_000)], embedder.embed(["y"]))
        print("kept", flush=True)
except StorageError as error:
    print(type(error).__name__, flush=True)
print(vault.count(), flush=True)
vault.close()
"""


@pytest.mark.slow
def test_a_file_that_may_not_grow_is_a_typed_error_and_loses_nothing(vaults: Vaults) -> None:
    vaults.create().close()
    arguments = [sys.executable, "-c", LIMITED, str(vaults.folder), vaults.passphrase.decode()]
    *kept, error, count = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.split()
    assert error in ("StorageError", "DiskFullError")
    assert set(kept) == {"kept"}
    assert int(count) == len(kept)
    vault = vaults.open()
    assert vault.count() == len(kept)
    vault.verify()


def test_a_small_file_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_file(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DiskFullError):
            write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(StorageError):
        write_file(tmp_path / "missing" / "file", b"x")
    (tmp_path / "file.new").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError):
        write_file(path, b"new")
    assert not (tmp_path / "elsewhere").exists()


def test_what_a_killed_verification_left_is_not_in_the_way(vaults: Vaults) -> None:
    vault = vaults.create()
    left = vaults.folder / "vault.db.scan"
    left.write_bytes(os.urandom(8192))
    vault.verify()
    assert not left.exists()
    vault.close()
    left.write_bytes(os.urandom(8192))
    vaults.open()
    assert not left.exists()


def test_a_header_that_was_replaced_before_the_disk_failed_is_what_the_next_change_begins_from(
    vaults: Vaults, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = vaults.create()
    write, calls = vault._access.guard._file.write, 0

    def fails_after_the_header(head: Head) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise StorageError("the head failed")
        write(head)

    monkeypatch.setattr(vault._access.guard._file, "write", fails_after_the_header)
    with pytest.raises(StorageError):
        vault.change_passphrase(vaults.passphrase, b"another")
    code = vault.add_recovery_code()
    vault.close()
    for passphrase in (b"another", code.encode()):
        vaults.open(passphrase).close()
    with pytest.raises(WrongPassphraseError):
        vaults.open()
