"""What a vault holds: records, the files they come from, and finding them.

The part of `Vault` that needs vectors and the index; what a method changed is on disk when it returns.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkit_memory import citations, forgetting, fusion, reembedding, rows, state
from agentkit_memory.access import Access
from agentkit_memory.database import Database
from agentkit_memory.embed import Embedder
from agentkit_memory.errors import EmbeddingMismatchError, RecordError, StoreError
from agentkit_memory.forgetting import Forgotten
from agentkit_memory.ledger import Ledger
from agentkit_memory.record import FileState, Filter, Hit, NewRecord, Record
from agentkit_memory.reembedding import Reembedded
from agentkit_memory.search import EVERYTHING, Finder
from agentkit_memory.snapshot import Snapshot
from agentkit_memory.terms import forget_words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Contents(Ledger):
    """Records, files and search of an unlocked vault."""

    def __init__(
        self, access: Access, index_folder: Path | None, clock: Callable[[], float], *, allow_weak_kdf: bool
    ) -> None:
        """Take over opened files."""
        super().__init__(access, clock, allow_weak_kdf=allow_weak_kdf)
        self.embedder: str = access.meta["embedder"]
        """Name of the embedding model its vectors come from."""
        self.dimensions: int = access.meta["dimensions"]
        """Size of its vectors."""
        self.on_forget: list[Callable[[Sequence[str]], None]] = []
        """Told the ids that were forgotten, so that caches made from them go too."""
        snapshot = Snapshot(access.folder, access.master.subkey("snapshot"), access.header.id)
        try:
            self._finder = Finder(access.database, self.dimensions, access.lock, snapshot, index_folder)
        except StoreError:
            access.close()
            raise

    # Records

    def add(
        self,
        records: Sequence[NewRecord],
        embeddings: NDArray[np.floating[Any]],
        *,
        counts: Sequence[int] | None = None,
    ) -> list[str]:
        """Store records with their vectors, all or none; return their ids, in order.

        Args:
            records: Any number.
            embeddings: (n, dimensions), those of a record one after the other; it is as near as its nearest.
            counts: How many rows each record has, at least 1; 1 each when left out.

        Raises:
            RecordError: One cannot be stored; none was.
            EmbeddingMismatchError: The vectors have another shape than the vault's.
            DiskFullError, StorageError: Nothing was stored.
        """
        counts = [1] * len(records) if counts is None else counts
        vectors = self._checked(records, embeddings, counts)
        with self._access.lock:
            with self._access.transaction() as database:
                added = rows.insert(database, records, vectors, counts, self._clock())
                citations.note(database, (source for record in records for source in record.sources))
            self._finder.put(added, vectors)
        return added.ids

    def get(self, ids: Sequence[str]) -> list[Record]:
        """Return the records that exist among `ids`, in that order."""
        with self._access.reading() as database:
            found = rows.get(database, ids)
        return [found[each] for each in ids if each in found]

    def records(self, where: Filter = EVERYTHING, *, limit: int = 100, offset: int = 0) -> list[Record]:
        """Return the records that pass `where`, in the order they were added."""
        with self._access.reading() as database:
            return rows.select(database, where, limit=limit, offset=offset)

    def ids_with_prefix(self, prefix: str, *, limit: int = 2) -> list[str]:
        """Return up to `limit` ids that begin with `prefix`, 1 to 32 hexadecimal digits; none for anything else."""
        with self._access.reading() as database:
            return rows.ids_with_prefix(database, prefix, limit)

    def count(self, where: Filter = EVERYTHING) -> int:
        """Return how many records pass `where`."""
        with self._access.reading() as database:
            return rows.count(database, where)

    def rewrite(
        self, record_id: str, text: str, embedding: NDArray[np.floating[Any]], *, title: str = ""
    ) -> bool:
        """Put another text, title and vectors in a record's place; return whether it exists. The rest of it stays.

        Args:
            record_id: Which.
            text: In place of the old one, which leaves table, terms and index, and messages that repeat it; a round
                that does stays, and is forgotten with this record.
            embedding: (dimensions,), or (n, dimensions) for several.
            title: In place of the old one.

        Raises:
            RecordError: It cannot be stored; the old text stands.
            EmbeddingMismatchError: The vector has another size than the vault's.
        """
        fresh = NewRecord(text, title=title)
        matrix = embedding.reshape(1, -1) if embedding.ndim == 1 else embedding
        vectors = self._checked([fresh], matrix, [len(matrix)])
        with self._access.lock:
            with self._access.transaction() as database:
                old = rows.get(database, [record_id]).get(record_id)
                self._finder.vectors.note(rows.several(database, [record_id], self.dimensions))
                written = rows.rewrite(database, record_id, fresh, vectors)
                if old is None or written is None:
                    return False
                if old.text != text:
                    forgetting.unsay(database, old)
                self._new_epoch(database)
            self._finder.delete([record_id])
            self._finder.purge()
            self._finder.put(written, vectors)
            with self._access.reading() as database:
                database.fold_log()  # it holds the old words
        return True

    def delete(self, ids: Sequence[str]) -> int:
        """Delete records from table, full text, index and snapshot; return how many there were."""
        with self._access.lock:
            with self._access.transaction() as database:
                gone = self._drop(database, ids)
            self._finder.delete(gone)
        return len(gone)

    def forget(self, ids: Sequence[str] = (), *, where: Filter | None = None, query: str = "") -> Forgotten:
        """Delete records and everything made from them, take their words out of conversations, and look for traces.

        Args:
            ids: These records.
            where: And those that pass; a filter without restriction forgets everything. One that asks for nothing but
                time takes the words of messages of that time, too.
            query: Of all records (or those that pass `where`), those in which every one of these words occurs, in
                the singular or the plural; and the words of messages like that, if `where` asks for nothing but time.

        Raises:
            RecordError: Nothing was named, or an id is none.
        """
        if not ids and where is None and not query:
            raise RecordError("nothing to forget was named")
        with self._access.lock:
            with self._access.transaction() as database:
                wanted = list(ids)
                if query:
                    wanted += self._finder.every_word(query, where or EVERYTHING)
                elif where is not None:
                    wanted += [*rows.ids_where(database, where), *citations.ids_where(database, where)]
                named = len(rows.get(database, wanted))
                every = forgetting.with_derived(database, wanted)
                if more := forgetting.repeating(database, list(rows.get(database, every).values())):
                    every = forgetting.with_derived(database, [*every, *more])
                records = [*rows.get(database, every).values(), *citations.gone(database, every)]
                vectors = forgetting.vectors_of(database, every, self.dimensions)
                gone = self._drop(database, every)
                for path in {record.source for record in records if record.kind == "document"}:
                    state.drop_file(
                        database, path
                    )  # its name goes too; a file that is still there is read again
                citations.drop(database, every)
                redacted = forgetting.redact(database, records, forgetting.Named(where, query))
                citations.prune(database)
            self._finder.delete(gone)
            self._finder.purge()
            for told in self.on_forget:
                told(every)
            with self._access.reading() as database:
                found = forgetting.prove(database, self._finder, records, vectors, redacted.words)
        forget_words()  # the proof has looked for them
        blank = redacted.messages, redacted.conversations
        return Forgotten(tuple(gone), len(gone) - named, *blank, *found)

    def search(
        self,
        text: str,
        embedding: NDArray[np.floating[Any]] | None,
        *,
        k: int = 8,
        where: Filter = EVERYTHING,
        lexical_weight: float = fusion.LEXICAL_WEIGHT,
        diversity: float = 0.0,
    ) -> list[Hit]:
        """Return the `k` records nearest to a question, best first.

        Both arms bring candidates (cosine of vectors; BM25 of words), every candidate is scored by both, and the
        z-scores over the candidates are summed.

        Args:
            text: The question; its words are quoted, never read as query syntax.
            embedding: Its vector, (dimensions,); `None` searches by words alone.
            k: At least 1.
            where: Which records are asked.
            lexical_weight: Share of BM25, 0 to 1.
            diversity: How much likeness to a better hit counts against one, 0 to 1.

        Raises:
            EmbeddingMismatchError: The vector has another size than the vault's.
        """
        with self._access.reading():
            vector = None
            if embedding is not None:
                vector = rows.check_vectors(embedding.reshape(1, -1), 1, self.dimensions)[0]
            how = {"lexical_weight": lexical_weight, "diversity": diversity}
            return self._finder.search(text, vector, k=k, where=where, **how)

    def neighbours(self, record_id: str, *, before: int = 1, after: int = 1) -> list[Record]:
        """Return the records beside one in the same source, in order, without itself."""
        with self._access.reading() as database:
            return rows.neighbours(database, record_id, before, after)

    # Files and roots

    def files(self, root: str = "") -> dict[str, FileState]:
        """Return the state of every indexed file under `root`, by path; of all, when it is empty."""
        with self._access.reading() as database:
            return state.files(database, root)

    def replace_file(
        self, file: FileState, records: Sequence[NewRecord], embeddings: NDArray[np.floating[Any]]
    ) -> list[str]:
        """Put a file's chunks and state in place of its older ones, all or none; return the chunks' ids.

        Raises:
            RecordError: A record is not a `document` of this file, or cannot be stored; nothing changed.
        """
        if any(record.kind != "document" or record.source != file.path for record in records):
            raise RecordError("a file's chunks are of kind document, and their source is its path")
        counts = [1] * len(records)
        vectors = self._checked(records, embeddings, counts)
        with self._access.lock:
            with self._access.transaction() as database:
                gone = self._drop(database, state.chunk_ids(database, file.path))
                added = rows.insert(database, records, vectors, counts, self._clock())
                state.put_file(database, file)
            self._finder.delete(gone)
            self._finder.put(added, vectors)
        return added.ids

    def note_file(self, file: FileState) -> None:
        """Note a new size and modification time of a file whose content is what it was; its chunks stay."""
        with self._access.transaction() as database:
            state.note_file(database, file)

    def remove_file(self, path: str) -> int:
        """Drop a file and its chunks; return how many chunks there were. What was made from them stays (`forget`)."""
        with self._access.lock:
            with self._access.transaction() as database:
                gone = self._drop(database, state.chunk_ids(database, path))
                state.drop_file(database, path)
            self._finder.delete(gone)
        return len(gone)

    def rename_file(self, old: str, new: str) -> None:
        """Give a file and its chunks another path; what stood under that path is forgotten."""
        if old == new:
            return
        with self._access.lock:
            with self._access.transaction() as database:
                gone = self._drop(database, state.chunk_ids(database, new))
                state.drop_file(database, new)
                state.move_file(database, old, new)
                citations.move(database, old, new)
            self._finder.delete(gone)
            self._finder.rename_source(old, new)

    # The index

    def warm(self, *, wait: bool = False) -> None:
        """Load the Chroma index in the background; exact search answers until it is there.

        Args:
            wait: Return only when Chroma answers.

        Raises:
            VectorIndexError: Chroma cannot be used (only with `wait`); exact search still answers.
        """
        self._finder.warm(wait=wait)

    @property
    def index_name(self) -> str:
        """Which index answers now: `exact` or `chroma`."""
        return self._finder.vectors.name

    @property
    def index_error(self) -> StoreError | None:
        """Why Chroma does not answer, when it was asked to and failed."""
        return self._finder.vectors.error

    def check_embedder(self, name: str, dimensions: int) -> None:
        """Refuse another embedding model than the one the vault's vectors come from.

        Raises:
            EmbeddingMismatchError: Name or size differ.
        """
        if (self.embedder, self.dimensions) != (name, dimensions):
            raise EmbeddingMismatchError(
                f"the vault's vectors come from {self.embedder} ({self.dimensions} dimensions), "
                f"not from {name} ({dimensions})",
                hint="agentkit memory reembed",
            )

    def reembed(self, embedder: Embedder, *, bulk: Embedder | None = None) -> Iterator[Reembedded]:
        """Give every record a vector of another model (or the same anew), and then use those.

        Until the last step the old vectors answer, and the vault can be used from other threads. Stopped or killed
        anywhere, the next call goes on from there.

        Args:
            embedder: The new model.
            bulk: The same model, quicker for many texts.

        Yields:
            How far it is; `finished` once, at the end.

        Raises:
            EmbeddingMismatchError: Its vectors are not what it says.
            DiskFullError, StorageError: What was embedded until then is kept.
        """
        while True:
            yield from reembedding.gather(self._access, embedder, bulk or embedder)
            with self._access.lock:
                old = self._finder.detach()
            old.close()  # without the lock, for which its thread may wait
            with self._access.lock:
                with self._access.transaction() as database:
                    switched = reembedding.switch(database, embedder)
                    if switched:
                        self._finder.vectors.forget()
                if switched:
                    self.embedder, self.dimensions = embedder.name, embedder.dimensions
                    self._finder.restart(embedder.dimensions)
                    total = self.count()
                    break
        yield Reembedded(total, total, finished=True)

    def _checked(
        self, records: Sequence[NewRecord], embeddings: NDArray[np.floating[Any]], counts: Sequence[int]
    ) -> NDArray[np.float32]:
        for record in records:
            rows.check(record)
        if len(counts) != len(records) or min(counts, default=1) < 1:
            raise EmbeddingMismatchError("every record needs at least one vector")
        return rows.check_vectors(embeddings, sum(counts), self.dimensions)

    def _drop(self, database: Database, ids: Sequence[str]) -> list[str]:
        """Delete records; a new epoch begins with it, so that no older snapshot is used again."""
        citations.retire(database, ids)
        self._finder.vectors.note(rows.several(database, ids, self.dimensions))
        gone = rows.delete(database, ids)
        if gone:
            self._new_epoch(database)
        return gone

    def _new_epoch(self, database: Database) -> None:
        database.change("UPDATE meta SET value = ? WHERE key = 'epoch'", (os.urandom(16),))
        self._finder.vectors.forget()
