"""Changed or cut files are refused with a typed error; they never crash, and never yield another text."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentkit_memory import StoreError, TamperedError, WrongPassphraseError
from agentkit_memory.seal import seal, unseal

if TYPE_CHECKING:
    from tests.memory.conftest import Vaults

PAGE = 4096


@pytest.fixture
def closed(vaults: Vaults) -> Vaults:
    """A closed vault with 200 records, each on its own."""
    vault = vaults.create()
    vaults.add(vault, [f"record {number} " + "filler " * 40 for number in range(200)])
    vault.close()
    return vaults


def _read_everything(vaults: Vaults) -> list[str]:
    vault = vaults.open()
    try:
        vault.verify()
        return [record.text for record in vault.records(limit=1000)]
    finally:
        vault.close()


def test_a_flipped_bit_in_any_page_is_noticed(closed: Vaults) -> None:
    path = closed.folder / "vault.db"
    good = path.read_bytes()
    texts = _read_everything(closed)
    chosen = random.Random(7)
    for page in range(0, len(good), PAGE):
        place = page + chosen.randrange(PAGE)
        changed = bytearray(good)
        changed[place] ^= 1 << chosen.randrange(8)
        path.write_bytes(changed)
        with pytest.raises(TamperedError):
            _read_everything(closed)
    path.write_bytes(good)
    assert _read_everything(closed) == texts


def test_a_cut_database_is_noticed(closed: Vaults) -> None:
    path = closed.folder / "vault.db"
    good = path.read_bytes()
    for size in (0, 1, 16, 100, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE, len(good) - PAGE, len(good) - 1):
        path.write_bytes(good[:size])
        with pytest.raises(StoreError):
            _read_everything(closed)


def test_swapped_pages_are_noticed(closed: Vaults) -> None:
    path = closed.folder / "vault.db"
    good = path.read_bytes()
    pages = [good[start : start + PAGE] for start in range(0, len(good), PAGE)]
    for first, second in ((1, 2), (3, 9), (len(pages) - 2, len(pages) - 1)):
        changed = list(pages)
        changed[first], changed[second] = changed[second], changed[first]
        path.write_bytes(b"".join(changed))
        with pytest.raises(TamperedError):
            _read_everything(closed)


def test_a_foreign_log_beside_the_database_changes_nothing(closed: Vaults) -> None:
    texts = _read_everything(closed)
    for junk in (b"", b"\0" * 32, random.Random(3).randbytes(20_000)):
        (closed.folder / "vault.db-wal").write_bytes(junk)
        assert _read_everything(closed) == texts


def test_files_of_two_vaults_cannot_be_mixed(closed: Vaults, tmp_path: Path) -> None:
    other = type(closed)(tmp_path / "other")
    other.create().close()
    shutil.copy(other.folder / "vault.json", closed.folder / "vault.json")
    with pytest.raises(TamperedError):
        closed.open()


def test_a_sealed_blob_opens_only_whole_in_its_place_and_with_its_key() -> None:
    key, sealed = bytes(32), seal(bytes(32), b"content", b"place")
    assert unseal(key, sealed, b"place") == b"content"
    assert seal(key, b"content", b"place") != sealed
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(TamperedError):
            unseal(key, bytes(changed), b"place")
        with pytest.raises(TamperedError):
            unseal(key, sealed[:place], b"place")
    with pytest.raises(TamperedError):
        unseal(key, sealed, b"elsewhere")
    with pytest.raises(TamperedError):
        unseal(b"\1" * 32, sealed, b"place")


def _crashed_copy(vaults: Vaults, folder: Path) -> Path:
    """Return a copy of the open vault's files, as a power cut would leave them."""
    shutil.copytree(vaults.folder, folder)
    return folder


def test_a_cut_or_flipped_log_loses_no_acknowledged_commit_unnoticed(closed: Vaults, tmp_path: Path) -> None:
    vault = closed.open()
    for number in range(6):
        closed.add(vault, [f"late {number}"])
    copy = type(closed)(_crashed_copy(closed, tmp_path / "copy"))
    log = copy.folder / "vault.db-wal"
    head = (copy.folder / "head.sealed").read_bytes()
    files = {name: (copy.folder / name).read_bytes() for name in ("vault.db", "vault.db-wal")}
    good = files["vault.db-wal"]
    chosen = random.Random(5)
    changes = [good[:size] for size in range(0, len(good), PAGE)]
    for _ in range(40):
        flipped = bytearray(good)
        flipped[chosen.randrange(len(good))] ^= 1 << chosen.randrange(8)
        changes.append(bytes(flipped))
    refused = 0
    for changed in [good, *changes]:
        for name, data in files.items():
            (copy.folder / name).write_bytes(data)
        (copy.folder / "head.sealed").write_bytes(head)
        log.write_bytes(changed)
        try:
            opened = copy.open()
        except TamperedError:
            refused += 1
            continue
        assert opened.count() == 206  # nothing that was acknowledged is missing
        opened.close()
    assert refused > len(changes) / 2


def test_one_old_page_put_back_is_noticed(closed: Vaults) -> None:
    path = closed.folder / "vault.db"
    old = path.read_bytes()
    vault = closed.open()
    vault.delete([record.id for record in vault.records(limit=50)])
    vault.close()
    new = path.read_bytes()
    differing = [
        at for at in range(0, len(new), PAGE) if old[at : at + PAGE] not in (b"", new[at : at + PAGE])
    ]
    assert len(differing) > 10
    for at in differing:
        path.write_bytes(new[:at] + old[at : at + PAGE] + new[at + PAGE :])
        with pytest.raises(TamperedError):
            closed.open()


@pytest.mark.parametrize("name", ["vault.json", "vault.db", "head.sealed"])
def test_an_old_file_put_back_is_noticed(name: str, closed: Vaults) -> None:
    path = closed.folder / name
    old = path.read_bytes()
    vault = closed.open()
    vault.change_passphrase(closed.passphrase, b"another one")
    closed.add(vault, ["one more"])
    vault.close()
    path.write_bytes(old)
    for passphrase in (closed.passphrase, b"another one"):
        with pytest.raises(StoreError) as refused:
            closed.open(passphrase)
        if passphrase == closed.passphrase and name != "vault.json":
            assert isinstance(refused.value, WrongPassphraseError)
        elif name != "vault.json":
            assert isinstance(refused.value, TamperedError)


def test_a_log_of_earlier_put_beside_a_closed_vault_changes_nothing(closed: Vaults, tmp_path: Path) -> None:
    vault = closed.open()
    closed.add(vault, ["first"])
    copy = _crashed_copy(closed, tmp_path / "copy")
    vault.delete([vault.records(limit=1)[0].id])
    vault.close()
    shutil.copy(copy / "vault.db-wal", closed.folder / "vault.db-wal")
    assert len(_read_everything(closed)) == 200


def test_every_flip_and_cut_of_the_head_is_noticed(closed: Vaults) -> None:
    path = closed.folder / "head.sealed"
    good = path.read_bytes()
    for place in [*range(512), 600, *range(4096, len(good))]:
        changed = bytearray(good)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        with pytest.raises(TamperedError):
            closed.open()
    for cut in (good[:0], good[:512], good[:4096], good[:-1], good + b"\0"):
        path.write_bytes(cut)
        with pytest.raises(TamperedError):
            closed.open()
    path.unlink()
    with pytest.raises(TamperedError):
        closed.open()


def test_an_older_copy_of_the_whole_vault_is_noticed_with_an_anchor(closed: Vaults, tmp_path: Path) -> None:
    kept: dict[str, int] = {}

    def anchor(vault_id: str, generation: int | None) -> int | None:
        if generation is not None:
            kept[vault_id] = generation
        return kept.get(vault_id)

    older = type(closed)(_crashed_copy(closed, tmp_path / "older"))
    vault = closed.open(anchor=anchor)
    closed.add(vault, ["newest"])
    vault.close()
    assert vault.anchored
    with pytest.raises(TamperedError):
        older.open(anchor=anchor)
    older.open().close()  # without an anchor it cannot be told from the newest
    accepted = older.open(anchor=anchor, accept_rollback=True)
    accepted.verify()
    accepted.close()
    older.open(anchor=anchor).close()
