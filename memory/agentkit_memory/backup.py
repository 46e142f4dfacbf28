"""Take the vault out: an encrypted copy while it is open, and its content as JSON lines."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agentkit_memory import database as db
from agentkit_memory import rows, state
from agentkit_memory.access import Access
from agentkit_memory.durable import sync_folder
from agentkit_memory.errors import TamperedError, VaultExistsError, disk_errors
from agentkit_memory.guard import hash_file, hash_header
from agentkit_memory.head import FILE as HEAD_FILE
from agentkit_memory.head import Head, HeadFile
from agentkit_memory.header import FILE as HEADER_FILE
from agentkit_memory.header import VaultHeader

PAGE = 500


def backup(access: Access, folder: Path) -> None:
    """Write a closed, complete copy of the open vault into the new `folder`; see `Vault.backup`."""
    with access.reading() as database:
        with disk_errors("the backup"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise VaultExistsError(f"{folder} is not empty", hint="choose another folder")
        copy = folder / db.FILE
        database.copy_to(copy, access.master.subkey("database"))
        with disk_errors("the backup"):
            copy.chmod(0o600)
        size, file_hash = hash_file(copy)
        head = Head(database.generation, database.digest, (hash_header(access.header),), size, file_hash)
        HeadFile(folder, access.master.subkey("head"), access.header.id).create(head)
        access.header.write(folder)


def export(access: Access) -> Iterator[dict[str, Any]]:
    """Yield every record and message as a JSON-able dict, without vectors; see `Vault.export`."""
    last = -1
    while True:
        with (
            access.reading() as database
        ):  # not held between two pages: by row, a deletion meanwhile shifts nothing
            page, last = rows.page(database, last, PAGE)
        if not page:
            break
        yield from ({"type": "record", **asdict(record)} for record in page)
    with access.reading() as database:
        infos = state.conversations(database)
    for info in infos:
        with access.reading() as database:
            messages = state.messages(database, info.id)
        for number, message in enumerate(messages):
            yield {"type": "message", "conversation": info.id, "number": number, "message": message}


def check(folder: Path, passphrase: bytes, *, allow_weak_kdf: bool) -> int:
    """Compare a backup with its sealed head, byte for byte, and write nothing; see `Vault.check_backup`."""
    header = VaultHeader.read(folder)
    master = header.unlock(passphrase=passphrase, allow_weak_kdf=allow_weak_kdf)
    head = HeadFile(folder, master.subkey("head"), header.id).read()
    if not head.clean:
        raise TamperedError(
            "the vault was in use when its files were copied", hint="copy it with: agentkit memory backup"
        )
    whole = (folder / db.FILE).is_file() and hash_file(folder / db.FILE) == (head.file_bytes, head.file_hash)
    if not whole or hash_header(header) not in head.headers:
        raise TamperedError("the backup is not what was written", hint="make another one, on another disk")
    return head.generation


def restore(source: Path, folder: Path) -> None:
    """Copy a backup's files into `folder`; the header last, so that half a copy is no vault."""
    with disk_errors("the backup"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (db.FILE, HEAD_FILE, HEADER_FILE):
            fresh = folder / (name + ".new")
            with (source / name).open("rb") as read, fresh.open("wb") as written:
                fresh.chmod(0o600)
                shutil.copyfileobj(read, written)
                written.flush()
                os.fsync(written.fileno())
            fresh.replace(folder / name)
            sync_folder(folder)
        sync_folder(folder.parent)
