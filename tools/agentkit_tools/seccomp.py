"""Take system calls away from a process: profiles for core, worker and tool, and the way to put one on.

A filter holds for every thread (TSYNC), for every child, and cannot be taken off. It is the layer that says
"no network" where namespaces are not to be had, and that closes the kernel's odd doors (io_uring, keyrings,
user namespaces, the mount calls) where they are.

Covered: new sockets of any family, connecting, sending to an address (also through TCP fast open), starting
programs, entering namespaces, reading another process.
Not covered: descriptors the process already holds, and file names; Landlock or a mount namespace has to.
Source: seccomp(2); what must stay open was found by running numpy, Chroma, llama.cpp and torch under the
filter.
"""

from __future__ import annotations

import ctypes
import errno
import os

from agentkit_tools import syscalls
from agentkit_tools.bpf import Rule, Test, assemble
from agentkit_tools.errors import SeccompError

_AF_UNIX = 1
_SOCK_TYPE_MASK, _SOCK_STREAM, _SOCK_SEQPACKET = 0xF, 1, 5
_MSG_FASTOPEN = 0x20000000
_CLONE_THREAD = 0x00010000
_CLONE_NAMESPACES = 0x7E020000  # NEWNS NEWCGROUP NEWUTS NEWIPC NEWUSER NEWPID NEWNET
_SET_ID_BITS = 0o6000
_O_CREATES = 0o100 | 0o20000000  # O_CREAT, __O_TMPFILE: only then does the mode argument mean anything
_S_IFMT, _S_IFCHR, _S_IFBLK = 0o170000, 0o020000, 0o060000
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C  # type into, or read from, the user's terminal

# does sockets and files past any filter
_IO_URING = ("io_uring_setup", "io_uring_enter", "io_uring_register")
_MOUNTS = (
    "mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount",
    "fspick", "mount_setattr",
)  # fmt: skip
_NAMESPACES = ("unshare", "setns")
_OTHER_PROCESSES = (
    "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", "process_madvise", "move_pages",
    "migrate_pages",
)  # fmt: skip
_KERNEL = (
    "bpf", "perf_event_open", "userfaultfd", "add_key", "request_key", "keyctl", "open_by_handle_at",
    "name_to_handle_at", "fanotify_init", "init_module", "finit_module", "delete_module", "kexec_load",
    "kexec_file_load", "reboot", "swapon", "swapoff", "acct", "syslog", "settimeofday", "clock_settime",
    "adjtimex", "clock_adjtime", "sethostname", "setdomainname", "vhangup", "iopl", "ioperm", "modify_ldt",
    "uselib", "ustat", "sysfs", "lookup_dcookie", "nfsservctl", "quotactl", "quotactl_fd", "process_mrelease",
    "lsm_set_self_attr",
)  # fmt: skip
_SHARED_IPC = (
    "shmget", "shmat", "shmctl", "semget", "semop", "semctl", "semtimedop", "msgget", "msgsnd", "msgrcv",
    "msgctl", "mq_open", "mq_unlink",
)  # fmt: skip
_METADATA = (
    "chmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchownat", "utime", "utimes", "futimesat",
    "utimensat", "setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr",
    "fchmod", "fchown",
)  # fmt: skip

_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER, _GET_ACTION_AVAIL, _FLAG_TSYNC = 1, 2, 1
_SECCOMP_NUMBER = {"x86_64": 317, "aarch64": 277}


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def supported() -> bool:
    """Return whether this kernel and processor can take our filters."""
    machine = os.uname().machine
    if machine not in _SECCOMP_NUMBER:
        return False
    action = ctypes.c_uint32(0x80000000)
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.syscall(_SECCOMP_NUMBER[machine], _GET_ACTION_AVAIL, 0, ctypes.byref(action)) == 0)


def install(profile: bytes) -> None:
    """Put `profile` on every thread of this process, for ever, and on every child.

    Sets NO_NEW_PRIVS as well: no program started later gains rights from its set-id bits.

    Raises:
        SeccompError: The kernel refused; nothing is filtered.
    """
    machine = _machine()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise SeccompError(f"the kernel refused NO_NEW_PRIVS: {os.strerror(ctypes.get_errno())}")
    program = _Program(len(profile) // 8, profile)
    result = libc.syscall(_SECCOMP_NUMBER[machine], _SET_MODE_FILTER, _FLAG_TSYNC, ctypes.byref(program))
    if result > 0:
        raise SeccompError(
            f"thread {result} has another seccomp filter, so this one cannot cover every thread"
        )
    if result < 0:
        raise SeccompError(f"the kernel refused the seccomp filter: {os.strerror(ctypes.get_errno())}")


def core_profile(machine: str | None = None) -> bytes:
    """Return the filter of the process that holds keys and documents.

    Left open: accepting on listeners bound before, sending on sockets that exist (descriptors too), UNIX
    socket pairs, threads. Refused with EACCES: everything that opens a way out or starts a program.

    Args:
        machine: `x86_64` or `aarch64`; default: this one.

    Raises:
        SeccompError: No table for this processor.
    """
    return assemble(_core_rules(), _machine(machine))


def worker_profile(machine: str | None = None) -> bytes:
    """Return the filter of engine, embedder and reader workers: as the core, and no accepting either.

    Args:
        machine: `x86_64` or `aarch64`; default: this one.

    Raises:
        SeccompError: No table for this processor.
    """
    return assemble([*_core_rules(), *_deny(("accept", "accept4"), errno.EACCES)], _machine(machine))


def tool_profile(*, mount_namespace: bool = True, machine: str | None = None) -> bytes:
    """Return the filter of a sandboxed program.

    Programs may start. Refused with EPERM: sockets, namespaces, other processes' memory, set-id files,
    devices.

    Args:
        mount_namespace: Whether the program sees only what was mounted for it. Where it sees the host's files
            (Landlock alone), changing their metadata and System V or POSIX IPC are refused too, for Landlock
            knows neither.
        machine: `x86_64` or `aarch64`; default: this one.

    Raises:
        SeccompError: No table for this processor.
    """
    deny = errno.EPERM
    rules = [
        # ENOSYS, so that callers fall back to the calls whose flags a filter can see
        Rule("clone3", errno.ENOSYS),
        Rule("openat2", errno.ENOSYS),
        *_deny(("socket", "connect", "bind", "listen", "accept", "accept4"), deny),
        *_socketpair(deny),
        *_sending_to_addresses(deny),
        *_deny((*_IO_URING, *_MOUNTS, *_NAMESPACES, *_OTHER_PROCESSES, *_KERNEL), deny),
        Rule("clone", deny, (Test(0, _CLONE_NAMESPACES, 0, equal=False),)),
        *_terminal(deny),
        *_set_id_files(deny),
    ]
    if not mount_namespace:
        rules += _deny((*_METADATA, *_SHARED_IPC), deny)
    return assemble(rules, _machine(machine))


def _core_rules() -> list[Rule]:
    deny = errno.EACCES
    return [
        Rule("clone3", errno.ENOSYS),  # its flags lie behind a pointer; glibc falls back to clone
        *_deny(("socket", "connect", "bind", "listen"), deny),
        *_socketpair(deny),
        *_sending_to_addresses(deny),
        *_deny(("execve", "execveat", "fork", "vfork"), deny),
        Rule("clone", deny, (Test(0, _CLONE_THREAD, 0),)),
        *_deny((*_IO_URING, *_MOUNTS, *_NAMESPACES, *_OTHER_PROCESSES, *_KERNEL, *_SHARED_IPC), deny),
        *_terminal(deny),
    ]


def _deny(names: tuple[str, ...], code: int) -> list[Rule]:
    return [Rule(name, code) for name in names]


def _socketpair(code: int) -> list[Rule]:
    """Allow stream and sequenced UNIX pairs alone: a datagram pair can still send to any address."""
    unix = Test(0, 0xFFFFFFFF, _AF_UNIX)
    return [
        Rule("socketpair", 0, (unix, Test(1, _SOCK_TYPE_MASK, _SOCK_STREAM))),
        Rule("socketpair", 0, (unix, Test(1, _SOCK_TYPE_MASK, _SOCK_SEQPACKET))),
        Rule("socketpair", code),
    ]


def _sending_to_addresses(code: int) -> list[Rule]:
    """Refuse `sendto` with an address, and fast open: it connects from within a send.

    A listener that is shut down is an unconnected socket again, so "existing sockets only" would not be
    enough.
    """
    fast_open = {"sendto": 3, "sendmsg": 2, "sendmmsg": 3}
    return [
        Rule("sendto", code, (Test(4, 0xFFFFFFFF, 0, equal=False),)),
        Rule("sendto", code, (Test(4, 0xFFFFFFFF, 0, equal=False, high=True),)),
        *(
            Rule(name, code, (Test(flags, _MSG_FASTOPEN, 0, equal=False),))
            for name, flags in fast_open.items()
        ),
    ]


def _terminal(code: int) -> list[Rule]:
    return [Rule("ioctl", code, (Test(1, 0xFFFFFFFF, request),)) for request in (_TIOCSTI, _TIOCLINUX)]


def _set_id_files(code: int) -> list[Rule]:
    """Refuse set-id bits and device nodes, however a file is made or changed."""
    mode_argument = {
        "chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2, "creat": 1, "mkdir": 1, "mkdirat": 2, "mknod":
        1, "mknodat": 2,
    }  # fmt: skip
    rules = [
        Rule(name, code, (Test(argument, _SET_ID_BITS, 0, equal=False),))
        for name, argument in mode_argument.items()
    ]
    for name, flags in (("open", 1), ("openat", 2)):
        creates = Test(flags, _O_CREATES, 0, equal=False)
        rules.append(Rule(name, code, (creates, Test(flags + 1, _SET_ID_BITS, 0, equal=False))))
    for name, argument in (("mknod", 1), ("mknodat", 2)):
        rules += [Rule(name, code, (Test(argument, _S_IFMT, kind),)) for kind in (_S_IFCHR, _S_IFBLK)]
    return rules


def _machine(machine: str | None = None) -> str:
    machine = machine or os.uname().machine
    if machine not in syscalls.AUDIT_ARCH:
        known = " and ".join(syscalls.AUDIT_ARCH)
        raise SeccompError(f"no system call table for {machine}; there are tables for {known}")
    return machine
