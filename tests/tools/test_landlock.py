"""What Landlock takes away, what it leaves, and that it never claims more than it did."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agentkit_tools import landlock

pytestmark = pytest.mark.skipif(
    landlock.abi() < 6, reason="needs Linux 6.12 or later with landlock in its lsm list"
)

PRELUDE = """
import os, signal, socket, subprocess, sys
from pathlib import Path
from agentkit_tools import landlock
folder = Path(sys.argv[1])

def attempt(name, action):
    try:
        action()
        print(name, "done", flush=True)
    except OSError as error:
        print(name, type(error).__name__, flush=True)
"""


def run(body: str, folder: Path) -> dict[str, str]:
    """Run `body` in a fresh process; it prints lines of a name and an outcome."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", PRELUDE + body, str(folder)], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with `open/` and `closed/`, a file in each."""
    for name in ("open", "closed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("text")
    return tmp_path


FILES = """
system = [Path(each) for each in ("/usr", "/lib", "/lib64", "/etc", "/proc", sys.prefix, sys.base_prefix)]
listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen()
if LOCK:
    words = landlock.restrict(read=system, write=[folder / "open", folder / "missing"],
    execute=[Path("/usr")])
attempt("read inside", lambda: (folder / "open/file").read_text())
attempt("write inside", lambda: (folder / "open/new").write_text("x"))
(folder / "open/sub").mkdir()
attempt("move inside", lambda: os.rename(folder / "open/new", folder / "open/sub/new"))
attempt("pipe inside", lambda: os.mkfifo(folder / "open/pipe"))
attempt("execute allowed", lambda: subprocess.run(["/usr/bin/true"], check=True))
attempt("read outside", lambda: (folder / "closed/file").read_text())
attempt("list outside", lambda: os.listdir(folder / "closed"))
attempt("write outside", lambda: (folder / "closed/new").write_text("x"))
attempt("truncate outside", lambda: os.truncate(folder / "closed/file", 0))
(folder / "open/link").symlink_to("../closed/file")
attempt("through a link", lambda: (folder / "open/link").read_text())
attempt("move out", lambda: os.rename(folder / "open/file", folder / "closed/out"))
attempt("remove outside", lambda: os.unlink(folder / "closed/file"))
attempt("tcp connect", lambda: socket.create_connection(listener.getsockname()))
attempt("tcp bind", lambda: socket.socket().bind(("127.0.0.1", 0)))
"""


def test_files_and_tcp_outside_are_refused_and_inside_work(folder: Path) -> None:
    found = run("LOCK = True\n" + FILES, folder)
    refused = {name for name, outcome in found.items() if outcome != "done"}
    assert refused == {
        "read outside", "list outside", "write outside", "truncate outside", "through a link", "move out",
        "remove outside", "tcp connect", "tcp bind",
    }  # fmt: skip
    assert {found[name] for name in refused} == {"PermissionError"}
    assert (folder / "closed" / "file").read_text() == "text"


def test_every_attempt_works_without_the_lock(folder: Path) -> None:
    assert set(run("LOCK = False\n" + FILES, folder).values()) == {"done"}


def test_what_is_not_named_stays_unrestricted(folder: Path) -> None:
    found = run(
        """
print("words", ",".join(landlock.restrict(execute=[], tcp=False, scope=False)).replace(" ", "_"))
attempt("write", lambda: (folder / "closed/new").write_text("x"))
attempt("move", lambda: os.rename(folder / "closed/new", folder / "open/new"))
attempt("tcp", lambda: socket.socket().bind(("127.0.0.1", 0)))
attempt("execute", lambda: os.execv("/usr/bin/true", ["true"]))
""",
        folder,
    )
    assert found == {
        "words": "files:_execute", "write": "done", "move": "done", "tcp": "done", "execute":
        "PermissionError",
    }  # fmt: skip


def test_abstract_sockets_and_signals_stop_at_the_border(folder: Path) -> None:
    body = """
listener = socket.socket(socket.AF_UNIX); listener.bind("\\0" + str(folder)); listener.listen()
outside = subprocess.Popen(["/usr/bin/sleep", "30"])
pid = os.fork()
if pid == 0:
    if LOCK:
        landlock.restrict(tcp=False)
    attempt("abstract", lambda: socket.socket(socket.AF_UNIX).connect(listener.getsockname()))
    attempt("signal", lambda: os.kill(outside.pid, signal.SIGCONT))
    os._exit(0)
os.waitpid(pid, 0)
outside.kill(); outside.wait(); listener.close()
"""
    refused = {"abstract": "PermissionError", "signal": "PermissionError"}
    assert run("LOCK = True\n" + body, folder) == refused
    assert run("LOCK = False\n" + body, folder) == {"abstract": "done", "signal": "done"}


def test_a_process_with_threads_is_refused_rather_than_half_covered(folder: Path) -> None:
    found = run(
        """
import threading
stop = threading.Event()
thread = threading.Thread(target=stop.wait); thread.start()
try:
    landlock.restrict(read=[])
    print("restrict", "done")
except landlock.LandlockError as error:
    print("restrict", "refused" if "2" in error.message else "unclear")
attempt("read", lambda: (folder / "closed/file").read_text())
stop.set(); thread.join()
""",
        folder,
    )
    assert found == {"restrict": "refused", "read": "done"}
