"""Fixtures: a private home, the shipped fakes, and the real weights where they are installed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agentkit.paths import Home

NETWORK_EVENTS = {"socket.connect", "socket.getaddrinfo", "socket.sendto"}


def _tripwire(event: str, arguments: tuple[object, ...]) -> None:
    """Fail any test that reaches for the network; UNIX sockets and the loopback are ours."""
    if event not in NETWORK_EVENTS:
        return
    address = arguments[1] if event != "socket.getaddrinfo" else arguments[0]
    host = address[0] if isinstance(address, tuple) else address
    remote = event == "socket.getaddrinfo" or isinstance(address, tuple)
    if remote and host not in ("127.0.0.1", "::1", "localhost", None):
        raise RuntimeError(f"a test reached for the network: {event}")


sys.addaudithook(_tripwire)


TRIED: pytest.StashKey[list[str]] = pytest.StashKey()


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return a function that takes a line for the end of the run: what an attack tried, and how often."""
    return request.config.stash.setdefault(TRIED, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the attacks told."""
    if told := terminalreporter.config.stash.get(TRIED, []):
        terminalreporter.section("what was tried")
        for line in told:
            terminalreporter.write_line(line)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Return an empty agentkit home that only this test uses; the model store stays the shared one."""
    monkeypatch.setenv("AGENTKIT_MODELS", str(Home.default().models))
    monkeypatch.setenv("AGENTKIT_HOME", str(tmp_path / "home"))
    return Home.default().ensure()


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """Return the default chat model."""
    return _weights("smollm2-135m", "SmolLM2-135M-Instruct.Q4_1.gguf")


@pytest.fixture(scope="session")
def minilm_path() -> Path:
    """Return the folder of the default embedding model."""
    return _weights("minilm-l6-v2", "model.safetensors").parent


def _weights(name: str, file: str) -> Path:
    path = Home.default().models / name / file
    if not path.is_file():
        pytest.skip(f"{name} is not in the model store: run `make setup`")
    return path
