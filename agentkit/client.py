"""The client of the core: what the command line and your own program speak through.

Nothing here locks, forks or changes the process it runs in, but for starting the core as a separate program when
none serves this home yet.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, Self

from agentkit.core.server import short_address
from agentkit.errors import AgentkitError, ConfigError, CoreError
from agentkit.paths import Home
from agentkit.wire import Channel, ConnectionLost

START_SECONDS = 20.0
HELLO_SECONDS = 10.0
RETRY_SECONDS = 0.05

Answerer = Callable[[dict[str, Any]], Mapping[str, Any]]
"""Answers a question of the core: an approval, or a call of one of the caller's own tools."""


class CoreClient:
    """One connection to the core of a home; one request at a time."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._in_request = False

    @classmethod
    def connect(cls, home: Home | None = None, *, start: bool = True) -> CoreClient:
        """Connect to the core of `home`, starting it if need be.

        Raises:
            CoreError: There is none and `start` is false, or it could not be started.
            IsolationError: The core could not lock itself, and refused to run.
        """
        home = home or Home.default()
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            connection = _connect(home)
            if connection is None and start:
                _start_core(home.ensure())
                connection = _connect(home)
            if connection is not None:
                client = cls(Channel(connection))
                if client._is_welcome():
                    return client
                client.close()
            elif not start:
                raise CoreError("no core serves this home", hint="agentkit status starts one")
            time.sleep(RETRY_SECONDS)  # a core that is ending still holds the home
        raise CoreError("the core was started and does not answer", hint=f"see {home.run / 'core.log'}")

    def _is_welcome(self) -> bool:
        """Say hello; a core that is ending does not answer."""
        try:
            self._channel.send({"op": "hello"})
            self._channel.receive(timeout=HELLO_SECONDS)
        except (ConnectionLost, TimeoutError):
            return False
        return True

    def request(self, op: str, **fields: Any) -> dict[str, Any]:
        """Send one request and return its result; events on the way are dropped.

        Raises:
            AgentkitError: What the core reports, as the class it was raised as.
        """
        stream = self.stream(op, **fields)
        while True:
            try:
                next(stream)
            except StopIteration as done:
                result: dict[str, Any] = done.value
                return result

    def stream(
        self, op: str, *, answer: Answerer | None = None, **fields: Any
    ) -> Generator[dict[str, Any], None, dict[str, Any]]:
        """Send one request, yield its events, and return its result.

        Closing the generator stops the request in the core.

        Args:
            op: What is asked.
            answer: Answers the core's questions; without it every question is answered with `{}`, which denies.
            fields: Its parameters.

        Raises:
            AgentkitError: What the core reports, as the class it was raised as.
            ConfigError: Another request of this connection is not over.
        """
        if self._in_request:
            raise ConfigError(
                "this connection is in the middle of a request",
                hint="let that turn end first, or use a second Agent",
            )
        self._in_request = True
        over = False
        try:
            self._channel.send({"op": op, **fields})
            while True:
                message = self._channel.receive()
                if "event" in message:
                    yield message["event"]
                elif "ask" in message:
                    reply = answer(message["ask"]) if answer is not None else {}
                    self._channel.send({"answer": dict(reply)})
                elif "error" in message:
                    over = True
                    raise error_from_wire(message["error"])
                else:
                    over = True
                    return dict(message["result"])
        except ConnectionLost as error:
            over = True
            raise CoreError(
                "the core ended in the middle of the request", hint="try again: a new one is started"
            ) from error
        finally:
            if not over:
                self._cancel()
            self._in_request = False

    def close(self) -> None:
        """Close the connection; the core goes on."""
        self._channel.close()

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def _cancel(self) -> None:
        """Stop the running request and read up to its end, so that the connection can be used again."""
        try:
            self._channel.send({"cancel": True})
            while not {"result", "error"} & self._channel.receive(timeout=10).keys():
                pass
        except (CoreError, TimeoutError):
            self._channel.close()


def error_from_wire(described: Mapping[str, Any]) -> Exception:
    """Return the error the core described, as the class it was raised as."""
    kind, message, hint = described["kind"], described["message"], described.get("hint")
    for module in ("agentkit.errors", "agentkit_memory.errors", "agentkit_tools.errors"):
        found = getattr(__import__(module, fromlist=["errors"]), kind, None)
        if isinstance(found, type) and issubclass(found, Exception):
            error = found.__new__(found)
            Exception.__init__(error, message)
            error.message, error.hint = message, hint  # type: ignore[attr-defined]
            return error
    return AgentkitError(message, hint=hint)


def _connect(home: Home) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_address(home.socket) as address:
            connection.connect(address)
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    return connection


def _start_core(home: Home) -> None:
    ready, theirs = os.pipe()
    log = os.open(home.run / "core.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        # the program started here forks the core and ends, so that the core is nobody's child
        subprocess.run(
            [sys.executable, "-I", "-m", "agentkit.core", str(home.root), str(home.models), str(theirs)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(theirs,),
            start_new_session=True,
            check=False,
        )
        os.close(theirs)
        theirs = -1
        said = _read_ready(ready)
    finally:
        for fd in (ready, theirs, log):
            if fd >= 0:
                os.close(fd)
    if said["ready"] or said["error"]["kind"] == "BusyError":
        return  # ours, or somebody else's that was quicker
    raise error_from_wire(said["error"])


def _read_ready(fd: int) -> dict[str, Any]:
    deadline = time.monotonic() + START_SECONDS
    data = b""
    while not data.endswith(b"\n"):
        readable, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        piece = os.read(fd, 4096) if readable else b""
        if not piece:
            break
        data += piece
    if not data:
        raise CoreError("the core did not start", hint="agentkit doctor says what is missing")
    said: dict[str, Any] = json.loads(data)
    return said
