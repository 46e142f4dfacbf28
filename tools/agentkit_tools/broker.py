"""Read and write files beneath one folder, and nowhere else, whatever links somebody puts in the way.

The kernel resolves each path with `openat2` (beneath the root, no links at all), or, before Linux 5.6, one part at
a time without following links; a path is never checked first and opened later. Writing replaces a file whole, or
not at all. Protected names (`.git`, `.envrc`, ...; see `workspace`) are refused, for reading too: they hold
credentials, or are obeyed by other programs.

Covered: `..`, absolute paths, symbolic and magic links, files with a second name elsewhere, FIFOs and devices,
folders swapped for links while we look.
Not covered: who else may write in the root; a file system that ignores case may know a name by other spellings.
Source: openat2(2); tried against a process that swaps folders and links, `tests/attacks/test_broker.py`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from agentkit_tools import workspace
from agentkit_tools.errors import BrokerError, MissingError

MOST_BYTES = 16 * 1024 * 1024
MOST_PARTS = 64
_OPENAT2 = 437
_RESOLVE = 0x08 | 0x04 | 0x02  # BENEATH, NO_SYMLINKS, NO_MAGICLINKS
_TRIES = 16  # the kernel answers EAGAIN when a folder is moved meanwhile


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@dataclass(frozen=True, slots=True)
class Entry:
    """What lies in a folder."""

    name: str
    kind: str
    """`file`, `folder` or `other`."""
    size: int
    """Bytes; 0 for what is no file."""


class Broker:
    """Files beneath one root."""

    def __init__(self, root: str, *, chain: bool = False) -> None:
        """Name the root; it is opened at each use.

        Args:
            root: Absolute path; links in it are the caller's and are followed.
            chain: Resolve part by part even where `openat2` is to be had.
        """
        self.root = root
        self._chain = chain

    def read(self, path: str, *, limit: int = MOST_BYTES) -> bytes:
        """Return the content of a file.

        Args:
            path: Relative to the root.
            limit: Refuse files over this many bytes.

        Raises:
            BrokerError: It is missing, outside, protected, not a plain file, or too large.
        """
        parts = _parts(path)
        with self._opened(parts, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, path) as fd:
            status = _plain(fd, path)
            if status.st_size > limit:
                raise BrokerError(f"{path} has {status.st_size} bytes, over the limit of {limit}")
            content = b""
            while len(content) <= limit and (data := os.read(fd, 1 << 20)):
                content += data
        return content[:limit]

    def entries(self, path: str = ".") -> list[Entry]:
        """Return what lies in a folder, by name; protected names are left out.

        Args:
            path: Relative to the root; `.` is the root.

        Raises:
            BrokerError: It is missing, outside, protected, or not a folder.
        """
        found = []
        with self._opened(_parts(path), os.O_RDONLY | os.O_DIRECTORY, path) as fd, os.scandir(fd) as entries:
            for entry in entries:
                if workspace.is_protected(entry.name):
                    continue
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    found.append(Entry(entry.name, "file", status.st_size))
                else:
                    found.append(Entry(entry.name, "folder" if stat.S_ISDIR(status.st_mode) else "other", 0))
        return sorted(found, key=lambda entry: entry.name)

    def write(self, path: str, content: bytes) -> bool:
        """Replace or create a file, with the folders above it; all of it or nothing.

        Args:
            path: Relative to the root.
            content: At most 16 MiB.

        Returns:
            Whether a file was replaced.

        Raises:
            BrokerError: It is outside, protected, not a plain file, or there is no room.
        """
        if len(content) > MOST_BYTES:
            raise BrokerError(f"{len(content)} bytes for {path} are over the limit of {MOST_BYTES}")
        parts = _parts(path)
        if not parts:
            raise BrokerError(f"{path} is a folder")
        with self._folder_for(parts[:-1], path) as folder:
            return _replace(folder, parts[-1], content, path)

    @contextmanager
    def _opened(self, parts: list[str], flags: int, path: str) -> Iterator[int]:
        """Yield a descriptor of what `parts` name."""
        fd = -1
        try:
            root = os.open(self.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fd = self._open(root, parts or ["."], flags | os.O_CLOEXEC | os.O_NOFOLLOW)
            finally:
                os.close(root)
            yield fd
        except OSError as error:
            raise _trouble(error, path) from error
        finally:
            if fd >= 0:
                os.close(fd)

    @contextmanager
    def _folder_for(self, parts: list[str], path: str) -> Iterator[int]:
        """Yield a descriptor of the folder `parts` name, made where missing."""
        for depth in range(1, len(parts) + 1):
            with self._opened(parts[: depth - 1], os.O_RDONLY | os.O_DIRECTORY, path) as above:
                try:
                    os.mkdir(parts[depth - 1], 0o755, dir_fd=above)
                except FileExistsError:
                    continue  # as it should be; whether it is a folder is seen when it is opened
        with self._opened(parts, os.O_RDONLY | os.O_DIRECTORY, path) as folder:
            yield folder

    def _open(self, root: int, parts: list[str], flags: int) -> int:
        if not self._chain:
            for _ in range(_TRIES):
                try:
                    return _openat2(root, "/".join(parts), flags)
                except OSError as error:
                    if error.errno == errno.ENOSYS:
                        break
                    if error.errno != errno.EAGAIN:
                        raise
            else:
                raise OSError(errno.EAGAIN, "the folder keeps changing")
        return _open_chain(root, parts, flags)


def _openat2(root: int, path: str, flags: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    how = _OpenHow(flags, 0, _RESOLVE)
    fd: int = libc.syscall(_OPENAT2, root, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return fd


def _open_chain(root: int, parts: list[str], flags: int) -> int:
    """Open part by part, each without following a link; `parts` hold no `..`."""
    above = os.dup(root)
    try:
        for part in parts[:-1]:
            below = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
            os.close(above)
            above = below
        return os.open(parts[-1], flags | os.O_NOFOLLOW, dir_fd=above)
    finally:
        os.close(above)


def _replace(folder: int, name: str, content: bytes, path: str) -> bool:
    """Write beside the file and rename over it, all from one open folder."""
    mode, replaced = 0o644, False
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        pass  # a new file
    else:
        _must_be_plain(status, path)
        mode, replaced = stat.S_IMODE(status.st_mode) & 0o777, True
    beside = f".{secrets.token_hex(8)}.tmp"
    fd = os.open(
        beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder
    )
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        os.unlink(beside, dir_fd=folder)
        raise
    return replaced


def _parts(path: str) -> list[str]:
    """Return the parts of a relative path.

    Raises:
        BrokerError: It leads outside, or through a protected name.
    """
    if "\0" in path or path.startswith("/"):
        raise BrokerError(f"{path!r} is not a path inside the folder", hint="use a relative path")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise BrokerError(f"{path} leads outside the folder", hint="use a path without ..")
    if len(parts) > MOST_PARTS:
        raise BrokerError(f"a path of {len(parts)} parts is over the limit of {MOST_PARTS}")
    protected = next((part for part in parts if workspace.is_protected(part)), None)
    if protected:
        raise BrokerError(f"{path} is protected: {protected} is obeyed by other programs, or holds secrets")
    return parts


def _plain(fd: int, path: str) -> os.stat_result:
    status = os.fstat(fd)
    _must_be_plain(status, path)
    return status


def _must_be_plain(status: os.stat_result, path: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise BrokerError(f"{path} is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise BrokerError(f"{path} is not a plain file")
    if status.st_nlink > 1:
        raise BrokerError(f"{path} has a second name elsewhere", hint="copy it, and use the copy")


def _trouble(error: OSError, path: str) -> BrokerError:
    match error.errno:
        case errno.ENOENT:
            return MissingError(f"there is no {path}")
        case errno.ELOOP | errno.EXDEV:
            return BrokerError(f"{path} is a link, or leads through one; links are not followed")
        case errno.ENOTDIR:
            return BrokerError(f"{path} is not a folder, or leads through a file or link")
        case errno.EISDIR:
            return BrokerError(f"{path} is a folder")
    return BrokerError(f"{path} cannot be used: {error.strerror}")
