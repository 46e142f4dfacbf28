"""Take file and network rights away from this process with Landlock, without needing any privilege.

Covered, by what the kernel knows (`abi`): reading, writing, executing and, from ABI 3, truncating files; TCP
from ABI 4; device ioctls from ABI 5; abstract UNIX sockets and signals to processes outside from ABI 6.
Not covered: `stat`, `chmod` and other metadata, UDP and other families, files that are already open: add
seccomp. A process under a file ruleset can no longer mount anything, so it cannot run bubblewrap either.
Source: landlock(7); Linux 6.18, include/uapi/linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from agentkit_tools.errors import LandlockError

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE = 1 << 4, 1 << 5
_MAKE_CHAR, _MAKE_DIR, _MAKE_REG, _MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK, _MAKE_SYM = (
    1 << bit for bit in range(6, 13)
)
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_TCP_BIND, _TCP_CONNECT = 1 << 0, 1 << 1
_SCOPE_ABSTRACT_UNIX, _SCOPE_SIGNAL = 1 << 0, 1 << 1

_READ = _READ_FILE | _READ_DIR
_CHANGE = _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SOCK | _MAKE_FIFO | _MAKE_SYM
_DEVICES = _MAKE_CHAR | _MAKE_BLOCK  # taken away with writing and given back to no path
_FILE_RIGHTS = (
    _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
)  # what a rule on a plain file may hold


class _RulesetAttr(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneathAttr(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def abi() -> int:
    """Return the Landlock version of this kernel, 0 where there is none."""
    libc = ctypes.CDLL(None, use_errno=True)
    return max(0, int(libc.syscall(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)))


def restrict(
    *,
    read: Sequence[Path] | None = None,
    write: Sequence[Path] | None = None,
    execute: Sequence[Path] | None = None,
    tcp: bool = True,
    scope: bool = True,
) -> tuple[str, ...]:
    """Restrict this process, for ever, and every child.

    Sets NO_NEW_PRIVS. Binds only the calling thread, so it must run before any library starts another one.

    Args:
        read: Files and folders that stay readable; `None` leaves reading as it is. Missing paths are skipped.
        write: The same for writing and making; these get read rights too. No path may hold new device nodes.
        execute: The same for starting programs. A shared library is read, not executed.
        tcp: Deny binding and connecting TCP sockets.
        scope: Deny abstract UNIX sockets made outside, and signals to processes outside.

    Returns:
        What is enforced, as words; where the kernel is too old for a part, its word is missing.

    Raises:
        LandlockError: No Landlock, more than one thread, or the kernel refused: nothing is restricted.
    """
    version = abi()
    if version == 0:
        raise LandlockError(
            "this kernel has no Landlock", hint="use Linux 5.13 or later with landlock in its lsm list"
        )
    threads = sum(1 for _ in Path("/proc/self/task").iterdir())
    if threads > 1:
        raise LandlockError(
            f"landlock binds one thread and this process has {threads}", hint="lock before imports"
        )
    rights, words = _file_rights(version, read, write, execute)
    if tcp and version >= 4:
        words.append("tcp")
    if scope and version >= 6:
        words += ["abstract unix sockets", "signals"]
    attributes = _RulesetAttr(
        rights,
        _TCP_BIND | _TCP_CONNECT if tcp and version >= 4 else 0,
        _SCOPE_ABSTRACT_UNIX | _SCOPE_SIGNAL if scope and version >= 6 else 0,
    )
    if not words:
        return ()
    libc = ctypes.CDLL(None, use_errno=True)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(attributes), size, 0)
    if ruleset < 0:
        raise LandlockError(f"the kernel refused a landlock ruleset: {os.strerror(ctypes.get_errno())}")
    try:
        for path, allowed in _grants(rights, read, write, execute):
            _allow(libc, ruleset, path, allowed)
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.syscall(_RESTRICT_SELF, ruleset, 0):
            raise LandlockError(f"the kernel refused to restrict: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(ruleset)
    return tuple(words)


def _file_rights(
    version: int, read: Sequence[Path] | None, write: Sequence[Path] | None, execute: Sequence[Path] | None
) -> tuple[int, list[str]]:
    """Return the rights the ruleset takes away, and their names."""
    rights, words = 0, []
    if read is not None:
        rights |= _READ
        words.append("files: read")
    if write is not None:
        rights |= _WRITE_FILE | _CHANGE | _DEVICES
        words.append("files: write")
        if version >= 3:
            rights |= _TRUNCATE
            words.append("files: truncate")
        if version >= 5:
            rights |= _IOCTL_DEV
            words.append("device ioctl")
    if execute is not None:
        rights |= _EXECUTE
        words.append("files: execute")
    if rights and version >= 2:
        rights |= _REFER  # denied by any file ruleset that does not name it
    return rights, words


def _grants(
    rights: int, read: Sequence[Path] | None, write: Sequence[Path] | None, execute: Sequence[Path] | None
) -> list[tuple[Path, int]]:
    """Return which path gets which of `rights` back."""
    grants = [(path, _READ) for path in read or ()]
    grants += [
        (path, _READ | _WRITE_FILE | _CHANGE | _REFER | _TRUNCATE | _IOCTL_DEV) for path in write or ()
    ]
    grants += [(path, _EXECUTE) for path in execute or ()]
    if rights and write is None:
        grants.append((Path("/"), _REFER))  # writing is unrestricted, so moving between folders has to be too
    return [(path, wanted & rights) for path, wanted in grants]


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, allowed: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return  # what cannot be reached needs no right
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            allowed &= _FILE_RIGHTS
        if not allowed:
            return
        beneath = _PathBeneathAttr(allowed, fd)
        if libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(beneath), 0):
            raise LandlockError(f"the kernel refused a rule for {path}: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(fd)
