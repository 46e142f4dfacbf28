"""The vault: one folder that holds what a person told the assistant, encrypted.

    vault.json     header: how to unlock; nothing else is readable without a key
    vault.db       the truth: one encrypted database (and `vault.db-wal` while open)
    index.sealed   a sealed snapshot of the vector index; may be missing
    lock           who has it open

A `Vault` is an unlocked, open vault; its methods may be called from several threads. What a method changed is on disk
when it returns. Covered and not covered: memory/README.md.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from agentkit_memory import forgetting, fusion, lexical, rotation, rows, search, state
from agentkit_memory.access import Access
from agentkit_memory.anchor import Anchor
from agentkit_memory.database import Database
from agentkit_memory.errors import EmbeddingMismatchError, RecordError, StoreError
from agentkit_memory.forgetting import Forgotten
from agentkit_memory.header import FILE as HEADER_FILE
from agentkit_memory.header import VaultHeader
from agentkit_memory.keys import KdfParameters
from agentkit_memory.ledger import Ledger
from agentkit_memory.live_index import LiveIndex
from agentkit_memory.record import FileState, Filter, Hit, NewRecord, Record
from agentkit_memory.snapshot import Snapshot

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EVERYTHING: Final = Filter()
"""No restriction."""


class Vault(Ledger):
    """An unlocked vault. Make one with `create` or `open`; close it, or use it in a `with` block."""

    def __init__(
        self, access: Access, index_folder: Path | None, clock: Callable[[], float], *, allow_weak_kdf: bool
    ) -> None:
        """Take over opened files; `create` and `open` are the public ways in."""
        super().__init__(access, clock, allow_weak_kdf=allow_weak_kdf)
        self.embedder: str = access.meta["embedder"]
        """Name of the embedding model its vectors come from."""
        self.dimensions: int = access.meta["dimensions"]
        """Size of its vectors."""
        self.on_forget: list[Callable[[Sequence[str]], None]] = []
        """Told the ids that were forgotten, so that caches made from them go too."""
        snapshot = Snapshot(access.folder, access.master.subkey("snapshot"), access.header.id)
        try:
            self._index = LiveIndex(access.database, self.dimensions, access.lock, snapshot, index_folder)
        except StoreError:
            access.close()
            raise

    @staticmethod
    def exists(folder: Path) -> bool:
        """Whether there is a vault in `folder`."""
        return (folder / HEADER_FILE).is_file()

    @staticmethod
    def read_header(folder: Path) -> VaultHeader:
        """Read what can be known of a vault without a key; raises what `VaultHeader.read` does."""
        return VaultHeader.read(folder)

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        passphrase: bytes,
        embedder: str,
        dimensions: int,
        kdf: KdfParameters | None = None,
        index_folder: Path | None = None,
        allow_weak_kdf: bool = False,
        anchor: Anchor | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Vault:
        """Make a vault in `folder` and return it unlocked.

        The header is written last: a creation that was interrupted leaves no vault.

        Args:
            folder: Made private to this user when it is missing.
            passphrase: 1 byte to 1 MiB. Lost, it cannot be recovered.
            embedder: Name of the embedding model.
            dimensions: Size of its vectors.
            kdf: Cost of a guess; measured for this machine when left out.
            index_folder: A private, empty folder on a tmpfs for Chroma's files, so that a snapshot can be kept;
                without it Chroma stays inside the process and is rebuilt at each open.
            allow_weak_kdf: Accept parameters under the floor. For tests.
            anchor: Remembers the newest generation outside the folder; see `agentkit_memory.anchor`.
            clock: Seconds since the epoch.

        Raises:
            VaultExistsError: There is one already.
            WeakKeyError: The passphrase or the parameters protect nothing.
            StorageError: The disk is full or failed.
        """
        if not 1 <= dimensions <= 65536:
            raise RecordError(f"vectors of {dimensions} dimensions cannot be stored")
        kdf = kdf or KdfParameters.tuned()
        kdf.check(allow_weak=allow_weak_kdf)
        access = Access.create(
            folder, passphrase, kdf, embedder=embedder, dimensions=dimensions, anchor=anchor
        )
        return cls(access, index_folder, clock, allow_weak_kdf=allow_weak_kdf)

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        passphrase: bytes | None = None,
        keyring_secret: bytes | None = None,
        index_folder: Path | None = None,
        allow_weak_kdf: bool = False,
        anchor: Anchor | None = None,
        accept_rollback: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> Vault:
        """Unlock the vault in `folder`, with a passphrase or the secret kept in the OS keyring.

        Args:
            folder: Of the vault.
            passphrase: Or a recovery code.
            keyring_secret: What `add_keyring_slot` was given.
            index_folder: See `create`.
            allow_weak_kdf: See `create`.
            anchor: Remembers the newest generation outside the folder; see `agentkit_memory.anchor`.
            accept_rollback: Take files that are genuine but not the newest, as after restoring a backup.
            clock: Seconds since the epoch.

        Raises:
            VaultMissingError: There is none.
            VaultBusyError: It is open elsewhere.
            WrongPassphraseError: No slot opens.
            TamperedError: Damaged, or changed outside of agentkit.
            NewerVaultError: Written by a newer version; unharmed.
            WeakKeyError: Its key derivation is out of bounds.
            StorageError: The disk failed.
        """
        access = Access.open(
            folder,
            passphrase=passphrase,
            keyring_secret=keyring_secret,
            allow_weak_kdf=allow_weak_kdf,
            anchor=anchor,
            accept_rollback=accept_rollback,
        )
        return cls(access, index_folder, clock, allow_weak_kdf=allow_weak_kdf)

    def close(self) -> None:
        """Seal the index snapshot if it is stale, close everything, let others in; safe to call twice."""
        if self._access.stop():
            try:
                self._index.close()
            finally:
                self._access.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def id(self) -> str:
        """Random, 32 hexadecimal digits."""
        return self._access.header.id

    # Records

    def add(self, records: Sequence[NewRecord], embeddings: NDArray[np.floating[Any]]) -> list[str]:
        """Store records with their vectors, all or none; return their ids, in order.

        Args:
            records: Any number.
            embeddings: (n, dimensions), one row a record.

        Raises:
            RecordError: One cannot be stored; none was.
            EmbeddingMismatchError: The vectors have another shape than the vault's.
            DiskFullError, StorageError: Nothing was stored.
        """
        vectors = self._checked(records, embeddings)
        with self._access.lock:
            with self._access.transaction() as database:
                ids = rows.insert(database, records, vectors, self._clock())
            return self._indexed(ids, records, vectors)

    def get(self, ids: Sequence[str]) -> list[Record]:
        """Return the records that exist among `ids`, in that order."""
        with self._access.reading() as database:
            found = rows.get(database, ids)
        return [found[each] for each in ids if each in found]

    def records(self, where: Filter = EVERYTHING, *, limit: int = 100, offset: int = 0) -> list[Record]:
        """Return the records that pass `where`, in the order they were added."""
        with self._access.reading() as database:
            return rows.select(database, where, limit=limit, offset=offset)

    def count(self, where: Filter = EVERYTHING) -> int:
        """Return how many records pass `where`."""
        with self._access.reading() as database:
            return rows.count(database, where)

    def delete(self, ids: Sequence[str]) -> int:
        """Delete records from table, full text, index and snapshot; return how many there were."""
        with self._access.lock:
            with self._access.transaction() as database:
                gone = self._drop(database, ids)
            self._index.delete(gone)
        return len(gone)

    def forget(self, ids: Sequence[str] = (), *, where: Filter | None = None, query: str = "") -> Forgotten:
        """Delete records and everything made from them, take their words out of conversations, and look for traces.

        Args:
            ids: These records.
            where: And those that pass; a filter without restriction forgets everything.
            query: Of all records (or those that pass `where`), those in which every one of these words occurs.

        Raises:
            RecordError: Nothing was named, or an id is none.
        """
        if not ids and where is None and not query:
            raise RecordError("nothing to forget was named")
        with self._access.lock:
            with self._access.transaction() as database:
                wanted = list(ids)
                if query:
                    wanted += lexical.every_word(database, query, where or EVERYTHING)
                elif where is not None:
                    wanted += rows.ids_where(database, where)
                named = len(rows.get(database, wanted))
                every = forgetting.with_derived(database, wanted)
                records = list(rows.get(database, every).values())
                vectors = forgetting.vectors_of(database, every, self.dimensions)
                gone = self._drop(database, every)
                for path in {record.source for record in records if record.kind == "document"}:
                    state.drop_file(
                        database, path
                    )  # its name goes too; a file that is still there is read again
                messages, conversations = forgetting.redact(database, records)
            self._index.delete(gone)
            for told in self.on_forget:
                told(gone)
            with self._access.reading() as database:
                found = forgetting.prove(database, records, vectors)
        return Forgotten(tuple(gone), len(gone) - named, messages, conversations, *found)

    def rotate(self, passphrase: bytes) -> None:
        """Put everything under fresh keys and close the vault; open it anew.

        Only the slot that `passphrase` opens is kept. A copy made before still opens, for whoever knows what opened
        it then. Killed in between, the vault is as it was, or rotated; never neither.

        Raises:
            WrongPassphraseError: It opens no passphrase slot; nothing changed, and the vault stays open.
            StorageError: The disk is full or failed; nothing changed.
        """
        try:
            rotation.rotate(self._access, passphrase, allow_weak_kdf=self._allow_weak_kdf)
        finally:
            if self._access.rotated:
                self._index.abandon()
                self._index.close()
                self._access.close()

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
        with self._access.reading() as database:
            vector = None
            if embedding is not None:
                vector = rows.check_vectors(embedding.reshape(1, -1), 1, self.dimensions)[0]
            how = {"lexical_weight": lexical_weight, "diversity": diversity}
            return search.search(database, self._index, text, vector, k=k, where=where, **how)

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
        vectors = self._checked(records, embeddings)
        with self._access.lock:
            with self._access.transaction() as database:
                gone = self._drop(database, state.chunk_ids(database, file.path))
                ids = rows.insert(database, records, vectors, self._clock())
                state.put_file(database, file)
            self._index.delete(gone)
            return self._indexed(ids, records, vectors)

    def remove_file(self, path: str) -> int:
        """Forget a file and its chunks; return how many chunks there were."""
        with self._access.lock:
            with self._access.transaction() as database:
                gone = self._drop(database, state.chunk_ids(database, path))
                state.drop_file(database, path)
            self._index.delete(gone)
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
            self._index.delete(gone)

    # The index

    def warm(self, *, wait: bool = False) -> None:
        """Load the Chroma index in the background; exact search answers until it is there.

        Args:
            wait: Return only when Chroma answers.

        Raises:
            VectorIndexError: Chroma cannot be used (only with `wait`); exact search still answers.
        """
        self._index.warm(wait=wait)

    @property
    def index_name(self) -> str:
        """Which index answers now: `exact` or `chroma`."""
        return self._index.name

    @property
    def index_error(self) -> StoreError | None:
        """Why Chroma does not answer, when it was asked to and failed."""
        return self._index.error

    def check_embedder(self, name: str, dimensions: int) -> None:
        """Refuse another embedding model than the one the vault's vectors come from.

        Raises:
            EmbeddingMismatchError: Name or size differ.
        """
        if (self.embedder, self.dimensions) != (name, dimensions):
            raise EmbeddingMismatchError(
                f"the vault's vectors come from {self.embedder} ({self.dimensions} dimensions), "
                f"not from {name} ({dimensions})",
                hint=f"use {self.embedder}",
            )

    def _checked(
        self, records: Sequence[NewRecord], embeddings: NDArray[np.floating[Any]]
    ) -> NDArray[np.float32]:
        for record in records:
            rows.check(record)
        return rows.check_vectors(embeddings, len(records), self.dimensions)

    def _indexed(
        self, ids: list[str], records: Sequence[NewRecord], vectors: NDArray[np.float32]
    ) -> list[str]:
        self._index.put(ids, vectors, [(record.kind, record.origin) for record in records])
        return ids

    def _drop(self, database: Database, ids: Sequence[str]) -> list[str]:
        """Delete records; a new epoch begins with it, so that no older snapshot is used again."""
        gone = rows.delete(database, ids)
        if gone:
            database.change("UPDATE meta SET value = ? WHERE key = 'epoch'", (os.urandom(16),))
            self._index.forget()
        return gone
