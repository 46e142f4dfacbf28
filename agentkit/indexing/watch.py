"""Tell what changed below a folder, once it has settled: the adapter to watchdog.

Events are hints: what to do about a path is decided by looking at it (`Sync.sync_paths`). Where events were lost
or cannot be had, the folder itself is reported as changed, and polling takes over.
Covered: editors that save by renaming, moves both ways, an overflowing queue, too few inotify watches.
Not covered: changes made before `start`; network drives that send no events for changes made elsewhere.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agentkit.errors import IndexingError

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent
    from watchdog.observers.api import BaseObserver

Mode = Literal["inotify", "polling", "events"]

POLL_SECONDS = 2.0
LONGEST_WAIT = 10
"""A file that never settles is reported after this many times `settle_seconds`."""
_NO_WATCHES = (errno.ENOSPC, errno.EMFILE, errno.ENOMEM)


class Watcher:
    """Watches one folder, or one file; calls back from a thread of its own."""

    def __init__(
        self,
        root: Path,
        on_change: Callable[[set[Path]], None],
        *,
        settle_seconds: float = 0.5,
        poll_seconds: float = POLL_SECONDS,
        polling: bool = False,
    ) -> None:
        """Start nothing yet.

        Args:
            root: An absolute path.
            on_change: Called with the paths that changed: files or folders, there or gone. The root itself stands
                for everything below it. Calls never overlap.
            settle_seconds: How long nothing may happen before a change is reported.
            poll_seconds: Time between two looks when polling.
            polling: Poll from the start, for drives that send no events.
        """
        self.root = root
        self.reason = "asked for" if polling else ""
        """Why it polls; empty when it does not."""
        self._real = root.resolve()  # inotify is not to follow links, but for this one
        self._on_change = on_change
        self._settle = settle_seconds
        self._poll = poll_seconds
        self._observer: BaseObserver | None = None
        self._polling = polling
        self._changed: set[Path] = set()
        self._first = self._last = 0.0
        self._failed = ""
        self._stopping = False
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None

    @property
    def mode(self) -> Mode:
        """`inotify`, `polling` (with its `reason`), or `events` for another system's own."""
        if self._polling:
            return "polling"
        return "inotify" if sys.platform == "linux" else "events"

    def start(self) -> None:
        """Begin to watch; every change from here on is reported.

        Raises:
            IndexingError: The folder is not there or cannot be watched.
        """
        try:
            if not self._polling:
                self._observe_events()
            if self._polling or self._failed:
                self._turn_to_polling()
        except OSError as error:
            raise IndexingError(
                f"the folder cannot be watched: {os.strerror(error.errno or 0).lower()}: {self.root}"
            ) from error
        self._thread = threading.Thread(target=self._report, name="agentkit-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; no call to `on_change` begins after this returns. Safe to call twice."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._end_observer()

    # --- called by watchdog's threads ------------------------------------------------------------------------

    def dispatch(self, event: FileSystemEvent) -> None:
        """Take one event: part of watchdog's handler interface."""
        paths = [self._as_given(os.fsdecode(path)) for path in (event.src_path, event.dest_path) if path]
        if event.is_directory and event.event_type == "modified":
            return  # what changed in it is reported itself
        self._note(*paths)

    def _as_given(self, path: str) -> Path:
        """Return a reported path under the root as it was given: the root may be a link."""
        real = Path(path)
        return self.root / real.relative_to(self._real) if real.is_relative_to(self._real) else real

    def lost(self) -> None:
        """Note that events were dropped: anything may have changed."""
        self._note(self.root)

    def out_of_watches(self) -> None:
        """Note that some folder below could not be watched."""
        with self._wake:
            if not self._polling:
                self._failed = _no_watches()
                self._wake.notify()

    def _note(self, *paths: Path) -> None:
        now = time.monotonic()
        with self._wake:
            if not self._changed:
                self._first = now
            self._last = now
            self._changed.update(path for path in paths if path == self.root or self.root in path.parents)
            self._wake.notify()

    # --- our thread ------------------------------------------------------------------------------------------

    def _report(self) -> None:
        while True:
            with self._wake:
                while not self._stopping and not self._failed and not self._is_settled():
                    self._wake.wait(self._patience())
                if self._stopping:
                    return
                failed = bool(self._failed)
                changed: set[Path] = set()
                if not failed:
                    changed, self._changed = self._changed, set()
            if failed:
                self._turn_to_polling()
                self._note(self.root)
            else:
                self._on_change(changed)

    def _is_settled(self) -> bool:
        if not self._changed:
            return False
        now = time.monotonic()
        return now - self._last >= self._settle or now - self._first >= LONGEST_WAIT * self._settle

    def _patience(self) -> float | None:
        """Return the seconds until there may be something to report; `None` when nothing has changed."""
        if not self._changed:
            return None
        now = time.monotonic()
        due = min(self._last + self._settle, self._first + LONGEST_WAIT * self._settle)
        return max(0.001, due - now)

    def _turn_to_polling(self) -> None:
        from watchdog.observers.api import BaseObserver
        from watchdog.observers.polling import PollingEmitter

        self._end_observer()
        self.reason = self.reason or self._failed
        self._failed = ""
        self._polling = True
        # `lstat`: links are not followed, as inotify follows none; two that point upwards would never end
        emitter: Any = partial(PollingEmitter, stat=os.lstat)
        observer = BaseObserver(emitter, timeout=self._poll)
        self._observer = observer
        self._schedule(observer)
        observer.start()

    def _observe_events(self) -> None:
        from watchdog.observers import Observer

        try:
            self._observer = _inotify_observer(self) if sys.platform == "linux" else Observer()
            self._schedule(self._observer)
            self._observer.start()
        except OSError as error:
            self._end_observer()
            if error.errno not in _NO_WATCHES:
                raise
            self._failed = _no_watches()

    def _schedule(self, observer: BaseObserver) -> None:
        from watchdog import events

        wanted: list[type[events.FileSystemEvent]] = [
            events.FileCreatedEvent,
            events.FileModifiedEvent,
            events.FileMovedEvent,
            events.FileDeletedEvent,
            events.DirCreatedEvent,
            events.DirMovedEvent,
            events.DirDeletedEvent,
        ]
        single = not self._real.is_dir()
        handler: Any = self  # watchdog wants its own class, and calls nothing but `dispatch`
        folder = self._real.parent if single else self._real
        observer.schedule(handler, str(folder), recursive=not single, event_filter=wanted)

    def _end_observer(self) -> None:
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()
            if observer.is_alive():
                observer.join()


def _no_watches() -> str:
    return "the system's inotify watches are used up: raise fs.inotify.max_user_watches"


def _inotify_observer(watcher: Watcher) -> BaseObserver:
    """Return an observer that tells when it lost events or watches; watchdog itself only logs the first."""
    from watchdog.observers.api import BaseObserver
    from watchdog.observers.inotify import InotifyEmitter, InotifyObserver
    from watchdog.observers.inotify_c import (
        CallbackId,
        InotifyEvent,
        InotifyFD,
        Mask,
        WatchCallback,
        WatchDescriptor,
    )

    # a folder that was moved away and back is added a second time; watchdog replaces the first entry, and warns
    warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning, r"agentkit\.indexing\.watch")

    class TellingFD(InotifyFD):
        def add_callback(
            self, path: bytes, mask: Mask, callback: WatchCallback, id_: CallbackId
        ) -> WatchDescriptor:
            try:
                return super().add_callback(path, mask, callback, id_)
            except OSError as error:
                if error.errno in _NO_WATCHES:
                    watcher.out_of_watches()
                raise

        def handle_event(self, event: InotifyEvent) -> None:
            super().handle_event(event)
            if event.is_queue_overflow:
                watcher.lost()

    class TellingObserver(InotifyObserver):
        def __init__(self) -> None:
            self._inotify_fd = TellingFD()
            self._inotify_fd.start()
            BaseObserver.__init__(self, InotifyEmitter, inotify_fd=self._inotify_fd)

    return TellingObserver()
