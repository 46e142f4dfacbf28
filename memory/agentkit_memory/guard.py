"""The guard: decides whether the files of an unlocked vault are its newest ones, and keeps the head up to date.

Two layers. After a clean close the head knows the SHA-256 of the database file: every byte is compared, which takes a
twentieth of a second for 40 MB. After a crash it knows generation and content digest of the last acknowledged commit:
the rows are summed again, and SQLite checks every page in use, every index and every posting.
Not detected: loss of the one commit that was in flight at a crash (it was never acknowledged); and, without an anchor,
an older copy of all files together.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from agentkit_memory import database as db
from agentkit_memory.anchor import Anchor
from agentkit_memory.database import Database
from agentkit_memory.errors import StorageError, StoreError, TamperedError, disk_errors
from agentkit_memory.head import Head, HeadFile
from agentkit_memory.header import FILE as HEADER_FILE
from agentkit_memory.header import VaultHeader
from agentkit_memory.keys import MasterKey

LOG: Final = db.FILE + "-wal"
_ROLLED_BACK: Final = "if you put it back yourself: agentkit unlock --accept-rollback"


class Guard:
    """Watches over one vault from before its database is opened until after it is closed."""

    def __init__(self, folder: Path, header: VaultHeader, master: MasterKey, anchor: Anchor | None) -> None:
        self._folder = folder
        self._id = header.id
        self._file = HeadFile(folder, master.subkey("head"), header.id)
        self._anchor = anchor
        self._head = Head(0, bytes(32), (hash_header(header),))
        self._owed = False
        """Whether a commit is on disk whose head could not be written."""
        self.anchored = False
        """Whether an anchor remembers this vault."""

    def create(self, database: Database) -> None:
        """Begin with a new vault."""
        self._head = self._head.opened(database.generation, database.digest)
        self._file.create(self._head)

    def before(self, header: VaultHeader, *, accept_rollback: bool) -> None:
        """Check what can be checked before the database is opened.

        Raises:
            TamperedError: Head, header or database are not the newest, or were changed.
        """
        if accept_rollback:
            try:
                self._head = self._file.read()
            except TamperedError:
                self._head = Head(0, bytes(32), ())
            return
        self._head = self._file.read()
        if hash_header(header) not in self._head.headers:
            raise TamperedError(
                f"{HEADER_FILE} is an older one, or was changed outside of agentkit", hint=_ROLLED_BACK
            )
        remembered = self._anchor(self._id, None) if self._anchor else None
        if remembered is not None and self._head.generation < remembered:
            raise TamperedError(
                f"the vault is of generation {self._head.generation}, but it was at {remembered} already",
                hint=_ROLLED_BACK,
            )
        if self._head.clean:
            path = self._folder / db.FILE
            if path.is_file() and hash_file(path) != (self._head.file_bytes, self._head.file_hash):
                raise TamperedError(
                    "the vault's database was changed outside of agentkit, or is an older one",
                    hint=_ROLLED_BACK,
                )
            with disk_errors("the vault's log"):
                # After a clean close there is no log; SQLite would obey one that was put there.
                (self._folder / LOG).unlink(missing_ok=True)

    def after(self, header: VaultHeader, database: Database, *, accept_rollback: bool) -> None:
        """Check the opened database against the head, and note that it is open.

        Raises:
            TamperedError: It is not the newest, or was changed.
        """
        head = self._head
        if not accept_rollback:
            ahead = database.generation - head.generation
            # One ahead: the commit in flight when the process died. It is whole, or SQLite would have dropped it.
            if ahead < 0 or ahead > (0 if head.clean else 1):
                raise TamperedError(
                    f"the vault's database is of generation {database.generation}, its head of {head.generation}",
                    hint=_ROLLED_BACK,
                )
            if ahead == 0 and database.digest != head.digest:
                raise TamperedError("the vault's database does not match its head", hint=_ROLLED_BACK)
        if accept_rollback or not head.clean:
            database.verify()
        headers = (hash_header(header),)
        self._head = Head(database.generation, database.digest, headers)
        if accept_rollback:
            self._file.create(self._head)
        else:
            self._file.write(self._head)
        self.advance_anchor()

    def settle(self) -> None:
        """Write a head that is owed; a second commit ahead of it would look like tampering.

        Raises:
            StorageError: The disk still fails.
        """
        if self._owed:
            self._file.write(self._head)
            self._owed = False

    def committed(self, database: Database) -> None:
        """Follow a commit. It stands, whether the head can be written or not."""
        if database.generation == self._head.generation:
            return
        self._head = self._head.opened(database.generation, database.digest)
        try:
            self._file.write(self._head)
        except StorageError:
            self._owed = True

    def replace_header(self, old: VaultHeader, new: VaultHeader) -> None:
        """Put `new` in place of `old`: at no moment does the head refuse what lies on the disk."""
        self.settle()
        both = (hash_header(old), hash_header(new))
        self._head = Head(self._head.generation, self._head.digest, both)
        self._file.write(self._head)
        new.write(self._folder)
        self._head = Head(self._head.generation, self._head.digest, both[1:])
        self._file.write(self._head)

    def closed(self) -> None:
        """Seal the hash of the closed database file; after a failure the vault just counts as not cleanly closed."""
        log = self._folder / LOG
        try:
            if not log.exists():
                size, digest = hash_file(self._folder / db.FILE)
                head = self._head
                self._file.write(Head(head.generation, head.digest, head.headers, size, digest))
        except StoreError:
            return
        finally:
            self._file.close()
        self.advance_anchor()

    def advance_anchor(self) -> None:
        """Let the anchor remember the newest generation."""
        if self._anchor is not None:
            self.anchored = self._anchor(self._id, self._head.generation) is not None

    def release(self) -> None:
        """Let go of the files without a word about their state."""
        self._file.close()

    @property
    def generation(self) -> int:
        """How many commits the vault has seen."""
        return self._head.generation


def hash_header(header: VaultHeader) -> bytes:
    """Return the SHA-256 of a header's one spelling."""
    return hashlib.sha256(header.to_bytes()).digest()


def hash_file(path: Path) -> tuple[int, bytes]:
    """Return size and SHA-256 of a file."""
    with disk_errors(path.name), path.open("rb", buffering=0) as file:
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), digest.digest()
