"""A watcher reports what changed, once it has settled, also where the system runs out of watches or loses events."""

from __future__ import annotations

import ctypes
import errno
import queue
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkit.errors import IndexingError
from agentkit.indexing.watch import Watcher
from agentkit.spawn import clean_environment

WAIT = 20.0
linux = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


class Watched:
    """A watched folder and what was reported of it."""

    def __init__(self, folder: Path, *, polling: bool = False) -> None:
        self.folder = folder
        self.reports: queue.SimpleQueue[set[Path]] = queue.SimpleQueue()
        self.watcher = Watcher(
            folder, self.reports.put, settle_seconds=0.03, poll_seconds=0.03, polling=polling
        )
        self.watcher.start()

    def reported(self, *names: str) -> set[Path]:
        """Wait until all of `names` were reported; return everything that was."""
        wanted = {self.folder / name if name else self.folder for name in names}
        seen: set[Path] = set()
        while not wanted <= seen:
            seen |= self.reports.get(timeout=WAIT)
        return seen


@pytest.fixture(params=["events", "polling"])
def watched(folder: Path, request: pytest.FixtureRequest) -> Iterator[Watched]:
    (folder / "sub").mkdir()
    watched = Watched(folder, polling=request.param == "polling")
    yield watched
    watched.watcher.stop()


def test_links_are_not_followed_not_even_round_and_round(watched: Watched, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("up", "again"):
        (watched.folder / name).symlink_to(watched.folder)
    (watched.folder / "link").symlink_to(outside)
    watched.reported("link")
    (outside / "secret.txt").write_text("Not yours.")
    (watched.folder / "a.txt").write_text("one")
    seen = watched.reported("a.txt")
    assert {path for path in seen if path != watched.folder} <= {
        watched.folder / name for name in ("a.txt", "link", "up", "again")
    }


def test_changes_are_reported_with_both_ends_of_a_move(watched: Watched) -> None:
    folder = watched.folder
    (folder / "a.txt").write_text("one")
    assert watched.reported("a.txt") == {folder / "a.txt"}
    (folder / "a.txt").rename(folder / "sub" / "b.txt")
    assert watched.reported("a.txt", "sub/b.txt") == {folder / "a.txt", folder / "sub" / "b.txt"}
    (folder / "sub" / "b.txt").write_text("longer than before")
    watched.reported("sub/b.txt")
    (folder / "sub" / "b.txt").unlink()
    watched.reported("sub/b.txt")


def test_new_folders_are_watched_and_folders_moved(watched: Watched, tmp_path: Path) -> None:
    folder = watched.folder
    deep = folder / "n" / "m"
    deep.mkdir(parents=True)
    (deep / "x.md").write_text("x")
    watched.reported("n/m/x.md")
    (folder / "n").rename(folder / "o")
    watched.reported("n", "o")
    outside = tmp_path / "elsewhere"
    (folder / "o").rename(outside)
    watched.reported("o")
    outside.rename(folder / "back")
    watched.reported("back")


def test_an_editor_that_saves_by_renaming_is_understood(watched: Watched) -> None:
    (watched.folder / "a.txt").write_text("old")
    watched.reported("a.txt")
    (watched.folder / ".a.swp").write_text("new text")
    (watched.folder / ".a.swp").replace(watched.folder / "a.txt")
    watched.reported("a.txt")


def test_a_watched_link_reports_under_the_name_it_was_given(folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(folder)
    watched = Watched(link)
    (folder / "a.txt").write_text("one")
    assert watched.reported("a.txt") == {link / "a.txt"}
    watched.watcher.stop()


def test_a_single_file_is_watched_through_renames(folder: Path) -> None:
    path = folder / "a.txt"
    path.write_text("old")
    reports: queue.SimpleQueue[set[Path]] = queue.SimpleQueue()
    watcher = Watcher(path, reports.put, settle_seconds=0.03)
    watcher.start()
    (folder / "other.txt").write_text("not asked for")
    (folder / "b.txt").write_text("new")
    (folder / "b.txt").replace(path)
    assert reports.get(timeout=WAIT) == {path}
    watcher.stop()


@linux
def test_without_enough_watches_it_polls_and_says_why(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from watchdog.observers import inotify_c  # noqa: TID251 - the kernel's answer is played, not watchdog

    def refuse(fd: int, path: bytes, mask: int) -> int:
        if path.endswith(b"sub"):
            ctypes.set_errno(errno.ENOSPC)
            return -1
        return add(fd, path, mask)

    add = inotify_c.inotify_add_watch
    monkeypatch.setattr(inotify_c, "inotify_add_watch", refuse)
    watched = Watched(folder)
    modes = [str(watched.watcher.mode)]
    (folder / "sub").mkdir()  # this watch the kernel refuses
    assert folder in watched.reported("")
    modes.append(watched.watcher.mode)
    assert modes == ["inotify", "polling"]
    assert "fs.inotify.max_user_watches" in watched.watcher.reason
    (folder / "sub" / "a.txt").write_text("one")
    watched.reported("sub/a.txt")
    watched.watcher.stop()
    again = Watched(folder)
    assert again.watcher.mode == "polling"
    again.watcher.stop()


@linux
def test_lost_events_report_the_whole_folder(folder: Path) -> None:
    from watchdog.observers import inotify_c  # noqa: TID251 - an overflow takes 16384 unread events

    watched = Watched(folder)
    overflow = inotify_c.InotifyEvent(
        inotify_c.WatchDescriptor(-1), inotify_c.InotifyConstants.IN_Q_OVERFLOW, 0, b""
    )
    watched.watcher._observer._inotify_fd.handle_event(overflow)  # type: ignore[union-attr]
    assert watched.reported("") == {folder}
    (folder / "a.txt").write_text("one")
    watched.reported("a.txt")
    watched.watcher.stop()


def test_a_folder_that_is_not_there_cannot_be_watched(tmp_path: Path) -> None:
    with pytest.raises(IndexingError, match="cannot be watched: no such file"):
        Watcher(tmp_path / "none" / "deeper", lambda paths: None).start()


def test_nothing_is_reported_after_stop(folder: Path) -> None:
    watched = Watched(folder)
    watched.watcher.stop()
    (folder / "a.txt").write_text("one")
    assert watched.reports.empty()
    watched.watcher.stop()


@linux
@pytest.mark.slow
def test_it_works_where_sockets_and_programs_are_denied(folder: Path) -> None:
    script = """
import queue, socket, sys
from pathlib import Path
from agentkit_tools import seccomp
seccomp.install(seccomp.core_profile())
try: socket.socket()
except OSError: pass
else: raise SystemExit("not locked")
from agentkit.indexing.watch import Watcher
folder = Path(sys.argv[1])
reports = queue.SimpleQueue()
watcher = Watcher(folder, reports.put, settle_seconds=0.03)
watcher.start()
(folder / "a.txt").write_text("one")
print(watcher.mode, [path.name for path in reports.get(timeout=20)])
watcher.stop()
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, str(folder)],
        capture_output=True,
        text=True,
        env=clean_environment(),
    )
    assert (done.stdout, done.stderr) == ("inotify ['a.txt']\n", "")
