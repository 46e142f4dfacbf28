"""A second reader of vaults, written from memory/README.md alone: it shares no line with `agentkit_memory`.

It says whether the format is described well enough for somebody else to read it, and checks the vectors beside it.
Not covered: writing, and what only SQLite can check (its indexes, its full text).
Source: memory/README.md §2 to §5.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.poly1305 import Poly1305

PAGE, TAIL = 4096, 32
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
NEWEST = 4
SINCE = {"next_vectors": 3, "terms": 3, "cited": 4}
ROWS = {
    "meta": "key, value",
    "records": "row, id, kind, source, position, place, title, text, origin, privacy, created, sources",
    "vectors": "row, vector",
    "next_vectors": "row, vector",
    "terms": "row, entries",
    "files": "path, size, mtime_ns, digest, chunks, error",
    "roots": "path",
    "messages": "conversation, number, created, message",
    "settings": "key, value",
    "cited": "id, kind, source, origin, privacy, created",
}


class RefusedError(Exception):
    """The vault is not one, or not whole, or not the newest; the message is the name of our error class."""


def hkdf(key: bytes, purpose: str, salt: bytes = b"") -> bytes:
    """HKDF-SHA256 (RFC 5869), one block of output: 32 bytes."""
    fresh = hmac.digest(salt or bytes(32), key, "sha256")
    return hmac.digest(fresh, b"agentkit vault v1 " + purpose.encode() + b"\x01", "sha256")


def canonical(value: object) -> bytes:
    """JSON in the one spelling the header has."""
    return json.dumps(value, sort_keys=True, indent=1).encode() + b"\n"


def recovery_secret(code: str) -> bytes:
    """The 20 bytes of a recovery code."""
    digits = code.upper().replace("-", "").replace(" ", "")
    number = sum(CROCKFORD.index(digit) << 5 * place for place, digit in enumerate(reversed(digits)))
    secret = (number >> 20).to_bytes(20, "big")
    check = int.from_bytes(hashlib.sha256(b"agentkit recovery code" + secret).digest()[:3], "big") >> 4
    if len(digits) != 36 or number & 0xFFFFF != check:
        raise RefusedError("RecordError")
    return secret


def slot_key(slot: dict[str, Any], passphrase: bytes, keyring_secret: bytes | None) -> bytes | None:
    """The key of a slot, if what was given could open it."""
    salt = bytes.fromhex(slot["salt"])
    if slot["kind"] == "keyring":
        return None if keyring_secret is None else hkdf(keyring_secret, "keyring slot", salt)
    if slot["kind"] == "recovery":
        try:
            return hkdf(recovery_secret(passphrase.decode("ascii")), "recovery slot", salt)
        except (UnicodeDecodeError, ValueError, OverflowError, RefusedError):
            return None
    kdf = slot["kdf"]
    derivation = Argon2id(
        salt=salt, length=32, iterations=kdf["passes"], lanes=kdf["lanes"], memory_cost=kdf["memory_kib"]
    )
    return derivation.derive(passphrase)


@dataclass(frozen=True)
class Keys:
    """An unlocked header."""

    master: bytes
    vault_id: str

    def of(self, purpose: str) -> bytes:
        """The subkey for one purpose."""
        return hkdf(self.master, purpose, bytes.fromhex(self.vault_id))


def unlock(data: bytes, passphrase: bytes, keyring_secret: bytes | None = None) -> Keys:
    """The master key in the header `data`."""
    try:
        header = json.loads(data)
        checksum = header.pop("checksum")
    except (ValueError, TypeError, AttributeError, KeyError):
        raise RefusedError("TamperedError") from None
    if canonical({**header, "checksum": checksum}) != data:
        raise RefusedError("TamperedError")
    if hashlib.sha256(canonical(header)).hexdigest() != checksum:
        raise RefusedError("TamperedError")
    mac = header.pop("mac")
    for slot in header["slots"]:
        key = slot_key(slot, passphrase, keyring_secret)
        nonce = bytes.fromhex(slot["nonce"])
        if key is None or hkdf(key, "commitment", nonce).hex() != slot["commitment"]:
            continue
        kdf = slot["kdf"] and [slot["kdf"]["memory_kib"], slot["kdf"]["passes"], slot["kdf"]["lanes"]]
        bound = [header["format"], 1, header["id"], slot["name"], slot["kind"], kdf, slot["salt"]]
        try:
            wrapped = bytes.fromhex(slot["wrapped"])
            master = AESGCM(hkdf(key, "wrap")).decrypt(nonce, wrapped, canonical(bound))
        except InvalidTag:
            raise RefusedError("TamperedError") from None
        keys = Keys(master, header["id"])
        if hmac.digest(keys.of("header"), canonical(header), "sha256").hex() != mac:
            raise RefusedError("TamperedError")
        return keys
    raise RefusedError("WrongPassphraseError")


def unseal(key: bytes, sealed: bytes, place: str) -> bytes:
    """What a sealed blob holds."""
    if sealed[:8] != b"AKSEAL01" or len(sealed) < 8 + 32 + 16:
        raise RefusedError("TamperedError")
    try:
        return AESGCM(hkdf(key, "seal", sealed[8:40])).decrypt(bytes(12), sealed[40:], place.encode())
    except InvalidTag:
        raise RefusedError("TamperedError") from None


@dataclass(frozen=True)
class Head:
    """The newest of the two slots of a head."""

    sequence: int
    generation: int
    digest: bytes
    file_bytes: int
    file_hash: bytes
    headers: tuple[bytes, ...]


def read_head(keys: Keys, data: bytes) -> Head:
    """The head in `head.sealed`."""
    if len(data) != 4608 or any(data[512:4096]):
        raise RefusedError("TamperedError")
    slots = []
    for at in (0, 4096):
        if any(data[at + 209 : at + 512]):
            raise RefusedError("TamperedError")
        plain = unseal(keys.of("head"), data[at : at + 209], f"agentkit vault v1 head {keys.vault_id}")
        sequence, generation, count = struct.unpack("<QQB", plain[:17])
        size = int.from_bytes(plain[49:57], "little")
        hashes = (plain[89:121], plain[121:153])[:count]
        slots.append(Head(sequence, generation, plain[17:49], size, plain[57:89], hashes))
    first, second = slots
    if first.sequence % 2 or abs(first.sequence - second.sequence) != 1:
        raise RefusedError("TamperedError")
    return max(slots, key=lambda slot: slot.sequence)


def decrypt_page(key: bytes, page: bytes, number: int) -> bytes:
    """One page of the database or of its log, authenticated; its first 16 bytes too, where it is page 1."""

    def stream(of: bytes, block: int, data: bytes) -> bytes:
        at = (block & 0xFFFFFFFF).to_bytes(4, "little")
        return Cipher(algorithms.ChaCha20(of, at + nonce), None).encryptor().update(data)

    end = PAGE - TAIL
    nonce, block = page[end : end + 12], int.from_bytes(page[end + 12 : end + 16], "little") ^ number
    once = stream(key, block, bytes(64))
    if Poly1305.generate_tag(once[:32], page[: end + 16]) != page[end + 16 :]:
        raise RefusedError("TamperedError")
    clear = 24 if number == 1 else 0
    plain = page[:clear] + stream(once[32:], block + 1, page[clear:end]) + page[end:]
    return b"SQLite format 3\0" + plain[16:] if number == 1 else plain


def decrypt_database(key: bytes, data: bytes, log: bytes) -> bytes:
    """The database in clear, with what is committed in its log."""
    if len(data) % PAGE:
        raise RefusedError("TamperedError")
    pages = {at // PAGE + 1: data[at : at + PAGE] for at in range(0, len(data), PAGE)}
    count = len(pages)
    waiting: dict[int, bytes] = {}
    for number, size, page in frames(log):
        waiting[number] = page
        if size:
            pages |= waiting
            count, waiting = size, {}
    plain = bytearray(b"".join(decrypt_page(key, pages[number], number) for number in range(1, count + 1)))
    plain[18:20] = b"\1\1"  # no longer in WAL mode: Python's own SQLite reads it from memory
    return bytes(plain)


def frames(log: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Page number, size after a commit (else 0) and page of every valid frame (https://sqlite.org/walformat.html)."""
    if len(log) < 32:
        return
    order = ">" if log[3] & 1 else "<"
    state = _checksum(order, log[:24], (0, 0))
    if state != struct.unpack(">II", log[24:32]):
        return
    for at in range(32, len(log) - PAGE - 23, PAGE + 24):
        number, size = struct.unpack(">II", log[at : at + 8])
        state = _checksum(order, log[at : at + 8] + log[at + 24 : at + 24 + PAGE], state)
        if log[at + 8 : at + 16] != log[16:24] or state != struct.unpack(">II", log[at + 16 : at + 24]):
            return
        yield number, size, log[at + 24 : at + 24 + PAGE]


def _checksum(order: str, data: bytes, state: tuple[int, int]) -> tuple[int, int]:
    first, second = state
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for one, other in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second


def row_hash(key: bytes, table: str, values: tuple[Any, ...]) -> int:
    """BLAKE2b-256 of one row, as a number."""
    parts = [table.encode() + b"\0"]
    for value in values:
        match value:
            case None:
                parts.append(b"n")
            case int():
                parts.append(b"i" + value.to_bytes(8, "little", signed=True))
            case float():
                parts.append(b"f" + struct.pack("<d", value))
            case str() | bytes():
                data = value.encode() if isinstance(value, str) else value
                kind = b"t" if isinstance(value, str) else b"b"
                parts.append(kind + len(data).to_bytes(8, "little") + data)
    return int.from_bytes(hashlib.blake2b(b"".join(parts), digest_size=32, key=key).digest(), "little")


def read_vault(folder: Path, passphrase: bytes, keyring_secret: bytes | None = None) -> list[str]:
    """The texts of all records, in their order; `RefusedError` where anything is not as the newest head says."""
    header = (folder / "vault.json").read_bytes()
    keys = unlock(header, passphrase, keyring_secret)
    head = read_head(keys, _bytes(folder / "head.sealed"))
    if hashlib.sha256(header).digest() not in head.headers:
        raise RefusedError("TamperedError")
    data, log = _bytes(folder / "vault.db"), b""
    if any(head.file_hash):
        if (len(data), hashlib.sha256(data).digest()) != (head.file_bytes, head.file_hash):
            raise RefusedError("TamperedError")
    elif (folder / "vault.db-wal").exists():
        log = _bytes(folder / "vault.db-wal")
    plain = decrypt_database(keys.of("database"), data, log)
    database = sqlite3.connect(":memory:")
    try:
        database.deserialize(plain)
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version > NEWEST:
            raise RefusedError("NewerVaultError")
        total = sum(
            row_hash(keys.of("digest"), table, row)
            for table, columns in ROWS.items()
            if version >= SINCE.get(table, 0)
            for row in database.execute(f"SELECT {columns} FROM {table}")
        )
        generation, digest = database.execute("SELECT generation, digest FROM newest").fetchone()
        if (total % 2**256).to_bytes(32, "little") != digest:
            raise RefusedError("TamperedError")
        if generation - head.generation not in ((0,) if any(head.file_hash) else (0, 1)):
            raise RefusedError("TamperedError")
        if generation == head.generation and digest != head.digest:
            raise RefusedError("TamperedError")
        return [text for (text,) in database.execute("SELECT text FROM records ORDER BY row")]
    except sqlite3.DatabaseError:
        raise RefusedError("TamperedError") from None
    finally:
        database.close()


def _bytes(path: Path) -> bytes:
    if not path.exists():
        raise RefusedError("TamperedError")
    return path.read_bytes()
