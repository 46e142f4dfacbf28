"""The vault's header: `vault.json`, the only file of a vault that is not encrypted, and holds nothing but slots.

It is read before any key is known, so reading is strict: one spelling only, exact fields, every number bounded.
A checksum finds accidents before a key is derived; a MAC under the master key finds changes by someone who can
recompute checksums. The header is replaced whole, never edited in place.
Not covered: putting back an older header of the same vault (an old passphrase opens it again).
Source: format in memory/README.md §2.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from agentkit_memory import recovery
from agentkit_memory.durable import write_file
from agentkit_memory.errors import (
    NewerVaultError,
    RecordError,
    TamperedError,
    VaultMissingError,
    WrongPassphraseError,
    disk_errors,
)
from agentkit_memory.keys import (
    KEY_BYTES,
    NONCE_BYTES,
    SALT_BYTES,
    WRAPPED_BYTES,
    KdfParameters,
    MasterKey,
    WrappedKey,
    check_passphrase,
    check_secret,
    derive,
    expand,
)

FORMAT: Final = "agentkit vault"
VERSION: Final = 1
FILE: Final = "vault.json"
SIZE_LIMIT: Final = 64 * 1024
SLOT_LIMIT: Final = 16
PASSPHRASE: Final = "passphrase"  # noqa: S105 - the name of a slot kind
KEYRING: Final = "keyring"
RECOVERY: Final = "recovery"
_SLOT_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")


@dataclass(frozen=True, slots=True)
class SlotInfo:
    """One way to unlock a vault."""

    name: str
    kind: str
    """`passphrase`, `keyring` or `recovery`."""
    kdf: KdfParameters | None = None
    """Cost of one guess; `None` where the secret is random."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """A slot with what is needed to open it."""

    info: SlotInfo
    salt: bytes
    key: WrappedKey

    @classmethod
    def passphrase(
        cls,
        vault_id: str,
        passphrase: bytes,
        kdf: KdfParameters,
        master: MasterKey,
        *,
        name: str = PASSPHRASE,
    ) -> _Slot:
        check_passphrase(passphrase)
        salt = os.urandom(SALT_BYTES)
        info = SlotInfo(name, PASSPHRASE, kdf)
        return cls(info, salt, master.wrap(derive(passphrase, salt, kdf), _associated(vault_id, info, salt)))

    @classmethod
    def keyring(cls, vault_id: str, secret: bytes, master: MasterKey) -> _Slot:
        check_secret(secret)
        salt = os.urandom(SALT_BYTES)
        info = SlotInfo(KEYRING, KEYRING)
        slot_key = expand(secret, "keyring slot", salt)
        return cls(info, salt, master.wrap(slot_key, _associated(vault_id, info, salt)))

    @classmethod
    def recovery(cls, vault_id: str, code: str, master: MasterKey) -> _Slot:
        salt = os.urandom(SALT_BYTES)
        info = SlotInfo(RECOVERY, RECOVERY)
        slot_key = expand(recovery.read(code), "recovery slot", salt)
        return cls(info, salt, master.wrap(slot_key, _associated(vault_id, info, salt)))

    def open(self, vault_id: str, slot_key: bytes) -> MasterKey:
        return MasterKey(self.key.unwrap(slot_key, _associated(vault_id, self.info, self.salt)), vault_id)

    def to_json(self) -> dict[str, Any]:
        kdf = self.info.kdf
        return {
            "name": self.info.name,
            "kind": self.info.kind,
            "kdf": None
            if kdf is None
            else {"name": "argon2id", "memory_kib": kdf.memory_kib, "passes": kdf.passes, "lanes": kdf.lanes},
            "salt": self.salt.hex(),
            "nonce": self.key.nonce.hex(),
            "wrapped": self.key.wrapped.hex(),
            "commitment": self.key.commitment.hex(),
        }

    @classmethod
    def from_json(cls, value: object) -> _Slot:
        match value:
            case {
                "name": str(name),
                "kind": str(kind),
                "kdf": kdf,
                "salt": str(salt),
                "nonce": str(nonce),
                "wrapped": str(wrapped),
                "commitment": str(commitment),
                **rest,
            } if (
                not rest and kind in (PASSPHRASE, KEYRING, RECOVERY) and (kdf is None) == (kind != PASSPHRASE)
            ):
                key = WrappedKey(
                    _hex(nonce, NONCE_BYTES), _hex(wrapped, WRAPPED_BYTES), _hex(commitment, KEY_BYTES)
                )
                return cls(SlotInfo(slot_name(name), kind, _kdf(kdf)), _hex(salt, SALT_BYTES), key)
        raise ValueError("a slot has another shape")


@dataclass(frozen=True, slots=True)
class VaultHeader:
    """What can be known of a vault without a key."""

    id: str
    """Random, 32 hexadecimal digits."""
    version: int
    entries: tuple[_Slot, ...] = field(repr=False)
    mac: bytes = field(default=b"", repr=False)

    @property
    def slots(self) -> tuple[SlotInfo, ...]:
        """The ways to unlock it."""
        return tuple(entry.info for entry in self.entries)

    @classmethod
    def create(cls, passphrase: bytes, kdf: KdfParameters) -> tuple[VaultHeader, MasterKey]:
        """Return the header of a new vault and its fresh master key."""
        vault_id = os.urandom(16).hex()
        master = MasterKey.generate(vault_id)
        slot = _Slot.passphrase(vault_id, passphrase, kdf, master)
        return cls(vault_id, VERSION, (slot,)).signed(master), master

    @classmethod
    def read(cls, folder: Path) -> VaultHeader:
        """Read the header of the vault in `folder`.

        Raises:
            VaultMissingError: There is none.
            NewerVaultError: It is of a newer version.
            TamperedError: It is not a header as this package writes it, byte for byte.
            StorageError: It cannot be read.
        """
        with disk_errors("the vault header"):
            try:
                with (folder / FILE).open("rb") as file:
                    data = file.read(SIZE_LIMIT + 1)
            except FileNotFoundError:
                raise VaultMissingError(f"no vault in {folder}", hint="create one first") from None
        return cls.parse(data)

    @classmethod
    def parse(cls, data: bytes) -> VaultHeader:
        """Read the bytes of a header; see `read`."""
        damaged = TamperedError("the vault header is damaged", hint="restore vault.json from a backup")
        if len(data) > SIZE_LIMIT:
            raise damaged
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            raise damaged from None
        match value:
            case {"format": "agentkit vault", "version": int(version)} if version > VERSION:
                raise NewerVaultError(
                    f"the vault is of format version {version}; this agentkit knows {VERSION}",
                    hint="update agentkit",
                )
            case {
                "format": "agentkit vault",
                "version": 1,
                "id": str(vault_id),
                "slots": [*slots],
                "mac": str(mac),
                "checksum": str(),
                **rest,
            } if not rest and 1 <= len(slots) <= SLOT_LIMIT:
                try:
                    entries = tuple(_Slot.from_json(slot) for slot in slots)
                    header = cls(_hex(vault_id, 16).hex(), VERSION, entries, _hex(mac, KEY_BYTES))
                except (ValueError, RecordError):
                    raise damaged from None
            case _:
                raise damaged
        if header.to_bytes() != data or len({slot.name for slot in header.slots}) != len(header.slots):
            raise damaged
        return header

    def to_bytes(self) -> bytes:
        """Return the one spelling of this header."""
        body = {**self._body(), "mac": self.mac.hex()}
        return _canonical({**body, "checksum": hashlib.sha256(_canonical(body)).hexdigest()})

    def write(self, folder: Path) -> None:
        """Replace the header in `folder`; on disk when this returns."""
        write_file(folder / FILE, self.to_bytes())

    def unlock(
        self,
        *,
        passphrase: bytes | None = None,
        keyring_secret: bytes | None = None,
        allow_weak_kdf: bool = False,
    ) -> MasterKey:
        """Return the master key.

        Raises:
            WrongPassphraseError: No slot opens.
            WeakKeyError: A slot's key derivation is out of bounds, or the passphrase is empty or over 1 MiB.
            TamperedError: A slot opens, but the header was changed.
        """
        if passphrase is not None:
            check_passphrase(passphrase)
        if keyring_secret is not None:
            check_secret(keyring_secret)
        code = None if passphrase is None else recovery.recognise(passphrase)
        # A code costs nothing to try, a passphrase a second.
        for entry in sorted(self.entries, key=lambda entry: entry.info.kind == PASSPHRASE):
            kdf = entry.info.kdf
            if kdf is not None and passphrase is not None:
                kdf.check(allow_weak=allow_weak_kdf)
                slot_key = derive(passphrase, entry.salt, kdf)
            elif entry.info.kind == KEYRING and keyring_secret is not None:
                slot_key = expand(keyring_secret, "keyring slot", entry.salt)
            elif entry.info.kind == RECOVERY and code is not None:
                slot_key = expand(code, "recovery slot", entry.salt)
            else:
                continue
            try:
                master = entry.open(self.id, slot_key)
            except WrongPassphraseError:
                continue
            if not hmac.compare_digest(self.mac, self._mac(master)):
                raise TamperedError("the vault header was changed outside of agentkit")
            return master
        if passphrase is None:
            raise WrongPassphraseError(
                "the keyring's secret does not open this vault", hint="give the passphrase"
            )
        raise WrongPassphraseError(
            "wrong passphrase", hint="try again; a lost passphrase cannot be recovered"
        )

    def with_passphrase(self, old: bytes, new: bytes, *, allow_weak_kdf: bool = False) -> VaultHeader:
        """Return a header in which the passphrase slot that `old` opens is opened by `new` instead.

        Raises:
            WrongPassphraseError: `old` opens no slot.
        """
        entry, kdf, master = self._opened_by(old, allow_weak_kdf)
        fresh = _Slot.passphrase(self.id, new, kdf, master, name=entry.info.name)
        entries = tuple(fresh if each is entry else each for each in self.entries)
        return replace(self, entries=entries).signed(master)

    def with_keyring(self, secret: bytes, master: MasterKey) -> VaultHeader:
        """Return a header whose keyring slot opens with `secret`; an older keyring slot is replaced.

        Raises:
            RecordError: A slot of another kind has its name, or there is no room for another.
        """
        others = tuple(entry for entry in self.entries if entry.info.kind != KEYRING)
        return replace(self, entries=(*others, _Slot.keyring(self.id, secret, master))).signed(master)

    def with_added_passphrase(
        self, name: str, passphrase: bytes, kdf: KdfParameters, master: MasterKey
    ) -> VaultHeader:
        """Return a header with one more passphrase.

        Raises:
            RecordError: There is a slot of this name, or no room for another.
        """
        slot = _Slot.passphrase(self.id, passphrase, kdf, master, name=slot_name(name))
        return replace(self, entries=(*self.entries, slot)).signed(master)

    def with_recovery(self, code: str, master: MasterKey) -> VaultHeader:
        """Return a header whose recovery slot opens with `code`; an older recovery slot is replaced.

        Raises:
            RecordError: A slot of another kind has its name, or there is no room for another.
        """
        others = tuple(entry for entry in self.entries if entry.info.kind != RECOVERY)
        return replace(self, entries=(*others, _Slot.recovery(self.id, code, master))).signed(master)

    def rekeyed(self, passphrase: bytes, *, allow_weak_kdf: bool = False) -> tuple[VaultHeader, MasterKey]:
        """Return a header of the same vault with a fresh master key, opened only by the slot that `passphrase` opens.

        Raises:
            WrongPassphraseError: It opens no passphrase slot.
        """
        entry, kdf, _ = self._opened_by(passphrase, allow_weak_kdf)
        master = MasterKey.generate(self.id)
        slot = _Slot.passphrase(self.id, passphrase, kdf, master, name=entry.info.name)
        return VaultHeader(self.id, self.version, (slot,)).signed(master), master

    def without(self, name: str, master: MasterKey) -> VaultHeader:
        """Return a header without the slot `name`.

        Raises:
            RecordError: There is no such slot, or it is the last one.
        """
        others = tuple(entry for entry in self.entries if entry.info.name != name)
        if len(others) == len(self.entries):
            raise RecordError(f"the vault has no slot named {name!r}")
        if not others:
            raise RecordError("the last slot cannot be removed: nothing could open the vault")
        return replace(self, entries=others).signed(master)

    def _opened_by(self, passphrase: bytes, allow_weak_kdf: bool) -> tuple[_Slot, KdfParameters, MasterKey]:
        """Return the passphrase slot that `passphrase` opens, its cost, and the master key in it."""
        check_passphrase(passphrase)
        for entry in self.entries:
            kdf = entry.info.kdf
            if kdf is None:
                continue
            kdf.check(allow_weak=allow_weak_kdf)
            try:
                return entry, kdf, entry.open(self.id, derive(passphrase, entry.salt, kdf))
            except WrongPassphraseError:
                continue
        raise WrongPassphraseError("wrong passphrase", hint="give the passphrase in use now")

    def _body(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": self.version,
            "id": self.id,
            "slots": [entry.to_json() for entry in self.entries],
        }

    def _mac(self, master: MasterKey) -> bytes:
        return hmac.digest(master.subkey("header"), _canonical(self._body()), "sha256")

    def signed(self, master: MasterKey) -> VaultHeader:
        """Return this header with its MAC.

        Raises:
            RecordError: `parse` would refuse it: two slots of one name, or more than `SLOT_LIMIT` of them.
        """
        names = [slot.name for slot in self.slots]
        if twice := [name for name in names if names.count(name) > 1]:
            raise RecordError(f"there is a slot named {twice[0]!r} already", hint="remove that one first")
        if len(names) > SLOT_LIMIT:
            raise RecordError(f"a vault holds {SLOT_LIMIT} slots at most", hint="remove one first")
        return replace(self, mac=self._mac(master))


def slot_name(name: str) -> str:
    """Return `name` if it can name a slot.

    Raises:
        RecordError: It is not 1 to 32 of a-z, 0-9 and the hyphen, starting with a letter.
    """
    if not _SLOT_NAME.fullmatch(name):
        raise RecordError("a slot's name is 1 to 32 of a-z, 0-9 and the hyphen, and starts with a letter")
    return name


def _associated(vault_id: str, info: SlotInfo, salt: bytes) -> bytes:
    """Return what a wrapped key is bound to: its vault, slot, salt and key-derivation parameters."""
    kdf = info.kdf and [info.kdf.memory_kib, info.kdf.passes, info.kdf.lanes]
    return _canonical([FORMAT, VERSION, vault_id, info.name, info.kind, kdf, salt.hex()])


def _kdf(value: object) -> KdfParameters | None:
    match value:
        case None:
            return None
        case {
            "name": "argon2id",
            "memory_kib": int(memory),
            "passes": int(passes),
            "lanes": int(lanes),
            **rest,
        } if not rest:
            return KdfParameters(memory, passes, lanes)
    raise ValueError("key-derivation parameters have another shape")


def _hex(text: str, size: int) -> bytes:
    value = bytes.fromhex(text)
    if len(value) != size:
        raise ValueError(f"expected {size} bytes")
    return value


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, indent=1).encode() + b"\n"
