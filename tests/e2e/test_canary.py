"""Whatever is killed in the middle of its work, nothing of what it worked on lies anywhere in clear."""

from __future__ import annotations

import os
import resource
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agentkit.client import CoreClient
from agentkit.errors import AgentkitError
from agentkit.indexing.writing import BULK_AFTER_CHUNKS
from agentkit.paths import Home
from tests import canary

pytestmark = [pytest.mark.model, pytest.mark.slow]

WORDS = [secrets.token_hex(5) + "qz" for _ in range(5)]
"""Fresh ones in each run, so that nothing else on this machine can hold them."""
SHARED = [folder for folder in map(Path, ("/dev/shm", "/tmp", "/var/tmp")) if folder.is_dir()]
"""Where a library may put something in spite of it all; what lay there before is not looked at again."""
FACT = f"My sister {WORDS[0]} collects porcelain owls."
LINE = f"The {WORDS[1]} tank leaked onto the harpsichord."
QUESTION = f"Tell me a long story about a lighthouse keeper whose name is {WORDS[2]}."
NAME = f"{WORDS[3]}.md"
PASSPHRASE = WORDS[4].encode()


@pytest.fixture
def places(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """Give the processes of this test a home, temporary folder, cache and working folder of their own."""
    for variable, name in (("HOME", "user"), ("TMPDIR", "tmp"), ("XDG_CACHE_HOME", "cache")):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / name))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (limits[1], limits[1]))  # as after `ulimit -c unlimited`
    yield [tmp_path / name for name in ("home", "user", "tmp", "cache", "work")]
    resource.setrlimit(resource.RLIMIT_CORE, limits)


def _children(pid: int) -> dict[str, int]:
    """Return every process below `pid`, by the module it runs; `launcher` for the one that runs none."""
    found: dict[str, int] = {}
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        with suppress(OSError):
            for child in map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split()):
                waiting.append(child)
                line = Path(f"/proc/{child}/cmdline").read_text()
                names = [name for name in ("engine_worker", "embed_worker", "reader_worker") if name in line]
                found[names[0] if names else "launcher"] = child
    return found


def _crash(pid: int, number: int) -> None:
    ended = os.pidfd_open(pid)
    os.kill(pid, number)
    import select

    assert select.select([ended], [], [], 20)[0]
    os.close(ended)


def _documents(folder: Path, many: int) -> Path:
    """Return a folder of notes: the user's own, in clear, and the only place where the words may be found."""
    folder.mkdir(mode=0o700)
    for number in range(many):
        (folder / f"note-{number}.md").write_text(f"# Note {number}\n\n{LINE}\n")
    (folder / NAME).write_text(f"# Tuesday\n\n{LINE}\n")
    return folder


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("victim", "number"),
    [
        ("core", signal.SIGKILL),
        pytest.param("core", signal.SIGSEGV, marks=pytest.mark.long),
        pytest.param("launcher", signal.SIGKILL, marks=pytest.mark.long),
        pytest.param("engine_worker", signal.SIGSEGV, marks=pytest.mark.long),
        pytest.param("embed_worker", signal.SIGSEGV, marks=pytest.mark.long),
    ],
    ids=lambda value: value if isinstance(value, str) else signal.Signals(value).name,
)
def test_who_is_killed_at_work_leaves_nothing_in_clear(
    victim: str,
    number: int,
    places: list[Path],
    core: Any,
    tmp_path_factory: pytest.TempPathFactory,
    tell: Callable[[str], None],
) -> None:
    started = time.time() - 1
    many = 2 * BULK_AFTER_CHUNKS if victim == "embed_worker" else 1
    notes = _documents(tmp_path_factory.mktemp("documents") / "notes", many)
    client: CoreClient = core.connect()
    client.request("init", passphrase=PASSPHRASE)
    client.request("remember", text=FACT)
    client.request("index", path=str(notes / NAME))
    pid = int(client.request("status")["pid"])
    if victim == "embed_worker":
        stream = client.stream("index", path=str(notes))
        _until(lambda: "embed_worker" in _children(pid), stream)
    else:
        stream = client.stream("run", text=QUESTION, mode="chat", conversation="canary")
        _until(lambda: True, stream)  # in the middle of an answer
    running = {"core": pid, **_children(pid)}
    for name, each in running.items():
        with suppress(FileNotFoundError):
            assert "Max core file size        0  " in Path(f"/proc/{each}/limits").read_text(), name
    _crash(running[victim], number)
    with suppress(AgentkitError):
        stream.close()
    core.close()
    wanted = canary.needles(WORDS)
    shared = [place for folder in SHARED for place in folder.iterdir() if place.stat().st_ctime >= started]
    shared += Path("/").glob("core*")  # the working folder of the core
    found = canary.hits([*places, *shared], wanted, since=started, but=notes)
    where = f"{len(places)} folders and {len(shared)} shared places"
    tell(f"{victim} killed at work: {len(wanted)} forms of {len(WORDS)} words in {where}: {len(found)} hits")
    assert found == []
    assert list(Path.cwd().iterdir()) == []  # no core file


def _until(reached: Any, stream: Iterator[dict[str, Any]]) -> None:
    for event in stream:
        if event["type"] in ("TextDelta", "FileIndexed", "Progress") and reached():
            return
    pytest.fail("it was over before it could be killed")


def test_a_core_dump_would_have_been_written_without_our_limit(places: list[Path]) -> None:
    """The look for core files has power: a program that is not ours leaves one."""
    crash = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    subprocess.run([sys.executable, "-c", crash], check=False)
    if Path("/proc/sys/kernel/core_pattern").read_text().startswith(("|", "/")):
        pytest.skip("this system collects core files elsewhere")
    if resource.getrlimit(resource.RLIMIT_CORE)[0] == 0:
        pytest.skip("this system forbids core files")
    assert [path.name.split(".")[0] for path in Path.cwd().iterdir()] == ["core"]


def test_the_command_line_leaves_no_core_file(places: list[Path]) -> None:
    """A passphrase is typed into it, and answers are shown by it; a limit that is raised later is the caller's word."""
    crash = (
        "import os, signal; from agentkit.cli.app import main; main(['--version']); "
        "os.kill(os.getpid(), signal.SIGSEGV)"
    )
    done = subprocess.run([sys.executable, "-c", crash], check=False, stdout=subprocess.DEVNULL)
    assert done.returncode == -signal.SIGSEGV
    assert list(Path.cwd().iterdir()) == []


def test_a_process_that_hides_from_debuggers_leaves_no_core_file(places: list[Path]) -> None:
    crash = (
        "import os, signal; from agentkit.core import namespaces; namespaces.hide_from_debuggers(); "
        "os.kill(os.getpid(), signal.SIGSEGV)"
    )
    done = subprocess.run([sys.executable, "-c", crash], check=False)
    assert done.returncode == -signal.SIGSEGV
    assert list(Path.cwd().iterdir()) == []
