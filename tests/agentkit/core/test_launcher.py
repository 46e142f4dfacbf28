"""The launcher starts our own workers and nothing else, and nothing it started outlives it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PROGRAM = """
import json, os, sys
from agentkit.core import launcher
from agentkit.errors import CoreError
handle = launcher.start()
seen = {}
"""


def run(body: str, *arguments: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM + body + "\nprint(json.dumps(seen))", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return seen


def test_only_our_own_workers_are_started() -> None:
    seen = run(
        "try:\n    handle.spawn('http.server')\nexcept CoreError as error:\n    seen['refused'] = str(error)"
    )
    assert seen == {"refused": "the launcher starts only agentkit's own workers"}


def test_a_worker_is_started_killed_and_its_end_is_known() -> None:
    seen = run(
        "child = handle.spawn('agentkit.indexing.reader_worker'); child.channel.send({'limits': {}})\n"
        "seen['ready'] = child.channel.receive(timeout=30).get('ready') is not None\n"
        "seen['running'] = child.exit_status()\n"
        "child.kill(); child.kill()\n"
        "import time\n"
        "for _ in range(200):\n"
        "    seen['ended'] = child.exit_status()\n"
        "    if seen['ended'] is not None: break\n"
        "    time.sleep(0.01)"
    )
    assert seen == {"ready": True, "running": None, "ended": -9}


def test_a_command_runs_in_the_sandbox_behind_it(tmp_path: Path) -> None:
    (tmp_path / "ws").mkdir()
    seen = run(
        "from agentkit.core.launcher import LaunchedSandbox\n"
        "from agentkit_tools.sandbox import SandboxRequest\n"
        "box = LaunchedSandbox(handle, handle.report()['sandbox']['tier'])\n"
        "done = box.run(SandboxRequest(('sh', '-c', 'echo out; cat; exit 3'), sys.argv[1], stdin=b'in'))\n"
        "seen['done'] = [done.exit_code, done.stdout.decode(), done.tier == box.tier]",
        str(tmp_path / "ws"),
    )
    assert seen == {"done": [3, "out\nin", True]}


def test_nothing_outlives_a_killed_core() -> None:
    body = PROGRAM + (
        "child = handle.spawn('agentkit.indexing.reader_worker'); child.channel.send({'limits': {}})\n"
        "child.channel.receive(timeout=30)\n"
        "print(json.dumps([os.getpid(), child.pid]), flush=True)\n"
        "import time; time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-I", "-c", body], stdout=subprocess.PIPE, text=True) as core:
        assert core.stdout is not None
        _, worker = json.loads(core.stdout.readline())
        watched = os.pidfd_open(worker)
        core.kill()
        import select

        assert select.select([watched], [], [], 10)[0], "the worker is still running"
        os.close(watched)
