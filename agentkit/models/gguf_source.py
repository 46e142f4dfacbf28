"""Read an untrusted file forward through a small window, and never more of it than the limits here allow.

No buffer grows with a number read from the file beyond these limits, and no file is mapped into memory: one
that shrinks while it is read gives an error, not a bus error.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Never

from agentkit.errors import ModelError, ModelRefusedError, NotFoundError

MAX_STRING_BYTES = 16 << 20
MAX_HEADER_BYTES = 128 << 20

U64 = struct.Struct("<Q")
_WINDOW_BYTES = 1 << 20


@contextmanager
def opened(path: Path) -> Iterator[tuple[int, int]]:
    """Open a regular file for reading; yield its descriptor and its size in bytes.

    Raises:
        NotFoundError: There is no such file.
        ModelError: It cannot be opened, or is no regular file.
    """
    try:
        # non-blocking, so that a named pipe is refused below instead of waited for
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be opened: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(f"{path}: not a regular file", hint="name the .gguf file itself")
        yield descriptor, status.st_size
    finally:
        os.close(descriptor)


class Source:
    """A window over a file that only moves forward; reading past the end or the header limit is refused."""

    def __init__(self, descriptor: int, size: int, subject: str) -> None:
        self.size = size
        self._descriptor = descriptor
        self._subject = subject
        self._window = b""
        self._base = 0
        self._at = 0

    @property
    def place(self) -> int:
        """Offset of the next byte."""
        return self._base + self._at

    def refuse(self, problem: str, *, hint: str | None = None) -> Never:
        """Refuse the file, saying why."""
        raise ModelRefusedError(
            f"{self._subject}: {problem}", hint=hint or "get the file again from where it came"
        )

    def jump(self, place: int) -> None:
        """Go to `place`."""
        self._window, self._base, self._at = b"", place, 0

    def skip(self, count: int) -> None:
        """Move `count` bytes on; they must be in the file."""
        self._allow(count)
        self._at += count

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes; the caller has checked `count` against a limit."""
        self._fill(count)
        start = self._at
        self._at += count
        return self._window[start : self._at]

    def number(self, form: struct.Struct) -> int:
        """Return the next number."""
        self._fill(form.size)
        (value,) = form.unpack_from(self._window, self._at)
        self._at += form.size
        return value  # type: ignore[no-any-return]

    def skip_strings(self, count: int) -> None:
        """Move past `count` strings: the one loop whose speed matters (two per vocabulary entry)."""
        unpack = U64.unpack_from
        while count:
            self._fill(8)
            window, at = self._window, self._at
            last = len(window) - 8
            while count and at <= last:
                length = unpack(window, at)[0]
                if length > MAX_STRING_BYTES:
                    self.refuse(f"a string claims {length} bytes, over the limit of {MAX_STRING_BYTES}")
                at += 8 + length
                count -= 1
            self._at = at
        self._allow(0)

    def strings(self, count: int) -> Iterator[bytes]:
        """Yield the next `count` strings."""
        for _ in range(count):
            yield self.take(self.length(MAX_STRING_BYTES, "a string"))

    def length(self, limit: int, what: str) -> int:
        """Return the next length field, refused above `limit`."""
        length = self.number(U64)
        if length > limit:
            self.refuse(f"{what} claims {length} bytes, over the limit of {limit}")
        return length

    def _allow(self, count: int) -> None:
        end = self.place + count
        if end > self.size:
            self.refuse(f"truncated: the header needs {end} bytes, the file has {self.size}")
        if end > MAX_HEADER_BYTES:
            self.refuse(f"the header runs over the limit of {MAX_HEADER_BYTES} bytes")

    def _fill(self, count: int) -> None:
        if self._at + count <= len(self._window):
            return
        self._allow(count)
        place = self.place
        self._window = os.pread(self._descriptor, max(count, _WINDOW_BYTES), place)
        self._base, self._at = place, 0
        if len(self._window) < count:
            self.refuse("changed while it was read")
