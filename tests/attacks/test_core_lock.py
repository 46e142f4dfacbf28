"""SECURITY.md: the core cannot send anything anywhere, start anything, or write outside its own folders.

Every attempt is made twice in a process of its own: locked, where the kernel must refuse it, and unlocked, where
it must work, so that a passing test means something.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

LOCKED = """
from pathlib import Path
from agentkit.core import lock, namespaces
import sys
home = Path(sys.argv[1])
if sys.argv[2] == "locked":
    namespaces.hide_from_debuggers()
    lock.take([home], namespaces="not asked for")
"""

ATTEMPTS = {
    "socket through ctypes": "check(libc.socket(2, 1, 0))",
    "raw system call for a socket": "check(libc.syscall(41 if machine == 'x86_64' else 198, 2, 1, 0))",
    "UNIX socket": "socket.socket(socket.AF_UNIX)",
    "io_uring": "check(libc.syscall(425, 4, ctypes.byref((ctypes.c_char * 120)())))",
    "MPTCP": "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)",
    "execve": "os.posix_spawn('/bin/true', ['true'], {})",
    "fork": "pid = os.fork(); (pid or os._exit(0)) and os.waitpid(pid, 0)",
    "write outside": "open(outside, 'w').close()",
    "truncate outside": "os.truncate(existing, 0)",
    "rename outside": "os.rename(existing, existing + '.moved'); os.rename(existing + '.moved', existing)",
    "new user namespace": "check(libc.unshare(0x10000000))",
    "a socket from a thread": (
        "import threading; box = []\n"
        "def attempt():\n"
        "    try: socket.socket().close()\n"
        "    except OSError as error: box.append(error)\n"
        "thread = threading.Thread(target=attempt); thread.start(); thread.join()\n"
        "if box: raise box[0]"
    ),
}

PROGRAM = """
import ctypes, errno, json, os, platform, socket
machine = platform.machine()
libc = ctypes.CDLL(None, use_errno=True)
def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
outside, existing = sys.argv[3], sys.argv[4]
try:
{attempt}
    print(json.dumps("worked"))
except OSError as error:
    print(json.dumps(errno.errorcode[error.errno]))
"""


def try_it(attempt: str, home: Path, elsewhere: Path, how: str) -> str:
    existing = elsewhere / "existing"
    existing.write_text("content")
    body = "\n".join(f"    {line}" for line in attempt.splitlines())
    program = LOCKED + PROGRAM.replace("{attempt}", body)
    arguments = [str(home), how, str(elsewhere / "new"), str(existing)]
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout, done.stderr
    return str(json.loads(done.stdout))


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTEMPTS)
def test_the_lock_stops_what_works_without_it(name: str, tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    assert try_it(ATTEMPTS[name], home, elsewhere, "unlocked") == "worked", "the attempt has no power here"
    assert try_it(ATTEMPTS[name], home, elsewhere, "locked") in ("EACCES", "EPERM", "ENOSYS")


@pytest.mark.slow
def test_a_process_with_a_thread_is_not_locked_by_halves(tmp_path: Path) -> None:
    program = (
        "import threading, time, sys; from pathlib import Path\n"
        "threading.Thread(target=time.sleep, args=(5,), daemon=True).start()\n"
        "from agentkit.core import lock; lock.take([Path(sys.argv[1])], namespaces=None)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0
    assert "IsolationError" in done.stderr


@pytest.mark.slow
def test_a_self_test_that_gets_out_refuses_to_go_on() -> None:
    program = "from agentkit.core import lock; lock.self_test()"
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert "IsolationError: the self-test could still use" in done.stderr


def test_a_program_that_imports_agentkit_is_left_alone() -> None:
    before = len(list(Path("/proc/self/task").iterdir()))
    import agentkit

    assert agentkit.Agent is not None
    assert len(list(Path("/proc/self/task").iterdir())) == before
    subprocess.run(["/bin/true"], check=True)


READER = """
import ctypes, os, resource, sys  # all of it before: an interpreter under root's home is then out of reach
from agentkit.core import namespaces
ready, theirs = os.pipe()
over, ours = os.pipe()
if os.getuid() == 0:  # root may read anybody: the promise is about an ordinary user's other programs
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # which a change of user switched off
child = os.fork()
if child == 0:
    if sys.argv[1] == "hidden":
        namespaces.hide_from_debuggers()
    os.write(theirs, b"1")
    os.close(ours)
    os.read(over, 1)
    os._exit(0)
os.close(theirs)
os.read(ready, 1)
for name in ("mem", "environ", "maps"):
    try:
        open(f"/proc/{child}/{name}", "rb").close()
        print(name, "worked")
    except PermissionError:
        print(name, "refused")
os.write(ours, b"1")
os.waitpid(child, 0)
"""


@pytest.mark.parametrize(("how", "answer"), [("hidden", "refused"), ("not hidden", "worked")])
def test_another_program_of_the_same_user_cannot_read_its_memory(how: str, answer: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READER, how], capture_output=True, text=True, check=True, timeout=30
    )
    said = [line.rsplit(" ", 1) for line in done.stdout.splitlines()]
    assert said == [[name, answer] for name in ("mem", "environ", "maps")]
