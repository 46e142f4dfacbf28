"""The door answers one user, keeps its requests apart, and stops when the client stops."""

from __future__ import annotations

import socket
import stat
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from agentkit import client as client_module
from agentkit.client import CoreClient
from agentkit.core.server import Server, Session
from agentkit.errors import BusyError, Cancelled, ConfigError, CoreError, LimitError, LockedError
from agentkit.paths import Home
from agentkit.wire import Channel


class Door:
    """A server with scripted answers, and what its handler saw."""

    def __init__(self, home: Home, idle_seconds: float = 60) -> None:
        self.home = home
        self.idle_seconds = idle_seconds
        self.rested = threading.Event()
        self.started = threading.Event()
        self.stopped = threading.Event()
        self.server = Server(home.socket)
        self.server.bind()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        self.server.serve(
            self.handle, idle_seconds=self.idle_seconds, busy=lambda: False, rest=self.rested.set
        )

    def handle(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        match request["op"]:
            case "echo":
                return {"said": request["text"]}
            case "count":
                for number in range(request["to"]):
                    session.emit({"number": number})
                return {"counted": request["to"]}
            case "ask":
                return {"answer": session.ask({"question": "may I?"})}
            case "wait":
                self.started.set()
                try:
                    session.wait(30)
                finally:
                    self.stopped.set()
            case "locked":
                raise LockedError("the vault is locked", hint="agentkit unlock")
            case "secret":
                raise RuntimeError("the passphrase is hunter2")
        return {}

    def ended(self) -> bool:
        """Wait for the end of serving; return whether it came."""
        self._thread.join(5)
        return not self._thread.is_alive()

    def connect(self) -> CoreClient:
        return CoreClient.connect(self.home, start=False)

    def close(self) -> None:
        self.server.stop()
        self._thread.join()
        self.server.close()


@pytest.fixture
def door(home: Home) -> Iterator[Door]:
    opened = Door(home)
    yield opened
    opened.close()


def test_a_request_gets_its_result_and_its_events(door: Door) -> None:
    with door.connect() as client:
        assert client.request("echo", text="hello") == {"said": "hello"}
        assert [event["number"] for event in client.stream("count", to=3)] == [0, 1, 2]
        assert client.request("count", to=2) == {"counted": 2}


def test_a_question_is_answered_by_the_client_and_by_nothing_else(door: Door) -> None:
    with door.connect() as client:
        stream = client.stream("ask", answer=lambda question: {"heard": question["question"]})
        with pytest.raises(StopIteration) as done:
            next(stream)
        assert done.value.value == {"answer": {"heard": "may I?"}}
        assert client.request("ask") == {"answer": {}}


def test_a_question_nobody_answers_is_over_when_the_core_would_be_idle(home: Home) -> None:
    door = Door(home, idle_seconds=0.2)
    asked = threading.Event()
    with door.connect() as client:
        stream = client.stream("ask", answer=lambda _: {"late": asked.wait(0.6)})
        with pytest.raises(Cancelled, match="nobody answered"):
            next(stream)
        assert door.rested.wait(5)
    assert door.ended()
    door.close()


def test_all_who_wait_for_an_answer_hear_that_the_client_is_gone() -> None:
    ours, theirs = map(Channel, socket.socketpair())
    session, told = Session(ours), []

    def ask() -> None:
        with pytest.raises(Cancelled):
            session.ask({"question": "may I?"})
        told.append(True)

    asking = [threading.Thread(target=ask, daemon=True) for _ in range(2)]
    for thread in asking:
        thread.start()
        theirs.receive()
    session.stop()
    for thread in asking:
        thread.join(5)
    assert told == [True, True]
    ours.close()
    theirs.close()


def test_a_request_within_a_request_is_refused_and_harms_neither(door: Door) -> None:
    with door.connect() as client:
        stream = client.stream("count", to=3)
        assert next(stream) == {"number": 0}
        with pytest.raises(ConfigError, match="middle of a request"):
            client.request("echo", text="hello")
        assert [event["number"] for event in stream] == [1, 2]
        assert client.request("echo", text="hello") == {"said": "hello"}


def test_our_errors_cross_as_themselves_and_foreign_ones_without_their_words(door: Door) -> None:
    with door.connect() as client:
        with pytest.raises(LockedError) as locked:
            client.request("locked")
        assert (locked.value.hint, locked.value.exit_code) == ("agentkit unlock", 4)
        with pytest.raises(CoreError) as foreign:
            client.request("secret")
        assert "hunter2" not in str(foreign.value)
        assert "RuntimeError" in str(foreign.value)


def test_closing_the_stream_stops_the_request_and_keeps_the_connection(door: Door) -> None:
    with door.connect() as client:
        stream = client.stream("count", to=10_000_000)
        assert next(stream) == {"number": 0}
        stream.close()
        assert client.request("echo", text="still here") == {"said": "still here"}


def test_a_client_that_vanishes_stops_its_request(door: Door) -> None:
    client = door.connect()
    client._channel.send({"op": "wait"})
    assert door.started.wait(5)
    client.close()
    assert door.stopped.wait(5)


def test_garbage_closes_one_connection_and_no_other(door: Door) -> None:
    with door.connect() as good:
        bad = door.connect()
        bad._channel._socket.sendall(b"\xff" * 64)
        with pytest.raises(CoreError):
            bad._channel.receive(timeout=5)
        bad.close()
        assert good.request("echo", text="fine") == {"said": "fine"}


@pytest.mark.slow
def test_a_silent_client_keeps_the_door_open_and_nothing_else(home: Home) -> None:
    opened = Door(home, idle_seconds=0.1)
    with opened.connect() as client:
        assert opened.rested.wait(5)
        assert client.request("echo", text="still here") == {"said": "still here"}
    assert opened.ended()
    opened.close()


@pytest.mark.slow
def test_a_request_that_runs_counts_as_use(home: Home) -> None:
    opened = Door(home, idle_seconds=0.1)
    with opened.connect() as client:
        client._channel.send({"op": "wait"})
        assert opened.started.wait(5)
        opened.rested.clear()
        assert not opened.rested.wait(1.5)  # three looks at the clock
        client._channel.send({"cancel": True})
        assert opened.rested.wait(5)
    opened.close()


def test_only_the_owner_may_touch_the_socket(door: Door) -> None:
    assert stat.S_IMODE(door.home.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(door.home.run.stat().st_mode) == 0o700


def test_a_second_core_of_the_same_home_is_refused(door: Door) -> None:
    with pytest.raises(BusyError):
        Server(door.home.socket).bind()
    with door.connect() as client:
        assert client.request("echo", text="unharmed") == {"said": "unharmed"}


def test_a_path_longer_than_a_socket_address_still_works(tmp_path: Path) -> None:
    deep = Home(tmp_path / ("d" * 100) / ("e" * 100)).ensure()
    opened = Door(deep)
    with opened.connect() as client:
        assert client.request("echo", text="deep") == {"said": "deep"}
    opened.close()


def test_without_a_core_the_error_says_so(home: Home) -> None:
    with pytest.raises(CoreError, match="no core"):
        CoreClient.connect(home, start=False)


def test_an_error_of_an_unknown_kind_stays_an_error_of_ours() -> None:
    error = client_module.error_from_wire({"kind": "Nonsense", "message": "something", "hint": "do this"})
    assert (type(error).__name__, str(error)) == ("AgentkitError", "something")
    assert isinstance(client_module.error_from_wire({"kind": "LimitError", "message": "m"}), LimitError)


def test_a_client_that_comes_while_a_core_ends_is_not_lost_with_it(home: Home) -> None:
    ending = Door(home)
    ending.server.stop()
    with pytest.raises(CoreError, match="no core"):
        ending.connect()
    ending.close()
