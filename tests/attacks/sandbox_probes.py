"""Attacks on a sandbox, run inside it: reads what to attack from standard input, prints which attacks worked.

Every attack runs in a child of its own, so that none can spoil the next, and is harmless where it works: it opens
what it could write, signals with 0, mounts in a namespace of its own, and changes only files planted for it.
Standard library only; it also runs unconfined, to show that each attack has power.
"""

# Attacks speak to the kernel, not to pathlib:
# ruff: noqa: PTH101, PTH104, PTH108, PTH116, PTH118, PTH123, PTH208, PTH211
from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
X86 = os.uname().machine == "x86_64"
NUMBERS = {  # system calls without a wrapper: x86_64, aarch64
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "io_uring_setup": (425, 425), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "add_key": (248, 217), "open_by_handle_at": (304, 265), "sethostname": (170, 161), "unshare": (272, 97),
    "mount": (165, 40), "fsopen": (430, 430), "open_tree": (428, 428), "clone": (56, 220), "shmget": (29, 194),
    "setns": (308, 268), "openat2": (437, 437),
}  # fmt: skip
TARGET: dict[str, Any] = {}


def call(name: str, *arguments: object) -> int:
    whole = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = LIBC.syscall(ctypes.c_long(NUMBERS[name][0 if X86 else 1]), *whole)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)


def outside(name: str) -> str:
    return os.path.join(TARGET["outside"], name)


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(65536)


def write(path: str, content: bytes = b"attacked") -> bool:
    with open(path, "wb") as file:
        return file.write(content) > 0


def opens_for_writing(path: str) -> bool:
    os.close(os.open(path, os.O_WRONLY))
    return True


def works(action: Callable[[], object]) -> bool:
    action()
    return True


def status(field: str) -> str:
    lines = read("/proc/self/status").decode().splitlines()
    return next(line.split(":")[1].strip() for line in lines if line.startswith(field + ":"))


def link_then(use: Callable[[str], object]) -> bool:
    link = f"link-{os.getpid()}"
    os.symlink(outside("secret"), link)
    return works(lambda: use(link))


def environment_of(pid: str) -> bool:
    return b"CANARY" in read(f"/proc/{pid}/environ")


def any_environment() -> bool:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if environment_of(pid):
                return True
        except OSError:
            continue
    return False


def leaked_descriptor() -> bool:
    for fd in range(3, 256):
        try:
            if b"CANARY" in os.pread(fd, 100, 0):
                return True
        except OSError:
            continue
    return False


def connects(family: int, address: Any) -> bool:
    with socket.socket(family) as attacker:
        attacker.settimeout(2)
        attacker.connect(address)
        return attacker.send(b"CANARY") > 0


def sends_udp() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as attacker:
        return attacker.sendto(b"CANARY", ("127.0.0.1", TARGET["udp"])) > 0


def sends_from_pair() -> bool:
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return pair[0].sendto(b"CANARY", "\0" + TARGET["abstract_datagram"]) > 0


def fast_open() -> bool:
    with socket.socket() as attacker:
        return attacker.sendto(b"CANARY", 0x20000000, ("127.0.0.1", TARGET["tcp"])) > 0


def opens_socket(family: int, kind: int, protocol: int = 0) -> bool:
    return works(lambda: socket.socket(family, kind, protocol).close())


def reads_memory() -> bool:
    buffer = ctypes.create_string_buffer(8)
    local = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
    remote = (ctypes.c_void_p * 2)(int(TARGET["victim_address"]), 8)
    return call("process_vm_readv", TARGET["victim"], local, 1, remote, 1, 0) > 0


def steals_descriptor() -> bool:
    victim = call("pidfd_open", TARGET["victim"], 0)
    return works(lambda: call("pidfd_getfd", victim, 0, 0))


def mounts() -> bool:
    call("unshare", 0x00020000)
    return works(lambda: call("mount", b"tmpfs", TARGET["workspace"].encode(), b"tmpfs", 0, None))


def namespaced_child() -> bool:
    pid = call("clone", 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return True


def set_id_by_mode() -> bool:
    os.close(os.open("set-id", os.O_CREAT | os.O_WRONLY, 0o4755))
    return bool(os.stat("set-id").st_mode & 0o4000)


def set_id_by_openat2() -> bool:
    how = (ctypes.c_uint64 * 3)(os.O_CREAT | os.O_WRONLY, 0o4755, 0)
    call("openat2", -100, b"set-id-2", how, 24)
    return bool(os.stat("set-id-2").st_mode & 0o4000)


def set_id_by_chmod() -> bool:
    write("chmodded")
    os.chmod("chmodded", 0o4755)
    return bool(os.stat("chmodded").st_mode & 0o4000)


def types_into_terminal() -> bool:
    import fcntl

    tty = os.open("/dev/tty", os.O_RDWR)
    return works(lambda: fcntl.ioctl(tty, 0x5412, b" "))


ATTACKS: dict[str, Callable[[], bool]] = {
    # files
    "read a key outside": lambda: b"CANARY" in read(outside("secret")),
    "list a folder outside": lambda: "secret" in os.listdir(TARGET["outside"]),
    "read /etc/shadow": lambda: b":" in read("/etc/shadow"),
    "read through ..": lambda: b"CANARY" in read(os.path.join("..", "outside", "secret")),
    "read through a link": lambda: link_then(read),
    "write through a link": lambda: link_then(write),
    "write outside": lambda: write(outside("written")),
    "append outside": lambda: write(outside("grown")),
    "remove outside": lambda: works(lambda: os.unlink(outside("removed"))),
    "truncate outside": lambda: works(lambda: os.truncate(outside("cut"), 0)),
    "hard link to outside": lambda: works(lambda: os.link(outside("secret"), "second-name")),
    "move out of the workspace": lambda: (
        write("moved") and works(lambda: os.rename("moved", outside("moved")))
    ),
    "chmod outside": lambda: works(lambda: os.chmod(outside("plain"), 0o600)),
    "utime outside": lambda: works(lambda: os.utime(outside("plain"))),
    "xattr outside": lambda: works(lambda: os.setxattr(outside("plain"), "user.a", b"b")),
    "write the host's /tmp": lambda: write(TARGET["tmp_file"]) and TARGET["unconfined"],
    # /proc and /sys
    "environment of another process": lambda: environment_of(str(TARGET["victim"])),
    "environment of anybody": any_environment,
    "environment inherited": lambda: any("CANARY" in value for value in os.environ.values()),
    "core_pattern": lambda: opens_for_writing("/proc/sys/kernel/core_pattern"),
    "sysrq": lambda: opens_for_writing("/proc/sysrq-trigger"),
    "uevent_helper": lambda: opens_for_writing("/sys/kernel/uevent_helper"),
    "descriptors inherited": leaked_descriptor,
    # network and other sockets
    "tcp": lambda: connects(socket.AF_INET, ("127.0.0.1", TARGET["tcp"])),
    "tcp fast open": fast_open,
    "udp": sends_udp,
    "unix socket by path": lambda: connects(socket.AF_UNIX, TARGET["unix"]),
    "unix socket by name": lambda: connects(socket.AF_UNIX, "\0" + TARGET["abstract"]),
    "unix datagram from a pair": sends_from_pair,
    "netlink": lambda: opens_socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "packet socket": lambda: opens_socket(socket.AF_PACKET, socket.SOCK_RAW),
    "raw socket": lambda: opens_socket(socket.AF_INET, socket.SOCK_RAW, 1),
    "multipath tcp": lambda: opens_socket(socket.AF_INET, socket.SOCK_STREAM, 262),
    "vsock": lambda: opens_socket(40, socket.SOCK_STREAM),
    "io_uring": lambda: call("io_uring_setup", 1, ctypes.create_string_buffer(120)) >= 0,
    # other processes
    "signal another process": lambda: works(lambda: os.kill(TARGET["victim"], 0)),
    "signal the caller": lambda: works(lambda: os.kill(TARGET["caller"], 0)),
    "ptrace": lambda: works(lambda: call("ptrace", 16, TARGET["victim"], 0, 0)),
    "read memory": reads_memory,
    "steal a descriptor": steals_descriptor,
    "shared memory": lambda: call("shmget", TARGET["shared_memory"], 0, 0) >= 0,
    # the kernel
    "user namespace": lambda: works(lambda: call("unshare", 0x10000000)),
    "user namespace by clone": namespaced_child,
    "join a namespace": lambda: works(lambda: call("setns", os.open("/proc/1/ns/net", os.O_RDONLY), 0)),
    "mount": mounts,
    "new mount api": lambda: works(lambda: call("fsopen", b"tmpfs", 0)),
    "open_tree": lambda: works(lambda: call("open_tree", -100, b"/", 0)),
    "chroot": lambda: works(lambda: os.chroot(".")),
    "device node": lambda: works(lambda: os.mknod("device", 0o020666, os.makedev(1, 3))),
    "bpf": lambda: works(lambda: call("bpf", 0, (ctypes.c_uint32 * 16)(1, 4, 8, 1), 64)),
    "perf": lambda: works(lambda: call("perf_event_open", (ctypes.c_uint32 * 32)(1, 128), 0, -1, -1, 0)),
    "userfaultfd": lambda: works(lambda: call("userfaultfd", 1)),
    "kernel keyring": lambda: works(lambda: call("add_key", b"user", b"a", b"b", 1, -2)),
    "open by handle": lambda: works(lambda: call("open_by_handle_at", -100, (ctypes.c_uint32 * 4)(4, 1), 0)),
    "hostname": lambda: works(
        lambda: call("sethostname", os.uname().nodename.encode(), len(os.uname().nodename))
    ),
    # becoming more
    "uid 0": lambda: os.getuid() == 0,
    "become root": lambda: works(lambda: os.setuid(0)),
    "capabilities": lambda: int(LIBC.prctl(23, 21)) == 1 and os.geteuid() == 0,
    "no_new_privs off": lambda: int(LIBC.prctl(39, 0, 0, 0, 0)) != 1,
    "set-id by chmod": set_id_by_chmod,
    "set-id by mode": set_id_by_mode,
    "set-id by openat2": set_id_by_openat2,
    "core dumps": lambda: resource.getrlimit(resource.RLIMIT_CORE)[1] != 0,
    "normal priority": lambda: os.sched_getscheduler(0) != os.SCHED_IDLE,
    "regain priority": lambda: works(lambda: os.nice(-5)),
    "type into the terminal": types_into_terminal,
    # what other programs obey
    "git hook": lambda: write(".git/hooks/pre-commit"),
    "git config": lambda: write(".git/config"),
    "move .git": lambda: works(lambda: os.rename(".git", "git-moved")),
    "replace a nested .git": lambda: write("project/.git/config"),
    "vscode tasks": lambda: write(".vscode/tasks.json"),
}


def attempt(attack: Callable[[], bool]) -> str:
    """Run one attack in a child; return `worked` or why not."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(5)
        outcome = "no"
        try:
            outcome = "worked" if attack() else "no"
        except OSError as error:
            outcome = error.strerror or "failed"
        finally:
            os.write(write_end, outcome.encode())
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as file:
        outcome = file.read().decode()
    os.waitpid(pid, 0)
    return outcome or "killed"


if __name__ == "__main__":
    TARGET.update(json.loads(sys.stdin.read()))
    print(json.dumps({name: attempt(attack) for name, attack in ATTACKS.items()}))
