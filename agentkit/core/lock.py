"""The egress lock: after it, this process can open no connection, start no program and write only its own files.

The order is the promise: namespaces and mounts first, then dumpable, then Landlock, then seccomp over every thread,
then a self-test that must fail to open a socket, or the process ends. Heavy imports come after.

Covered: sockets of every family, io_uring, exec, fork, ptrace, mounts; writing outside the paths given.
Not covered: reading. Folders to index are chosen later, and nothing read can leave (`docs/adr/0003`).
Source: seccomp(2), landlock(7).
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentkit.errors import IsolationError


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was enforced on this process, and how it was checked."""

    platform: str
    namespaces: str
    """`own` or why not."""
    landlock: tuple[str, ...]
    seccomp: bool
    self_test: dict[str, str]
    """Each attempt and what the kernel answered."""
    not_enforced: tuple[str, ...] = field(default=())

    def to_wire(self) -> dict[str, Any]:
        """Return the plain form, for `doctor` and the client."""
        return {
            "platform": self.platform,
            "namespaces": self.namespaces,
            "landlock": list(self.landlock),
            "seccomp": self.seccomp,
            "self_test": dict(self.self_test),
            "not_enforced": list(self.not_enforced),
        }


def take(writable: Sequence[Path], *, namespaces: str | None, profile: bytes | None = None) -> Receipt:
    """Lock this process for good.

    Args:
        writable: The only folders it may still write.
        namespaces: Why it is not in namespaces of its own, or `None` if it is.
        profile: Another seccomp program than the core's.

    Raises:
        IsolationError: The kernel can lock, and did not; go no further.
    """
    import sys

    if sys.platform != "linux":
        return Receipt(sys.platform, "not on this system", (), False, {}, ("no egress lock on this system",))
    from agentkit_tools import landlock, seccomp
    from agentkit_tools.errors import ToolError

    if threading.active_count() != 1:
        raise IsolationError("the lock must be taken before the first thread starts")
    missing: list[str] = []
    enforced: tuple[str, ...] = ()
    if landlock.abi() >= 1:
        try:
            enforced = landlock.restrict(write=writable, tcp=True, scope=True)
        except (ToolError, OSError) as error:
            raise IsolationError("the kernel refused the Landlock rules") from error
    else:
        missing.append("Landlock is not in this kernel: writes are not confined")
    if not seccomp.supported():
        raise IsolationError(
            "this kernel cannot filter system calls, so nothing would stop data from leaving",
            hint="use a kernel with seccomp, or a container profile that allows it",
        )
    try:
        seccomp.install(profile if profile is not None else seccomp.core_profile())
    except (ToolError, OSError) as error:
        raise IsolationError("the kernel refused the seccomp filter") from error
    return Receipt(
        "linux",
        "own" if namespaces is None else f"shared with the system ({namespaces})",
        enforced,
        True,
        self_test(),
        tuple(missing),
    )


def self_test() -> dict[str, str]:
    """Try to get out in every way we know, and return what the kernel answered.

    Raises:
        IsolationError: One of them worked.
    """
    return {name: _answer(name, attempt) for name, attempt in ATTEMPTS.items()}


def _answer(name: str, attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.ENOSYS):
            return errno.errorcode[error.errno]
        raise IsolationError(
            f"the self-test of {name} failed in an unexpected way: {error.strerror}"
        ) from error
    raise IsolationError(f"the self-test could still use {name}: refusing to go on")


def _open(family: int, kind: int) -> Callable[[], object]:
    return lambda: socket.socket(family, kind).close()


ATTEMPTS: dict[str, Callable[[], object]] = {
    "TCP over IPv4": _open(socket.AF_INET, socket.SOCK_STREAM),
    "UDP over IPv4": _open(socket.AF_INET, socket.SOCK_DGRAM),
    "TCP over IPv6": _open(socket.AF_INET6, socket.SOCK_STREAM),
    "UNIX sockets": _open(socket.AF_UNIX, socket.SOCK_STREAM),
    "netlink": _open(getattr(socket, "AF_NETLINK", 16), socket.SOCK_RAW),
    "vsock": _open(getattr(socket, "AF_VSOCK", 40), socket.SOCK_STREAM),
    "starting a program": lambda: subprocess.run(["/bin/true"], check=False),
    "forking": lambda: os.waitpid(os.fork(), 0),
}
