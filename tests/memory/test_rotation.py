"""New keys: for everything, at once, through any crash; and the ways in that are added and removed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentkit_memory import (
    KdfParameters,
    RecordError,
    StorageError,
    TamperedError,
    Vault,
    VaultMissingError,
    WeakKeyError,
    WrongPassphraseError,
    backup,
    recovery,
)
from agentkit_memory.header import VaultHeader
from tests.memory.conftest import PASSPHRASE

if TYPE_CHECKING:
    from tests.memory.conftest import Vaults


def test_a_recovery_code_survives_being_typed_and_opens_like_a_passphrase(vaults: Vaults) -> None:
    vault = vaults.create()
    code = vault.add_recovery_code()
    vault.close()
    typed = code.lower().replace("-", " ").replace("0", "o").replace("1", "l")
    vaults.open(typed.encode()).close()
    with pytest.raises(RecordError, match="mistyped"):
        recovery.read(code[:-1] + ("A" if code[-1] != "A" else "B"))
    with pytest.raises(WrongPassphraseError):
        vaults.open(recovery.generate().encode())


def test_slots_are_added_and_removed_but_never_the_last(vaults: Vaults) -> None:
    vault = vaults.create()
    vault.add_passphrase("second", b"another way in", kdf=KdfParameters.for_tests())
    vault.remove_slot("passphrase")
    with pytest.raises(RecordError):
        vault.remove_slot("second")
    vault.close()
    vaults.open(b"another way in").close()
    with pytest.raises(WrongPassphraseError):
        vaults.open()


def test_rotation_keeps_the_records_and_one_slot(vaults: Vaults, tmp_path: Path) -> None:
    vault = vaults.create()
    ids = vaults.add(vault, [f"fact {number}" for number in range(50)])
    code = vault.add_recovery_code()
    before = vault._access.master._key
    with pytest.raises(WrongPassphraseError):
        vault.rotate(b"not it")
    vault.rotate(vaults.passphrase)
    with pytest.raises(WrongPassphraseError):
        vaults.open(code.encode())
    vault = vaults.open()
    assert vault._access.master._key != before
    assert [record.id for record in vault.records()] == ids
    vault.verify()
    vault.close()
    assert not list(vaults.folder.glob("*.next*"))


def test_a_rotation_killed_at_any_step_is_undone_or_finished(
    vaults: Vaults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps are renames and writes; each prefix of them is a state a crash can leave."""
    vault = vaults.create()
    vaults.add(vault, ["kept"])
    with monkeypatch.context() as patch:
        patch.setattr(VaultHeader, "write", _fail)
        with pytest.raises(StorageError):
            vault.rotate(vaults.passphrase)
    vault.close()
    shutil.copytree(vaults.folder, tmp_path / "before")
    vault = vaults.open()  # undone
    assert vault.count() == 1
    assert not list(vaults.folder.glob("*.next*"))

    moved = Path.replace

    def stop_at(name: str) -> None:
        def replace(path: Path, target: Path) -> Path:
            if path.name == name:
                raise OSError(5, "input/output error")
            return moved(path, target)

        patch.setattr(Path, "replace", replace)

    for name in ("vault.db.next", "head.sealed.next"):
        with monkeypatch.context() as patch:
            stop_at(name)
            with pytest.raises(StorageError):
                vault.rotate(vaults.passphrase)
        vault.close()
        vault = vaults.open()  # finished
        vaults.add(vault, ["more"])
        vault.verify()
    assert vault.count() == 3


def _fail(*_: object) -> None:
    raise StorageError("the disk failed")


def test_an_export_holds_what_was_kept_while_records_were_deleted(
    vaults: Vaults, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vault is not locked between two pages."""
    monkeypatch.setattr(backup, "PAGE", 2)
    vault = vaults.create()
    ids = vaults.add(vault, [f"note {number}" for number in range(7)])
    exported = vault.export()
    seen = [next(exported)["text"], next(exported)["text"]]
    vault.delete(ids[:2])
    seen += [entry["text"] for entry in exported]
    assert seen == [f"note {number}" for number in range(7)]


def test_a_backup_opens_elsewhere_and_an_export_holds_everything(vaults: Vaults, tmp_path: Path) -> None:
    vault = vaults.create()
    vaults.add(vault, ["first", "second"])
    vault.append_message("talk", {"role": "user", "text": "hello"})
    vault.backup(tmp_path / "copy")
    vaults.add(vault, ["after the backup"])
    entries = list(vault.export())
    assert [entry.get("text") for entry in entries] == ["first", "second", "after the backup", None]
    vault.close()
    copy = type(vaults)(tmp_path / "copy")
    restored = copy.open()
    restored.verify()
    assert [record.text for record in restored.records()] == ["first", "second"]
    restored.close()
    with pytest.raises(TamperedError):
        (tmp_path / "copy" / "vault.db").write_bytes(b"x")
        copy.open()


def test_a_backup_is_checked_byte_for_byte_and_left_alone(vaults: Vaults, tmp_path: Path) -> None:
    vault = vaults.create()
    vaults.add(vault, ["first", "second"])
    code = vault.add_recovery_code()
    copy = tmp_path / "copy"
    vault.backup(copy)

    def check(folder: Path = copy, passphrase: bytes = PASSPHRASE) -> int:
        return Vault.check_backup(folder, passphrase=passphrase, allow_weak_kdf=True)

    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in copy.iterdir()}
    assert check() == check(passphrase=code.encode()) == vault.generation
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in copy.iterdir()} == before
    with pytest.raises(WrongPassphraseError):
        check(passphrase=b"another")
    for path, (data, _) in before.items():
        for changed in (data[:-1], data[:100] + bytes([data[100] ^ 1]) + data[101:], None):
            path.unlink()
            if changed is not None:
                path.write_bytes(changed)
            with pytest.raises(
                VaultMissingError if (path.name, changed) == ("vault.json", None) else TamperedError
            ):
                check()
            path.write_bytes(data)
    assert check() == vault.generation
    shutil.copytree(vaults.folder, tmp_path / "in use")
    with pytest.raises(TamperedError, match="in use"):
        check(tmp_path / "in use")
    with pytest.raises(WeakKeyError):
        Vault.check_backup(copy, passphrase=PASSPHRASE)
