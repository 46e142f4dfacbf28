"""The sealed snapshot: Chroma's files, kept beside the vault so that the index need not be rebuilt at each open.

The files go from a private folder in memory, packed, straight into one sealed blob, and back. A snapshot belongs to
one epoch of the database: any deletion starts a new epoch and removes the snapshot first, so what was forgotten is in
none.
Whatever is wrong with a snapshot, the index is rebuilt from the database; it is never trusted over it.
Source: format in memory/README.md §5.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agentkit_memory.durable import write_file
from agentkit_memory.errors import StorageError, TamperedError, VectorIndexError, disk_errors
from agentkit_memory.packing import pack, unpack
from agentkit_memory.seal import seal, unseal

FILE: Final = "index.sealed"
FLOATS: Final = ".bin"
"""What the files are called that are mostly floats."""
SIZE_LIMIT: Final = 8 << 30
_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,99})?")
_MEMORY_FILESYSTEMS: Final = frozenset({"tmpfs", "ramfs"})


@dataclass(frozen=True, slots=True)
class State:
    """Which database contents a snapshot holds."""

    epoch: str
    """Changes with every deletion."""
    last_row: int
    """The highest row it holds; what came later is added after restoring."""
    dimensions: int
    engine: str
    """Name and version of the library whose files these are."""


class Snapshot:
    """The snapshot of one vault."""

    def __init__(self, folder: Path, key: bytes, vault_id: str) -> None:
        self._path = folder / FILE
        self._key = key
        self._place = f"agentkit vault v1 snapshot {vault_id}".encode()

    def save(self, state: State, folder: Path) -> None:
        """Seal every file under `folder`; the caller has closed whatever writes them.

        Raises:
            StorageError: The disk is full or failed; an older snapshot stands.
        """
        files, kept = list[tuple[str, list[tuple[int, int]]]](), list[bytes]()
        with disk_errors("the index folder"):
            for path in sorted(folder.rglob("*")):
                if path.is_file() and not path.is_symlink():
                    parts = pack(path.read_bytes(), floats=path.suffix == FLOATS)
                    kept += [part for _, part in parts]
                    sizes = [(size, len(part)) for size, part in parts]
                    files.append((path.relative_to(folder).as_posix(), sizes))
        head = json.dumps(
            {
                "epoch": state.epoch,
                "last_row": state.last_row,
                "dimensions": state.dimensions,
                "engine": state.engine,
                "files": files,
            }
        ).encode()
        write_file(
            self._path,
            seal(self._key, b"".join((len(head).to_bytes(4, "little"), head, *kept)), self._place),
        )

    def restore(self, folder: Path) -> State | None:
        """Unpack the snapshot into the empty `folder`; return what it holds, or `None` when there is none.

        Raises:
            TamperedError: It was changed, or is of another vault.
            StorageError: It cannot be read.
        """
        with disk_errors("the index snapshot"):
            try:
                if self._path.stat().st_size > SIZE_LIMIT:
                    raise TamperedError(f"the index snapshot is over {SIZE_LIMIT} bytes")
                sealed = self._path.read_bytes()
            except FileNotFoundError:
                return None
        data = memoryview(unseal(self._key, sealed, self._place))
        # From here on it is our own writing; the checks below guard against our own mistakes.
        try:
            return _unpack(data, folder)
        except (ValueError, TypeError, KeyError):
            raise TamperedError("the index snapshot is laid out in another way") from None

    def discard(self) -> None:
        """Remove the snapshot, if there is one."""
        with disk_errors("the index snapshot"):
            self._path.unlink(missing_ok=True)


def _unpack(data: memoryview, folder: Path) -> State:
    """Write the files of an unsealed snapshot into `folder`."""
    start = 4 + int.from_bytes(data[:4], "little")
    head: dict[str, Any] = json.loads(bytes(data[4:start]))
    with disk_errors("the index folder"):
        for name, sizes in head["files"]:
            if not _NAME.fullmatch(name):
                raise TamperedError("the index snapshot names a file it may not")
            parts = list[tuple[int, memoryview]]()
            for size, kept in sizes:
                parts.append((size, data[start : start + kept]))
                start += kept
            path = folder / name
            path.parent.mkdir(mode=0o700, exist_ok=True)
            with path.open("wb") as file:
                for block in unpack(parts):
                    file.write(block)
    return State(head["epoch"], head["last_row"], head["dimensions"], head["engine"])


def check_memory_backed(folder: Path) -> None:
    """Refuse a folder for clear index files that is not private and held in memory.

    Raises:
        VectorIndexError: Others may read it, it is not empty, or it is on a disk.
    """
    try:
        status = folder.stat()
        filled = any(folder.iterdir())
    except OSError as error:
        raise VectorIndexError(f"the index folder cannot be used: {error.strerror}") from None
    if status.st_mode & 0o077:
        raise VectorIndexError("the index folder is open to other users", hint="chmod 700")
    if filled:
        raise VectorIndexError("the index folder is not empty")
    if _filesystem(folder.resolve()) not in _MEMORY_FILESYSTEMS:
        raise VectorIndexError("the index folder is on a disk; it must be on a tmpfs", hint="leave it out")


def _filesystem(folder: Path) -> str:
    """Return the file system type `folder` is on, from the mount that covers it; empty when unknown."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError as error:
        raise StorageError(f"the list of mounts cannot be read: {error.strerror}") from None
    best, kind = -1, ""
    for line in lines:
        before, _, after = line.partition(" - ")
        point = before.split()[4].encode().decode("unicode_escape")
        covers = folder.is_relative_to(point)
        if covers and len(point) >= best:  # later mounts cover earlier ones at the same place
            best, kind = len(point), after.split()[0]
    return kind
