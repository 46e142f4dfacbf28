"""Bring the index in line with folders on disk: edits, renames and deletes followed, nothing done twice.

A file is compared by size and modification time, then by a digest of its content; only what really changed is
read and embedded. One file is one transaction, so a run that is stopped anywhere loses nothing it has yielded.
Covered: a file that cannot be read is skipped, with the reason, and not tried again until it changes; a folder
that vanished, or is suddenly empty, is an unmounted disk until the user says otherwise: nothing is deleted.
Not covered: hard links and copies (each path is a document of its own).
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from agentkit.errors import IndexingError
from agentkit.indexing.events import (
    FileIndexed,
    FileRemoved,
    FileRenamed,
    FileSkipped,
    FileUnchanged,
    IndexEvent,
    IndexFinished,
    Progress,
)
from agentkit.indexing.folder import Folder, Found, is_utf8
from agentkit.indexing.reading import Reader, ReadInterruptedError, open_document
from agentkit.indexing.writing import BATCH_CHUNKS, Index, Prepared, Writer
from agentkit_memory import FileState

if TYPE_CHECKING:
    from agentkit_memory import Embedder

__all__ = [
    "FileIndexed",
    "FileRemoved",
    "FileRenamed",
    "FileSkipped",
    "FileUnchanged",
    "IndexEvent",
    "IndexFinished",
    "Progress",
    "Sync",
]

_SAME_TICK_NS = 20_000_000
"""A file changed this shortly before it was read may change again under the same modification time."""


@dataclass
class _Tally:
    """Counts of a run."""

    started: float
    indexed: int = 0
    unchanged: int = 0
    removed: int = 0
    renamed: int = 0
    skipped: int = 0

    def count(self, event: IndexEvent) -> IndexEvent:
        match event:
            case FileIndexed():
                self.indexed += 1
            case FileUnchanged():
                self.unchanged += 1
            case FileRemoved():
                self.removed += 1
            case FileRenamed():
                self.renamed += 1
            case FileSkipped():
                self.skipped += 1
        return event

    def finished(self) -> IndexFinished:
        seconds = time.monotonic() - self.started
        return IndexFinished(
            self.indexed, self.unchanged, self.removed, self.renamed, self.skipped, round(seconds, 3)
        )


class Sync:
    """Follows folders into an index. Not to be run twice at the same time on one index."""

    def __init__(
        self,
        index: Index,
        embedder: Embedder,
        reader: Reader,
        *,
        bulk: Embedder | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Start nothing yet.

        Args:
            index: Where chunks and file states go: a `Vault`.
            embedder: Turns chunks into vectors.
            reader: Reads files, in its locked worker.
            bulk: A faster embedder of the same model that is slow to start; used once a run has many chunks.
            clock: Seconds since the epoch.
        """
        self._index = index
        self._reader = reader
        self._writer = Writer(index, embedder, bulk=bulk)
        self._clock = clock

    def run(self, root: Path) -> Iterator[IndexEvent]:
        """Bring the index in line with a folder or a single file; yield what happens as it happens.

        Closing the generator early keeps every file it has yielded; the next run does the rest.

        Raises:
            IndexingError: The folder is not there, cannot be looked into, or is empty while the index knows
                files of it. Nothing was deleted.
            IsolationError: The reader worker could not lock itself.
        """
        tally = _Tally(time.monotonic())
        root = Path(os.path.abspath(root))  # noqa: PTH100 - links in it stay, as the user wrote it
        folder = self._folder(root)
        known = self._index.files(str(root))
        if str(root) not in self._index.roots():
            self._index.add_root(str(root))
        found = list(folder.files())
        yield from self._reconcile(found, known, self._gone(folder, found, known), tally)
        yield tally.finished()

    def sync_paths(self, paths: Iterable[Path]) -> Iterator[IndexEvent]:
        """Bring the index in line with some paths below indexed folders: what a watcher saw change.

        A path may be a file or a folder, there or gone. Paths outside every indexed folder are passed over.

        Raises:
            IndexingError: The folder they lie in is not there. Nothing was deleted.
            IsolationError: The reader worker could not lock itself.
        """
        tally = _Tally(time.monotonic())
        found: dict[Path, Found] = {}
        known: dict[str, FileState] = {}
        gone: dict[str, FileState] = {}
        for root, below in self._by_root(paths).items():
            folder = self._folder(root)
            for path in below:
                states = self._index.files(str(path)) if is_utf8(path) else {}
                here = list(folder.files(path)) if folder.wants(path, is_folder=path.is_dir()) else []
                found.update((each.path, each) for each in here)
                known.update(states)
                gone.update(self._gone(folder, here, states))
        yield from self._reconcile(list(found.values()), known, gone, tally)
        yield tally.finished()

    # --- what is there, what is gone -------------------------------------------------------------------------

    def _folder(self, root: Path) -> Folder:
        folder = Folder(root, self._reader.limits.file_bytes)
        try:
            if root.is_dir():
                with os.scandir(root) as entries:
                    empty = next(entries, None) is None
            else:
                root.stat()
                empty = False
        except FileNotFoundError as error:
            raise IndexingError(
                f"no such file or folder: {root}",
                hint="mount its disk, or check the spelling; nothing was deleted",
            ) from error
        except OSError as error:
            raise IndexingError(
                f"it cannot be read: {os.strerror(error.errno or 0).lower()}: {root}",
                hint="give this user the right to read it; nothing was deleted",
            ) from error
        if empty and (known := self._index.files(str(root))):
            raise IndexingError(
                f"the folder is empty, but {len(known)} files of it are indexed: {root}",
                hint="mount its disk; if it is meant to be empty, remove it from the index",
            )
        return folder

    def _by_root(self, paths: Iterable[Path]) -> dict[Path, list[Path]]:
        """Sort paths under the innermost indexed folder each lies in; a path below another given one is left out."""
        roots = sorted((Path(root) for root in self._index.roots()), key=lambda root: -len(root.parts))
        sorted_paths: dict[Path, list[Path]] = {}
        for path in sorted(paths):
            root = next((root for root in roots if path == root or root in path.parents), None)
            if root is None:
                continue
            under = sorted_paths.setdefault(root, [])
            if not any(each == path or each in path.parents for each in under):
                under.append(path)
        return sorted_paths

    def _gone(
        self, folder: Folder, found: Iterable[Found], known: Mapping[str, FileState]
    ) -> dict[str, FileState]:
        """Return what is known but not there any more; what a root inside this one holds is that root's to judge."""
        there = {str(each.path) for each in found}
        inner = {root for root in map(Path, self._index.roots()) if folder.root in root.parents}
        return {
            path: state
            for path, state in known.items()
            if path not in there
            and not folder.knows_nothing_of(Path(path))
            and inner.isdisjoint((Path(path), *Path(path).parents))
        }

    # --- what changed ----------------------------------------------------------------------------------------

    def _reconcile(
        self,
        found: Sequence[Found],
        known: Mapping[str, FileState],
        gone: dict[str, FileState],
        tally: _Tally,
    ) -> Iterator[IndexEvent]:
        changed: list[Found] = []
        for each in found:
            state = known.get(str(each.path))
            if state is None and (old := self._renamed_from(each, gone)) is not None:
                self._index.rename_file(old, str(each.path))
                del gone[old]
                yield tally.count(FileRenamed(Path(old), each.path))
            elif state is None or (state.size, state.mtime_ns) != (each.size, each.mtime_ns):
                changed.append(each)
            elif state.error:
                yield tally.count(FileSkipped(each.path, state.error))
            else:
                yield tally.count(FileUnchanged(each.path))
        for path in gone:
            self._index.remove_file(path)
            yield tally.count(FileRemoved(Path(path)))
        waiting: list[Prepared] = []
        for number, each in enumerate(changed):
            yield Progress(number, len(changed), each.path)
            made = self._prepare(each, known.get(str(each.path)))
            if isinstance(made, Prepared):
                waiting.append(made)
            else:
                yield tally.count(made)
            if sum(len(prepared.texts) for prepared in waiting) >= BATCH_CHUNKS:
                for event in self._writer.write(waiting, Progress(number, len(changed), each.path)):
                    yield tally.count(event)
                waiting = []
        if waiting:
            for event in self._writer.write(
                waiting, Progress(len(changed) - 1, len(changed), changed[-1].path)
            ):
                yield tally.count(event)

    def _renamed_from(self, found: Found, gone: Mapping[str, FileState]) -> str | None:
        """Return the vanished path whose content `found` has, if there is one."""
        suffix = found.path.suffix.lower()  # another suffix may mean another reader
        candidates = [
            state
            for state in gone.values()
            if state.size == found.size and state.digest and Path(state.path).suffix.lower() == suffix
        ]
        if not candidates or found.refused:
            return None
        try:
            with open_document(found.path, self._reader.limits) as fd:
                digest = _digest(fd)
        except (IndexingError, OSError):
            return None
        return next((state.path for state in candidates if state.digest == digest), None)

    def _prepare(self, found: Found, state: FileState | None) -> Prepared | IndexEvent:
        """Read and chunk one file, or say why there is nothing to embed."""
        started = time.monotonic()
        path = found.path
        if found.refused:
            return self._skip(found, found.refused)
        try:
            with open_document(path, self._reader.limits) as fd:
                before = os.fstat(fd)
                digest = _digest(fd)
                now = FileState(str(path), before.st_size, before.st_mtime_ns, digest, 0)
                if state is not None and state.digest == digest and not state.error:
                    return self._touched(now)
                try:
                    document = self._reader.read_open(fd, path.name)
                except ReadInterruptedError as error:
                    return FileSkipped(path, error.message)
                except IndexingError as error:
                    return self._skip(found, error.message)
                after = os.fstat(fd)
        except IndexingError as error:  # it could not be opened: that may pass without the file changing
            if state is not None and not path.exists() and not path.is_symlink():
                self._index.remove_file(str(path))
                return FileRemoved(path)
            return FileSkipped(path, error.message)
        except OSError as error:
            return FileSkipped(path, f"it cannot be read: {os.strerror(error.errno or 0).lower()}")
        prepared = self._writer.prepare(path, now, document, time.monotonic() - started)
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            # digest and text may be of two versions: the next run reads it again
            return replace(prepared, state=replace(prepared.state, digest=""))
        if self._may_change_unnoticed(now):
            return replace(
                prepared, state=replace(prepared.state, mtime_ns=0)
            )  # the next run compares the content
        return prepared

    def _touched(self, now: FileState) -> IndexEvent:
        """Note the new modification time of a file, so that the next run does not compare its content again."""
        if not self._may_change_unnoticed(now):
            self._index.note_file(now)
        return FileUnchanged(Path(now.path))

    def _may_change_unnoticed(self, state: FileState) -> bool:
        return self._clock() * 1e9 - state.mtime_ns < _SAME_TICK_NS

    def _skip(self, found: Found, reason: str) -> FileSkipped:
        """Put a note in place of the file's chunks, so that it is not tried again until it changes."""
        if is_utf8(found.path):
            state = FileState(str(found.path), found.size, found.mtime_ns, "", 0, reason)
            self._writer.write_refusal(state)
        return FileSkipped(found.path, reason)


def _digest(fd: int) -> str:
    """Return the digest of an open file, from its beginning; its offset stays where it is."""
    digest = hashlib.blake2b(digest_size=32)
    offset = 0
    while part := os.pread(fd, 1 << 20, offset):
        digest.update(part)
        offset += len(part)
    return digest.hexdigest()
