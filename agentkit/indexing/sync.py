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
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from agentkit.errors import IndexingError
from agentkit.indexing.chunk import Chunk, approximate_pieces, chunks
from agentkit.indexing.document import Document
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
from agentkit.indexing.folder import Folder, Found
from agentkit.indexing.reading import Reader, open_document
from agentkit_memory import FileState, NewRecord

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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

BATCH_CHUNKS = 64
"""Chunks embedded at once; the run can be stopped between batches."""
BULK_AFTER_CHUNKS = 300
"""From here on the bulk embedder has earned its start-up time (5 s against 30 ms saved a chunk)."""
PREFIX_PIECES = 32
"""Of title and headings before a chunk's text; with `limit_pieces` of the chunker it stays within 256."""
_SAME_TICK_NS = 20_000_000
"""A file changed this shortly before it was read may change again under the same modification time."""


class Index(Protocol):
    """What this module needs of `agentkit_memory.Vault`."""

    def files(self, root: str = "") -> dict[str, FileState]:
        """Return the state of every file under `root`."""
        ...

    def replace_file(
        self, state: FileState, records: Sequence[NewRecord], embeddings: NDArray[np.float32]
    ) -> object:
        """Put new chunks and state in place of the old, in one transaction."""
        ...

    def remove_file(self, path: str) -> int:
        """Forget a file."""
        ...

    def rename_file(self, old: str, new: str) -> None:
        """Give a file another path."""
        ...

    def roots(self) -> list[str]:
        """Return the indexed folders."""
        ...

    def add_root(self, path: str) -> None:
        """Remember an indexed folder."""
        ...


@runtime_checkable
class _CountsPieces(Protocol):
    def count_pieces(self, text: str) -> int: ...


@dataclass
class _Tally:
    """Counts of a run."""

    started: float
    indexed: int = 0
    unchanged: int = 0
    removed: int = 0
    renamed: int = 0
    skipped: int = 0
    embedded: int = 0

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


@dataclass
class _Prepared:
    """A file that was read and waits to be embedded."""

    path: Path
    state: FileState
    records: list[NewRecord]
    texts: list[str]
    notes: tuple[str, ...]
    seconds: float


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
        self._embedder = embedder
        self._bulk = bulk
        self._reader = reader
        self._clock = clock
        self._count = embedder.count_pieces if isinstance(embedder, _CountsPieces) else approximate_pieces

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
        known = self._index.files(str(root))
        folder = self._folder(root, known)
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
            folder = self._folder(root, self._index.files(str(root)))
            for path in below:
                states = self._index.files(str(path))
                here = list(folder.files(path)) if folder.wants(path, is_folder=path.is_dir()) else []
                found.update((each.path, each) for each in here)
                known.update(states)
                gone.update(self._gone(folder, here, states))
        yield from self._reconcile(list(found.values()), known, gone, tally)
        yield tally.finished()

    # --- what is there, what is gone -------------------------------------------------------------------------

    def _folder(self, root: Path, known: Mapping[str, FileState]) -> Folder:
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
                f"the folder is not there: {root}",
                hint="mount its disk, or check the spelling; nothing was deleted",
            ) from error
        except OSError as error:
            raise IndexingError(
                f"the folder cannot be read: {os.strerror(error.errno or 0).lower()}: {root}",
                hint="give this user the right to read it; nothing was deleted",
            ) from error
        if empty and known:
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

    @staticmethod
    def _gone(folder: Folder, found: Iterable[Found], known: Mapping[str, FileState]) -> dict[str, FileState]:
        there = {str(each.path) for each in found}
        return {
            path: state
            for path, state in known.items()
            if path not in there and not folder.knows_nothing_of(Path(path))
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
        waiting: list[_Prepared] = []
        for number, each in enumerate(changed):
            yield Progress(number, len(changed), each.path)
            made = self._prepare(each, known.get(str(each.path)))
            if isinstance(made, _Prepared):
                waiting.append(made)
            else:
                yield tally.count(made)
            if sum(len(prepared.texts) for prepared in waiting) >= BATCH_CHUNKS:
                yield from self._store(waiting, Progress(number, len(changed), each.path), tally)
                waiting = []
        if waiting:
            yield from self._store(waiting, Progress(len(changed) - 1, len(changed), changed[-1].path), tally)

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
        return next(
            (state.path for state in candidates if state.digest == digest),
            None,
        )

    def _prepare(self, found: Found, state: FileState | None) -> _Prepared | IndexEvent:
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
                    return self._touched(path, now)
                try:
                    document = self._reader.read_open(fd, path.name)
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
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            now = replace(
                now, digest=""
            )  # digest and text may be of two versions: the next run reads it again
        elif self._clock() * 1e9 - before.st_mtime_ns < _SAME_TICK_NS:
            now = replace(now, mtime_ns=0)  # the next run compares the content
        pieces = chunks(document, self._count)
        return _Prepared(
            path,
            replace(now, chunks=len(pieces)),
            [_record(path, before.st_mtime_ns, document, chunk) for chunk in pieces],
            [self._embedding_text(document, chunk) for chunk in pieces],
            document.notes,
            time.monotonic() - started,
        )

    def _touched(self, path: Path, now: FileState) -> IndexEvent:
        """Note a new modification time, where the index can do so without new chunks."""
        note = getattr(self._index, "note_file", None)
        if note is not None:
            note(now)
        return FileUnchanged(path)

    def _skip(self, found: Found, reason: str) -> FileSkipped:
        """Put a note in place of the file's chunks, so that it is not tried again until it changes."""
        if _storable(found.path):
            state = FileState(str(found.path), found.size, found.mtime_ns, "", 0, reason)
            self._index.replace_file(state, [], self._nothing())
        return FileSkipped(found.path, reason)

    # --- embedding -------------------------------------------------------------------------------------------

    def _store(self, files: Sequence[_Prepared], progress: Progress, tally: _Tally) -> Iterator[IndexEvent]:
        """Embed the chunks of some files together and commit each file."""
        import numpy as np

        texts = [text for prepared in files for text in prepared.texts]
        started = time.monotonic()
        parts: list[Any] = [self._nothing()]
        for start in range(0, len(texts), BATCH_CHUNKS):
            if start:
                yield progress
            tally.embedded += BATCH_CHUNKS
            embedder = self._bulk if self._bulk and tally.embedded > BULK_AFTER_CHUNKS else self._embedder
            parts.append(embedder.embed(texts[start : start + BATCH_CHUNKS]))
        vectors = np.concatenate(parts)
        each = (time.monotonic() - started) / max(1, len(texts))
        offset = 0
        for prepared in files:
            end = offset + len(prepared.texts)
            self._index.replace_file(prepared.state, prepared.records, vectors[offset:end])
            seconds = prepared.seconds + each * len(prepared.texts)
            offset = end
            yield tally.count(
                FileIndexed(prepared.path, len(prepared.records), round(seconds, 4), prepared.notes)
            )

    def _nothing(self) -> NDArray[np.float32]:
        import numpy as np

        return np.empty((0, self._embedder.dimensions), np.float32)

    def _embedding_text(self, document: Document, chunk: Chunk) -> str:
        """Return the chunk under its title and headings, shortened to what the embedder leaves room for."""
        words = _title(document, chunk).split()
        while words and self._count(" ".join(words)) > PREFIX_PIECES:
            words.pop()
        return f"{' '.join(words)}\n{chunk.text}" if words else chunk.text


def _record(path: Path, mtime_ns: int, document: Document, chunk: Chunk) -> NewRecord:
    return NewRecord(
        text=chunk.text,
        source=str(path),
        kind="document",
        place=chunk.place,
        title=_title(document, chunk),
        origin="document",
        privacy="private",
        created=mtime_ns / 1e9,
        position=chunk.position,
    )


def _title(document: Document, chunk: Chunk) -> str:
    """Return the document's title and the headings above the chunk, without saying the title twice."""
    headings = [part for part in chunk.heading.split(" > ") if part and part != document.title]
    return " > ".join([document.title, *headings])


def _digest(fd: int) -> str:
    """Return the digest of an open file, from its beginning; its offset stays where it is."""
    digest = hashlib.blake2b(digest_size=32)
    offset = 0
    while part := os.pread(fd, 1 << 20, offset):
        digest.update(part)
        offset += len(part)
    return digest.hexdigest()


def _storable(path: Path) -> bool:
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
