"""The head: which state of the vault is the newest, sealed, and written with every commit.

    head.sealed    slot A at 0, slot B at 4096; each 512 bytes: a sealed blob, then zeros; zeros between them

The slots are written in turn, each in one sector, so that a crash leaves the older one whole. Both must be genuine and
follow each other. Covered: a database, log or header older than the last acknowledged commit.
Not covered: a head and a vault that are older *together*; that needs an anchor outside (`anchor.py`).
Source: format in memory/README.md §4.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from agentkit_memory.durable import write_file
from agentkit_memory.errors import TamperedError, disk_errors
from agentkit_memory.seal import seal, unseal

FILE: Final = "head.sealed"
SLOT_BYTES: Final = 512
SLOT_STEP: Final = 4096
FILE_BYTES: Final = SLOT_STEP + SLOT_BYTES
_LAYOUT: Final = struct.Struct("<QQB32sQ32s32s32s")
_SEALED_BYTES: Final = 8 + 32 + _LAYOUT.size + 16
_NONE: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class Head:
    """The newest state of a vault."""

    generation: int
    """Counts commits."""
    digest: bytes
    """Content digest of that generation, 32 bytes."""
    headers: tuple[bytes, ...]
    """SHA-256 of the header; of two, while one replaces the other."""
    file_bytes: int = 0
    """Size of the database at the last clean close."""
    file_hash: bytes = _NONE
    """SHA-256 of the database at the last clean close; zeros while it is open."""

    @property
    def clean(self) -> bool:
        """Whether the vault was closed cleanly, so that its database is known to the last byte."""
        return self.file_hash != _NONE

    def opened(self, generation: int, digest: bytes) -> Head:
        """Return the head of the open vault after a commit."""
        return replace(self, generation=generation, digest=digest, file_bytes=0, file_hash=_NONE)


class HeadFile:
    """The open head file of one vault."""

    def __init__(self, folder: Path, key: bytes, vault_id: str, *, name: str = FILE) -> None:
        self._path = folder / name
        self._key = key
        self._place = f"agentkit vault v1 head {vault_id}".encode()
        self._sequence = 0
        self._descriptor = -1

    def read(self) -> Head:
        """Return the newest head.

        Raises:
            TamperedError: It is missing, cut, changed, of another vault, or of two times.
        """
        damaged = TamperedError(
            "the vault's head is damaged or was changed outside of agentkit",
            hint="restore the vault from a backup",
        )
        with disk_errors("the vault's head"):
            try:
                with self._path.open("rb") as file:
                    data = file.read(FILE_BYTES + 1)
            except FileNotFoundError:
                raise TamperedError(
                    "the vault's head is missing", hint=f"restore {FILE} from the backup the vault came from"
                ) from None
        if len(data) != FILE_BYTES or any(data[SLOT_BYTES:SLOT_STEP]):
            raise damaged
        even, odd = (self._unpack(data[start : start + SLOT_BYTES], damaged) for start in (0, SLOT_STEP))
        if abs(even[0] - odd[0]) != 1 or even[0] % 2 or not odd[0] % 2:
            raise damaged
        self._sequence, head = max(even, odd, key=lambda slot: slot[0])
        return head

    def _unpack(self, slot: bytes, damaged: TamperedError) -> tuple[int, Head]:
        if any(slot[_SEALED_BYTES:]):
            raise damaged
        sequence, generation, count, digest, size, file_hash, *hashes = _LAYOUT.unpack(
            unseal(self._key, slot[:_SEALED_BYTES], self._place)
        )
        return sequence, Head(generation, digest, tuple(hashes[:count]), size, file_hash)

    def _pack(self, sequence: int, head: Head) -> bytes:
        first, *rest = head.headers
        plain = _LAYOUT.pack(
            sequence,
            head.generation,
            len(head.headers),
            head.digest,
            head.file_bytes,
            head.file_hash,
            first,
            rest[0] if rest else _NONE,
        )
        return seal(self._key, plain, self._place).ljust(SLOT_BYTES, b"\0")

    def create(self, head: Head) -> None:
        """Make the file anew, with both slots."""
        self.close()
        data = self._pack(0, head).ljust(SLOT_STEP, b"\0") + self._pack(1, head)
        write_file(self._path, data)
        self._sequence = 1

    def write(self, head: Head) -> None:
        """Put `head` over the older slot; on disk when this returns.

        Raises:
            StorageError: The disk failed; the newest head stands.
        """
        with disk_errors("the vault's head"):
            if self._descriptor < 0:
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            sequence = self._sequence + 1
            os.pwrite(self._descriptor, self._pack(sequence, head), (sequence % 2) * SLOT_STEP)
            os.fdatasync(self._descriptor)
        self._sequence = sequence

    def close(self) -> None:
        """Let go of the file; safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
