"""The launcher: starts workers and sandboxes for a core that has locked itself, and talks to the OS keyring.

It is forked before the core locks itself, holds no key and reads no document, and has one thread, so that what it
starts dies with it and it dies with the core. Every request carries the open file its answer goes to, so nothing
a child does can confuse the answers of another.

Covered: the core needs neither `exec`, `fork` nor `mount`; a core taken over can start only modules of ours,
sandboxes, and keyring look-ups.
Not covered: a core taken over may choose the arguments of those.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agentkit.core import namespaces
from agentkit.errors import AgentkitError, CoreError
from agentkit.spawn import CHANNEL_FD, clean_environment, worker_argv
from agentkit.wire import Channel, ConnectionLost
from agentkit_tools.sandbox import Sandbox, SandboxReport, SandboxRequest, SandboxResult, choose, probe

WORKER_MODULES = frozenset(
    {
        "agentkit.models.engine_worker",
        "agentkit.models.embed_worker",
        "agentkit.indexing.reader_worker",
    }
)


# --- in the launcher -----------------------------------------------------------------------------------------


def start() -> LauncherClient:
    """Fork the launcher of this process and return the handle on it; call while there is one thread."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            namespaces.die_with_parent()
            namespaces.no_core_dumps()  # all it starts inherits that: prompts and texts would lie on the disk
            channel = theirs.detach()
            _keep_only(channel)  # not the listener, nor the lock on the home: those are the core's
            _serve(Channel(socket.socket(fileno=channel)))
            status = 0
        finally:
            os._exit(status)
    theirs.close()
    return LauncherClient(Channel(ours))


def _serve(channel: Channel) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the client's terminal is not ours
    isolation = namespaces.enter()
    launcher = _Launcher(channel, isolation)
    try:
        while True:
            readable, _, _ = select.select([channel], [], [], 0.5)
            launcher.reap()
            if readable:
                launcher.handle(channel.receive(timeout=5))
    except (ConnectionLost, TimeoutError):
        launcher.kill_all()


class _Launcher:
    def __init__(self, channel: Channel, isolation: str | None) -> None:
        self._channel = channel
        self._isolation = isolation
        self._running: set[int] = set()
        self._ended: dict[int, int] = {}
        self._sandbox: Sandbox | None = None
        self._report: SandboxReport | None = None

    def handle(self, request: dict[str, Any]) -> None:
        fds = self._channel.take_fds()
        try:
            answer = self._answer(request, fds)
        except (AgentkitError, OSError, KeyError, TypeError, ValueError) as error:
            answer = {"error": str(error)}
        finally:
            for fd in fds:
                os.close(fd)
        self._channel.send(answer)

    def _answer(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        match request["op"]:
            case "spawn":
                return {"pid": self._spawn(request, fds[0])}
            case "sandbox":
                wanted = SandboxRequest.from_wire(request["request"])
                sandbox = self._chosen()
                return {"pid": self._job(fds[0], lambda: {"result": sandbox.run(wanted).to_wire()})}
            case "keyring":
                return {"pid": self._job(fds[0], lambda: _keyring(request))}
            case "kill":
                self._kill(int(request["pid"]))
                return {}
            case "status":
                return {"status": self._ended.get(int(request["pid"]))}
            case "report":
                report = self._probed()
                return {
                    "isolation": self._isolation,
                    "sandbox": {"tier": report.tier, "reason": report.reason},
                }
        raise CoreError("the launcher does not know this request")

    def _chosen(self) -> Sandbox:
        if self._sandbox is None:
            self._sandbox = choose(self._probed())
        return self._sandbox

    def _probed(self) -> SandboxReport:
        if self._report is None:
            self._report = probe()
        return self._report

    def _spawn(self, request: dict[str, Any], fd: int) -> int:
        module = request["module"]
        if module not in WORKER_MODULES:
            raise CoreError("the launcher starts only agentkit's own workers")
        argv = worker_argv(module, request["arguments"], CHANNEL_FD, idle=bool(request["idle"]))
        environment = clean_environment(request["extra"])
        pid = os.fork()
        if pid == 0:
            try:
                _become_child(fd)
                os.execve(argv[0], argv, environment)  # noqa: S606 - a fixed argv, no shell wanted
            finally:
                os._exit(127)
        self._running.add(pid)
        return pid

    def _job(self, fd: int, work: Callable[[], Mapping[str, Any]]) -> int:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                _become_child(fd)
                answer: Mapping[str, Any]
                try:
                    answer = work()
                except Exception as error:  # noqa: BLE001 - a job's failure of any kind is its answer
                    answer = {
                        "error": str(error),
                        "kind": type(error).__name__,
                        "hint": getattr(error, "hint", None),
                    }
                Channel(socket.socket(fileno=CHANNEL_FD)).send(answer)
                status = 0
            finally:
                os._exit(status)
        self._running.add(pid)
        return pid

    def _kill(self, pid: int) -> None:
        if pid not in self._running:
            return
        for kill in (os.killpg, os.kill):
            try:
                kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it ended, or has not made its process group yet
        self.reap()

    def kill_all(self) -> None:
        for pid in list(self._running):
            self._kill(pid)

    def reap(self) -> None:
        while self._running:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._running.discard(pid)
            self._ended[pid] = os.waitstatus_to_exitcode(status)
            while len(self._ended) > 256:
                del self._ended[next(iter(self._ended))]


def _keep_only(fd: int) -> None:
    os.closerange(3, fd)
    os.closerange(fd + 1, 1 << 16)


def _become_child(fd: int) -> None:
    """In a fresh fork: die with the launcher, keep nothing open but the channel."""
    namespaces.die_with_parent()
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    channel = os.dup(fd) if fd == CHANNEL_FD else fd
    os.dup2(channel, CHANNEL_FD, inheritable=True)
    _keep_only(CHANNEL_FD)


def _keyring(request: dict[str, Any]) -> dict[str, Any]:
    from agentkit.core import keyring_slot

    match request["verb"]:
        case "get":
            return {"secret": keyring_slot.get(request["vault_id"])}
        case "set":
            keyring_slot.put(request["vault_id"], request["secret"])
            return {}
        case "delete":
            return {"gone": keyring_slot.delete(request["vault_id"])}
        case "anchor":
            return {
                "backend": keyring_slot.backend(),
                "generation": keyring_slot.anchor(request["vault_id"], request["generation"]),
            }
        case "backend":
            return {"backend": keyring_slot.backend()}
    raise CoreError("the launcher does not know this request")


# --- in the core ---------------------------------------------------------------------------------------------


class LauncherClient:
    """The core's handle on its launcher: a `Spawner`, a `Sandbox` and the way to the keyring."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._asking = threading.Lock()
        self.on_lost: Callable[[], None] = lambda: None
        """Called when the launcher turns out to be gone: it cannot be replaced, so the core must end."""

    def _ask(self, request: Mapping[str, Any], *, fds: Sequence[int] = ()) -> dict[str, Any]:
        try:
            with self._asking:
                self._channel.send(request, fds=fds)
                answer = self._channel.receive(timeout=30)
        except (ConnectionLost, TimeoutError) as error:
            self.on_lost()
            raise CoreError("the launcher is gone", hint="try again: a new core is started") from error
        if "error" in answer:
            raise CoreError(answer["error"])
        return answer

    def spawn(
        self,
        module: str,
        arguments: Sequence[str] = (),
        *,
        idle: bool = False,
        extra: Mapping[str, str] | None = None,
    ) -> LaunchedChild:
        """Start a worker; see `agentkit.spawn.Spawner`."""
        ours, theirs = socket.socketpair()
        with theirs:
            request = {
                "op": "spawn",
                "module": module,
                "arguments": list(arguments),
                "idle": idle,
                "extra": dict(extra or {}),
            }
            answer = self._ask(request, fds=[theirs.fileno()])
        return LaunchedChild(self, int(answer["pid"]), Channel(ours))

    def report(self) -> dict[str, Any]:
        """Return how the launcher is isolated and which sandbox it would use."""
        return self._ask({"op": "report"})

    def kill(self, pid: int) -> None:
        """End a child of the launcher and its process group."""
        self._ask({"op": "kill", "pid": pid})

    def exit_status(self, pid: int) -> int | None:
        """Return how a child ended, or `None` while it runs."""
        status = self._ask({"op": "status", "pid": pid})["status"]
        return None if status is None else int(status)

    def job(self, request: Mapping[str, Any], *, timeout: float) -> dict[str, Any]:
        """Run one short job in a child of the launcher and return its answer."""
        ours, theirs = socket.socketpair()
        channel = Channel(ours)
        try:
            with theirs:
                pid = int(self._ask(request, fds=[theirs.fileno()])["pid"])
            return channel.receive(timeout=timeout)
        except TimeoutError as error:
            self.kill(pid)
            raise CoreError(f"a helper process gave no answer in {timeout:.0f} s") from error
        finally:
            channel.close()


class LaunchedChild:
    """A worker that is a child of the launcher."""

    def __init__(self, launcher: LauncherClient, pid: int, channel: Channel) -> None:
        self._launcher = launcher
        self._pid = pid
        self._channel = channel

    @property
    def pid(self) -> int:
        """Process id."""
        return self._pid

    @property
    def channel(self) -> Channel:
        """Frames to and from the worker."""
        return self._channel

    def kill(self) -> None:
        """End it and its process group at once."""
        self._channel.close()
        self._launcher.kill(self._pid)

    def exit_status(self) -> int | None:
        """Return the exit status, or `None` while it runs."""
        return self._launcher.exit_status(self._pid)


class LaunchedSandbox:
    """The tool sandbox, run by the launcher."""

    def __init__(self, launcher: LauncherClient, tier: str) -> None:
        self._launcher = launcher
        self.tier = tier

    def run(self, request: SandboxRequest) -> SandboxResult:
        """Run one command; see `agentkit_tools.sandbox.Sandbox`.

        Raises:
            SandboxError: The sandbox refused, or gave no answer.
        """
        from agentkit_tools.errors import SandboxError

        wire = {"op": "sandbox", "request": request.to_wire()}
        try:
            answer = self._launcher.job(wire, timeout=request.limits.seconds + 10)
        except CoreError as error:
            raise SandboxError(error.message, hint=error.hint) from error
        if "error" in answer:
            raise SandboxError(answer["error"], hint=answer.get("hint"))
        return SandboxResult.from_wire(answer["result"])
