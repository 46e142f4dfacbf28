"""Set targets up, run `sandbox_probes` against them in one tier, and print what worked, as JSON.

Run as `python sandbox_battery.py TOOLS_FOLDER TIER`, TIER being `bubblewrap`, `landlock` or `none` (unconfined). A
program of its own, on the standard library and agentkit_tools alone, so that the test can start it as other users
and in other namespaces.
"""

from __future__ import annotations

import ctypes
import json
import os
import pathlib
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from typing import Any

SECRET = "CANARY-" + secrets.token_hex(8)
NOBODY = 65534
VICTIM = """
import ctypes, time
held = ctypes.create_string_buffer(64)
print(ctypes.addressof(held), flush=True)
time.sleep(100)
"""
FILES = ("secret", "removed", "cut", "plain", "grown", "open")


class Targets:
    """Everything an attack could hit, and how to tell that it was hit."""

    def __init__(self, interpreter: str) -> None:
        self._interpreter = interpreter
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="battery-"))
        self.base.chmod(0o755)
        self.workspace = self.base / "ws"
        self.outside = self.base / "outside"
        for folder in (
            self.workspace,
            self.outside,
            self.workspace / ".git" / "hooks",
            self.workspace / ".vscode",
        ):
            folder.mkdir(parents=True)
        (self.workspace / "project" / ".git").mkdir(parents=True)
        for file in (".git/config", "project/.git/config"):
            (self.workspace / file).write_text("untouched")
        # Open to every user: it is the sandbox that must hold, not the mode of a file.
        self.outside.chmod(0o777)
        for name in FILES:
            path = self.outside / name
            path.write_text(SECRET)
            path.chmod(0o666)
        self._listen()
        os.environ["BATTERY_SECRET"] = SECRET
        self.leak = os.open(self.outside / "open", os.O_RDONLY)
        os.set_inheritable(self.leak, True)
        self._start_victim()
        self.key = secrets.randbits(30)
        self.segment = ctypes.CDLL(None).shmget(self.key, 4096, 0o1666)

    def _listen(self) -> None:
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind(str(self.workspace / "s"))
        (self.workspace / "s").chmod(0o777)
        self.unix.listen()
        self.abstract = socket.socket(socket.AF_UNIX)
        self.abstract.bind("\0" + SECRET[7:])
        self.abstract.listen()
        self.datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.datagrams.bind("\0d" + SECRET[7:])

    def _start_victim(self) -> None:
        """Start a process that runs as the very user a sandboxed program would be."""
        user = NOBODY if _can_become_nobody() else None
        self.victim = subprocess.Popen(
            [self._interpreter, "-S", "-c", VICTIM],
            user=user, group=user, extra_groups=[] if user else None, stdout=subprocess.PIPE, text=True, cwd="/",
        )  # fmt: skip
        assert self.victim.stdout is not None
        self.victim_address = self.victim.stdout.readline().strip()

    def describe(self, *, unconfined: bool) -> dict[str, Any]:
        """Return what the attacks need to know."""
        return {
            "outside": str(self.outside), "workspace": str(self.workspace), "tcp": self.tcp.getsockname()[1],
            "udp": self.udp.getsockname()[1], "unix": str(self.workspace / "s"), "abstract": SECRET[7:],
            "abstract_datagram": "d" + SECRET[7:], "victim": self.victim.pid, "caller": os.getpid(),
            "victim_address": self.victim_address, "shared_memory": self.key, "unconfined": unconfined,
            "tmp_file": str(self.base.parent / f"{self.base.name}-written"),
        }  # fmt: skip

    def heard(self) -> list[str]:
        """Return which sinks received anything, and which files were touched: what an attack cannot hide."""
        found = []
        for name in ("tcp", "unix", "abstract"):
            sink: socket.socket = getattr(self, name)
            sink.setblocking(False)
            try:
                sink.accept()[0].close()
                found.append(name)
            except BlockingIOError:
                continue
        for name in ("udp", "datagrams"):
            sink = getattr(self, name)
            sink.setblocking(False)
            try:
                sink.recv(100)
                found.append(name)
            except BlockingIOError:
                continue
        files = {path.name: path.read_text() for path in self.outside.iterdir()}
        if files != dict.fromkeys(FILES, SECRET):
            found.append("files outside")
        if pathlib.Path(self.describe(unconfined=False)["tmp_file"]).exists():
            found.append("the host's /tmp")
        for config in (".git/config", "project/.git/config"):
            path = self.workspace / config
            if not path.exists() or path.read_text() != "untouched":
                found.append(config)
        if (self.workspace / ".git" / "hooks" / "pre-commit").exists():
            found.append("a git hook")
        if self.victim.poll() is not None:
            found.append("the victim")
        return found

    def close(self) -> None:
        """Remove everything."""
        self.victim.kill()
        self.victim.wait()
        ctypes.CDLL(None).shmctl(self.segment, 0, None)
        pathlib.Path(self.describe(unconfined=False)["tmp_file"]).unlink(missing_ok=True)
        shutil.rmtree(self.base, ignore_errors=True)


def _can_become_nobody() -> bool:
    if os.geteuid() != 0:
        return False
    ranges = [
        tuple(map(int, line.split())) for line in pathlib.Path("/proc/self/uid_map").read_text().splitlines()
    ]
    return any(first <= NOBODY < first + count for first, _, count in ranges)


def run(tier: str, tools: str) -> dict[str, Any]:
    """Return which attacks worked in `tier`, and which sinks heard of it."""
    sys.path.insert(0, tools)
    from agentkit_tools.bubblewrap import BubblewrapSandbox
    from agentkit_tools.errors import SandboxError
    from agentkit_tools.landlock_sandbox import LandlockSandbox
    from agentkit_tools.run_code import find_python
    from agentkit_tools.sandbox import Limits, Sandbox, SandboxRequest

    interpreter, readable = find_python()
    targets = Targets(interpreter)
    try:
        probes = pathlib.Path(__file__).with_name("sandbox_probes.py").read_text()
        described = json.dumps(targets.describe(unconfined=tier == "none"))
        argv = (interpreter, "-c", probes)
        if tier == "none":
            done = subprocess.run(
                argv,
                input=described,
                capture_output=True,
                text=True,
                cwd=targets.workspace,
                close_fds=False,
                timeout=60,
            )
            output, errors = done.stdout, done.stderr
        else:
            sandbox: Sandbox = BubblewrapSandbox() if tier == "bubblewrap" else LandlockSandbox()
            request = SandboxRequest(
                argv,
                str(targets.workspace),
                described.encode(),
                Limits(seconds=60, cpu_seconds=60),
                tuple(readable),
            )
            try:
                result = sandbox.run(request)
            except SandboxError as error:
                return {"refused": error.message}
            output, errors = result.stdout.decode(), result.stderr.decode()
        if not output:
            return {"broken": errors}
        outcomes: dict[str, str] = json.loads(output)
        return {"outcomes": outcomes, "heard": targets.heard()}
    finally:
        targets.close()


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[2], sys.argv[1])))
