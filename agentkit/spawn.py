"""Start worker processes and talk to them: the same two protocols in tests and behind the launcher.

A worker is a Python module of ours, run as `python -I -m MODULE ARGUMENTS`, with one end of a socket pair as
descriptor 3 and an environment that carries nothing over but what `clean_environment` names.
Covered: a worker never inherits our environment, files or standard input.
Not covered: what the worker may do; it locks itself (`agentkit_tools.seccomp`, `agentkit_tools.landlock`).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from agentkit.wire import Channel

CHANNEL_FD = 3

ENGINE_ENVIRONMENT: Mapping[str, str] = {
    "GGML_NO_BACKTRACE": "1",  # its crash handler would start gdb
    "GOMP_SPINCOUNT": "1000",  # spinning OpenMP barriers stall beside one busy process
}


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the whole environment of a worker: nothing of ours, and every phone-home switch off."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/nonexistent",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "ANONYMIZED_TELEMETRY": "False",
        "OTEL_SDK_DISABLED": "true",
        "ORT_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OPENBLAS_NUM_THREADS": "1",  # its waiting threads spin, and a busy core slows the engine tenfold
        **(extra or {}),
    }


class Child(Protocol):
    """A running worker."""

    @property
    def pid(self) -> int:
        """Process id, as the spawner sees it."""
        ...

    @property
    def channel(self) -> Channel:
        """Frames to and from the worker."""
        ...

    def kill(self) -> None:
        """End it at once, with everything it started; safe to call twice."""
        ...

    def exit_status(self) -> int | None:
        """Return the exit status (negative: the signal), or `None` while it runs."""
        ...


class Spawner(Protocol):
    """Starts workers."""

    def spawn(
        self,
        module: str,
        arguments: Sequence[str] = (),
        *,
        idle: bool = False,
        extra: Mapping[str, str] | None = None,
    ) -> Child:
        """Start `python -I -m module arguments`.

        Args:
            module: A module of ours.
            arguments: Its argv; never a secret or a document.
            idle: Run under `SCHED_IDLE`; that counts among the tasks of one session.
            extra: More environment variables.
        """
        ...


class LocalChild:
    """A worker that is our own child process."""

    def __init__(self, process: subprocess.Popen[bytes], channel: Channel) -> None:
        self._process = process
        self._channel = channel

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def channel(self) -> Channel:
        """Frames to and from the worker."""
        return self._channel

    def kill(self) -> None:
        """End it and its process group at once."""
        self._channel.close()
        if self._process.poll() is None:
            with suppress(ProcessLookupError):  # it may end between the two lines
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def exit_status(self) -> int | None:
        """Return the exit status, or `None` while it runs."""
        return self._process.poll()


class LocalSpawner:
    """Starts workers as children of this process: for tests, and for use without the core service."""

    def spawn(
        self,
        module: str,
        arguments: Sequence[str] = (),
        *,
        idle: bool = False,
        extra: Mapping[str, str] | None = None,
    ) -> LocalChild:
        """Start `python -I -m module arguments`; see `Spawner.spawn`."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                worker_argv(module, arguments, theirs.fileno(), idle=idle),
                env=clean_environment(extra),
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        return LocalChild(process, Channel(ours))


def worker_argv(module: str, arguments: Sequence[str], channel_fd: int, *, idle: bool) -> list[str]:
    """Return the command line that starts `module` with its channel on `channel_fd`."""
    start = f"import os; os.dup2({channel_fd}, {CHANNEL_FD})"
    if idle:
        start += "; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))"
    start += (
        f"; import runpy, sys; sys.argv[0] = {module!r}; runpy.run_module({module!r}, run_name='__main__')"
    )
    return [sys.executable, "-I", "-c", start, *arguments]


def worker_channel() -> Channel:
    """Return the channel of this process, when it is a worker."""
    return Channel(socket.socket(fileno=CHANNEL_FD))
