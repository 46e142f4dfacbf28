"""A real core in a private home, with the real models, ended after each test."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agentkit.client import CoreClient
from agentkit.errors import AgentkitError
from agentkit.paths import Home

PASSPHRASE = b"four unrelated quiet words"


class Core:
    """The core of one home: connect to it, kill it, find its processes."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._clients: list[CoreClient] = []

    def connect(self) -> CoreClient:
        """Return a connection to the core, starting it if need be."""
        client = CoreClient.connect(self.home)
        self._clients.append(client)
        return client

    def unlocked(self) -> CoreClient:
        """Return a connection to a core whose vault exists and is open."""
        client = self.connect()
        vault = client.request("status")["vault"]["state"]
        if vault != "unlocked":
            client.request("init" if vault == "absent" else "unlock", passphrase=PASSPHRASE)
        return client

    def kill(self) -> None:
        """Kill the core as the out-of-memory killer would, and wait until it is gone."""
        pid = int(self.connect().request("status")["pid"])
        os.kill(pid, signal.SIGKILL)
        descriptor = None
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
        if descriptor is not None:
            import select

            select.select([descriptor], [], [], 10)
            os.close(descriptor)

    def close(self) -> None:
        """End the core and every connection."""
        with suppress(AgentkitError), CoreClient.connect(self.home, start=False) as client:
            client.request("stop")
        for client in self._clients:
            client.close()


@pytest.fixture
def core(home: Home, smollm2_path: Path, minilm_path: Path) -> Iterator[Core]:
    """Yield the core of an empty home."""
    served = Core(home)
    yield served
    served.close()


@pytest.fixture
def notes() -> Path:
    """Return the documents of the demo."""
    return Path(__file__).parents[2] / "examples" / "notes"
