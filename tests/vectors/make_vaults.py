"""Make the vault vectors: `python -m tests.vectors.make_vaults`, in the root of the source.

Everything random of ours comes from a fixed seed, so that keys and headers come out the same each time; the nonces of
database pages are SQLite's own, so the databases, and the heads that name their hashes, do not. What is written:

    vaults/<base>/     the files of five vaults: good, older (the same, earlier), crashed (with a log), other, newer;
                       version-2, as the code of that time wrote it, stays as it is
    headers/*.json     headers alone, good and bad
    values.json        every key and intermediate value, for a master key that protects nothing
    manifest.json      each vector, and what a reader must say of it

A vector of a vault is a base and changes to its files; `expect` is `ok` or the name of the error class.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agentkit_memory import FileState, HashEmbedder, KdfParameters, NewRecord, Vault, recovery
from agentkit_memory import database as db
from agentkit_memory.digest import TABLES, ContentDigest
from agentkit_memory.header import VaultHeader, _associated, _canonical
from agentkit_memory.keys import derive, expand
from agentkit_memory.seal import seal
from agentkit_memory.snapshot import Snapshot, State

HERE = Path(__file__).parent
PASSPHRASE, SECOND = b"correct horse battery staple", b"\xff\x00 not utf-8 \xfe"
KEYRING_SECRET = bytes(range(32))
EMBEDDER = HashEmbedder(8)
CLOCK = 1_700_000_000.0
FILES = ("vault.json", "vault.db", "vault.db-wal", "head.sealed", "index.sealed")
WEAK = KdfParameters.for_tests()
INDEX = {
    "chroma.sqlite3": b"not a real index: for the layout of the blob; " * 8,
    "data.bin": struct.pack("<500f", *(1 / number for number in range(1, 501))) + b"odd",
    "noise": hashlib.sha256(b"noise").digest(),
}


def make(folder: Path) -> None:
    """Write all vectors into `folder`."""
    chosen = random.Random(20261122)
    real, os.urandom = os.urandom, chosen.randbytes
    try:
        with tempfile.TemporaryDirectory() as work:
            code = _vaults(folder / "vaults", Path(work))
            (folder / "headers").mkdir(exist_ok=True)
            headers = _headers(folder / "headers", folder / "vaults")
            shutil.copytree(folder / "vaults" / "good", Path(work) / "values")
            values = _values(Path(work) / "values", code)
    finally:
        os.urandom = real
    manifest = {
        "passphrase": PASSPHRASE.decode(),
        "second_passphrase_hex": SECOND.hex(),
        "keyring_secret": KEYRING_SECRET.hex(),
        "recovery_code": code,
        "texts": {
            "good": ["the boiler was serviced in march", "lena starts school in september"],
            "older": ["the boiler was serviced in march"],
            "crashed": ["the boiler was serviced in march", "lena starts school in september", "in the log"],
        },
        "headers": headers,
        "vaults": _recipes(folder / "vaults"),
    }
    for name, value in (("manifest.json", manifest), ("values.json", values)):
        (folder / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _vaults(folder: Path, work: Path) -> str:
    def keep(name: str) -> None:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for file in FILES:
            (folder / name / file).unlink(missing_ok=True)
            if (work / "vault" / file).exists():
                shutil.copy(work / "vault" / file, folder / name / file)

    vault = _create(work / "vault")
    boiler = _add(vault, "the boiler was serviced in march")
    vault.add_passphrase("second", SECOND, kdf=WEAK)
    vault.add_keyring_slot(KEYRING_SECRET)
    code = vault.add_recovery_code()
    vault.close()
    keep("older")
    vault = _open(work / "vault")
    _add(vault, "lena starts school in september")
    vault.replace_file(FileState("/notes/a.txt", 12, 1_700_000_000_000_000_000, "d" * 64, 0), [], _embed())
    vault.append_message("talk", {"role": "user", "text": "when was the boiler serviced?"})
    vault.append_message(
        "talk", {"role": "assistant", "text": "in march", "labels": ["user", "private", [boiler]]}
    )
    vault.set_setting("language", "en")
    vault.add_root("/notes")
    master, vault_id, epoch = vault._access.master, vault.id, vault._access.meta["epoch"]
    vault.close()
    index = work / "index"
    index.mkdir()
    for name, data in INDEX.items():
        (index / name).write_bytes(data)
    Snapshot(work / "vault", master.subkey("snapshot"), vault_id).save(
        State(epoch.hex(), 2, 8, "test 1"), index
    )
    keep("good")
    vault = _open(work / "vault")
    _add(vault, "in the log")
    keep("crashed")
    vault.close()
    vault = _open(work / "vault")
    vault._access.database._connection.execute("PRAGMA user_version = 1000")
    vault.close()
    keep("newer")
    shutil.rmtree(work / "vault")
    _create(work / "vault").close()
    keep("other")
    return code


def _create(folder: Path) -> Vault:
    return Vault.create(
        folder,
        passphrase=PASSPHRASE,
        embedder=EMBEDDER.name,
        dimensions=8,
        kdf=WEAK,
        allow_weak_kdf=True,
        clock=lambda: CLOCK,
    )


def _open(folder: Path) -> Vault:
    return Vault.open(folder, passphrase=PASSPHRASE, allow_weak_kdf=True, clock=lambda: CLOCK)


def _add(vault: Vault, text: str) -> str:
    return vault.add([NewRecord(text)], EMBEDDER.embed([text]))[0]


def _embed() -> Any:
    return EMBEDDER.embed([])


def _headers(folder: Path, vaults: Path) -> list[dict[str, Any]]:
    """Write headers and return what a reader says of each; `mended` ones have a right checksum and a wrong MAC."""
    good = (vaults / "good" / "vault.json").read_bytes()
    listed = []

    def put(name: str, data: bytes, expect: str, *, allow_weak: bool = True) -> None:
        (folder / f"{name}.json").write_bytes(data)
        listed.append({"file": f"{name}.json", "allow_weak": allow_weak, "expect": expect})

    def mended(name: str, expect: str, change: Callable[[dict[str, Any]], object], **options: Any) -> None:
        body = json.loads(good)
        body.pop("checksum")
        change(body)
        checksum = hashlib.sha256(_canonical(body)).hexdigest()
        put(name, _canonical({**body, "checksum": checksum}), expect, **options)

    def cost(**fields: int) -> Callable[[dict[str, Any]], object]:
        return lambda body: body["slots"][0]["kdf"].update(fields)

    floor, _ = VaultHeader.create(PASSPHRASE, KdfParameters.floor())
    put("floor", floor.to_bytes(), "ok", allow_weak=False)
    put("good", good, "ok")
    put("weak", good, "WeakKeyError", allow_weak=False)
    put("empty", b"", "TamperedError")
    put("cut", good[:-1], "TamperedError")
    put("longer", good + b"\n", "TamperedError")
    put("another-spelling", json.dumps(json.loads(good)).encode(), "TamperedError")
    put("not-utf-8", b"\xff\xfe" + good, "TamperedError")
    put("too-large", good.ljust(65_537), "TamperedError")
    flipped = bytearray(good)
    flipped[good.index(b'"salt": "') + 12] ^= 1
    put("flipped", bytes(flipped), "TamperedError")
    put("newer", _canonical({**json.loads(good), "version": 2, "unknown": True}), "NewerVaultError")
    put("version-0", _canonical({**json.loads(good), "version": 0}), "TamperedError")
    mended("kdf-under-floor", "WeakKeyError", cost(memory_kib=65_535, passes=3, lanes=4), allow_weak=False)
    mended("kdf-passes-under-floor", "WeakKeyError", cost(memory_kib=65_536, passes=2), allow_weak=False)
    mended("kdf-over-memory", "WeakKeyError", cost(memory_kib=2 * 1024 * 1024 + 1, passes=3))
    mended("kdf-over-passes", "WeakKeyError", cost(passes=17))
    mended("kdf-over-lanes", "WeakKeyError", cost(memory_kib=65_536, lanes=17))
    mended("kdf-no-lanes", "WeakKeyError", cost(lanes=0))
    mended("kdf-changed", "WrongPassphraseError", _only_first_slot(cost(memory_kib=72)))
    mended("no-slots", "TamperedError", lambda body: body.update(slots=[]))
    mended("slot-dropped", "TamperedError", lambda body: body["slots"].pop())
    mended("slot-renamed", "TamperedError", lambda body: body["slots"][0].update(name="other"))
    mended("slot-twice", "TamperedError", lambda body: body["slots"].append(body["slots"][0]))
    mended("slot-of-unknown-kind", "TamperedError", lambda body: body["slots"][0].update(kind="password"))
    mended("id-changed", "TamperedError", lambda body: body.update(id="00" * 16))
    mended("commitment-changed", "WrongPassphraseError", _only_first_slot(_no_commitment))
    mended("unknown-field", "TamperedError", lambda body: body.update(more=1))
    return listed


def _only_first_slot(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], object]:
    def changed(body: dict[str, Any]) -> None:
        del body["slots"][1:]
        change(body)

    return changed


def _no_commitment(body: dict[str, Any]) -> None:
    body["slots"][0]["commitment"] = "00" * 32


def _recipes(vaults: Path) -> list[dict[str, Any]]:
    """Return vaults as a base, changes to its files, and what a reader says."""
    size = (vaults / "good" / db.FILE).stat().st_size
    logged = (vaults / "crashed" / "vault.db-wal").read_bytes()
    log, overlaid = len(logged), {logged[at + 3] for at in range(32, len(logged), 4096 + 24)}
    kept = next(number for number in range(2, size // 4096) if number not in overlaid)  # not in the log
    good, wrong = "good", "TamperedError"
    return [
        {"name": "good", "base": good, "changes": [], "expect": "ok"},
        {"name": "by the second passphrase", "base": good, "changes": [], "with": "second", "expect": "ok"},
        {"name": "by the keyring's secret", "base": good, "changes": [], "with": "keyring", "expect": "ok"},
        {"name": "by the recovery code", "base": good, "changes": [], "with": "recovery", "expect": "ok"},
        _recipe("wrong passphrase", good, "WrongPassphraseError", **{"with": "wrong"}),
        _recipe("an older state, whole: only an anchor knows better", "older", "ok"),
        _recipe("crashed, its log beside it", "crashed", "ok"),
        _recipe("a database of version 2 is checked, and brought up to date", "version-2", "ok", texts="good"),
        _recipe("a bit of a database of version 2", "version-2", wrong, {"file": "vault.db", "flip": 9000}),
        _recipe("newer database", "newer", "NewerVaultError"),
        _recipe("no header", good, "VaultMissingError", {"file": "vault.json", "remove": True}),
        _recipe("no database", good, wrong, {"file": "vault.db", "remove": True}),
        _recipe("no head", good, wrong, {"file": "head.sealed", "remove": True}),
        _recipe("empty database", good, wrong, {"file": "vault.db", "cut": 0}),
        _recipe("database cut at a page", good, wrong, {"file": "vault.db", "cut": size - 4096}),
        _recipe("database cut by a byte", good, wrong, {"file": "vault.db", "cut": size - 1}),
        _recipe("a bit of the first page", good, wrong, {"file": "vault.db", "flip": 100}),
        _recipe("a bit of the salt", good, wrong, {"file": "vault.db", "flip": 3}),
        _recipe("a bit of the last tag", good, wrong, {"file": "vault.db", "flip": size - 1}),
        _recipe("two pages exchanged", good, wrong, {"file": "vault.db", "exchange": [2, 5]}),
        _recipe("older database", good, wrong, {"file": "vault.db", "from": "older"}),
        _recipe("older head", good, wrong, {"file": "head.sealed", "from": "older"}),
        _recipe(
            "older database and head: the header's hash is the same, only an anchor knows better",
            good,
            "ok",
            {"file": "vault.db", "from": "older"},
            {"file": "head.sealed", "from": "older"},
            texts="older",
        ),
        _recipe("header of another vault", good, wrong, {"file": "vault.json", "from": "other"}),
        _recipe("database of another vault", good, wrong, {"file": "vault.db", "from": "other"}),
        _recipe("head of another vault", good, wrong, {"file": "head.sealed", "from": "other"}),
        _recipe("a bit of the older head", good, wrong, {"file": "head.sealed", "flip": 60}),
        _recipe("a bit between the heads", good, wrong, {"file": "head.sealed", "flip": 1000}),
        _recipe("head cut", good, wrong, {"file": "head.sealed", "cut": 4096}),
        _recipe("a log beside a closed vault is not read", good, "ok", {"file": "vault.db-wal", "from": "crashed"}),
        _recipe("crashed, its log gone", "crashed", wrong, {"file": "vault.db-wal", "remove": True}),
        _recipe("crashed, its log cut", "crashed", wrong, {"file": "vault.db-wal", "cut": log // 2}),
        _recipe("crashed, a bit of its log", "crashed", wrong, {"file": "vault.db-wal", "flip": 5000}),
        _recipe("crashed, a bit of its database", "crashed", wrong, {"file": "vault.db", "flip": 4096 * kept - 96}),
        _recipe("snapshot changed: not used", good, "ok", {"file": "index.sealed", "flip": 80}),
        _recipe("snapshot gone", good, "ok", {"file": "index.sealed", "remove": True}),
    ]  # fmt: skip


def _recipe(name: str, base: str, expect: str, *changes: dict[str, Any], **more: str) -> dict[str, Any]:
    return {"name": name, "base": base, "changes": list(changes), **more, "expect": expect}


def _values(folder: Path, code: str) -> dict[str, Any]:
    """Return what is computed on the way from passphrase to rows, for the vault in `folder`."""
    header = VaultHeader.read(folder)
    master = header.unlock(passphrase=PASSPHRASE, allow_weak_kdf=True)
    slots = []
    first, second, keyring, last = header.entries
    keys = (
        derive(PASSPHRASE, first.salt, WEAK),
        derive(SECOND, second.salt, WEAK),
        expand(KEYRING_SECRET, "keyring slot", keyring.salt),
        expand(recovery.read(code), "recovery slot", last.salt),
    )
    for entry, key in zip(header.entries, keys, strict=True):
        slots.append(
            {
                "name": entry.info.name,
                "slot_key": key.hex(),
                "wrap_key": expand(key, "wrap").hex(),
                "commitment": expand(key, "commitment", entry.key.nonce).hex(),
                "associated_data": _associated(header.id, entry.info, entry.salt).decode(),
            }
        )
    database = db.Database(folder / db.FILE, master.subkey("database"), master.subkey("digest"))
    try:
        digest = ContentDigest(master.subkey("digest"))
        rows = []
        for table, columns in TABLES.items():
            for row in database.rows(f"SELECT {', '.join(columns)} FROM {table}"):
                one = digest.fresh()
                one.add(table, *row)
                shown = [{"bytes": value.hex()} if isinstance(value, bytes) else value for value in row]
                rows.append({"table": table, "values": shown, "hash": one.value.hex()})
        total, generation = database.digest.hex(), database.generation
        epoch = database.scalar("SELECT value FROM meta WHERE key = 'epoch'").hex()
    finally:
        database.close()
    key, place = bytes(range(32)), b"a place"
    sealed = seal(key, b"content", place)
    return {
        "vault_id": header.id,
        "master_key": master._key.hex(),
        "subkeys": {
            purpose: master.subkey(purpose).hex()
            for purpose in ("header", "database", "snapshot", "head", "digest")
        },
        "slots": slots,
        "recovery": {"code": code, "secret": recovery.read(code).hex()},
        "argon2id": [
            {
                "passphrase": "password", "salt": bytes(range(16)).hex(),
                "memory_kib": cost.memory_kib, "passes": cost.passes, "lanes": cost.lanes,
                "slot_key": derive(b"password", bytes(range(16)), cost).hex(),
            }
            for cost in (WEAK, KdfParameters.floor())
        ],
        "sealed": {
            "key": key.hex(), "place": place.decode(), "content": "content",
            "seal_key": expand(key, "seal", sealed[8:40]).hex(), "sealed": sealed.hex(),
        },
        "snapshot": {
            "epoch": epoch, "last_row": 2, "dimensions": 8, "engine": "test 1",
            "files": {name: hashlib.sha256(data).hexdigest() for name, data in INDEX.items()},
        },
        "rows": rows,
        "digest": total,
        "generation": generation,
        "header_sha256": hashlib.sha256(header.to_bytes()).hexdigest(),
    }  # fmt: skip


if __name__ == "__main__":
    make(HERE)
