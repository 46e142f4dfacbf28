"""What both tiers promise the one who runs a program: its output, its exit code, its limits, and nothing of ours."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkit_tools import SandboxError
from agentkit_tools.bubblewrap import VARIANTS, BubblewrapSandbox, Variant
from agentkit_tools.landlock_sandbox import LandlockSandbox
from agentkit_tools.sandbox import (
    Limits,
    NoSandbox,
    Sandbox,
    SandboxReport,
    SandboxRequest,
    SandboxResult,
    choose,
    probe,
)


@pytest.fixture(scope="session")
def report() -> SandboxReport:
    """Return what this machine can do."""
    return probe()


@pytest.fixture(params=["bubblewrap", "landlock"])
def sandbox(request: pytest.FixtureRequest, report: SandboxReport, tmp_path: Path) -> Sandbox:
    """Return each tier in turn."""
    if request.param == "bubblewrap":
        if report.tier != "bubblewrap":
            pytest.skip(f"install bubblewrap: {report.reason}")
        return choose(report)
    try:
        LandlockSandbox().run(SandboxRequest(("true",), str(tmp_path)))
    except SandboxError as error:
        pytest.skip(error.message)
    return LandlockSandbox()


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Return an empty workspace."""
    folder = tmp_path / "ws"
    folder.mkdir()
    return folder


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that every user can reach; pytest's own are private."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(params=["one thread", "more threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run the test with one thread and with two: the supervisor starts differently."""
    if request.param == "one thread":
        yield
        return
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    yield
    stop.set()
    other.join()


def shell(sandbox: Sandbox, workspace: Path, line: str, stdin: bytes = b"", **limits: float) -> SandboxResult:
    limited = Limits(**limits)  # type: ignore[arg-type]
    return sandbox.run(SandboxRequest(("sh", "-c", line), str(workspace), stdin, limited))


@pytest.mark.slow
@pytest.mark.usefixtures("threads")
def test_a_program_gets_its_input_and_gives_its_output_and_exit_code(
    sandbox: Sandbox, workspace: Path
) -> None:
    result = shell(sandbox, workspace, "cat; echo oops >&2; pwd; exit 7", b"hello\n")
    assert result.exit_code == 7
    assert result.stdout == f"hello\n{workspace}\n".encode()
    assert result.stderr == b"oops\n"
    assert (result.truncated, result.timed_out, result.tier) == (False, False, sandbox.tier)


def test_input_that_nobody_reads_does_not_hang(sandbox: Sandbox, workspace: Path) -> None:
    assert shell(sandbox, workspace, "exec 0<&-; echo done", bytes(5_000_000)).stdout == b"done\n"


def test_much_input_and_output_at_once_arrives_whole(sandbox: Sandbox, workspace: Path) -> None:
    data = bytes(range(256)) * 4000
    result = shell(sandbox, workspace, "cat", data, output_bytes=len(data))
    assert result.stdout == data
    assert not result.truncated


def test_output_is_kept_up_to_its_limit(sandbox: Sandbox, workspace: Path) -> None:
    result = shell(sandbox, workspace, "echo 123456789; echo 12 >&2", output_bytes=4)
    assert (result.stdout, result.stderr, result.truncated, result.exit_code) == (b"1234", b"12\n", True, 0)


def test_what_is_written_stays_and_can_be_read_next_time(sandbox: Sandbox, workspace: Path) -> None:
    assert shell(sandbox, workspace, "mkdir d && echo kept > d/file").exit_code == 0
    (workspace / "ours").write_text("from outside")
    assert shell(sandbox, workspace, "cat d/file ours").stdout == b"kept\nfrom outside"


def test_nothing_of_our_environment_is_inside(
    sandbox: Sandbox, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", "x")
    names = {line.split(b"=")[0] for line in shell(sandbox, workspace, "env").stdout.splitlines()}
    assert b"CANARY" not in names
    assert {b"PATH", b"HOME", b"TMPDIR", b"LANG"} <= names


def test_signals_and_missing_programs_are_counted_as_a_shell_does(sandbox: Sandbox, workspace: Path) -> None:
    assert shell(sandbox, workspace, "kill -TERM $$").exit_code == 143
    assert shell(sandbox, workspace, "yes | head -1").stdout == b"y\n"  # SIGPIPE ends it, as it should
    missing = sandbox.run(SandboxRequest(("no-such-program",), str(workspace)))
    assert missing.exit_code not in (0, None)
    assert b"no-such-program" in missing.stderr


def test_arguments_are_never_a_shell_line(sandbox: Sandbox, workspace: Path) -> None:
    odd = ("$(touch hacked)", "; touch hacked", "-rf", "a\nb", "\u202e")
    result = sandbox.run(SandboxRequest(("printf", "%s|", *odd), str(workspace)))
    assert result.stdout.decode() == "".join(f"{each}|" for each in odd)
    assert list(workspace.iterdir()) == []


def test_a_readable_folder_can_be_read_and_not_written(
    sandbox: Sandbox, workspace: Path, open_folder: Path
) -> None:
    extra = open_folder
    (extra / "file").write_text("given")
    request = SandboxRequest(
        ("sh", "-c", 'cat "$0/file"; echo x > "$0/new"', str(extra)), str(workspace), readable=(str(extra),)
    )
    result = sandbox.run(request)
    assert result.stdout == b"given"
    assert result.exit_code != 0
    assert [path.name for path in extra.iterdir()] == ["file"]


def test_a_request_and_a_result_survive_the_wire(workspace: Path) -> None:
    request = SandboxRequest(("a", "b"), str(workspace), b"\0\xff", Limits(seconds=1.5), ("/usr",))
    assert SandboxRequest.from_wire(request.to_wire()) == request
    result = SandboxResult(None, b"\0", b"\xff", truncated=True, timed_out=True, seconds=1.0, tier="landlock")
    assert SandboxResult.from_wire(result.to_wire()) == result


@pytest.mark.parametrize(
    "change",
    [
        {"argv": []}, {"argv": "sh"}, {"argv": ["sh", 1]}, {"argv": ["a\0b"]}, {"argv": ["x" * 200_000]},
        {"workspace": "relative"}, {"workspace": "/a/../b"}, {"stdin": "text"}, {"readable": ["../x"]},
        {"limits": {"seconds": -1}}, {"limits": {"seconds": 1e9}}, {"limits": {"processes": True}},
        {"limits": {"unknown": 1}}, {"limits": {"memory_bytes": "much"}},
    ],
)  # fmt: skip
def test_a_malformed_request_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        SandboxRequest.from_wire({**SandboxRequest(("true",), "/ws").to_wire(), **change})
    with pytest.raises(ValueError):
        SandboxResult.from_wire({"exit_code": "0"})


def test_without_a_tier_programs_are_refused_with_a_hint() -> None:
    refusing = choose(SandboxReport("none", "nothing works here"))
    assert isinstance(refusing, NoSandbox)
    with pytest.raises(SandboxError, match="nothing works here") as caught:
        refusing.run(SandboxRequest(("sh",), "/ws"))
    assert caught.value.hint == "install bubblewrap"


def test_a_report_chooses_the_variant_it_found() -> None:
    for variant in VARIANTS:
        chosen = choose(SandboxReport("bubblewrap", "", variant.details()))
        assert isinstance(chosen, BubblewrapSandbox)
        assert Variant.from_details(variant.details()) == variant
    assert isinstance(choose(SandboxReport("landlock", "")), LandlockSandbox)


@pytest.mark.slow
def test_inside_an_empty_network_without_netlink_bubblewrap_shares_it() -> None:
    """A core that locked itself before it starts bubblewrap is in this place."""
    code = """
import ctypes, os, sys, tempfile
uid, gid = os.getuid(), os.getgid()
if ctypes.CDLL(None).unshare(0x50020000) != 0:
    sys.exit(9)
open("/proc/self/setgroups", "w").write("deny")
open("/proc/self/uid_map", "w").write(f"{uid or 1000} {uid} 1")
open("/proc/self/gid_map", "w").write(f"{gid or 1000} {gid} 1")
from agentkit_tools import seccomp
from agentkit_tools.bpf import Rule, assemble
from agentkit_tools.sandbox import choose, probe, SandboxRequest
seccomp.install(assemble([Rule("socket", 13)], os.uname().machine))
report = probe()
print(report.tier, report.details.get("network"))
with tempfile.TemporaryDirectory() as folder:
    print(choose(report).run(SandboxRequest(("id", "-u"), folder)).stdout.decode())
"""
    if not Path("/usr/bin/bwrap").exists():
        pytest.skip("install bubblewrap")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    if done.returncode == 9:
        pytest.skip("allow unprivileged user namespaces")
    assert done.stdout.split() == ["bubblewrap", "shares", "ours,", "which", "is", "empty", "65534"], done


def test_what_the_launcher_imports_is_the_standard_library_alone() -> None:
    code = """
import sys
import tempfile
before = set(sys.modules)
import agentkit_tools.sandbox, agentkit_tools.supervise, agentkit_tools.bubblewrap, agentkit_tools.landlock_sandbox
import agentkit_tools.broker, agentkit_tools.seccomp, agentkit_tools.landlock
roots = {name.split(".")[0] for name in set(sys.modules) - before}
print(sorted(roots - set(sys.stdlib_module_names) - {"agentkit_tools"}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
