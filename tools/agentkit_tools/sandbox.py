"""Run one program where it can reach nothing but its workspace.

    request ──► Sandbox.run ──► supervisor process ──► bubblewrap, or Landlock and seccomp ──► the program

There are two tiers, and a refusal. Which one holds here is found out by running it (`probe`), never by a version.
    bubblewrap   own user, mount, process, network and IPC namespaces; the program sees system files read-only, a
                 private /tmp, and the workspace
    landlock     no namespaces: the kernel refuses files outside system folders and the workspace; names, sizes and
                 times of other files stay visible
    none         programs are not run; tools that need none still work

Covered in both: files outside, sockets of every family, other processes, the environment and open files of this
process, one process's memory, time, output, file size, survivors, uid 0.
Not covered: hardware side channels; a hole in the kernel; the sum of memory over all processes of one run (each is
held to the limit, and the kernel's out-of-memory killer takes them first); the sum of file sizes in the workspace.

Standard library only: the launcher imports this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

from agentkit_tools.errors import SandboxError

MOST_ARGUMENT_BYTES = 128 * 1024  # MAX_ARG_STRLEN: the kernel takes no longer argument
MOST_STDIN_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use. Each is enforced by the kernel or the supervisor, not by the program's good will."""

    seconds: float = 30.0
    """Wall clock; then everything the program started is killed."""
    memory_bytes: int = 1 << 30
    """Address space of each process; also the size of its private /tmp, at most."""
    output_bytes: int = 1 << 20
    """Of each of stdout and stderr; the rest is read and thrown away, up to 64 times as much, then killed."""
    file_bytes: int = 64 << 20
    """The largest file a process may write."""
    processes: int = 64
    """Processes and threads at once."""
    cpu_seconds: int = 30
    """Of each process."""

    def __post_init__(self) -> None:
        """Refuse limits that limit nothing, or leave nothing."""
        ranges = {
            "seconds": (0.01, 86_400),
            "memory_bytes": (16 << 20, 1 << 46),
            "output_bytes": (0, 64 << 20),
            "file_bytes": (0, 1 << 46),
            "processes": (1, 4096),
            "cpu_seconds": (1, 86_400),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise ValueError(f"limit {name} is {value!r}, outside {low} to {high}")


@dataclass(frozen=True, slots=True)
class SandboxRequest:
    """A program to run, and what it is given."""

    argv: tuple[str, ...]
    """Program and arguments; never a shell line. The first is looked up in the sandbox's own PATH."""
    workspace: str
    """Absolute path of the one folder the program may write; also its working directory."""
    stdin: bytes = b""
    limits: Limits = Limits()
    readable: tuple[str, ...] = ()
    """Absolute paths of more files or folders the program may read and run."""

    def __post_init__(self) -> None:
        """Refuse what no sandbox could run."""
        if not self.argv or not self.argv[0]:
            raise ValueError("a sandbox request without a program")
        for text in (*self.argv, self.workspace, *self.readable):
            if "\0" in text or len(text) >= MOST_ARGUMENT_BYTES:
                raise ValueError("an argument or path holds a null byte or is over 128 KiB")
        for path in (self.workspace, *self.readable):
            if not path.startswith("/") or ".." in path.split("/"):
                raise ValueError("a path of a sandbox request is not absolute and plain")
        if len(self.stdin) > MOST_STDIN_BYTES:
            raise ValueError(f"{len(self.stdin)} bytes of input are over the limit of {MOST_STDIN_BYTES}")

    def to_wire(self) -> dict[str, Any]:
        """Return the plain form that crosses process borders."""
        return {
            "argv": list(self.argv),
            "workspace": self.workspace,
            "stdin": self.stdin,
            "limits": asdict(self.limits),
            "readable": list(self.readable),
        }

    @classmethod
    def from_wire(cls, value: object) -> SandboxRequest:
        """Read what `to_wire` wrote.

        Raises:
            ValueError: The value has another shape, or asks for what no sandbox could run.
        """
        match value:
            case {
                "argv": [*argv],
                "workspace": str(workspace),
                "stdin": bytes(stdin),
                "limits": dict(limits),
                "readable": [*readable],
            } if all(isinstance(each, str) for each in (*argv, *readable)) and limits.keys() <= _LIMIT_NAMES:
                return cls(tuple(argv), workspace, stdin, Limits(**limits), tuple(readable))
        raise ValueError("a sandbox request of another shape")


@dataclass(frozen=True, slots=True)
class SandboxResult:
    """How a run ended."""

    exit_code: int | None
    """As a shell counts: 128 and the number of the signal for a killed program; `None` when time ran out."""
    stdout: bytes
    stderr: bytes
    truncated: bool
    """Whether some output was thrown away."""
    timed_out: bool
    seconds: float
    tier: str

    def to_wire(self) -> dict[str, Any]:
        """Return the plain form that crosses process borders."""
        return asdict(self)

    @classmethod
    def from_wire(cls, value: object) -> SandboxResult:
        """Read what `to_wire` wrote.

        Raises:
            ValueError: The value has another shape.
        """
        match value:
            case {
                "exit_code": int() | None as exit_code,
                "stdout": bytes(stdout),
                "stderr": bytes(stderr),
                "truncated": bool(truncated),
                "timed_out": bool(timed_out),
                "seconds": int() | float() as seconds,
                "tier": str(tier),
            }:
                return cls(exit_code, stdout, stderr, truncated, timed_out, float(seconds), tier)
        raise ValueError("a sandbox result of another shape")


_LIMIT_NAMES = frozenset(each.name for each in fields(Limits))


class Sandbox(Protocol):
    """Runs programs, or refuses."""

    @property
    def tier(self) -> str:
        """`bubblewrap`, `landlock` or `none`."""
        ...

    def run(self, request: SandboxRequest) -> SandboxResult:
        """Run one program to its end or its limit; nothing it started is left running.

        Raises:
            SandboxError: The program cannot be run safely here; it was not started.
        """
        ...


class NoSandbox:
    """Refuses every program: there is nothing here that could hold one."""

    tier = "none"

    def __init__(self, reason: str = "no sandbox was found") -> None:
        self._reason = reason

    def run(self, request: SandboxRequest) -> SandboxResult:
        """Refuse.

        Raises:
            SandboxError: Always.
        """
        raise SandboxError(
            f"{Path(request.argv[0]).name} was not run, for nothing here can confine it: {self._reason}",
            hint="install bubblewrap",
        )


@dataclass(frozen=True, slots=True)
class SandboxReport:
    """Which tier holds on this machine, and why not a better one."""

    tier: str
    """`bubblewrap`, `landlock` or `none`."""
    reason: str
    """Why no better tier; empty when there is none better."""
    details: Mapping[str, str] = field(default_factory=dict)
    """What the tier found possible, by name."""


def probe() -> SandboxReport:
    """Find the best tier by running a program in each, best first; 20 to 200 ms."""
    import tempfile

    from agentkit_tools.bubblewrap import VARIANTS, BubblewrapSandbox
    from agentkit_tools.landlock_sandbox import LandlockSandbox

    with tempfile.TemporaryDirectory(prefix="agentkit-probe-") as folder:
        request = SandboxRequest(("true",), folder, limits=Limits(seconds=10))
        reason = "bubblewrap is not installed"
        for variant in VARIANTS:
            try:
                result = BubblewrapSandbox(variant).run(request)
            except SandboxError as error:
                reason = error.message
                continue
            if result.exit_code == 0:
                return SandboxReport("bubblewrap", "", variant.details())
        try:
            if LandlockSandbox().run(request).exit_code == 0:
                return SandboxReport("landlock", reason, {"system calls": "filtered"})
        except SandboxError as error:
            reason += f"; {error.message}"
    return SandboxReport("none", reason)


def choose(report: SandboxReport | None = None) -> Sandbox:
    """Return the sandbox of the best tier.

    Args:
        report: What `probe` found; default: probe now.
    """
    from agentkit_tools.bubblewrap import BubblewrapSandbox, Variant
    from agentkit_tools.landlock_sandbox import LandlockSandbox

    report = report or probe()
    match report.tier:
        case "bubblewrap":
            return BubblewrapSandbox(Variant.from_details(report.details))
        case "landlock":
            return LandlockSandbox()
    return NoSandbox(report.reason)
