"""Tier A: bubblewrap, with namespaces of every kind, a system call filter, and limits.

The program sees the system's folders read-only, a private /tmp, /dev and /proc, and its workspace; it is uid 65534
in there, and no other process, network or socket exists. Whether this works here is found by running it: some
systems forbid user namespaces, some forbid only parts.

Covered beyond `sandbox`: existence, names and times of every other file; other processes; kernel settings.
Not covered: the sum of file sizes in the workspace.
Source: bwrap(1); each flag was kept because an attack in `tests/attacks/test_sandbox.py` got through without it.
"""

# Paths are plain strings and descriptors here, for they go to system calls:
# ruff: noqa: PTH112, PTH114, PTH115, PTH118, PTH123
from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from agentkit_tools import identity, seccomp
from agentkit_tools.confinement import (
    SYSTEM_FILES,
    SYSTEM_FOLDERS,
    Prepared,
    as_a_shell_counts,
    die_with_parent,
    environment,
    limit_this_process,
)
from agentkit_tools.errors import SandboxError
from agentkit_tools.sandbox import Limits, SandboxRequest, SandboxResult

_PASSWD = b"nobody:x:65534:65534:nobody:/tmp:/bin/sh\n"
_GROUP = b"nogroup:x:65534:\n"


@dataclass(frozen=True, slots=True)
class Variant:
    """What this system lets bubblewrap do."""

    own_network: bool = True
    """A network namespace of its own. Without: shares ours, allowed only where ours has no interface but `lo`."""
    no_nested: bool = True
    """User namespaces are disabled inside. Without: the system call filter alone forbids them."""

    def details(self) -> dict[str, str]:
        """Return the variant as words, for a report."""
        return {
            "network": "own namespace" if self.own_network else "shares ours, which is empty",
            "nested namespaces": "disabled" if self.no_nested else "filtered",
        }

    @classmethod
    def from_details(cls, details: Mapping[str, str]) -> Variant:
        """Read what `details` wrote."""
        return next((each for each in VARIANTS if each.details() == dict(details)), VARIANTS[0])


VARIANTS = (
    Variant(),
    Variant(
        own_network=False
    ),  # in a namespace without network, a system call filter may forbid setting one up
    Variant(no_nested=False),  # bubblewrap before 0.8
    Variant(own_network=False, no_nested=False),
)
"""Best first; `sandbox.probe` tries them in this order."""


class BubblewrapSandbox:
    """Runs programs under bubblewrap."""

    tier = "bubblewrap"

    def __init__(self, variant: Variant = VARIANTS[0]) -> None:
        self._variant = variant

    def run(self, request: SandboxRequest) -> SandboxResult:
        """Run one program; see `sandbox.Sandbox`.

        Raises:
            SandboxError: bubblewrap is missing or could not set the sandbox up; the program was not started.
        """
        from agentkit_tools.supervise import supervise

        find_bwrap()
        return supervise(self.tier, request, self._variant.details())


def find_bwrap() -> str:
    """Return the path of bubblewrap, looked for in system folders only.

    Raises:
        SandboxError: It is not installed.
    """
    for folder in ("/usr/bin", "/usr/local/bin", "/bin", "/run/current-system/sw/bin"):
        if os.access(f"{folder}/bwrap", os.X_OK):
            return f"{folder}/bwrap"
    raise SandboxError("bubblewrap is not installed", hint="install bubblewrap")


def prepare(
    request: SandboxRequest, *, options: Mapping[str, str], protected: Sequence[str], nobody: bool
) -> Prepared:
    """Return how to run `request`; called in the supervisor.

    Args:
        request: What to run.
        options: The variant, as `Variant.details` wrote it.
        protected: Absolute paths in the workspace that stay read-only.
        nobody: Whether to become nobody first.

    Raises:
        SandboxError: The network could not be kept out.
    """
    variant = Variant.from_details(options)
    if not variant.own_network and not _network_is_empty():
        raise SandboxError("bubblewrap could make no network namespace here")
    bwrap = find_bwrap()
    status_read, status_write = os.pipe()
    go_read, go_write = os.pipe()
    gate = _Gate(status_read, go_write, request.limits, nobody=nobody)

    def start() -> NoReturn:
        os.close(go_write)
        os.close(status_read)
        limit_this_process(request.limits)
        places = [request.workspace, *request.readable]
        if nobody:
            places = identity.stage(places)
            identity.become_nobody()
            die_with_parent()
        arguments = _arguments(request, places, protected, variant)
        arguments += ["--json-status-fd", str(_inherit(status_write)), "--block-fd", str(_inherit(go_read))]
        command = [bwrap, "--args", str(_pass(os.fsencode("\0".join(arguments))))]
        os.execve(bwrap, [*command, "--", *request.argv], {})  # noqa: S606 - that is the trade

    def begin() -> None:
        os.close(status_write)
        os.close(go_read)
        gate.open()

    return Prepared(start, begin, gate.exit_code, clean_up=gate.close)


def _arguments(
    request: SandboxRequest, places: Sequence[str], protected: Sequence[str], variant: Variant
) -> list[str]:
    """Return bubblewrap's options; `places` is where workspace and readable paths can be reached from."""
    workspace, *readable = places
    options = ["--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"]
    options += ["--unshare-net"] if variant.own_network else []
    options += ["--disable-userns"] if variant.no_nested else []
    options += ["--uid", "65534", "--gid", "65534", "--hostname", "sandbox", "--cap-drop", "ALL"]
    options += ["--die-with-parent", "--new-session", "--clearenv"]
    for name, value in environment("/tmp").items():  # noqa: S108 - a file system of the sandbox's own
        options += ["--setenv", name, value]
    for path in SYSTEM_FOLDERS:
        if os.path.islink(path):
            options += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            options += ["--ro-bind", path, path]
    for path in SYSTEM_FILES:
        options += ["--ro-bind-try", path, path]
    for content, path in ((_PASSWD, "/etc/passwd"), (_GROUP, "/etc/group")):
        options += ["--perms", "0444", "--ro-bind-data", str(_pass(content)), path]
    size = str(min(request.limits.memory_bytes, 4 * max(request.limits.file_bytes, 1 << 20)))
    options += ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev"]
    options += ["--size", size, "--tmpfs", "/dev/shm", "--size", size, "--tmpfs", "/tmp"]  # noqa: S108
    for place, path in zip(readable, request.readable, strict=True):
        options += ["--ro-bind", place, path]
    options += ["--bind", workspace, request.workspace]
    for path in protected:
        inside = os.path.relpath(path, request.workspace)
        options += ["--ro-bind", os.path.join(workspace, inside), path]
    options += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", request.workspace]
    return [*options, "--seccomp", str(_pass(seccomp.tool_profile()))]


class _Gate:
    """Holds the program back until its process limit is set, and learns how it ended.

    The limit counts the processes of a user in a namespace. Set before the namespace exists it would count all
    that this user runs on the whole machine; so it is set from outside, on bubblewrap's first process inside.
    """

    def __init__(self, status: int, go: int, limits: Limits, *, nobody: bool) -> None:
        self._status, self._go, self._limits, self._nobody = status, go, limits, nobody
        self._text = b""

    def open(self) -> None:
        while b"child-pid" not in self._text or not self._text.endswith(b"\n"):
            data = os.read(self._status, 4096)
            if not data:
                return  # bubblewrap ended without a sandbox; `exit_code` says so
            self._text += data
        pid = int(json.loads(self._text.splitlines()[0])["child-pid"])
        processes = self._limits.processes + 1  # bubblewrap's own reaper is one
        if self._nobody:  # even root may lack the right to set another user's limits
            self._as_nobody(lambda: resource.prlimit(pid, resource.RLIMIT_NPROC, (processes, processes)))
        else:
            resource.prlimit(pid, resource.RLIMIT_NPROC, (processes, processes))
        os.write(self._go, b"1")

    @staticmethod
    def _as_nobody(work: Callable[[], object]) -> None:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                identity.become_nobody()
                work()
                status = 0
            finally:
                os._exit(status)
        if os.waitpid(child, 0)[1] != 0:
            raise SandboxError("the process limit of the sandbox could not be set")

    def exit_code(self, status: int, stderr: bytes) -> int:
        while data := os.read(self._status, 4096):
            self._text += data
        for line in self._text.splitlines():
            if b"exit-code" in line:
                return int(json.loads(line)["exit-code"])
        if b"bwrap: execvp" in stderr:
            return 127  # there is no such program, or it cannot be started
        if status < 0:
            return as_a_shell_counts(status, stderr)  # killed at a limit
        said = stderr.decode(errors="replace").strip().splitlines()
        raise SandboxError(
            f"bubblewrap could not set up the sandbox: {said[-1] if said else 'no reason given'}"
        )

    def close(self) -> None:
        os.close(self._status)
        os.close(self._go)


def _network_is_empty() -> bool:
    with open("/proc/net/dev", encoding="ascii") as file:
        interfaces = [line.split(":")[0].strip() for line in file if ":" in line]
    return all(name == "lo" for name in interfaces)


def _pass(content: bytes) -> int:
    """Return a descriptor to read `content` from, open across exec."""
    fd = os.memfd_create("sandbox", 0)
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _inherit(fd: int) -> int:
    os.set_inheritable(fd, True)
    return fd
