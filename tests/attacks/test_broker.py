"""The broker against a process that swaps a folder for a link, as fast as it can, while we write through it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkit_tools import BrokerError
from agentkit_tools.broker import Broker

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")]
WRITES = 1500

SWAP = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
os.chdir(sys.argv[1])
print("ready", flush=True)
while True:
    libc.renameat2(-100, b"folder", -100, b"link", 2)
"""


@pytest.fixture
def swapped(tmp_path: Path) -> Iterator[Path]:
    """Yield a root in which `folder` is now a folder, now a link out of it."""
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (root / "link").symlink_to(tmp_path / "outside")
    swapper = subprocess.Popen([sys.executable, "-c", SWAP, str(root)], stdout=subprocess.PIPE)
    assert swapper.stdout is not None
    swapper.stdout.readline()
    yield root
    swapper.send_signal(signal.SIGKILL)
    swapper.wait()
    swapper.stdout.close()


@pytest.mark.parametrize("chain", [False, True], ids=["openat2", "chain"])
def test_no_write_escapes_while_folders_are_swapped(swapped: Path, chain: bool) -> None:
    broker = Broker(str(swapped), chain=chain)
    written = 0
    for number in range(WRITES):
        try:
            broker.write(f"folder/{number}", b"x")
            written += 1
        except BrokerError:
            continue  # it was a link just then
    assert list((swapped.parent / "outside").iterdir()) == []
    assert written > 0


def test_checking_first_and_opening_later_does_escape(swapped: Path) -> None:
    """The power of the attack: what everybody writes first."""
    for number in range(200 * WRITES):
        path = swapped / "folder" / str(number % 100)
        try:
            if os.path.realpath(path).startswith(str(swapped)):
                path.write_text("x")
        except OSError:
            continue  # it changed under our hands
        if any((swapped.parent / "outside").iterdir()):
            return
    pytest.skip("the race was not won here, so this machine shows nothing")
