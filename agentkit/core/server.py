"""The core's door: a UNIX socket for this user only, one thread per connection, one request at a time on each.

A request is one frame `{"op": …}`. The answer is any number of `{"event": …}` frames, questions `{"ask": …}` that
the client answers with `{"answer": …}`, and last `{"result": …}` or `{"error": …}`. `{"cancel": true}`, or closing
the connection, stops the request.

Covered: other users of the machine (folder and socket modes, and the kernel's word on who connects).
Not covered: other programs of the same user; while the vault is unlocked they may ask what its owner may ask.
"""

from __future__ import annotations

import fcntl
import os
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from agentkit.errors import AgentkitError, BusyError, Cancelled
from agentkit.wire import Channel, ConnectionLost, FrameError

MAX_CONNECTIONS = 32
_PEER = struct.Struct("3i")


class Session:
    """One request being answered: events out, questions and their answers, and the wish to stop."""

    def __init__(self, channel: Channel, patience_seconds: float | None = None) -> None:
        self._channel = channel
        self._patience_seconds = patience_seconds
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._stopping = threading.Lock()
        self._stops: list[Callable[[], None]] = []

    def emit(self, event: Mapping[str, Any]) -> None:
        """Send one event.

        Raises:
            Cancelled: The client wants no more.
        """
        self.check()
        self._channel.send({"event": dict(event)})

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Ask the client, and wait for its answer.

        Raises:
            Cancelled: The client went away, stopped the request, or did not answer for as long as the core stays idle.
        """
        self.check()
        self._channel.send({"ask": dict(question)})
        try:
            answer = self._answers.get(timeout=self._patience_seconds)
        except queue.Empty:
            raise Cancelled("nobody answered") from None
        if answer is None:
            self._answers.put(None)  # for whoever else waits
            raise Cancelled("stopped")
        return answer

    def check(self) -> None:
        """Raise `Cancelled` if the client wants no more."""
        if self._stopped.is_set():
            raise Cancelled("stopped")

    def wait(self, seconds: float) -> None:
        """Wait, or raise `Cancelled` as soon as the client wants no more."""
        if self._stopped.wait(seconds):
            raise Cancelled("stopped")

    @contextmanager
    def stopping(self, stop: Callable[[], None]) -> Iterator[None]:
        """Have `stop` called, from another thread, as soon as the client wants no more; for what waits elsewhere."""
        with self._stopping:
            self._stops.append(stop)
        try:
            if self._stopped.is_set():
                stop()
            yield
        finally:
            with self._stopping:
                self._stops.remove(stop)

    def deliver(self, message: Mapping[str, Any]) -> None:
        """Take what the client sent while its request runs: an answer, or the wish to stop."""
        if isinstance(message.get("answer"), dict):
            self._answers.put(message["answer"])
        else:
            self.stop()

    def stop(self) -> None:
        """Make the next `emit`, `ask`, `check` or `wait` raise `Cancelled`, and stop what waits elsewhere."""
        self._stopped.set()
        self._answers.put(None)
        with self._stopping:
            stops = list(self._stops)
        for stop in stops:
            stop()


def _now() -> float:
    """Return seconds that pass while the machine sleeps, too: a laptop that was shut is not found unlocked."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


Handler = Callable[[dict[str, Any], Session], Mapping[str, Any]]


class Server:
    """Listens on one socket and gives each request to `handler`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._listener: socket.socket | None = None
        self._lock_file: int | None = None
        self._connections = 0
        self._requests = 0
        self._counting = threading.Lock()
        self._last_used = _now()
        self._idle_seconds: float | None = None
        self._stopping = threading.Event()

    def bind(self) -> None:
        """Claim the folder and listen; the only moment this process opens a socket.

        Raises:
            BusyError: Another core serves this home.
        """
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_file = os.open(
            self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError("a core already serves this home") from error
        self._path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        previous = os.umask(0o177)
        try:
            with short_address(self._path) as address:
                self._listener.bind(address)
        finally:
            os.umask(previous)
        self._listener.listen(MAX_CONNECTIONS)

    def serve(
        self,
        handler: Handler,
        *,
        idle_seconds: float,
        busy: Callable[[], bool],
        rest: Callable[[], None] = lambda: None,
    ) -> None:
        """Answer requests until `stop`, or until nobody asked anything for `idle_seconds`; then shut the door at once.

        A request that runs counts as use, a connection that is silent does not: while there is one the door stays
        open, but `rest` is called, again and again, and no request begins before it returns.
        """
        if self._listener is None:
            raise ValueError("bind first")
        self._idle_seconds = idle_seconds
        self._listener.settimeout(0.5)
        try:
            while not self._stopping.is_set():
                try:
                    connection, _ = self._listener.accept()
                except TimeoutError:
                    if not busy() and self._is_over(idle_seconds, rest):
                        return
                    continue
                connection.settimeout(None)
                self._admit(connection, handler)
        finally:
            self._shut()

    def _admit(self, connection: socket.socket, handler: Handler) -> None:
        full = self._connections >= MAX_CONNECTIONS
        if full or self._stopping.is_set() or not _same_user(connection):
            connection.close()
            return
        with self._counting:
            self._connections += 1
        threading.Thread(target=self._talk, args=(connection, handler), daemon=True).start()

    def stop(self) -> None:
        """Stop accepting; open requests are told to stop by their closing connections."""
        self._stopping.set()

    def close(self) -> None:
        """Give the home back: another core may serve it."""
        self._shut()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def _shut(self) -> None:
        """Stop listening; the home is still ours until `close`."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            self._path.unlink(missing_ok=True)

    def _is_over(self, idle_seconds: float, rest: Callable[[], None]) -> bool:
        """Rest when nobody asked anything for so long; return whether nobody is there to ask, either."""
        with self._counting:
            if self._requests or _now() - self._last_used <= idle_seconds:
                return False
            if self._connections:
                rest()
            return not self._connections

    def _begin(self) -> None:
        with self._counting:
            self._requests += 1

    def _end(self) -> None:
        with self._counting:
            self._requests -= 1
            self._last_used = _now()

    def _talk(self, connection: socket.socket, handler: Handler) -> None:
        channel = Channel(connection)
        session: Session | None = None
        worker: threading.Thread | None = None
        try:
            while True:
                message = channel.receive()
                if "op" not in message:
                    if session is not None:
                        session.deliver(message)
                    continue
                if worker is not None:
                    worker.join()  # its answer was sent before the client could ask again
                session = Session(channel, self._idle_seconds)
                self._begin()
                worker = threading.Thread(
                    target=self._serve_one, args=(channel, message, session, handler), daemon=True
                )
                worker.start()
        except (ConnectionLost, FrameError, OSError):
            pass  # the client is gone or speaks something else
        finally:
            if session is not None:
                session.stop()
            channel.close()
            with self._counting:
                self._connections -= 1

    def _serve_one(
        self, channel: Channel, request: dict[str, Any], session: Session, handler: Handler
    ) -> None:
        try:
            _answer(channel, request, session, handler)
        finally:
            self._end()


def _answer(channel: Channel, request: dict[str, Any], session: Session, handler: Handler) -> None:
    try:
        reply: dict[str, Any] = {"result": dict(handler(request, session))}
    except Exception as error:  # noqa: BLE001 - whatever went wrong, the client gets an answer and the core lives on
        reply = {"error": describe_error(error)}
    try:
        channel.send(reply)
    except (ConnectionLost, FrameError, OSError):
        return  # nobody is left to hear it


def describe_error(error: BaseException) -> dict[str, Any]:
    """Return what may be told of `error`: our own words, or only the type of a foreign one."""
    own = isinstance(error, AgentkitError) or hasattr(error, "hint")
    if own:
        return {
            "kind": type(error).__name__,
            "message": str(error),
            "hint": getattr(error, "hint", None),
            "exit_code": getattr(error, "exit_code", 1),
        }
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "?"
    return {
        "kind": "CoreError",
        "message": f"unexpected {type(error).__name__} at {where}",
        "hint": "this is a defect: please report it",
        "exit_code": 1,
    }


def _same_user(connection: socket.socket) -> bool:
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the socket's folder is 0700; nothing more can be asked on this system
    _, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return uid in (os.getuid(), 0)


class short_address(AbstractContextManager[str]):  # noqa: N801 - reads as a verb at its place of use
    """An address of `path` under the 108-byte limit of UNIX sockets, however long the path is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder: int | None = None

    def __enter__(self) -> str:
        if len(os.fsencode(self._path)) < 100:
            return str(self._path)
        self._folder = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._folder}/{self._path.name}"

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            os.close(self._folder)
