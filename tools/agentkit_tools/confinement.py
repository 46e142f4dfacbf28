"""What both tiers do to a process before it becomes a strange program: limits, priority, environment."""

# Paths are plain strings and descriptors here, for they go to system calls:
# ruff: noqa: PTH123
from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from agentkit_tools.sandbox import Limits

_PR_SET_PDEATHSIG = 1

PATH = "/usr/local/bin:/usr/bin:/bin"
SYSTEM_FOLDERS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
"""Where programs and libraries are; read-only in every tier, and skipped where absent."""
SYSTEM_FILES = (
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
)
"""Of /etc, what programs need to start; no names, no secrets."""


def as_a_shell_counts(status: int, _stderr: bytes) -> int:
    """Return an exit status as shells do: 128 and the signal's number for a killed process."""
    return status if status >= 0 else 128 - status


@dataclass(frozen=True, slots=True)
class Prepared:
    """A tier's way to run one program."""

    start: Callable[[], NoReturn]
    """Confine this fresh child and become the program; raises SandboxError or OSError instead of starting it."""
    begin: Callable[[], None] = lambda: None
    """Called in the supervisor once the child was started."""
    exit_code: Callable[[int, bytes], int] = as_a_shell_counts
    """Turn how the child ended into the program's exit code; SandboxError when the program never began."""
    clean_up: Callable[[], None] = lambda: None
    """Remove what was made for this run."""


def environment(scratch: str) -> dict[str, str]:
    """Return the whole environment of a sandboxed program; nothing of ours is in it."""
    return {
        "PATH": PATH,
        "HOME": scratch,
        "TMPDIR": scratch,
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "NO_COLOR": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def limit_this_process(limits: Limits) -> None:
    """Set every limit but the number of processes, and step behind everything else on this machine.

    Raises:
        OSError: The kernel refused; the program must not start.
    """
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_NOFILE, 256),
    ):
        _, hard = resource.getrlimit(kind)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # one busy process stalls llama.cpp's barriers
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")  # when memory runs out, this goes first


def die_with_parent() -> None:
    """Be killed when the process that started this one ends; again after each change of user, which undoes it."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(127)
