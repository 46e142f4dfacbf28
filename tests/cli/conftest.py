"""A scripted core that speaks the real protocol over the real socket, and a way to type a command."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from agentkit.cli.app import main
from agentkit.core.server import Server, Session, short_address
from agentkit.errors import ConfigError, LockedError, NotFoundError
from agentkit.paths import Home
from agentkit_memory.errors import WrongPassphraseError

PASSPHRASE = b"four unrelated quiet words"
Answer = Callable[[dict[str, Any], Session], Mapping[str, Any]]

RECEIPT = {
    "platform": "linux",
    "namespaces": "own",
    "landlock": ["files: write"],
    "seccomp": True,
    "self_test": {"TCP over IPv4": "EACCES"},
    "not_enforced": [],
}


class FakeCore:
    """Answers each request by what the test put into `answers`; the vault's state is kept like the real one's."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.asked: list[dict[str, Any]] = []
        self.answers: dict[str, Answer | Mapping[str, Any]] = {}
        self.vault = "unlocked"
        self.keyring = False
        self._server = Server(home.socket)
        self._server.bind()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        self._server.serve(self._handle, idle_seconds=60, busy=lambda: True)
        self._server.close()

    def _handle(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        self.asked.append(dict(request))
        op = request.pop("op")
        if op in self.answers:
            answer = self.answers[op]
            return answer(request, session) if callable(answer) else answer
        match op:
            case "status":
                return self._status()
            case "stop":
                self._server.stop()
                threading.Timer(0.05, self._wake).start()
                return {"stopped": True}
            case "init":
                self.vault = "unlocked"
                return self._vault()
            case "unlock":
                return self._unlock(request.get("passphrase"))
            case "lock":
                self.vault = "locked"
                return self._vault()
        raise ConfigError("the core does not know this request")

    def _unlock(self, passphrase: bytes | None) -> Mapping[str, Any]:
        if self.vault == "absent":
            raise NotFoundError("there is no vault in this home yet", hint="agentkit init")
        if self.vault == "locked":
            if passphrase is None and not self.keyring:
                raise LockedError("the vault is locked", hint="agentkit unlock")
            if passphrase is not None and passphrase != PASSPHRASE:
                raise WrongPassphraseError("no slot opens with this passphrase")
            self.vault = "unlocked"
        return self._vault()

    def _vault(self) -> dict[str, Any]:
        if self.vault == "absent":
            return {"state": "absent"}
        said: dict[str, Any] = {
            "state": self.vault,
            "id": "a1",
            "format": 1,
            "slots": [{"name": "passphrase", "kind": "passphrase"}],
        }
        return said | ({"records": 3, "files": 2, "roots": ["/notes"]} if self.vault == "unlocked" else {})

    def _status(self) -> dict[str, Any]:
        return {
            "version": "0",
            "pid": 4711,
            "home": str(self.home.root),
            "rss_mb": 20.0,
            "idle_seconds": 900.0,
            "receipt": RECEIPT,
            "launcher": {"isolation": None, "sandbox": {"tier": "bubblewrap", "reason": "it runs"}},
            "vault": self._vault(),
            "index": {"name": "chroma", "place": "on a private tmpfs", "error": None},
            "engine": None,
        }

    def asked_for(self, op: str) -> dict[str, Any]:
        """Return the last request of this kind."""
        return next(each for each in reversed(self.asked) if each["op"] == op)

    def close(self) -> None:
        """Stop serving."""
        self._server.stop()
        self._wake()
        self._thread.join(10)

    def _wake(self) -> None:
        """Come in once more, so that the listener looks up at once."""
        with (
            socket.socket(socket.AF_UNIX) as knock,
            suppress(OSError),
            short_address(self.home.socket) as address,
        ):
            knock.connect(address)


@pytest.fixture
def core(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCore]:
    """Yield a scripted core that serves the home of this test."""
    monkeypatch.delenv("AGENTKIT_PASSPHRASE_FILE", raising=False)
    served = FakeCore(home)
    yield served
    served.close()


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Type = Callable[..., Ended]


class Terminal:
    """A command on a real terminal: what it shows, and what is typed."""

    def __init__(self, *arguments: str) -> None:
        # in a process of its own, since this one has threads and must not fork
        start = (
            "import os, pty, signal, sys; "
            "signal.signal(signal.SIGINT, signal.SIG_DFL); "  # who runs the tests in the background ignores it
            "sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", start, sys.executable, "-m", "agentkit", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
        )
        self.shown = b""
        self._seen = 0

    def wait_for(self, text: str) -> None:
        """Read until `text` is shown, behind what was waited for before."""
        assert self._process.stdout is not None
        while (found := self.shown.find(text.encode(), self._seen)) < 0:
            data = os.read(self._process.stdout.fileno(), 4096)
            assert data, f"it ended without {text!r}: {self.shown!r}"
            self.shown += data
        self._seen = found + len(text.encode())

    def type(self, text: str | bytes) -> None:
        """Type; Enter is a carriage return."""
        assert self._process.stdin is not None
        self._process.stdin.write(text if isinstance(text, bytes) else text.encode())
        self._process.stdin.flush()

    def end(self) -> int:
        """Read up to the end and return the exit code."""
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        self.shown += self._process.stdout.read()
        self._process.stdin.close()
        self._process.stdout.close()
        return self._process.wait(10)


@pytest.fixture
def terminal() -> type[Terminal]:
    """Return what runs a command on a real terminal."""
    return Terminal


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Type:
    """Return a function that runs one command line, with what is typed into it."""

    def command(*arguments: str, stdin: str = "") -> Ended:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        capfd.readouterr()
        code = main(arguments)
        said = capfd.readouterr()
        return Ended(code, said.out, said.err)

    return command
