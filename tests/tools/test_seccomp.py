"""What a filter refuses, what it must leave open, and that the refusals are the filter's doing."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agentkit_tools import SeccompError, seccomp, syscalls

MACHINES = ("x86_64", "aarch64")
PROFILES: dict[str, Callable[..., bytes]] = {
    "core": seccomp.core_profile,
    "worker": seccomp.worker_profile,
    "tool": seccomp.tool_profile,
    "tool_without_namespace": lambda machine: seccomp.tool_profile(mount_namespace=False, machine=machine),
}
ALLOW, KILL = "allow", "kill"

# Each line is one attempt. It prints its name and the error number it met (0: it worked).
ATTEMPTS = """
import ctypes, errno, fcntl, os, signal, socket, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen()
idle = socket.socket()
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); receiver.bind(("127.0.0.1", 0))
left, right = socket.socketpair()
client = socket.create_connection(listener.getsockname())
fresh = socket.socket()
fast = socket.socket()

def attempt(name, action):
    try:
        action()
        code = 0
    except OSError as error:
        code = error.errno
    print(name, code, flush=True)

def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "")

def close(ends):
    for end in ends:
        end.close()

def fork():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)

def spawn():
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)

def thread():
    worker = threading.Thread(target=lambda: None)
    worker.start(); worker.join()

def pass_descriptor():
    with open("/dev/null") as file:
        socket.send_fds(left, [b"x"], [file.fileno()])
        _, fds, _, _ = socket.recv_fds(right, 1, 1)
        os.close(fds[0])

def fast_open():
    fast.sendmsg([b"x"], [], 0x20000000, listener.getsockname())

def accept():
    listener.accept()[0].close()

if PROFILE:
    from agentkit_tools import seccomp
    seccomp.install(getattr(seccomp, PROFILE)())
attempt("tcp socket", lambda: socket.socket().close())
attempt("udp socket", lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close())
attempt("unix socket", lambda: socket.socket(socket.AF_UNIX).close())
attempt("netlink socket", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close())
attempt("connect", lambda: fresh.connect(listener.getsockname()))
attempt("bind", lambda: idle.bind(("127.0.0.1", 0)))
attempt("listen", lambda: listener.listen())
attempt("sendto", lambda: datagrams.sendto(b"x", receiver.getsockname()))
attempt("fast open", fast_open)
attempt("datagram pair", lambda: close(socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)))
attempt("fork", fork)
attempt("spawn", spawn)
attempt("io_uring", lambda: call(425, 1, ctypes.create_string_buffer(120)))
attempt("unshare", lambda: call(272 if os.uname().machine == "x86_64" else 97, 0))
attempt("accept", accept)
attempt("stream pair", lambda: close(socket.socketpair()))
attempt("send", lambda: left.send(b"x"))
attempt("receive", lambda: right.recv(1))
attempt("pass descriptor", pass_descriptor)
attempt("thread", thread)
"""
MUST_WORK = {"stream pair", "send", "receive", "pass descriptor", "thread"}
NETWORK = {
    "tcp socket", "udp socket", "unix socket", "netlink socket", "connect", "bind", "listen", "sendto",
    "fast open", "datagram pair",
}  # fmt: skip
STARTING = {"fork", "spawn"}
REFUSED = {
    "core_profile": NETWORK | STARTING | {"io_uring", "unshare"},
    "worker_profile": NETWORK | STARTING | {"io_uring", "unshare", "accept"},
    "tool_profile": NETWORK | {"io_uring", "unshare", "accept"},
}


def attempts(profile: str) -> dict[str, int]:
    """Run `ATTEMPTS` in a child that puts `profile` on first ("": none)."""
    code = f"PROFILE = {profile!r}\n{ATTEMPTS}"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return {name: int(number) for name, number in (line.rsplit(" ", 1) for line in done.stdout.splitlines())}


@pytest.fixture(scope="module")
def unlocked() -> dict[str, int]:
    """Return how every attempt fares without a filter."""
    return attempts("")


def test_every_attempt_works_without_a_filter(unlocked: dict[str, int]) -> None:
    failing = {name for name, code in unlocked.items() if code}
    assert failing <= {"io_uring"}, (
        "an attempt without power proves nothing"
    )  # a kernel may forbid io_uring itself


@pytest.mark.parametrize("profile", REFUSED)
def test_a_profile_refuses_what_it_names_and_nothing_else(profile: str, unlocked: dict[str, int]) -> None:
    found = attempts(profile)
    assert found.keys() == unlocked.keys()
    refused = {name for name, code in found.items() if code}
    assert refused == REFUSED[profile]
    expected = 1 if profile == "tool_profile" else 13  # EPERM, EACCES
    assert {found[name] for name in refused} == {expected}
    assert not refused & MUST_WORK


def test_a_filter_covers_threads_that_already_run() -> None:
    code = """
import socket, threading
from agentkit_tools import seccomp
locked, done = threading.Event(), []
def late():
    locked.wait()
    try:
        socket.socket()
        done.append("open")
    except PermissionError:
        done.append("refused")
thread = threading.Thread(target=late); thread.start()
seccomp.install(seccomp.core_profile())
locked.set(); thread.join()
print(done[0])
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "refused", done.stderr


def test_a_listener_shut_down_cannot_be_turned_into_a_client() -> None:
    """Shutting a listener down makes it an unconnected socket again, and fast open connects from a send."""
    code = """
import socket
from agentkit_tools import seccomp
target = socket.socket(); target.bind(("127.0.0.1", 0)); target.listen()
ours = socket.socket(); ours.bind(("127.0.0.1", 0)); ours.listen()
seccomp.install(seccomp.core_profile())
ours.shutdown(socket.SHUT_RDWR)
for flags in (0x20000000, 0):
    try:
        ours.sendmsg([b"x"], [], flags, target.getsockname())
        print("sent")
    except OSError as error:
        print(type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout.split() == ["PermissionError", "BrokenPipeError"], done.stderr


def test_an_unknown_processor_is_refused() -> None:
    with pytest.raises(SeccompError, match="riscv64"):
        seccomp.core_profile("riscv64")


# The programs themselves, on a small machine of our own: this is how aarch64 is checked on any computer.


def verdict(
    program: bytes, machine: str, name: str | int, *arguments: int, arch: int | None = None
) -> str | int:
    """Run a filter on one call, as the kernel would; return `allow`, `kill` or the error number."""
    number = syscalls.number(name, machine) if isinstance(name, str) else name
    assert number is not None
    filled = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("<IIQ6Q", number, arch or syscalls.AUDIT_ARCH[machine], 0, *filled)
    accumulator, at = 0, 0
    while True:
        code, if_true, if_false, value = struct.unpack_from("<HBBI", program, 8 * at)
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, value)
            case 0x54:
                accumulator &= value
            case 0x15:
                at += if_true if accumulator == value else if_false
            case 0x25:
                at += if_true if accumulator > value else if_false
            case 0x06:
                if value == 0x80000000:
                    return KILL
                return ALLOW if value == 0x7FFF0000 else value & 0xFFFF
            case _:
                raise AssertionError(f"instruction {code:#x}")


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("profile", PROFILES)
def test_another_architecture_kills_and_an_unknown_call_does_not_exist(machine: str, profile: str) -> None:
    program = PROFILES[profile](machine=machine)
    assert verdict(program, machine, 0, arch=0x40000003) == KILL  # i386
    assert verdict(program, machine, 463) == 38
    assert verdict(program, machine, 0x40000000 + 41) == 38  # x32 socket
    assert verdict(program, machine, "clone3") == 38


@pytest.mark.parametrize("machine", MACHINES)
def test_arguments_decide(machine: str) -> None:
    core = seccomp.core_profile(machine)
    tool = seccomp.tool_profile(machine=machine)
    high = 1 << 32
    cases: list[tuple[bytes, str, tuple[int, ...], str | int]] = [
        (core, "clone", (0x003D0F00,), ALLOW),  # a pthread
        (core, "clone", (0x01200011,), 13),  # fork
        (core, "socketpair", (1, 1), ALLOW),
        (core, "socketpair", (1, 1 | 0o2000000), ALLOW),  # with CLOEXEC
        (core, "socketpair", (1, 2), 13),
        (core, "socketpair", (2, 1), 13),
        (core, "sendto", (3, 0, 0, 0, 0), ALLOW),
        (core, "sendto", (3, 0, 0, 0, 0x1000), 13),
        (core, "sendto", (3, 0, 0, 0, high), 13),
        (core, "sendmsg", (3, 0, 0x4000), ALLOW),
        (core, "sendmsg", (3, 0, 0x20000000), 13),
        (core, "ioctl", (0, 0x5412), 13),
        (core, "ioctl", (0, 0x5401), ALLOW),
        (tool, "clone", (0x01200011,), ALLOW),
        (tool, "clone", (0x10000011,), 1),  # a user namespace
        (tool, "execve", (), ALLOW),
        (tool, "openat", (0, 0, 0o100, 0o644), ALLOW),
        (tool, "openat", (0, 0, 0, 0o4755), ALLOW),  # no O_CREAT: the mode is whatever was in the register
        (tool, "openat", (0, 0, 0o100, 0o4755), 1),
        (tool, "fchmodat", (0, 0, 0o755), ALLOW),
        (tool, "fchmodat", (0, 0, 0o2755), 1),
        (tool, "mknodat", (0, 0, 0o010644), ALLOW),  # a FIFO
        (tool, "mknodat", (0, 0, 0o020644), 1),
        (tool, "mknodat", (0, 0, 0o060644), 1),
    ]
    for program, name, arguments, expected in cases:
        assert verdict(program, machine, name, *arguments) == expected, (name, arguments)
    hosts_files = seccomp.tool_profile(mount_namespace=False, machine=machine)
    assert verdict(tool, machine, "utimensat") == ALLOW
    assert verdict(hosts_files, machine, "utimensat") == 1
    assert verdict(hosts_files, machine, "shmget") == 1


HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers_are_the_kernels(machine: str) -> None:
    if not HEADERS[machine].is_file():
        pytest.skip("install the kernel headers (linux-libc-dev) to compare numbers")
    header = dict(re.findall(r"#define __NR_(\w+)\s+(\d+)", HEADERS[machine].read_text()))
    ours = {name: syscalls.number(name, machine) for name in syscalls.NAMES}
    early = {name: value for name, value in ours.items() if value is None or value <= 450}
    assert {name: int(header[name]) if name in header else None for name in early} == early
