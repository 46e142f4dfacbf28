"""A document costs at most itself: hung, killed, lying and unlockable workers, and files that are none."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentkit.errors import IndexingError, IsolationError
from agentkit.indexing.document import DEFAULT_LIMITS, Block
from agentkit.indexing.reading import Reader, ReadInterruptedError
from agentkit.spawn import LocalSpawner, clean_environment
from agentkit.wire import Channel, ConnectionLost


def reason(reader: Reader, path: Path) -> str:
    with pytest.raises(IndexingError) as caught:
        reader.read(path)
    return caught.value.message


@pytest.fixture
def note(tmp_path: Path) -> Path:
    path = tmp_path / "note.txt"
    path.write_text("A note.")
    return path


@pytest.fixture
def own_reader() -> Iterator[Reader]:
    """Yield a reader this test may break."""
    with Reader(LocalSpawner()) as reader:
        reader.start()
        yield reader


def test_the_worker_reads_what_it_is_handed(reader: Reader, note: Path) -> None:
    assert reader.read(note).blocks == (Block("A note.", "line 1"),)
    assert reader.read(note).title == "note"


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("gb2312", "你好"),
        ("windows-1255", "שלום"),
        ("windows-1256", "مرحبا"),
        ("iso-8859-7", "Καλημέρα"),
        ("iso-8859-9", "şeker"),
        ("koi8-u", "Привіт"),
        ("windows-874", "สวัสดี"),
        ("windows-31j", "こんにちは①"),
    ],
)
def test_a_locked_worker_still_knows_the_encodings_of_old_pages(
    own_reader: Reader, tmp_path: Path, charset: str, text: str
) -> None:
    page = tmp_path / "page.html"
    codec = {"windows-874": "cp874", "windows-31j": "cp932"}.get(charset, charset)
    page.write_bytes(f'<meta charset="{charset}"><p>'.encode() + text.encode(codec) + b"</p>")
    assert [block.text for block in own_reader.read(page).blocks] == [text]


def test_a_page_that_declares_an_encoding_nobody_knows_is_read_all_the_same(
    own_reader: Reader, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    for charset in ("cp037-nonsense", "quopri", "kz1048"):
        page.write_bytes(f'<meta charset="{charset}"><p>süß</p>'.encode("cp1252"))
        assert own_reader.read(page).blocks, charset


@pytest.mark.skipif(sys.platform != "linux", reason="the lock is Linux's")
def test_the_worker_is_locked_before_the_first_document(reader: Reader) -> None:
    status = Path(f"/proc/{reader.pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    assert "no socket, program or new process (seccomp)" in reader.enforced
    assert os.sched_getscheduler(reader.pid or 0) == os.SCHED_IDLE


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the lock is Linux's")
def test_the_lock_leaves_no_file_no_network_and_no_program() -> None:
    attempts = """
import os, socket, subprocess, sys
from agentkit.indexing.document import DEFAULT_LIMITS
from agentkit.indexing.readers import preload, read_document
from agentkit.indexing.reader_worker import lock
preload()
enforced = lock(DEFAULT_LIMITS)
def denied(act):
    try: act()
    except OSError: return True
    return False
print([denied(act) for act in (
    lambda: socket.socket(), lambda: os.fork(), lambda: os.execv("/bin/true", ["true"]),
    lambda: open("/tmp/agentkit-should-not-exist", "w"),
)], denied(lambda: open(sys.argv[1]).read()) or "files stay readable" in " ".join(enforced))
print(read_document(b"still <b>reading</b>", "a.html").blocks[0].text)
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", attempts, __file__],
        capture_output=True,
        text=True,
        env=clean_environment(),
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["[True, True, True, True] True", "still reading"]


def test_files_that_are_no_documents_are_never_waited_for(reader: Reader, tmp_path: Path, note: Path) -> None:
    fifo, link, sparse = tmp_path / "fifo", tmp_path / "link.txt", tmp_path / "big.txt"
    os.mkfifo(fifo)
    link.symlink_to(note)
    with sparse.open("wb") as file:
        file.truncate(200 << 20)
    assert reason(reader, fifo) == "it is not a regular file"
    assert reason(reader, tmp_path) == "it is not a regular file"
    assert reason(reader, Path("/dev/zero")) == "it is not a regular file"
    assert "symbolic link" in reason(reader, link)
    assert reason(reader, sparse) == "it is larger than 64 MB: 200 MB"
    assert reason(reader, tmp_path / "never") == "it is gone"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything: run the tests as an ordinary user")
def test_an_unreadable_file_says_so(reader: Reader, note: Path) -> None:
    note.chmod(0)
    assert reason(reader, note) == "it may not be read by this user"


@pytest.mark.slow
def test_a_worker_that_hangs_is_replaced(note: Path) -> None:
    with Reader(LocalSpawner(), timeout_seconds=0.6) as reader:
        reader.start()
        stopped = reader.pid or 0
        os.kill(stopped, signal.SIGSTOP)
        assert reason(reader, note) == "reading it took more than 0.6 s"
        with pytest.raises(ProcessLookupError):
            os.kill(stopped, 0)
        assert reader.read(note).title == "note"


def test_a_worker_killed_between_two_files_is_replaced_unnoticed(own_reader: Reader, note: Path) -> None:
    first = own_reader.pid or 0
    os.kill(first, signal.SIGKILL)
    assert own_reader.read(note).title == "note"
    assert own_reader.pid != first


@pytest.mark.slow
def test_a_file_that_takes_too_much_memory_costs_only_itself(note: Path, tmp_path: Path) -> None:
    hungry = tmp_path / "hungry.txt"
    hungry.write_bytes(b"word \n" * 8_000_000)
    with Reader(LocalSpawner(), limits=replace(DEFAULT_LIMITS, memory_bytes=160 << 20)) as reader:
        assert reason(reader, hungry) == "reading it takes more than 160 MB of memory"
        assert reader.read(note).title == "note"


@pytest.mark.slow
def test_a_file_that_takes_too_much_computing_costs_only_itself(note: Path, tmp_path: Path) -> None:
    endless = tmp_path / "endless.html"
    endless.write_bytes(b"<p>a<b>b</p>" * 1_000_000)
    with Reader(LocalSpawner(), limits=replace(DEFAULT_LIMITS, cpu_seconds=0)) as reader:
        assert reason(reader, endless) == "the reader worker ended while reading it"
        assert reader.read(note).title == "note"


# --- workers that lie ----------------------------------------------------------------------------------------


class ThreadChild:
    """A worker that is a thread of the test, behind the same channel."""

    pid = 0

    def __init__(self, act: Callable[[Channel], None]) -> None:
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        self._thread = threading.Thread(target=self._run, args=(act, Channel(theirs)))
        self._thread.start()
        self._ended = False

    def kill(self) -> None:
        self.channel.close()
        self._thread.join()
        self._ended = True

    def exit_status(self) -> int | None:
        return 0 if self._ended else None

    @staticmethod
    def _run(act: Callable[[Channel], None], channel: Channel) -> None:
        try:
            act(channel)
        except ConnectionLost:
            pass
        finally:
            channel.close()


class ThreadSpawner:
    """Starts `ThreadChild`ren that all act alike."""

    def __init__(self, act: Callable[[Channel], None]) -> None:
        self._act = act
        self.started = 0

    def spawn(
        self,
        module: str,
        arguments: Sequence[str] = (),
        *,
        idle: bool = False,
        extra: Mapping[str, str] | None = None,
    ) -> ThreadChild:
        self.started += 1
        return ThreadChild(self._act)


def answering(*frames: dict[str, Any]) -> ThreadSpawner:
    """Return a spawner of workers that answer every file with `frames`."""

    def act(channel: Channel) -> None:
        channel.receive(5)
        channel.send({"ready": []})
        while True:
            channel.receive(5)
            for fd in channel.take_fds():
                os.close(fd)
            channel.send({"began": True})
            for frame in frames:
                channel.send(frame)

    return ThreadSpawner(act)


DONE = {"done": {"title": "t", "notes": []}}


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ([{"blocks": [["text", "line 1", "poem", 0]]}], "the reader sent a block of another shape"),
        ([{"blocks": [[b"text", "line 1", "code", 0]]}], "the reader sent a block of another shape"),
        ([{"blocks": [["text", "x" * 100, "code", 0]]}], "the reader sent a block of another shape"),
        ([{"blocks": 7}], "the reader sent a block of another shape"),
        ([{"blocks": [["x" * 101, "", "code", 0]]}, DONE], "the reader worker sent more than it may"),
        ([{"done": ["t"]}], "the reader worker sent a frame of another shape"),
        ([{"what": 1}], "the reader worker sent a frame of another shape"),
    ],
)
def test_a_worker_that_lies_is_not_used_again(note: Path, frames: list[dict[str, Any]], said: str) -> None:
    spawner = answering(*frames)
    reader = Reader(spawner, limits=replace(DEFAULT_LIMITS, characters=100))
    assert reason(reader, note) == said
    assert reason(reader, note) == said
    assert spawner.started == 2
    reader.close()


def test_a_worker_that_ends_over_a_file_costs_that_file_and_is_replaced(note: Path) -> None:
    def act(channel: Channel) -> None:
        channel.receive(5)
        channel.send({"ready": []})
        channel.receive(5)
        channel.send({"began": True})

    spawner = ThreadSpawner(act)
    reader = Reader(spawner)
    assert reason(reader, note) == "the reader worker ended while reading it"
    assert reason(reader, note) == "the reader worker ended while reading it"
    assert spawner.started == 2
    reader.close()


def test_a_worker_killed_over_a_file_leaves_the_file_another_try(note: Path) -> None:
    class Killed(ThreadChild):
        def exit_status(self) -> int | None:
            return -signal.SIGKILL if self._ended else None

    def act(channel: Channel) -> None:
        channel.receive(5)
        channel.send({"ready": []})
        channel.receive(5)
        channel.send({"began": True})

    class KilledSpawner(ThreadSpawner):
        def spawn(
            self,
            module: str,
            arguments: Sequence[str] = (),
            *,
            idle: bool = False,
            extra: Mapping[str, str] | None = None,
        ) -> ThreadChild:
            return Killed(act)

    with Reader(KilledSpawner(act)) as reader, pytest.raises(ReadInterruptedError, match="was killed"):
        reader.read(note)


def test_a_worker_that_cannot_lock_itself_reads_nothing(note: Path) -> None:
    def act(channel: Channel) -> None:
        channel.receive(5)
        channel.send({"refused": "the kernel refused the seccomp filter"})

    with pytest.raises(IsolationError, match="could not lock itself: the kernel refused"):
        Reader(ThreadSpawner(act)).read(note)


def test_a_worker_that_does_not_start_says_what_to_do(note: Path) -> None:
    with pytest.raises(IsolationError) as caught:
        Reader(ThreadSpawner(lambda channel: None)).read(note)
    assert caught.value.message == "the reader worker did not start"
    assert caught.value.hint == "run `agentkit doctor` to see what is missing"
