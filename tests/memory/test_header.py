"""The header: one spelling, every change noticed, never half written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import agentkit_memory.header as header_module
from agentkit_memory import (
    KdfParameters,
    NewerVaultError,
    RecordError,
    StoreError,
    TamperedError,
    VaultMissingError,
    WeakKeyError,
    WrongPassphraseError,
    recovery,
)
from agentkit_memory.header import SLOT_LIMIT, VaultHeader, _canonical
from agentkit_memory.keys import MasterKey, derive

WEAK = KdfParameters.for_tests()
SECRET = bytes(range(32))


@pytest.fixture(scope="module")
def made() -> tuple[VaultHeader, MasterKey]:
    header, master = VaultHeader.create(b"old", WEAK)
    return header.with_keyring(SECRET, master), master


def test_a_header_survives_writing_and_reading(tmp_path: Path, made: tuple[VaultHeader, MasterKey]) -> None:
    header, master = made
    header.write(tmp_path)
    assert VaultHeader.read(tmp_path) == header
    assert [file.name for file in tmp_path.iterdir()] == ["vault.json"]
    assert (tmp_path / "vault.json").stat().st_mode & 0o777 == 0o600
    for how in ({"passphrase": b"old"}, {"keyring_secret": SECRET}):
        opened = header.unlock(allow_weak_kdf=True, **how)
        assert opened.subkey("database") == master.subkey("database")


def test_every_flipped_bit_and_every_truncation_is_noticed(made: tuple[VaultHeader, MasterKey]) -> None:
    data = made[0].to_bytes()
    for place in range(len(data)):
        with pytest.raises(StoreError):
            VaultHeader.parse(data[:place])
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            with pytest.raises((TamperedError, NewerVaultError)):
                VaultHeader.parse(bytes(changed))


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b"[" * 5000, b"\xff" * 100, b" " * 70_000])
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(TamperedError):
        VaultHeader.parse(data)


def _forged(header: VaultHeader, change: Any) -> VaultHeader:
    """Return the header after `change` to its JSON, with the checksum made right again."""
    import hashlib

    body = json.loads(header.to_bytes())
    body.pop("checksum")
    change(body)
    return VaultHeader.parse(_canonical({**body, "checksum": hashlib.sha256(_canonical(body)).hexdigest()}))


def test_someone_who_mends_the_checksum_is_noticed(made: tuple[VaultHeader, MasterKey]) -> None:
    header, _ = made

    def drop_keyring(body: dict[str, Any]) -> None:
        body["slots"].pop()

    def rename(body: dict[str, Any]) -> None:
        body["slots"][0]["name"] = "other"

    for change in (drop_keyring, rename):
        with pytest.raises(TamperedError):
            _forged(header, change).unlock(passphrase=b"old", allow_weak_kdf=True)


def test_cheaper_key_derivation_cannot_be_slipped_in(made: tuple[VaultHeader, MasterKey]) -> None:
    strong, _ = VaultHeader.create(b"old", KdfParameters(72, 1, 1))

    def cheapen(body: dict[str, Any]) -> None:
        body["slots"][0]["kdf"]["memory_kib"] = 64

    with pytest.raises(WrongPassphraseError):  # another derivation gives another key
        _forged(strong, cheapen).unlock(passphrase=b"old", allow_weak_kdf=True)
    with pytest.raises(WeakKeyError):
        made[0].unlock(passphrase=b"old")


def test_a_derivation_that_would_exhaust_the_machine_is_refused_before_it_runs(
    made: tuple[VaultHeader, MasterKey],
) -> None:
    def swell(body: dict[str, Any]) -> None:
        body["slots"][0]["kdf"]["memory_kib"] = 1 << 40

    with pytest.raises(WeakKeyError):
        _forged(made[0], swell).unlock(passphrase=b"old", allow_weak_kdf=True)


def test_a_newer_header_is_refused_as_newer(made: tuple[VaultHeader, MasterKey]) -> None:
    body = json.loads(made[0].to_bytes())
    body |= {"version": 2, "something": "new"}
    with pytest.raises(NewerVaultError) as refused:
        VaultHeader.parse(json.dumps(body).encode())
    assert refused.value.hint == "update agentkit"


@pytest.mark.parametrize("wrong", [b"Old", b"old ", b"\xff\xfe", b"x" * (1 << 20)])
def test_wrong_passphrases_are_refused_as_wrong(made: tuple[VaultHeader, MasterKey], wrong: bytes) -> None:
    with pytest.raises(WrongPassphraseError) as refused:
        made[0].unlock(passphrase=wrong, allow_weak_kdf=True)
    assert refused.value.exit_code == 4


def test_a_passphrase_need_not_be_text() -> None:
    header, _ = VaultHeader.create(b"\xff\x00\xfe", WEAK)
    header.unlock(passphrase=b"\xff\x00\xfe", allow_weak_kdf=True)


def test_changing_the_passphrase_keeps_the_master_key_and_the_other_slots(
    made: tuple[VaultHeader, MasterKey],
) -> None:
    header, master = made
    changed = header.with_passphrase(b"old", b"new", allow_weak_kdf=True)
    assert changed.slots == header.slots
    assert changed.unlock(passphrase=b"new", allow_weak_kdf=True).subkey("x") == master.subkey("x")
    assert changed.unlock(keyring_secret=SECRET).subkey("x") == master.subkey("x")
    with pytest.raises(WrongPassphraseError):
        changed.unlock(passphrase=b"old", allow_weak_kdf=True)
    with pytest.raises(WrongPassphraseError):
        header.with_passphrase(b"wrong", b"new", allow_weak_kdf=True)


def test_slots_are_removed_but_for_the_last(made: tuple[VaultHeader, MasterKey]) -> None:
    header, master = made
    only = header.without("keyring", master)
    with pytest.raises(WrongPassphraseError):
        only.unlock(keyring_secret=SECRET)
    with pytest.raises(RecordError):
        only.without("passphrase", master)
    with pytest.raises(RecordError):
        only.without("keyring", master)


def test_a_keyring_secret_is_replaced_not_piled_up(made: tuple[VaultHeader, MasterKey]) -> None:
    header, master = made
    again = header.with_keyring(b"\7" * 32, master)
    assert len(again.slots) == len(header.slots)
    with pytest.raises(WrongPassphraseError):
        again.unlock(keyring_secret=SECRET)


def test_a_slot_the_header_cannot_hold_is_refused_before_it_is_written(
    made: tuple[VaultHeader, MasterKey],
) -> None:
    header, master = made[0].without("keyring", made[1]), made[1]
    named = header.with_added_passphrase("recovery", b"second", WEAK, master)
    named = named.with_added_passphrase("keyring", b"third", WEAK, master)
    full = header
    for number in range(SLOT_LIMIT - 1):
        full = full.with_added_passphrase(f"p{number}", b"another", WEAK, master)
    code = recovery.generate()
    for each in (named, full):
        with pytest.raises(RecordError) as refused:
            each.with_recovery(code, master)
        assert refused.value.hint
        with pytest.raises(RecordError):
            each.with_keyring(SECRET, master)
        assert VaultHeader.parse(each.to_bytes()) == each
    with pytest.raises(RecordError, match="named 'passphrase' already"):
        header.with_added_passphrase("passphrase", b"second", WEAK, master)
    with pytest.raises(RecordError, match="16 slots at most"):
        full.with_added_passphrase("one-more", b"second", WEAK, master)


def test_a_header_put_into_another_vault_opens_nothing(made: tuple[VaultHeader, MasterKey]) -> None:
    moved = replace(made[0], id="ff" * 16)
    with pytest.raises(TamperedError):
        moved.unlock(passphrase=b"old", allow_weak_kdf=True)


def test_a_missing_header_is_a_missing_vault(tmp_path: Path) -> None:
    with pytest.raises(VaultMissingError):
        VaultHeader.read(tmp_path)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_passphrase_costs_one_derivation_for_each_slot_up_to_its_own(
    place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [b"first", b"second", b"third"]
    header, master = VaultHeader.create(texts[0], WEAK)
    for name, text in zip(("second", "third"), texts[1:], strict=True):
        header = header.with_added_passphrase(name, text, WEAK, master)
    header = header.with_keyring(SECRET, master)
    derived: list[bytes] = []

    def counted(passphrase: bytes, salt: bytes, kdf: KdfParameters) -> bytes:
        derived.append(passphrase)
        return derive(passphrase, salt, kdf)

    monkeypatch.setattr(header_module, "derive", counted)
    header.unlock(passphrase=texts[place], allow_weak_kdf=True)
    assert derived == [texts[place]] * (place + 1)
    derived.clear()
    header.with_passphrase(texts[place], b"new", allow_weak_kdf=True)
    assert derived == [*[texts[place]] * (place + 1), b"new"]
    derived.clear()
    header.unlock(keyring_secret=SECRET)
    assert derived == []
    with pytest.raises(WrongPassphraseError):
        header.unlock(passphrase=b"wrong", allow_weak_kdf=True)
    assert len(derived) == 3
