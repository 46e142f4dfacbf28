"""Embed the chunks of read documents, in batches, and commit each file to the index.

Covered: one file is one transaction; a chunk, with its title and headings before it, stays within what the embedder
reads; between batches the run can be stopped.
Not covered: which files; that is `sync`'s.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from agentkit.errors import EngineError
from agentkit.indexing.chunk import Chunk, chunks
from agentkit.indexing.document import Document
from agentkit.indexing.events import FileIndexed, FileSkipped, Progress
from agentkit_memory import EmbeddingMismatchError, FileState, NewRecord, RecordError
from agentkit_memory.embed import CountsPieces, approximate_pieces, embedding_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from agentkit_memory import Embedder

BATCH_CHUNKS = 64
"""Chunks embedded at once; the run can be stopped between batches."""
BULK_AFTER_CHUNKS = 300
"""From here on the bulk embedder has earned its start-up time (5 s against 30 ms saved a chunk)."""


class Index(Protocol):
    """What indexing needs of `agentkit_memory.Vault`."""

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

    def note_file(self, state: FileState) -> None:
        """Note a new size and modification time of a file whose content did not change."""
        ...

    def roots(self) -> list[str]:
        """Return the indexed folders."""
        ...

    def add_root(self, path: str) -> None:
        """Remember an indexed folder."""
        ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """A file that was read and waits to be embedded."""

    path: Path
    state: FileState
    records: tuple[NewRecord, ...]
    texts: tuple[str, ...]
    """What is embedded for each record."""
    notes: tuple[str, ...]
    seconds: float
    """What reading it took."""


class Writer:
    """Writes documents into an index; lives as long as one run."""

    def __init__(self, index: Index, embedder: Embedder, *, bulk: Embedder | None = None) -> None:
        """Start nothing yet; see `Sync` for the arguments."""
        self._index = index
        self._embedder = embedder
        self._bulk = bulk
        self._count = embedder.count_pieces if isinstance(embedder, CountsPieces) else approximate_pieces
        self._embedded = 0

    def prepare(self, path: Path, state: FileState, document: Document, seconds: float) -> Prepared:
        """Cut a document into chunks."""
        pieces = chunks(document, self._count)
        modified = state.mtime_ns / 1e9
        return Prepared(
            path,
            replace(state, chunks=len(pieces)),
            tuple(_record(path, modified, document, chunk) for chunk in pieces),
            tuple(embedding_text(self._embedder, _title(document, chunk), chunk.text) for chunk in pieces),
            document.notes,
            seconds,
        )

    def write(
        self, files: Sequence[Prepared], progress: Progress
    ) -> Iterator[Progress | FileIndexed | FileSkipped]:
        """Embed the chunks of some files together and commit each file.

        Yields:
            `progress` between two batches, and `FileIndexed` once a file is on disk, or `FileSkipped` with what the
            index has against it.

        Raises:
            EmbeddingMismatchError: The index was filled by another embedder.
        """
        import numpy as np

        texts = [text for prepared in files for text in prepared.texts]
        started = time.monotonic()
        parts: list[Any] = [self._nothing()]
        for start in range(0, len(texts), BATCH_CHUNKS):
            if start:
                yield progress
            batch = texts[start : start + BATCH_CHUNKS]
            self._embedded += len(batch)
            parts.append(self._embed(batch))
        vectors = np.concatenate(parts)
        each = (time.monotonic() - started) / max(1, len(texts))
        offset = 0
        for prepared in files:
            end = offset + len(prepared.texts)
            seconds = prepared.seconds + each * len(prepared.texts)
            yield self._commit(prepared, vectors[offset:end], seconds)
            offset = end

    def _commit(
        self, prepared: Prepared, vectors: NDArray[np.float32], seconds: float
    ) -> FileIndexed | FileSkipped:
        try:
            self._index.replace_file(prepared.state, prepared.records, vectors)
        except EmbeddingMismatchError:
            raise  # it is about every file
        except RecordError as error:
            self.write_refusal(replace(prepared.state, chunks=0, error=error.message))
            return FileSkipped(prepared.path, error.message)
        return FileIndexed(prepared.path, len(prepared.records), round(seconds, 4), prepared.notes)

    def _embed(self, batch: Sequence[str]) -> NDArray[np.float32]:
        if self._bulk is not None and self._embedded > BULK_AFTER_CHUNKS:
            try:
                return self._bulk.embed(batch)
            except EngineError:
                self._bulk = None  # the light one gives the same vectors, only later
        return self._embedder.embed(batch)

    def write_refusal(self, state: FileState) -> None:
        """Put the reason a file was refused in place of its chunks."""
        self._index.replace_file(state, (), self._nothing())

    def _nothing(self) -> NDArray[np.float32]:
        import numpy as np

        return np.empty((0, self._embedder.dimensions), np.float32)


def _record(path: Path, modified: float, document: Document, chunk: Chunk) -> NewRecord:
    return NewRecord(
        text=chunk.text,
        source=str(path),
        kind="document",
        place=chunk.place,
        title=_title(document, chunk),
        origin="document",
        privacy="private",
        created=modified,
        position=chunk.position,
    )


def _title(document: Document, chunk: Chunk) -> str:
    """Return the document's title and the headings above the chunk, without saying the title twice."""
    headings = [part for part in chunk.heading.split(" > ") if part and part != document.title]
    return " > ".join([document.title, *headings])
