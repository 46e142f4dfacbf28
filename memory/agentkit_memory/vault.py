"""The vault: one folder that holds what a person told the assistant, encrypted.

    vault.json     header: how to unlock; nothing else is readable without a key
    vault.db       the truth: one encrypted database (and `vault.db-wal` while open)
    index.sealed   a sealed snapshot of the vector index; may be missing
    lock           who has it open

A `Vault` is an unlocked, open vault; its methods may be called from several threads. What a method changed is on disk
when it returns. Covered and not covered: memory/README.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from agentkit_memory import rotation
from agentkit_memory.access import Access
from agentkit_memory.anchor import Anchor
from agentkit_memory.contents import Contents
from agentkit_memory.errors import RecordError
from agentkit_memory.header import FILE as HEADER_FILE
from agentkit_memory.header import VaultHeader
from agentkit_memory.keys import KdfParameters


class Vault(Contents):
    """An unlocked vault. Make one with `create` or `open`; close it, or use it in a `with` block."""

    @staticmethod
    def exists(folder: Path) -> bool:
        """Whether there is a vault in `folder`."""
        return (folder / HEADER_FILE).is_file()

    @staticmethod
    def read_header(folder: Path) -> VaultHeader:
        """Read what can be known of a vault without a key; raises what `VaultHeader.read` does."""
        return VaultHeader.read(folder)

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        passphrase: bytes,
        embedder: str,
        dimensions: int,
        kdf: KdfParameters | None = None,
        index_folder: Path | None = None,
        allow_weak_kdf: bool = False,
        anchor: Anchor | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Vault:
        """Make a vault in `folder` and return it unlocked.

        The header is written last: a creation that was interrupted leaves no vault.

        Args:
            folder: Made private to this user when it is missing.
            passphrase: 1 byte to 1 MiB. Lost, it cannot be recovered.
            embedder: Name of the embedding model.
            dimensions: Size of its vectors.
            kdf: Cost of a guess; measured for this machine when left out.
            index_folder: A private, empty folder on a tmpfs for Chroma's files, so that a snapshot can be kept;
                without it Chroma stays inside the process and is rebuilt at each open.
            allow_weak_kdf: Accept parameters under the floor. For tests.
            anchor: Remembers the newest generation outside the folder; see `agentkit_memory.anchor`.
            clock: Seconds since the epoch.

        Raises:
            VaultExistsError: There is one already.
            WeakKeyError: The passphrase or the parameters protect nothing.
            StorageError: The disk is full or failed.
        """
        if not 1 <= dimensions <= 65536:
            raise RecordError(f"vectors of {dimensions} dimensions cannot be stored")
        kdf = kdf or KdfParameters.tuned()
        kdf.check(allow_weak=allow_weak_kdf)
        access = Access.create(
            folder, passphrase, kdf, embedder=embedder, dimensions=dimensions, anchor=anchor
        )
        return cls(access, index_folder, clock, allow_weak_kdf=allow_weak_kdf)

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        passphrase: bytes | None = None,
        keyring_secret: bytes | None = None,
        index_folder: Path | None = None,
        allow_weak_kdf: bool = False,
        anchor: Anchor | None = None,
        accept_rollback: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> Vault:
        """Unlock the vault in `folder`, with a passphrase or the secret kept in the OS keyring.

        Args:
            folder: Of the vault.
            passphrase: Or a recovery code.
            keyring_secret: What `add_keyring_slot` was given.
            index_folder: See `create`.
            allow_weak_kdf: See `create`.
            anchor: Remembers the newest generation outside the folder; see `agentkit_memory.anchor`.
            accept_rollback: Take files that are genuine but not the newest, as after restoring a backup.
            clock: Seconds since the epoch.

        Raises:
            VaultMissingError: There is none.
            VaultBusyError: It is open elsewhere.
            WrongPassphraseError: No slot opens.
            TamperedError: Damaged, or changed outside of agentkit.
            NewerVaultError: Written by a newer version; unharmed.
            WeakKeyError: Its key derivation is out of bounds.
            StorageError: The disk failed.
        """
        access = Access.open(
            folder,
            passphrase=passphrase,
            keyring_secret=keyring_secret,
            allow_weak_kdf=allow_weak_kdf,
            anchor=anchor,
            accept_rollback=accept_rollback,
        )
        return cls(access, index_folder, clock, allow_weak_kdf=allow_weak_kdf)

    def close(self) -> None:
        """Seal the index snapshot if it is stale, close everything, let others in; safe to call twice."""
        if self._access.stop():
            try:
                self._finder.close()
            finally:
                self._access.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def id(self) -> str:
        """Random, 32 hexadecimal digits."""
        return self._access.header.id

    def rotate(self, passphrase: bytes) -> None:
        """Put everything under fresh keys and close the vault; open it anew.

        Only the slot that `passphrase` opens is kept. A copy made before still opens, for whoever knows what opened
        it then. Killed in between, the vault is as it was, or rotated; never neither.

        Raises:
            WrongPassphraseError: It opens no passphrase slot; nothing changed, and the vault stays open.
            StorageError: The disk is full or failed; nothing changed.
        """
        try:
            rotation.rotate(self._access, passphrase, allow_weak_kdf=self._allow_weak_kdf)
        finally:
            if self._access.rotated:
                self._finder.vectors.abandon()
                self._finder.close()
                self._access.close()
