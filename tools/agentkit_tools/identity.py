"""Stop being root before a strange program runs, and reach folders under root's private home all the same.

A program in a sandbox never has uid 0: where the caller is root it really runs as nobody (65534), with no
capability, so that a hole in one layer is a hole for nobody only. Standard library only; single-threaded callers.
Source: credentials(7), user_namespaces(7), mount_namespaces(7).
"""

# Paths are plain strings and descriptors here, for they go to system calls:
# ruff: noqa: PTH102, PTH123
from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Sequence

from agentkit_tools.errors import SandboxError

NOBODY = 65534
STAGE = "/tmp"  # noqa: S108 - covered by a file system of our own before anything is put there
_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000


def must_become_nobody() -> bool:
    """Return whether this process is root in a way that a program must not inherit.

    Raises:
        SandboxError: It is, and it cannot become anybody else.
    """
    if os.geteuid() != 0 and os.getuid() != 0:
        return False
    ranges = _uid_map()
    if any(inside <= NOBODY < inside + count for inside, _, count in ranges):
        return True
    if all(outside != 0 for _, outside, _ in ranges):
        return False  # an ordinary user who is called root in here; bubblewrap maps it to nobody
    raise SandboxError(
        "this process is root and its user namespace has no other user",
        hint="start agentkit as an ordinary user",
    )


def become_nobody() -> None:
    """Become uid and gid 65534, with no group and no capability, for good.

    Raises:
        SandboxError: The kernel refused.
    """
    try:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError as error:
        raise SandboxError(f"root could not become nobody: {error.strerror}") from error


def stage(paths: Sequence[str]) -> list[str]:
    """Bind `paths` where nobody can reach them, visible to this process and its children alone.

    Returns:
        Their new places, in the same order; the paths themselves where this process may not mount.

    Raises:
        SandboxError: A path does not exist.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) != 0:
        return list(paths)
    held = []
    for path in paths:
        try:
            held.append(os.open(path, os.O_PATH | os.O_CLOEXEC))
        except OSError as error:
            raise SandboxError(f"{path} cannot be given to a sandbox: {error.strerror}") from error
    _mount(libc, None, "/", None, _MS_REC | _MS_PRIVATE, None)
    _mount(libc, "tmpfs", STAGE, "tmpfs", 0, "size=1m,mode=0755")
    places = []
    for index, fd in enumerate(held):
        place = f"{STAGE}/{index}"
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            os.mkdir(place)
        else:
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
        _mount(libc, f"/proc/self/fd/{fd}", place, None, _MS_BIND | _MS_REC, None)
        os.close(fd)
        places.append(place)
    return places


def _mount(
    libc: ctypes.CDLL, source: str | None, target: str, kind: str | None, flags: int, options: str | None
) -> None:
    encoded = [None if each is None else os.fsencode(each) for each in (source, target, kind)]
    if libc.mount(*encoded, ctypes.c_ulong(flags), options and options.encode()) != 0:
        raise SandboxError(f"the kernel refused a mount on {target}: {os.strerror(ctypes.get_errno())}")


def _uid_map() -> list[tuple[int, int, int]]:
    with open("/proc/self/uid_map", encoding="ascii") as file:
        lines = [[int(word) for word in line.split()] for line in file]
    return [(inside, outside, count) for inside, outside, count in lines]
