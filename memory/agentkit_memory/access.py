"""The way into a vault's files: made, unlocked, locked against others, opened and closed together.

`Access` owns the folder, the header, the master key, the right to write and the database; `Vault` is what is done
with them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from agentkit_memory import database as db
from agentkit_memory.anchor import Anchor
from agentkit_memory.database import Database, database_errors
from agentkit_memory.durable import sync_folder
from agentkit_memory.errors import (
    StoreError,
    TamperedError,
    VaultClosedError,
    VaultExistsError,
    VaultMissingError,
    disk_errors,
)
from agentkit_memory.guard import Guard
from agentkit_memory.head import FILE as HEAD_FILE
from agentkit_memory.header import FILE as HEADER_FILE
from agentkit_memory.header import VaultHeader
from agentkit_memory.keys import KdfParameters, MasterKey
from agentkit_memory.lock import WriterLock
from agentkit_memory.rotation import finish as finish_rotation


class Access:
    """An unlocked vault's files. `lock` guards everything in it, and may be taken by the same thread again."""

    def __init__(
        self,
        folder: Path,
        header: VaultHeader,
        master: MasterKey,
        writer_lock: WriterLock,
        guard: Guard,
        *,
        accept_rollback: bool = False,
        fresh: bool = False,
    ) -> None:
        self.folder = folder
        self.header = header
        self.master = master
        self.lock = threading.RLock()
        self.guard = guard
        self.database = Database(folder / db.FILE, master.subkey("database"), master.subkey("digest"))
        self._writer_lock = writer_lock
        self._open = True
        self.rotated = False
        """Whether the files are under other keys by now."""
        try:
            with database_errors():
                self.meta: dict[str, Any] = dict(self.database.rows("SELECT key, value FROM meta"))
            if self.meta.get("vault") != header.id:
                raise TamperedError("the vault's database belongs to another vault")
            if not fresh:
                guard.after(header, self.database, accept_rollback=accept_rollback)
                if self.database.outdated:  # only now: what is brought up to date was checked as it was
                    self.database.update()
                    guard.committed(self.database)
        except StoreError:
            self.database.close()
            guard.release()
            raise

    @classmethod
    def create(
        cls,
        folder: Path,
        passphrase: bytes,
        kdf: KdfParameters,
        *,
        embedder: str,
        dimensions: int,
        anchor: Anchor | None,
    ) -> Access:
        """Make a vault's files; the header last, so that a creation that was interrupted leaves no vault."""
        with disk_errors("the vault's folder"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        writer_lock, ours = WriterLock(folder), False
        try:
            if (folder / HEADER_FILE).exists():
                raise VaultExistsError(
                    f"{folder} holds a vault already", hint="open it, or choose another folder"
                )
            if (folder / db.FILE).exists():
                raise VaultExistsError(
                    f"{folder} holds a database without its header",
                    hint=f"restore {HEADER_FILE} from a backup, or move {db.FILE} away: alone it cannot be opened",
                )
            header, master = VaultHeader.create(passphrase, kdf)
            ours = True
            _create_database(
                folder, master, {"vault": header.id, "embedder": embedder, "dimensions": dimensions}
            )
            guard = Guard(folder, header, master, anchor)
            access = cls(folder, header, master, writer_lock, guard, fresh=True)
            try:
                guard.create(access.database)
                header.write(folder)
            except StoreError:
                access.close()
                raise
            guard.advance_anchor()
            return access
        except BaseException:  # an interrupt, too, must leave neither a locked vault nor half of one
            if ours and not (folder / HEADER_FILE).exists():
                for name in (db.FILE, db.FILE + "-wal", HEAD_FILE):
                    with suppress(OSError):
                        (folder / name).unlink()
            writer_lock.release()
            raise

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        passphrase: bytes | None,
        keyring_secret: bytes | None,
        allow_weak_kdf: bool,
        anchor: Anchor | None,
        accept_rollback: bool,
    ) -> Access:
        """Unlock and open a vault's files; see `Vault.open`."""
        if not (folder / HEADER_FILE).is_file():
            raise VaultMissingError(f"no vault in {folder}", hint="create one first")
        writer_lock = WriterLock(folder)
        try:
            header = VaultHeader.read(folder)
            master = header.unlock(
                passphrase=passphrase, keyring_secret=keyring_secret, allow_weak_kdf=allow_weak_kdf
            )
            finish_rotation(folder, master, header.id)
            guard = Guard(folder, header, master, anchor)
            guard.before(header, accept_rollback=accept_rollback)
            return cls(folder, header, master, writer_lock, guard, accept_rollback=accept_rollback)
        except BaseException:  # an interrupt, too, must not leave the vault locked
            writer_lock.release()
            raise

    @contextmanager
    def reading(self) -> Iterator[Database]:
        """Hold the lock and give the database.

        Raises:
            VaultClosedError: It was closed.
        """
        with self.lock, database_errors():
            if not self._open:
                raise VaultClosedError("the vault is closed")
            yield self.database

    @contextmanager
    def transaction(self) -> Iterator[Database]:
        """Hold the lock, and commit what is done inside, or nothing of it."""
        with self.reading() as database:
            self.guard.settle()
            with database.transaction():
                yield database
            self.guard.committed(database)

    def rewrite_header(self, change: Callable[[VaultHeader], VaultHeader]) -> None:
        """Replace the header by what `change` makes of it; on disk when this returns."""
        with self.reading():
            header = change(self.header)
            try:
                self.guard.replace_header(self.header, header)
            except StoreError:
                with suppress(
                    StoreError
                ):  # it may lie there all the same; the next change must begin from what does
                    if VaultHeader.read(self.folder).to_bytes() == header.to_bytes():
                        self.header = header
                raise
            self.header = header

    def stop(self) -> bool:
        """Refuse all further use; return whether it was in use until now."""
        with self.lock:
            was_open, self._open = self._open, False
            return was_open

    def close(self) -> None:
        """Close the database and let others in."""
        with self.lock:
            self._open = False
            self.database.close()
            if self.rotated:
                self.guard.release()
            else:
                self.guard.closed()
            self._writer_lock.release()


def _create_database(folder: Path, master: MasterKey, meta: dict[str, Any]) -> None:
    """Make the database under another name, and give it its own once it is complete."""
    fresh = folder / (db.FILE + ".new")
    with disk_errors("the vault's database"):
        for leftover in folder.glob(fresh.name + "*"):
            leftover.unlink()
    database = Database(fresh, master.subkey("database"), master.subkey("digest"), create=True)
    try:
        with database_errors(), database.transaction():
            database.change_many(
                "INSERT INTO meta (key, value) VALUES (?, ?)", [*meta.items(), ("epoch", os.urandom(16))]
            )
        database.fold_log()  # closing would do it, and say nothing if it could not
    finally:
        database.close()
    with disk_errors("the vault's database"):
        fresh.chmod(0o600)
        fresh.rename(folder / db.FILE)
        sync_folder(folder)
