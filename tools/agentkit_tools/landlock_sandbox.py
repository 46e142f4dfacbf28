"""Tier B: Landlock, a system call filter and limits, where no user namespace is to be had.

Covered: as `sandbox` says. A workspace that holds protected folders lets a program change only what lies beside
them, and create nothing at their level. Modes, owners and times cannot be changed at all, not even in the workspace.
Not covered: existence, names, sizes and times of other files can be looked at; other processes can be counted (not
touched); kernels before 6.12 let it signal this user's other processes; a program that is killed together with its
supervisor may leave detached children. Started as root, `readable` paths below a folder that is closed to others
stay out of reach.
"""

# Paths are plain strings and descriptors here, for they go to system calls:
# ruff: noqa: PTH116, PTH120, PTH208
from __future__ import annotations

import os
import resource
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from agentkit_tools import identity, landlock, seccomp
from agentkit_tools.confinement import (
    PATH,
    SYSTEM_FILES,
    SYSTEM_FOLDERS,
    Prepared,
    die_with_parent,
    environment,
    limit_this_process,
)
from agentkit_tools.errors import SandboxError
from agentkit_tools.sandbox import SandboxRequest, SandboxResult

LEAST_ABI = 4
_DEVICES_TO_WRITE = ("/dev/null", "/dev/zero", "/dev/full")
_DEVICES_TO_READ = ("/dev/random", "/dev/urandom")


class LandlockSandbox:
    """Runs programs under Landlock and seccomp."""

    tier = "landlock"

    def run(self, request: SandboxRequest) -> SandboxResult:
        """Run one program; see `sandbox.Sandbox`.

        Raises:
            SandboxError: This kernel's Landlock is too old, or it refused; the program was not started.
        """
        from agentkit_tools.supervise import supervise

        version = landlock.abi()
        if version < LEAST_ABI or not seccomp.supported():
            raise SandboxError(
                f"landlock is at version {version} here, and {LEAST_ABI} is the least that confines a program",
                hint="install bubblewrap",
            )
        return supervise(self.tier, request)


def prepare(
    request: SandboxRequest,
    *,
    options: Mapping[str, str],  # noqa: ARG001
    protected: Sequence[str],
    nobody: bool,
) -> Prepared:
    """Return how to run `request`; called in the supervisor.

    Args:
        request: What to run.
        options: None are known; taken because every tier is prepared alike.
        protected: Absolute paths in the workspace that stay read-only.
        nobody: Whether to become nobody first.

    Raises:
        SandboxError: This process is root and cannot become anybody else.
    """
    if os.geteuid() == 0 and not nobody:
        raise SandboxError("landlock alone would leave the program uid 0", hint="install bubblewrap")
    scratch = tempfile.mkdtemp(prefix="agentkit-tool-")
    if nobody:
        os.chown(scratch, identity.NOBODY, identity.NOBODY)

    def start() -> NoReturn:
        os.chdir(
            request.workspace
        )  # nobody could not walk to a workspace under root's home, but may stand in it
        limit_this_process(request.limits)
        processes = request.limits.processes + _processes_of(identity.NOBODY if nobody else os.getuid())
        readable = [Path(each) for each in (*SYSTEM_FOLDERS, *SYSTEM_FILES, *request.readable)]
        writable = [Path(scratch), *(Path(each) for each in _writable(request.workspace, protected))]
        own = [Path(request.workspace), *writable]
        landlock.restrict(
            read=[*readable, Path(request.workspace), *map(Path, _DEVICES_TO_READ)],
            write=[*writable, *map(Path, _DEVICES_TO_WRITE)],
            execute=[*readable, *own],
        )
        if nobody:
            identity.become_nobody()
            die_with_parent()
        resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
        seccomp.install(seccomp.tool_profile(mount_namespace=False))
        _become(request.argv, environment(scratch))

    return Prepared(start, clean_up=lambda: shutil.rmtree(scratch, ignore_errors=True))


def _become(argv: Sequence[str], variables: dict[str, str]) -> NoReturn:
    """Execute the program, or say why not as a shell does: there is no way back to the supervisor any more."""
    program = argv[0]
    places = [program] if "/" in program else [f"{folder}/{program}" for folder in PATH.split(":")]
    problem = "not found"
    for place in places:
        try:
            os.execve(place, list(argv), variables)  # noqa: S606 - that is the trade
        except FileNotFoundError:
            continue
        except OSError as error:
            problem = error.strerror or problem
    os.write(2, f"{program}: {problem}\n".encode(errors="replace"))
    os._exit(127)


def _writable(workspace: str, protected: Sequence[str]) -> list[str]:
    """Return what in the workspace may be written: all of it, or all but the folders that hold protected names.

    Landlock grants a folder with everything beneath; what is protected cannot be taken out again.
    """
    keepers = {workspace} if protected else set()
    for path in protected:
        folder = os.path.dirname(path)
        while folder != workspace:
            keepers.add(folder)
            folder = os.path.dirname(folder)
    if not keepers:
        return [workspace]
    found = []
    for folder in keepers:
        with os.scandir(folder) as entries:
            found += [
                entry.path
                for entry in entries
                if entry.path not in keepers and entry.path not in protected and not entry.is_symlink()
            ]
    return found


def _processes_of(uid: int) -> int:
    """Count the threads this user runs already, for the kernel's limit counts them too."""
    count = 0
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            if os.stat(f"/proc/{name}").st_uid == uid:
                count += len(os.listdir(f"/proc/{name}/task"))
        except OSError:
            continue  # it ended meanwhile
    return count
