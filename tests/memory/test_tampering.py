"""Changed or cut files are refused with a typed error; they never crash, and never yield another text."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentkit_memory import StoreError, TamperedError
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
    missed = 0
    for page in range(0, len(good), PAGE):
        place = page + chosen.randrange(PAGE)
        changed = bytearray(good)
        changed[place] ^= 1 << chosen.randrange(8)
        path.write_bytes(changed)
        try:
            assert _read_everything(closed) == texts  # a free page: nothing in it is used
            missed += 1
        except TamperedError:
            pass
    path.write_bytes(good)
    assert missed <= _free_pages(closed)


def _free_pages(vaults: Vaults) -> int:
    vault = vaults.open()
    try:
        return int(vault._access.database.scalar("PRAGMA freelist_count"))
    finally:
        vault.close()


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
