"""The vectors beside the written format: this package and a second reader say the same of every one of them."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest

from agentkit_memory import StoreError, Vault, recovery
from agentkit_memory.header import VaultHeader
from agentkit_memory.keys import KdfParameters, derive, expand
from agentkit_memory.seal import unseal
from agentkit_memory.snapshot import Snapshot, State
from tests.vectors import second_reader

VECTORS = Path(__file__).parents[1] / "vectors"
MANIFEST: dict[str, Any] = json.loads((VECTORS / "manifest.json").read_text(encoding="utf-8"))
VALUES: dict[str, Any] = json.loads((VECTORS / "values.json").read_text(encoding="utf-8"))
PASSPHRASE = MANIFEST["passphrase"].encode()
KEYRING_SECRET = bytes.fromhex(MANIFEST["keyring_secret"])
PAGE = 4096
KEYS: dict[str, dict[str, bytes]] = {
    "passphrase": {"passphrase": PASSPHRASE},
    "second": {"passphrase": bytes.fromhex(MANIFEST["second_passphrase_hex"])},
    "recovery": {"passphrase": MANIFEST["recovery_code"].encode()},
    "wrong": {"passphrase": b"something else"},
    "keyring": {"keyring_secret": KEYRING_SECRET},
}


def _vector(recipe: dict[str, Any], folder: Path) -> Path:
    """Make the vault a recipe describes: a base, and changes to its files."""
    shutil.copytree(VECTORS / "vaults" / recipe["base"], folder)
    for change in recipe["changes"]:
        path = folder / change["file"]
        if "from" in change:
            shutil.copy(VECTORS / "vaults" / change["from"] / change["file"], path)
        elif "remove" in change:
            path.unlink()
        else:
            path.write_bytes(_changed(path.read_bytes(), change))
    return folder


def _changed(data: bytes, change: dict[str, Any]) -> bytes:
    if "cut" in change:
        return data[: change["cut"]]
    changed = bytearray(data)
    if "flip" in change:
        changed[change["flip"]] ^= 1
        return bytes(changed)
    one, other = (slice(PAGE * number, PAGE * (number + 1)) for number in change["exchange"])
    changed[one], changed[other] = data[other], data[one]
    return bytes(changed)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lock"}


@pytest.mark.parametrize("recipe", MANIFEST["vaults"], ids=lambda recipe: recipe["name"])
def test_a_vault_is_what_the_manifest_says(recipe: dict[str, Any], tmp_path: Path) -> None:
    folder = _vector(recipe, tmp_path / "vault")
    key, expect = KEYS[recipe.get("with", "passphrase")], recipe["expect"]
    before = _files(folder)
    if expect == "ok":
        texts = MANIFEST["texts"][recipe.get("texts", recipe["base"])]
        with Vault.open(folder, **key, allow_weak_kdf=True) as vault:  # type: ignore[arg-type]
            vault.verify()
            assert [record.text for record in vault.records()] == texts
        return
    with pytest.raises(StoreError) as refused:
        Vault.open(folder, **key, allow_weak_kdf=True).close()  # type: ignore[arg-type]
    assert type(refused.value).__name__ == expect
    if expect == "NewerVaultError":
        assert _files(folder) == before  # unharmed


@pytest.mark.parametrize(
    "recipe",
    [recipe for recipe in MANIFEST["vaults"] if recipe["expect"] != "VaultMissingError"],
    ids=lambda recipe: recipe["name"],
)
def test_the_second_reader_says_the_same_of_a_vault(recipe: dict[str, Any], tmp_path: Path) -> None:
    folder = _vector(recipe, tmp_path / "vault")
    key, expect = KEYS[recipe.get("with", "passphrase")], recipe["expect"]
    read = (folder, key.get("passphrase", b""), key.get("keyring_secret"))
    if expect == "ok":
        assert second_reader.read_vault(*read) == MANIFEST["texts"][recipe.get("texts", recipe["base"])]
    else:
        with pytest.raises(second_reader.RefusedError, match=expect):
            second_reader.read_vault(*read)


@pytest.mark.parametrize("entry", MANIFEST["headers"], ids=lambda entry: entry["file"])
def test_a_header_is_what_the_manifest_says(entry: dict[str, Any]) -> None:
    data = (VECTORS / "headers" / entry["file"]).read_bytes()
    if entry["expect"] == "ok":
        header = VaultHeader.parse(data)
        header.unlock(passphrase=PASSPHRASE, allow_weak_kdf=entry["allow_weak"])
        assert header.to_bytes() == data
        return
    with pytest.raises(StoreError) as refused:
        VaultHeader.parse(data).unlock(passphrase=PASSPHRASE, allow_weak_kdf=entry["allow_weak"])
    assert type(refused.value).__name__ == entry["expect"]


def test_every_header_and_base_is_in_the_manifest() -> None:
    headers = {entry["file"] for entry in MANIFEST["headers"]}
    assert headers == {path.name for path in (VECTORS / "headers").iterdir()}
    used = {recipe["base"] for recipe in MANIFEST["vaults"]}
    used |= {
        change["from"] for recipe in MANIFEST["vaults"] for change in recipe["changes"] if "from" in change
    }
    assert used == {path.name for path in (VECTORS / "vaults").iterdir()}


def test_the_published_values_are_ours_and_the_second_readers() -> None:
    data = (VECTORS / "vaults" / "good" / "vault.json").read_bytes()
    header, keys = VaultHeader.parse(data), second_reader.unlock(data, PASSPHRASE)
    master = header.unlock(passphrase=PASSPHRASE, allow_weak_kdf=True)
    assert (keys.master.hex(), keys.vault_id) == (VALUES["master_key"], VALUES["vault_id"])
    for purpose, key in VALUES["subkeys"].items():
        assert master.subkey(purpose).hex() == keys.of(purpose).hex() == key
    assert hashlib.sha256(data).hexdigest() == VALUES["header_sha256"]
    assert recovery.write(bytes.fromhex(VALUES["recovery"]["secret"])) == VALUES["recovery"]["code"]
    for slot, value in zip(json.loads(data)["slots"], VALUES["slots"], strict=True):
        given = PASSPHRASE if slot["kind"] == "passphrase" else MANIFEST["recovery_code"].encode()
        if slot["name"] == "second":
            given = bytes.fromhex(MANIFEST["second_passphrase_hex"])
        key = second_reader.slot_key(slot, given, KEYRING_SECRET)
        assert key is not None
        assert key.hex() == value["slot_key"]
        assert expand(key, "wrap").hex() == value["wrap_key"]
        assert expand(key, "commitment", bytes.fromhex(slot["nonce"])).hex() == slot["commitment"]
        kdf = slot["kdf"] and [slot["kdf"]["memory_kib"], slot["kdf"]["passes"], slot["kdf"]["lanes"]]
        bound = ["agentkit vault", 1, VALUES["vault_id"], slot["name"], slot["kind"], kdf, slot["salt"]]
        assert second_reader.canonical(bound).decode() == value["associated_data"]
    for cost in VALUES["argon2id"]:
        kdf = KdfParameters(cost["memory_kib"], cost["passes"], cost["lanes"])
        slot_key = derive(cost["passphrase"].encode(), bytes.fromhex(cost["salt"]), kdf)
        assert slot_key.hex() == cost["slot_key"]
    blob = VALUES["sealed"]
    key, sealed = bytes.fromhex(blob["key"]), bytes.fromhex(blob["sealed"])
    assert unseal(key, sealed, blob["place"].encode()).decode() == blob["content"]
    assert second_reader.unseal(key, sealed, blob["place"]).decode() == blob["content"]


def test_the_published_rows_sum_up_to_the_digest() -> None:
    key, total = bytes.fromhex(VALUES["subkeys"]["digest"]), 0
    for row in VALUES["rows"]:
        values = [
            bytes.fromhex(value["bytes"]) if isinstance(value, dict) else value for value in row["values"]
        ]
        hashed = second_reader.row_hash(key, row["table"], tuple(values))
        assert hashed.to_bytes(32, "little").hex() == row["hash"]
        total += hashed
    assert (total % 2**256).to_bytes(32, "little").hex() == VALUES["digest"]
    head = second_reader.read_head(
        second_reader.Keys(bytes.fromhex(VALUES["master_key"]), VALUES["vault_id"]),
        (VECTORS / "vaults" / "good" / "head.sealed").read_bytes(),
    )
    assert (head.digest.hex(), head.generation) == (VALUES["digest"], VALUES["generation"])


def test_the_snapshot_holds_what_the_values_say(tmp_path: Path) -> None:
    said, key = VALUES["snapshot"], bytes.fromhex(VALUES["subkeys"]["snapshot"])
    snapshot = Snapshot(VECTORS / "vaults" / "good", key, VALUES["vault_id"])
    state = snapshot.restore(tmp_path)
    assert state == State(said["epoch"], said["last_row"], said["dimensions"], said["engine"])
    assert {path.name: _hash(path.read_bytes()) for path in tmp_path.iterdir()} == said["files"]
    place = f"agentkit vault v1 snapshot {VALUES['vault_id']}"
    content = second_reader.unseal(key, (VECTORS / "vaults" / "good" / "index.sealed").read_bytes(), place)
    start = 4 + int.from_bytes(content[:4], "little")
    found, ways = {}, set()
    for name, sizes in json.loads(content[4:start])["files"]:
        parts = []
        for size, kept in sizes:
            part, start = content[start : start + kept], start + kept
            ways.add((len(sizes), kept < size))
            parts.append(iter(zlib.decompress(part) if kept < size else part))
        bytes_in_turn = itertools.chain.from_iterable(itertools.zip_longest(*parts))
        found[name] = _hash(bytes(byte for byte in bytes_in_turn if byte is not None))
    assert found == said["files"]
    assert ways == {(1, False), (1, True), (4, False), (4, True)}  # every way there is
    assert start == len(content)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
