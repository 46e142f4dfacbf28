"""Start a supervisor for one run, wait for it, and read its answer: the caller's half of `supervisor`.

A caller with one thread (the launcher) forks it, which takes 2 ms; one with more starts it as a fresh program, which
takes 50, because a fork of a process with threads may hang on a lock that nobody will open.
"""

# Paths are plain strings and descriptors here, for they go to system calls:
# ruff: noqa: PTH100, PTH120
from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time

from agentkit_tools.errors import SandboxError
from agentkit_tools.sandbox import SandboxRequest, SandboxResult
from agentkit_tools.supervisor import LOCK_SECONDS, serve

_GRACE_SECONDS = 10.0  # what a supervisor may need beside the program's own time


def supervise(tier: str, request: SandboxRequest, options: dict[str, str] | None = None) -> SandboxResult:
    """Run `request` under a supervisor and wait for it.

    Args:
        tier: `bubblewrap` or `landlock`.
        request: What to run.
        options: Details of the tier.

    Raises:
        SandboxError: The program was not started, or the supervisor was killed.
    """
    head = {"tier": tier, "options": options or {}, "parent": os.getpid(), **request.to_wire(), "stdin": None}
    message = json.dumps(head).encode() + b"\n" + request.stdin
    seconds = request.limits.seconds + LOCK_SECONDS + _GRACE_SECONDS
    output = _by_fork(message, seconds) if _one_thread() else _by_program(message, seconds)
    line, _, body = output.partition(b"\n")
    try:
        answer = json.loads(line)
    except ValueError as error:
        raise SandboxError("the sandbox was killed before it could answer") from error
    if "refused" in answer:
        raise SandboxError(answer["refused"], hint=answer["hint"])
    first = answer.pop("stdout_bytes")
    return SandboxResult.from_wire({**answer, "stdout": body[:first], "stderr": body[first:], "tier": tier})


def _one_thread() -> bool:
    return len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208 - names, counted


def _by_fork(message: bytes, seconds: float) -> bytes:
    answer, answer_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            os.dup2(answer_write, 3, inheritable=False)
            os.closerange(4, 1 << 16)  # what our caller has open is none of a program's business
            serve(message, 3)
        finally:
            os._exit(1)
    os.close(answer_write)
    deadline = time.monotonic() + seconds
    output = b""
    try:
        while select.select([answer], [], [], max(0.0, deadline - time.monotonic()))[0]:
            data = os.read(answer, 1 << 20)
            if not data:
                return output
            output += data
        raise SandboxError("the sandbox did not end in time and was killed")
    finally:
        os.kill(pid, signal.SIGTERM)  # not reaped yet, so the id is its own; a no-op when it has ended
        os.waitpid(pid, 0)
        os.close(answer)


def _by_program(message: bytes, seconds: float) -> bytes:
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    start = f"import sys; sys.path.insert(0, {root!r}); from agentkit_tools.supervisor import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", "-c", start],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={},
        start_new_session=True,
    )
    with process:
        try:
            return process.communicate(message, timeout=seconds)[0]
        except subprocess.TimeoutExpired as error:
            raise SandboxError("the sandbox did not end in time and was killed") from error
        finally:
            process.terminate()  # interrupted or late: what runs must not outlive the one who waits for it
