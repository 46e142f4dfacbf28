"""Chroma as the vector index, in memory only. The only importer of `chromadb`.

Chroma leaves vectors, ids and metadata in clear in its files, keeps there what was deleted, reads `./.env` and its
environment, and fetches a model when it is handed a text. So here it gets random ids and vectors, never a text or a
label; its settings are all passed explicitly; its files, if any, lie on a private tmpfs that the caller made.
Not covered: swap (the tmpfs and this process may be swapped out).
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agentkit_memory.errors import VectorIndexError

if TYPE_CHECKING:
    import numpy as np
    from chromadb.api import ClientAPI
    from chromadb.api.models.Collection import Collection as ChromaCollection
    from numpy.typing import NDArray

BATCH: Final = 2000
_COLLECTION: Final = "vectors"
_IMPORTING: Final = threading.Lock()
_QUIET: Final = {
    "ANONYMIZED_TELEMETRY": "False",
    "OTEL_SDK_DISABLED": "true",
    "ORT_DISABLE_TELEMETRY": "1",  # its onnxruntime phones home otherwise, should anything ever import it
}
# Recall of 0.98 at 10 on real sentences; adding is as quick as with Chroma's own defaults.
_HNSW: Final = {"space": "ip", "ef_construction": 100, "ef_search": 200, "max_neighbors": 16}


class ChromaIndex:
    """Chroma's HNSW index over vectors in memory."""

    name = "chroma"

    def __init__(self, dimensions: int, folder: Path | None = None) -> None:
        """Start an embedded client.

        Args:
            dimensions: Of every vector.
            folder: A private folder in memory, empty or restored from a snapshot; `None` keeps everything inside
                the process.

        Raises:
            VectorIndexError: Chroma cannot be imported or started.
        """
        if folder is not None:
            # Its SQLite reads this once; /var/tmp would be a disk, and one that a locked process may not write.
            os.environ["SQLITE_TMPDIR"] = str(_widest(folder))
        chromadb = _chromadb()
        from chromadb.errors import NotFoundError

        self._dimensions = dimensions
        self._folder = folder
        # In-process clients share one database; the random name keeps two vaults apart.
        self._collection_name = _COLLECTION if folder is not None else f"{_COLLECTION}-{os.urandom(8).hex()}"
        self._client: ClientAPI | None = None
        try:
            with _chroma_errors():
                settings = _settings(folder)
                self._client = client = (
                    chromadb.EphemeralClient(settings=settings)
                    if folder is None
                    else chromadb.PersistentClient(str(folder), settings=settings)
                )
                try:
                    collection = client.get_collection(self._collection_name, embedding_function=None)
                except NotFoundError:
                    collection = client.create_collection(
                        self._collection_name, embedding_function=None, configuration={"hnsw": _HNSW}
                    )
        except VectorIndexError:
            self.close()
            raise
        self._collection: ChromaCollection = collection

    def put(self, ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Add vectors, or replace those whose id is known."""
        for start in range(0, len(ids), BATCH):
            part = slice(start, start + BATCH)
            with _chroma_errors():
                self._collection.upsert(ids=list(ids[part]), embeddings=vectors[part])

    def delete(self, ids: Collection[str]) -> None:
        """Drop vectors; ids that are not known are passed over."""
        every = list(ids)
        for start in range(0, len(every), BATCH):
            with _chroma_errors():
                self._collection.delete(ids=every[start : start + BATCH])

    def search(self, vector: NDArray[np.float32], k: int) -> list[tuple[str, float]]:
        """Return up to `k` ids and their cosines, nearest first."""
        with _chroma_errors():
            found = self._collection.query(
                query_embeddings=vector.reshape(1, -1), n_results=k, include=["distances"]
            )
        distances = found["distances"]
        assert distances is not None  # noqa: S101 - it was asked for
        return [
            (identity, 1.0 - distance)
            for identity, distance in zip(found["ids"][0], distances[0], strict=True)
        ]

    def __len__(self) -> int:
        with _chroma_errors():
            return self._collection.count()

    def close(self) -> None:
        """Stop the client and let go of the memory; its files are then complete."""
        client, self._client = self._client, None
        if client is None:
            return
        with suppress(VectorIndexError), _chroma_errors():
            if self._folder is None:
                client.delete_collection(self._collection_name)
            client.close()  # type: ignore[attr-defined] # the interface lacks it, the client has it


@contextmanager
def _chroma_errors() -> Iterator[None]:
    """Turn what chroma raises into the memory's own; its texts never reach a message."""
    from chromadb.errors import ChromaError

    try:
        yield
    except (ChromaError, ValueError, RuntimeError, OSError) as error:
        raise VectorIndexError(f"chroma failed: {type(error).__name__}") from None


def _widest(folder: Path) -> Path:
    """Return the outermost folder on the same file system that can be written: it outlasts `folder`."""
    place = folder.resolve()
    while (
        place != place.parent
        and place.parent.stat().st_dev == place.stat().st_dev
        and os.access(place.parent, os.W_OK)
    ):
        place = place.parent
    return place


def compact(folder: Path) -> None:
    """Drop from Chroma's closed files what its queue of additions left: free pages, a third of its database."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(folder / "chroma.sqlite3")) as database:
        database.execute("PRAGMA temp_store = MEMORY")  # it would write in clear to a disk else
        database.execute("VACUUM")


def engine() -> str:
    """Return name and version of the library, as a snapshot records it."""
    return f"chromadb {_chromadb().__version__}"


def _chromadb() -> Any:  # noqa: ANN401 - a module
    """Import chromadb with nothing of the environment in its reach."""
    with _IMPORTING:
        for name in [name for name in os.environ if name.upper().startswith(("CHROMA_", "OTEL_"))]:
            del os.environ[name]
        os.environ.update(_QUIET)
        try:
            import chromadb
        except (ImportError, ValueError, RuntimeError) as error:
            # ValueError: a `.env` in the working directory that its settings cannot read.
            raise VectorIndexError(f"chromadb cannot be imported: {type(error).__name__}") from None
        return chromadb


def _settings(folder: Path | None) -> Any:  # noqa: ANN401 - chromadb's settings
    """Return Chroma's own defaults, passed explicitly: arguments win over environment and `.env`."""
    from chromadb.config import Settings

    defaults = {
        name: field.get_default(call_default_factory=True) for name, field in Settings.model_fields.items()
    }
    ours = {
        "anonymized_telemetry": False,
        "is_persistent": folder is not None,
        "persist_directory": "" if folder is None else str(folder),
    }
    return Settings(_env_file=None, **{**defaults, **ours})  # type: ignore[call-arg] # pydantic-settings
