"""From a passphrase to the keys of the vault.

    passphrase ── Argon2id ──┐
    keyring secret ── HKDF ──┴─► slot key ── AES-256-GCM ──► master key (random) ── HKDF ──► one key per purpose

A slot carries a commitment to its slot key, because AES-GCM alone lets a forged slot open under many keys; so a
wrong passphrase is told from a damaged slot before anything is decrypted.
Covered: guessing costs one Argon2id each; parameters are bound to the slot and have a floor and a ceiling.
Not covered: wiping memory. Python copies `bytes`; keys stay in this process until it ends.
Source: RFC 9106 (Argon2), RFC 5869 (HKDF), NIST SP 800-38D (GCM); format in memory/README.md §2.
"""

from __future__ import annotations

import hmac
import os
import time
from dataclasses import dataclass

from agentkit_memory.errors import StoreError, TamperedError, WeakKeyError, WrongPassphraseError

KEY_BYTES = 32
SALT_BYTES = 16
NONCE_BYTES = 12
WRAPPED_BYTES = KEY_BYTES + 16
PASSPHRASE_LIMIT = 1 << 20
TARGET_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class KdfParameters:
    """Cost of one Argon2id derivation."""

    memory_kib: int
    passes: int
    lanes: int

    FLOOR_MEMORY_KIB = 64 * 1024
    FLOOR_PASSES = 3
    TUNED_MEMORY_KIB = 256 * 1024
    CEILING_MEMORY_KIB = 2 * 1024 * 1024
    CEILING_PASSES = 16
    CEILING_LANES = 16

    @classmethod
    def floor(cls) -> KdfParameters:
        """Return the weakest parameters a vault may have: RFC 9106's second recommended option."""
        return cls(cls.FLOOR_MEMORY_KIB, cls.FLOOR_PASSES, 4)

    @classmethod
    def for_tests(cls) -> KdfParameters:
        """Return parameters that protect nothing; a vault made with them opens only on `allow_weak_kdf`."""
        return cls(memory_kib=64, passes=1, lanes=1)

    @classmethod
    def tuned(cls) -> KdfParameters:
        """Return the costliest parameters that take at most about a second here, from a trial of the floor."""
        floor = cls.floor()
        start = time.perf_counter()
        derive(b"trial", bytes(SALT_BYTES), floor)
        trial = time.perf_counter() - start
        memory = floor.memory_kib
        while memory < cls.TUNED_MEMORY_KIB and trial * 2 * memory / floor.memory_kib <= TARGET_SECONDS:
            memory *= 2
        return cls(memory, floor.passes, floor.lanes)

    @property
    def is_weak(self) -> bool:
        """Whether guessing is cheaper than the floor allows."""
        return self.memory_kib < self.FLOOR_MEMORY_KIB or self.passes < self.FLOOR_PASSES

    def check(self, *, allow_weak: bool = False) -> None:
        """Refuse parameters that protect nothing or that would exhaust the machine.

        Raises:
            WeakKeyError: They are under the floor, or over the ceiling.
        """
        if (
            self.memory_kib > self.CEILING_MEMORY_KIB
            or self.passes > self.CEILING_PASSES
            or not 1 <= self.lanes <= self.CEILING_LANES
        ):
            raise WeakKeyError(
                f"key derivation asks for {self.memory_kib} KiB, {self.passes} passes and {self.lanes} lanes; "
                f"the most allowed is {self.CEILING_MEMORY_KIB} KiB, {self.CEILING_PASSES} and {self.CEILING_LANES}"
            )
        # Below 8 KiB a lane Argon2 itself refuses.
        if self.memory_kib < 8 * self.lanes or self.passes < 1 or (self.is_weak and not allow_weak):
            raise WeakKeyError(
                f"key derivation of {self.memory_kib} KiB and {self.passes} passes is too weak; "
                f"the least allowed is {self.FLOOR_MEMORY_KIB} KiB and {self.FLOOR_PASSES}"
            )


def derive(passphrase: bytes, salt: bytes, parameters: KdfParameters) -> bytes:
    """Return the slot key of a passphrase: 32 bytes from Argon2id.

    Raises:
        StoreError: There is not enough memory for it.
    """
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    derivation = Argon2id(
        salt=salt,
        length=KEY_BYTES,
        iterations=parameters.passes,
        lanes=parameters.lanes,
        memory_cost=parameters.memory_kib,
    )
    try:
        return derivation.derive(passphrase)
    except MemoryError:
        raise StoreError(
            f"deriving the key needs {parameters.memory_kib // 1024} MiB of memory, more than there is",
            hint="close other programs, then try again",
        ) from None


def expand(key: bytes, purpose: str, salt: bytes = b"") -> bytes:
    """Return the 32-byte subkey of `key` for one purpose (HKDF-SHA256)."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), KEY_BYTES, salt or None, b"agentkit vault v1 " + purpose.encode()).derive(key)


def check_passphrase(passphrase: bytes) -> None:
    """Refuse an empty or absurdly long passphrase.

    Raises:
        WeakKeyError: It has no bytes, or more than 1 MiB.
    """
    if not 1 <= len(passphrase) <= PASSPHRASE_LIMIT:
        raise WeakKeyError(
            f"the passphrase has {len(passphrase)} bytes; it needs 1 to {PASSPHRASE_LIMIT}",
            hint="choose a few random words",
        )


def check_secret(secret: bytes) -> None:
    """Refuse a keyring secret that is not 32 bytes.

    Raises:
        WeakKeyError: It has another length.
    """
    if len(secret) != KEY_BYTES:
        raise WeakKeyError(f"the keyring secret has {len(secret)} bytes; it must be {KEY_BYTES} random ones")


@dataclass(frozen=True, slots=True, repr=False)
class WrappedKey:
    """The master key under one slot key."""

    nonce: bytes
    wrapped: bytes
    """The master key, encrypted, with its tag: 48 bytes."""
    commitment: bytes
    """32 bytes that only the right slot key gives."""

    @classmethod
    def wrap(cls, master: bytes, slot_key: bytes, associated_data: bytes) -> WrappedKey:
        """Encrypt `master` under `slot_key`, bound to the slot described by `associated_data`."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(NONCE_BYTES)
        wrapped = AESGCM(expand(slot_key, "wrap")).encrypt(nonce, master, associated_data)
        return cls(nonce, wrapped, expand(slot_key, "commitment", nonce))

    def unwrap(self, slot_key: bytes, associated_data: bytes) -> bytes:
        """Return the master key.

        Raises:
            WrongPassphraseError: `slot_key` is not the one it was wrapped under.
            TamperedError: It is, but the slot was changed.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if not hmac.compare_digest(self.commitment, expand(slot_key, "commitment", self.nonce)):
            raise WrongPassphraseError(
                "wrong passphrase", hint="try again; a lost passphrase cannot be recovered"
            )
        try:
            return AESGCM(expand(slot_key, "wrap")).decrypt(self.nonce, self.wrapped, associated_data)
        except InvalidTag:
            raise TamperedError("the vault header was changed outside of agentkit") from None


class MasterKey:
    """The random key everything in one vault is under; shows itself to nobody."""

    __slots__ = ("_key", "_salt")

    def __init__(self, key: bytes, vault_id: str) -> None:
        self._key = key
        self._salt = bytes.fromhex(vault_id)

    @classmethod
    def generate(cls, vault_id: str) -> MasterKey:
        """Return a fresh random key."""
        return cls(os.urandom(KEY_BYTES), vault_id)

    def subkey(self, purpose: str) -> bytes:
        """Return the 32-byte key for one purpose in this vault."""
        return expand(self._key, purpose, self._salt)

    def wrap(self, slot_key: bytes, associated_data: bytes) -> WrappedKey:
        """Return this key, encrypted for a slot."""
        return WrappedKey.wrap(self._key, slot_key, associated_data)
