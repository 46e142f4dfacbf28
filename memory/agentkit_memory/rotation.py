"""Rotate the keys: a fresh master key, and every page, row digest and sealed file under it.

The new files are made complete beside the old ones (`*.next`); replacing the header is the one step that counts, since
it alone says which master key there is. Killed before it, the next opening removes the new files and nothing has
happened; killed after it, the next opening finishes the renaming. Only the passphrase given keeps its slot: a slot
cannot be carried over without its secret.
Covered: whoever held the old master key, or an old keyring secret or recovery code, can read
nothing written from now on.
Not covered: a copy of the vault made before; it opens as it did, for whoever knows what opened it then.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from agentkit_memory import database as db
from agentkit_memory import head, snapshot
from agentkit_memory.database import Database
from agentkit_memory.durable import sync_folder
from agentkit_memory.errors import TamperedError, disk_errors
from agentkit_memory.guard import hash_file, hash_header
from agentkit_memory.head import Head, HeadFile
from agentkit_memory.keys import MasterKey

if TYPE_CHECKING:
    from agentkit_memory.access import Access

NEXT: Final = ".next"
_FILES: Final = (db.FILE, head.FILE)


def rotate(access: Access, passphrase: bytes, *, allow_weak_kdf: bool) -> None:
    """Put the open vault under fresh keys; the caller closes it then, and opens it anew.

    Raises:
        WrongPassphraseError: `passphrase` opens no passphrase slot; nothing was changed.
        StorageError: The disk is full or failed; nothing was changed.
    """
    folder = access.folder
    with access.reading() as database:
        header, master = access.header.rekeyed(passphrase, allow_weak_kdf=allow_weak_kdf)
        discard(folder)
        fresh = folder / (db.FILE + NEXT)
        database.copy_to(fresh, master.subkey("database"))
        copy = Database(fresh, master.subkey("database"), master.subkey("digest"))
        try:
            copy.adopt()
            copy.fold_log()  # closing would do it, and say nothing if it could not
            generation, digest = copy.generation, copy.digest
        finally:
            copy.close()
        size, file_hash = hash_file(fresh)
        newest = HeadFile(folder, master.subkey("head"), header.id, name=head.FILE + NEXT)
        newest.create(Head(generation, digest, (hash_header(header),), size, file_hash))
        with disk_errors("the vault's folder"):
            fresh.chmod(0o600)
            sync_folder(folder)
            access.stop()
            access.rotated = True
            access.database.close()
            header.write(folder)  # from here on the new keys are the vault's
        finish(folder, master, header.id)


def finish(folder: Path, master: MasterKey, vault_id: str) -> None:
    """Finish or undo a rotation that was cut off, by what the header says; called before the vault is opened."""
    newest = folder / (head.FILE + NEXT)
    if not newest.exists():
        discard(folder)
        return
    try:
        HeadFile(folder, master.subkey("head"), vault_id, name=newest.name).read()
    except TamperedError:
        discard(folder)
        return
    with disk_errors("the vault's folder"):
        for name in (snapshot.FILE, db.FILE + "-wal"):
            (folder / name).unlink(missing_ok=True)
        for name in _FILES:
            fresh = folder / (name + NEXT)
            if fresh.exists():
                fresh.replace(folder / name)
                sync_folder(folder)


def discard(folder: Path) -> None:
    """Remove what a rotation that did not come to its decisive step left behind."""
    with disk_errors("the vault's folder"):
        for leftover in folder.glob("*" + NEXT + "*"):
            leftover.unlink()
