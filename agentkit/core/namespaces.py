"""Put this process into user, mount and network namespaces of its own.

Covered: an empty network namespace (not even a loopback), mounts nobody else sees, no way to gain privileges.
Not covered: where the system forbids user namespaces this does nothing but say so; seccomp and Landlock
(`agentkit.core.lock`) hold the same promises without it.

The order matters and was tried: the identity map must be written before `PR_SET_DUMPABLE=0`; root needs the whole
identity map, written by a process that stays outside; a thread started earlier makes `unshare` fail.
Source: user_namespaces(7), mount_namespaces(7).
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_CLONE_NEWNS = 0x0002_0000
_CLONE_NEWUSER = 0x1000_0000
_CLONE_NEWNET = 0x4000_0000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE = 2, 4, 8, 0x4000, 0x4_0000
_PR_SET_PDEATHSIG, _PR_GET_DUMPABLE, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP = 1, 3, 4, 24
_CAPABILITY_VERSION_3 = 0x2008_0522
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
_SIGKILL = 9


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def enter() -> str | None:
    """Move this single-threaded process into new user, mount and network namespaces.

    Returns:
        `None` when done, else why the system refused; the process is then unchanged.
    """
    libc = _libc()
    uid, gid = os.getuid(), os.getgid()
    writer = _MapWriter(uid, gid)
    try:
        _check(libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS | _CLONE_NEWNET), "unshare")
        writer.write()
        _check(libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "mount")
    except OSError as error:
        return error.strerror or str(error)
    finally:
        writer.close()
    return None


class _MapWriter:
    """Writes our identity map: ourselves as an ordinary user, through a child that stays outside as root."""

    def __init__(self, uid: int, gid: int) -> None:
        self._uid, self._gid = uid, gid
        self._child = 0
        if uid == 0:
            self._go_read, self._go_write = os.pipe()
            self._target = os.getpid()
            self._child = os.fork()
            if self._child == 0:
                self._write_from_outside()

    def _write_from_outside(self) -> None:
        status = 1
        try:
            os.close(self._go_write)
            if os.read(self._go_read, 1) == b"1":
                for name in ("uid_map", "gid_map"):
                    Path(f"/proc/{self._target}/{name}").write_text("0 0 4294967295\n")
            status = 0
        finally:
            os._exit(status)

    def write(self) -> None:
        if self._uid == 0:
            os.write(self._go_write, b"1")
            _, status = os.waitpid(self._child, 0)
            self._child = 0
            if status:
                raise OSError(1, "the identity map was refused")
            return
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{self._uid} {self._uid} 1\n")
        Path("/proc/self/gid_map").write_text(f"{self._gid} {self._gid} 1\n")

    def close(self) -> None:
        if self._uid != 0:
            return
        os.close(self._go_write)
        os.close(self._go_read)
        if self._child:
            os.waitpid(self._child, 0)


def private_tmpfs(mount_point: Path, *, megabytes: int) -> str | None:
    """Mount a memory-backed folder that only this process and its children see.

    Returns:
        `None` when mounted, else why not.
    """
    try:
        mount_point.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
        options = f"size={megabytes}m,mode=0700".encode()
        _check(_libc().mount(b"tmpfs", os.fsencode(mount_point), b"tmpfs", flags, options), "mount")
    except OSError as error:
        return error.strerror or str(error)
    return None


def drop_capabilities() -> None:
    """Give up every capability; root keeps reading and writing files whoever owns them."""
    libc = _libc()
    kept = 0
    if os.getuid() == 0:
        kept = 1 << _CAP_DAC_OVERRIDE | 1 << _CAP_DAC_READ_SEARCH
    for number in range(64):
        if not kept >> number & 1 and libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
            break  # past the last capability this kernel knows, or none left to drop
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)
    _check(libc.capset(header, data), "capset")


def no_core_dumps(*, for_good: bool = True) -> None:
    """Let a crash of this process, or of one it starts, write no core file.

    Not covered: a system that pipes core dumps into a program asks nobody's limit; see `hide_from_debuggers`.

    Args:
        for_good: Whether nobody may lift that again.
    """
    import resource

    hard = 0 if for_good else resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def hide_from_debuggers() -> None:
    """Refuse core dumps, and other processes of the same user that want to read our memory."""
    no_core_dumps()
    _check(_libc().prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl")


def hidden_from_debuggers() -> bool:
    """Whether this process refuses core dumps and debuggers now."""
    return bool(_libc().prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) == 0)


def die_with_parent() -> None:
    """Be killed when the thread that started this process ends."""
    _check(_libc().prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0), "prctl")
