"""Every attack on the sandbox is stopped, in every tier, as every user we start it as; and each attack has power.

The attacks are in `sandbox_probes.py`, what they are aimed at in `sandbox_battery.py`.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentkit_tools import SandboxError
from agentkit_tools.bubblewrap import BubblewrapSandbox
from agentkit_tools.landlock_sandbox import LandlockSandbox
from agentkit_tools.run_code import find_python
from agentkit_tools.sandbox import Limits, Sandbox, SandboxReport, SandboxRequest, SandboxResult, probe

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")]

BATTERY = Path(__file__).with_name("sandbox_battery.py")
ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tools"
TIERS = ("bubblewrap", "landlock")
# What has no power on some machines even unconfined, so that its failing proves nothing there.
WEAK = {
    "sysrq", "uevent_helper", "join a namespace", "open by handle", "type into the terminal", "vsock", "io_uring",
    "multipath tcp", "tcp fast open", "user namespace", "user namespace by clone", "userfaultfd", "ptrace",
    "read memory", "steal a descriptor", "kernel keyring", "xattr outside", "bpf", "perf", "open_tree", "hostname",
    "mount", "new mount api", "chroot", "device node", "packet socket", "raw socket", "regain priority", "core_pattern",
    "read /etc/shadow", "uid 0", "become root", "capabilities", "core dumps", "hard link to outside",
    "no_new_privs off", "normal priority",
}  # fmt: skip
ENTER = (
    "from agentkit.core import namespaces; namespaces.enter(); import runpy, sys; sys.argv = sys.argv[1:]; "
)
ENTER += "runpy.run_path(sys.argv[0], run_name='__main__')"


def ordinary() -> list[str]:
    """Return how to become an ordinary user, when we are root."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv") or not os.access("/usr/bin/python3", os.X_OK):
        pytest.skip("needs setpriv and a system python3 to try as an ordinary user")
    command = ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups", "env", "-i"]
    if subprocess.run([*command, "cat", str(BATTERY)], capture_output=True, check=False).returncode != 0:
        pytest.skip("the checkout is not readable for other users")
    return command


def command_in(surroundings: str) -> list[str]:
    """Return how to start Python there."""
    if surroundings == "ourselves":
        return [sys.executable]
    if surroundings == "ordinary user":
        return [*ordinary(), "/usr/bin/python3"] if os.geteuid() == 0 else [sys.executable]
    if surroundings == "namespace of one user":
        if not shutil.which("unshare"):
            pytest.skip("needs unshare")
        python = "/usr/bin/python3" if os.geteuid() == 0 else sys.executable
        return [*ordinary(), "unshare", "-Urn", python]
    return [sys.executable, "-c", ENTER]  # as agentkit's launcher does


def battery(surroundings: str, tier: str) -> dict[str, Any]:
    """Run every attack; return what it found."""
    done = subprocess.run(
        [*command_in(surroundings), str(BATTERY), str(TOOLS), tier],
        capture_output=True, text=True, timeout=90, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert "broken" not in found, found
    return found


@pytest.fixture(scope="session")
def report() -> SandboxReport:
    """Return what this machine can do."""
    return probe()


def sandbox_of(tier: str, report: SandboxReport) -> Sandbox:
    """Return the sandbox of a tier, or skip where the machine has it not."""
    if tier == "bubblewrap":
        if report.tier != "bubblewrap":
            pytest.skip(f"install bubblewrap: {report.reason}")
        return BubblewrapSandbox()
    try:
        LandlockSandbox().run(SandboxRequest(("true",), str(ROOT / "tests" / "missing")))
    except SandboxError as error:
        if "landlock" in error.message:
            pytest.skip(error.message)
    return LandlockSandbox()


@pytest.fixture(params=TIERS)
def sandbox(request: pytest.FixtureRequest, report: SandboxReport) -> Sandbox:
    """Return each tier in turn."""
    return sandbox_of(request.param, report)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(
    "surroundings", ["ourselves", "ordinary user", "namespace of one user", "namespaces of the launcher"]
)
def test_no_attack_gets_through(surroundings: str, tier: str, report: SandboxReport) -> None:
    sandbox_of(tier, report)
    found = battery(surroundings, tier)
    if "refused" in found:
        assert tier == "landlock"
        assert "uid 0" in found["refused"]
        return
    assert len(found["outcomes"]) > 65
    assert [name for name, outcome in found["outcomes"].items() if outcome == "worked"] == []
    assert found["heard"] == []


def test_every_attack_has_power_where_nothing_confines_it() -> None:
    found = battery("ourselves", "none")
    powerless = {name for name, outcome in found["outcomes"].items() if outcome != "worked"}
    assert powerless <= WEAK
    assert len(found["outcomes"]) - len(powerless) >= 40
    assert {"tcp", "udp", "unix", "abstract", "datagrams", "files outside", ".git/config"} <= set(
        found["heard"]
    )


# --- using up the machine, outliving the run, and what is left in the workspace ------------------------------


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Return an empty workspace."""
    folder = tmp_path / "ws"
    folder.mkdir()
    return folder


def run_python(sandbox: Sandbox, workspace: Path, code: str, **limits: Any) -> SandboxResult:
    interpreter, readable = find_python()
    request = SandboxRequest(
        (interpreter, "-c", code), str(workspace), b"", Limits(**limits), tuple(readable)
    )
    return sandbox.run(request)


def test_a_fork_bomb_stops_at_the_limit(sandbox: Sandbox, workspace: Path) -> None:
    code = """
import os, signal
count = 0
try:
    while count < 500:
        if os.fork() == 0:
            signal.pause()
        count += 1
except OSError:
    pass
print(count)
"""
    result = run_python(sandbox, workspace, code, processes=20)
    assert 0 < int(result.stdout) <= 20


def test_a_memory_bomb_stops_at_the_limit(sandbox: Sandbox, workspace: Path) -> None:
    code = """
import mmap
for take in (lambda: bytearray(3 << 30), lambda: mmap.mmap(-1, 3 << 30)):
    try:
        take()
        print("taken")
    except (MemoryError, OSError):
        print("refused")
"""
    assert run_python(sandbox, workspace, code, memory_bytes=256 << 20).stdout.split() == [b"refused"] * 2


def test_a_file_stops_at_the_limit(sandbox: Sandbox, workspace: Path) -> None:
    result = run_python(sandbox, workspace, "open('big', 'wb').write(bytes(5 << 20))", file_bytes=1 << 20)
    assert result.exit_code != 0
    assert (workspace / "big").stat().st_size <= 1 << 20


def test_tmp_and_shared_memory_are_full_at_the_limit(report: SandboxReport, workspace: Path) -> None:
    """Tier B has no /tmp of its own: there only the size of each file is bounded."""
    code = """
import os
for folder in ("/tmp", "/dev/shm"):
    total = 0
    try:
        for number in range(100):
            with open(f"{folder}/{number}", "wb") as file:
                total += file.write(bytes(1 << 20))
    except OSError:
        print(total)
for folder in ("/", "/dev", "/etc"):
    try:
        open(f"{folder}/file", "w")
        print("written", folder)
    except OSError:
        pass
"""
    result = run_python(sandbox_of("bubblewrap", report), workspace, code, file_bytes=1 << 20)
    assert len(result.stdout.split()) == 2, result
    assert all(int(total) <= 4 << 20 for total in result.stdout.split())


def test_a_gigabyte_of_output_is_cut_and_ended(sandbox: Sandbox, workspace: Path) -> None:
    result = sandbox.run(
        SandboxRequest(("head", "-c", "1G", "/dev/zero"), str(workspace), limits=Limits(output_bytes=100_000))
    )
    assert result.truncated
    assert len(result.stdout) == 100_000
    assert result.exit_code == 137


@pytest.mark.parametrize("code", ["while True: pass", "import time; time.sleep(60)"])
def test_a_program_that_does_not_end_is_ended(sandbox: Sandbox, workspace: Path, code: str) -> None:
    result = run_python(sandbox, workspace, code, seconds=0.4)
    assert result.timed_out
    assert result.exit_code is None
    assert result.seconds < 5


def test_processor_time_is_limited(sandbox: Sandbox, workspace: Path) -> None:
    result = run_python(
        sandbox, workspace, "import resource; print(resource.getrlimit(resource.RLIMIT_CPU))", cpu_seconds=3
    )
    assert result.stdout.strip() == b"(3, 3)"


# A daemon that detaches itself in every way there is, holding a lock for as long as it lives.
DAEMON = """
import fcntl, os, signal, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in range(1, 32):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        lock = open("lock", "w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        print("held", flush=True)
        for fd in (0, 1, 2):
            os.close(fd)
        while True:
            signal.pause()
    os._exit(0)
"""


def test_nothing_outlives_the_run(sandbox: Sandbox, workspace: Path) -> None:
    wait = "sys.stdout.flush(); import time\nwhile not os.path.exists('lock'): time.sleep(0.01)"
    result = run_python(sandbox, workspace, DAEMON + wait)
    assert result.exit_code == 0, result
    with (workspace / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises while the daemon lives


@pytest.mark.parametrize("tier", TIERS)
def test_nothing_outlives_a_caller_that_is_killed(tier: str, report: SandboxReport, workspace: Path) -> None:
    sandbox_of(tier, report)
    code = f"""
import sys
sys.path.insert(0, {str(TOOLS)!r})
from agentkit_tools.bubblewrap import BubblewrapSandbox
from agentkit_tools.landlock_sandbox import LandlockSandbox
from agentkit_tools.run_code import find_python
from agentkit_tools.sandbox import SandboxRequest
sandbox = {{"bubblewrap": BubblewrapSandbox, "landlock": LandlockSandbox}}[{tier!r}]()
python, readable = find_python()
program = sys.stdin.read()
sandbox.run(SandboxRequest((python, "-c", program), {str(workspace)!r}, readable=tuple(readable)))
"""
    os.mkfifo(workspace / "ready")
    caller = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, text=True)
    assert caller.stdin is not None
    tell = """
os.mkdir('.git')
while not os.path.exists('lock'): pass
open('ready', 'w').write('x')
while True: signal.pause()
"""
    caller.stdin.write(DAEMON + tell)
    caller.stdin.close()
    with (workspace / "ready").open() as ready:  # opens when the daemon runs
        assert ready.read() == "x"
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    with (workspace / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # returns when nobody holds it any more
    supervisor = os.open(workspace, os.O_RDONLY)
    fcntl.flock(supervisor, fcntl.LOCK_EX)  # it cleans up before it goes
    os.close(supervisor)
    assert not (workspace / ".git").exists()


def test_protected_names_that_appear_are_removed(sandbox: Sandbox, workspace: Path) -> None:
    code = """
import os
os.makedirs(".git/hooks"); open(".git/hooks/post-checkout", "w").write("#!/bin/sh")
os.makedirs("deep/down/.vscode/in"); os.chmod("deep/down/.vscode/in", 0) if {modes} else None
os.mkdir("deep/.vscode", 0)
open(".envrc", "w").write("x")
os.umask(0o222); os.mkdir("shut-later"); os.umask(0)
os.makedirs("shut"); os.symlink("/etc", "shut/.git")
try:
    os.chmod("shut", 0o555)
except PermissionError:
    pass  # tier B changes no modes
open("kept", "w").write("x")
"""
    result = run_python(sandbox, workspace, code.replace("{modes}", str(sandbox.tier == "bubblewrap")))
    assert result.exit_code == 0, result
    left = {str(path.relative_to(workspace)) for path in workspace.rglob("*")}
    assert left == {"deep", "deep/down", "shut", "shut-later", "kept"}
    assert b"removed .envrc" in result.stderr


def test_a_folder_with_a_repository_cannot_be_swapped(sandbox: Sandbox, workspace: Path) -> None:
    """A mount protects the repository itself; the folder around it can still be renamed."""
    (workspace / "project" / ".git").mkdir(parents=True)
    (workspace / "project" / ".git" / "config").write_text("untouched")
    code = """
import os
os.rename("project", "elsewhere")
os.makedirs("project/.git"); open("project/.git/config", "w").write("attacked")
"""
    run_python(sandbox, workspace, code)
    configs = [path.read_text() for path in workspace.rglob("config")]
    assert configs == ["untouched"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, which must become somebody else")
def test_a_workspace_in_roots_own_home_works_and_stays_private(sandbox: Sandbox, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "ws").mkdir(parents=True)
    (home / "secret").write_text("x")
    home.chmod(0o700)
    (home / "ws" / "made-by-root").write_text("x")
    (home / "ws" / "made-by-root").chmod(0o600)
    code = """
import os
print(os.getuid(), open("made-by-root").read(), len(open("made-by-root", "a").name))
open("made", "w").write("y")
print(os.path.exists("../secret"))
"""
    result = run_python(sandbox, home / "ws", code)
    assert result.stdout.decode().split() == ["65534", "x", "12", "False"], result
    assert (home / "ws" / "made").stat().st_uid == 65534
    assert home.stat().st_uid == 0


@pytest.mark.parametrize("folder", ["/", "/etc", "/tmp", "~", "link", "missing"])
def test_what_is_no_workspace_is_refused(sandbox: Sandbox, tmp_path: Path, folder: str) -> None:
    (tmp_path / "link").symlink_to("/etc")
    path = {"~": Path.home(), "link": tmp_path / "link", "missing": tmp_path / "missing"}.get(
        folder, Path(folder)
    )
    with pytest.raises(SandboxError):
        sandbox.run(SandboxRequest(("true",), str(path)))
