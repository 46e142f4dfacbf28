"""The process between us and a sandboxed program: it starts it, feeds it, counts, and kills.

    caller ── request ──► supervisor ── fork, limits, confinement, exec ──► program
    caller ◄── result ─── supervisor ◄── stdout, stderr, capped ────────────┘

A process of its own, with one thread, because what a sandbox needs (fork, becoming nobody, mounts, being told when
the parent dies, reaping orphans) is unsafe or impossible in a process with threads. It ends with its caller, and
nothing it started survives it, however it detached itself. `supervise` starts it.
"""

# Paths are plain strings and descriptors here, for they go to system calls:
# ruff: noqa: PTH123, PTH208
from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import signal
import sys
import time
from typing import Any, NoReturn

from agentkit_tools import identity, workspace
from agentkit_tools.confinement import Prepared, die_with_parent
from agentkit_tools.errors import SandboxError
from agentkit_tools.sandbox import SandboxRequest, SandboxResult

_FLOOD = 64  # times the output limit that is read and thrown away before the program is killed
LOCK_SECONDS = 5.0
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


class _CallerGoneError(BaseException):
    """The caller died, or wants no answer any more."""


def main() -> NoReturn:
    """Serve the request on standard input; what `supervise` starts as a fresh program."""
    serve(sys.stdin.buffer.read(), 1)


def serve(request_bytes: bytes, answer_fd: int) -> NoReturn:
    """Read a request, run it, write the result, and end this process.

    Args:
        request_bytes: One line of JSON, then the program's standard input.
        answer_fd: Where one line of JSON, then stdout, then stderr of the program go.
    """
    line, _, stdin = request_bytes.partition(b"\n")
    head = json.loads(line)
    parent, tier, options = head.pop("parent"), head.pop("tier"), head.pop("options")
    request = SandboxRequest.from_wire({**head, "stdin": stdin})
    body = b""
    try:
        _watch_parent(parent)
        result = _run(tier, options, request)
        answer: dict[str, Any] = result.to_wire()
        body = answer.pop("stdout") + answer.pop("stderr")
        answer["stdout_bytes"] = len(result.stdout)
    except _CallerGoneError:
        os._exit(1)
    except SandboxError as error:
        answer = {"refused": error.message, "hint": error.hint}
    except OSError as error:
        answer = {"refused": f"the sandbox could not be set up: {error.strerror}", "hint": None}
    finally:
        end_descendants()
    with os.fdopen(answer_fd, "wb") as file:
        file.write(json.dumps(answer).encode() + b"\n" + body)
    os._exit(0)


def _watch_parent(parent: int) -> None:
    """Be told when the caller dies, and adopt whatever our children leave behind."""

    def end(*_: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise _CallerGoneError  # past every `finally`: the program is killed and the workspace cleaned up

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        end()  # it died before we asked to be told


def _run(tier: str, options: dict[str, str], request: SandboxRequest) -> SandboxResult:
    """Prepare the workspace, run the program, clean up after it."""
    workspace.check(request.workspace)
    lock = os.open(request.workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    _take(lock)
    nobody = identity.must_become_nobody()
    if nobody:
        workspace.give_to(request.workspace, identity.NOBODY, identity.NOBODY)
    protected = workspace.protected_paths(request.workspace)
    if tier == "bubblewrap":
        from agentkit_tools.bubblewrap import prepare
    else:
        from agentkit_tools.landlock_sandbox import prepare
    prepared = prepare(request, options=options, protected=tuple(protected), nobody=nobody)
    try:
        result = _Run(request, tier, prepared).wait()
    finally:
        end_descendants()
        prepared.clean_up()
        removed = workspace.remove_new(request.workspace, set(protected.values()))
    note = "".join(f"agentkit: removed {name}: a tool may not create it\n" for name in removed)
    wire = result.to_wire()
    return SandboxResult.from_wire({**wire, "stderr": result.stderr + note.encode(errors="replace")})


def _take(lock: int) -> None:
    """Wait for the workspace: two programs in it at once could play each other's files against us."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise SandboxError("another program is still running in the workspace") from None
            time.sleep(0.02)
        else:
            return


class _Run:
    """One program, from fork to reaping."""

    def __init__(
        self,
        request: SandboxRequest,
        tier: str,
        prepared: Prepared,
    ) -> None:
        self._request = request
        self._tier = tier
        self._prepared = prepared
        self._limit = request.limits.output_bytes
        self._kept = {"stdout": bytearray(), "stderr": bytearray()}
        self._thrown = 0
        self._stdin = memoryview(request.stdin)
        self._poll = select.poll()
        self._names: dict[int, str] = {}
        self._start()

    def _start(self) -> None:
        stdin_read, stdin_write = os.pipe()
        stdout_read, stdout_write = os.pipe()
        stderr_read, stderr_write = os.pipe()
        trouble_read, trouble_write = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                for target, fd in enumerate((stdin_read, stdout_write, stderr_write)):
                    os.dup2(fd, target)
                for number in (signal.SIGTERM, signal.SIGPIPE, signal.SIGINT):
                    signal.signal(number, signal.SIG_DFL)
                die_with_parent()
                self._prepared.start()
            except (SandboxError, OSError) as error:
                hint = getattr(error, "hint", None)
                os.write(trouble_write, json.dumps([str(error), hint]).encode())
            finally:
                os._exit(127)
        for fd in (stdin_read, stdout_write, stderr_write, trouble_write):
            os.close(fd)
        trouble = b""
        while data := os.read(trouble_read, 65536):  # ends when the program was started, or could not be
            trouble += data
        os.close(trouble_read)
        if trouble:
            os.waitpid(self._pid, 0)
            message, hint = json.loads(trouble)
            raise SandboxError(message, hint=hint)
        self._prepared.begin()
        self._began = time.monotonic()
        for fd, name, mask in (
            (stdout_read, "stdout", select.POLLIN),
            (stderr_read, "stderr", select.POLLIN),
            (stdin_write, "stdin", select.POLLOUT),
            (os.pidfd_open(self._pid), "end", select.POLLIN),
        ):
            os.set_blocking(fd, False)
            self._names[fd] = name
            self._poll.register(fd, mask)

    def wait(self) -> SandboxResult:
        """Feed and read the program until it ends or a limit does, then leave nothing of it running."""
        deadline = self._began + self._request.limits.seconds
        ended = timed_out = False
        while not ended:
            left = deadline - time.monotonic()
            if left <= 0:
                timed_out = True
                break
            for fd, _ in self._poll.poll(left * 1000 + 1):
                name = self._names[fd]
                if name == "end":
                    ended = True
                elif name == "stdin":
                    self._feed(fd)
                else:
                    self._read(fd)
            if self._thrown > _FLOOD * max(self._limit, 65536):
                break
        seconds = time.monotonic() - self._began
        status = self._reap()
        for fd, name in list(self._names.items()):
            while name in self._kept and fd in self._names and self._read(fd):
                pass
        return SandboxResult(
            None if timed_out else self._prepared.exit_code(status, bytes(self._kept["stderr"])),
            bytes(self._kept["stdout"]),
            bytes(self._kept["stderr"]),
            self._thrown > 0,
            timed_out,
            round(seconds, 4),
            self._tier,
        )

    def _reap(self) -> int:
        os.kill(self._pid, signal.SIGKILL)  # not reaped yet, so the id is still its own
        _, status = os.waitpid(self._pid, 0)
        end_descendants()
        return os.waitstatus_to_exitcode(status)

    def _feed(self, fd: int) -> None:
        try:
            written = os.write(fd, self._stdin[:65536])
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._stdin = self._stdin[:0]  # the program closed its input
        else:
            self._stdin = self._stdin[written:]
        if not self._stdin:
            self._forget(fd)

    def _read(self, fd: int) -> bool:
        """Read what there is; return whether there may be more at once."""
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return False
        if not data:
            self._forget(fd)
            return False
        kept = self._kept[self._names[fd]]
        room = self._limit - len(kept)
        kept += data[:room]
        self._thrown += max(0, len(data) - room)
        return True

    def _forget(self, fd: int) -> None:
        self._poll.unregister(fd)
        del self._names[fd]
        os.close(fd)


def end_descendants() -> None:
    """Kill and reap everything this process started, and what they did, until nothing is left."""
    while True:
        for pid in _descendants():
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue  # gone, or the inner half of bubblewrap, which dies with the outer one
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
            time.sleep(0.001)
        except ChildProcessError:
            return


def _descendants() -> list[int]:
    """Return the ids of everything beneath this process."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        children.setdefault(parent, []).append(int(name))
    found, waiting = [], [os.getpid()]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found
