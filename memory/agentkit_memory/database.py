"""The encrypted database: one connection, its settings, transactions, and what its errors mean.

The only importer of `apsw`. Every page is encrypted and authenticated by SQLite3 Multiple Ciphers (ChaCha20-Poly1305)
under a 32-byte key from the master key; the write-ahead log likewise. Exclusive locking keeps the log's index in
memory, so that no third file appears; temporary tables and sorts stay in memory.
Every transaction counts the generation up and renews the content digest. An older copy of a page or of the whole file
that is put back is for `guard` to notice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, cast

import apsw

from agentkit_memory.digest import TABLES, ContentDigest, triggers
from agentkit_memory.errors import (
    DiskFullError,
    NewerVaultError,
    RecordError,
    StorageError,
    StoreError,
    TamperedError,
    VaultBusyError,
    disk_errors,
)
from agentkit_memory.schema import MIGRATIONS, SESSION
from agentkit_memory.terms import pack

FILE: Final = "vault.db"


class Database:
    """An open encrypted database. Not thread-safe: `Vault` holds the lock."""

    def __init__(
        self,
        path: Path,
        key: bytes,
        digest_key: bytes,
        *,
        create: bool = False,
        migrations: Sequence[str] = MIGRATIONS,
    ) -> None:
        """Open the database at `path`.

        Args:
            path: The file; its write-ahead log stands beside it.
            key: 32 bytes: of the pages.
            digest_key: 32 bytes: of the content digest.
            create: Whether it may be missing; a vault never opens an empty database in place of a lost one.
            migrations: What makes the tables, and brings an older database up to date, in order.

        Raises:
            TamperedError: Missing, damaged, or under another key.
            NewerVaultError: Written by a newer version; unharmed.
            StorageError: The disk failed.
        """
        flags = (
            apsw.SQLITE_OPEN_READWRITE
            | apsw.SQLITE_OPEN_NOFOLLOW
            | (apsw.SQLITE_OPEN_CREATE if create else 0)
        )
        if not create and not path.is_file():
            raise TamperedError(
                "the vault's database is missing",
                hint=f"restore {FILE} from the backup that {path.parent} came from",
            )
        self._scratch = path.with_name(path.name + ".scan")
        with database_errors():
            self._connection = apsw.Connection(str(path), flags=flags)
        self._digest = ContentDigest(digest_key)
        self._migrations = migrations
        self._version = 0
        self._following = False
        self.generation: int = 0
        """How many commits there were."""
        try:
            self._drop_scratch()
            with database_errors():
                self._configure(key)
                self._check_version(create=create)
                self._follow()
        except StoreError:
            self.close()
            raise

    def _configure(self, key: bytes) -> None:
        connection = self._connection
        connection.pragma("cipher", "chacha20")
        # `raw:` because the key is uniform already: no second key derivation at each open.
        connection.pragma("key", "raw:" + key.hex())
        connection.pragma("locking_mode", "exclusive")
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
        connection.pragma("secure_delete", True)
        connection.pragma("temp_store", "memory")
        connection.pragma("foreign_keys", True)
        # Rows that REPLACE throws out count as deleted, for the content digest too.
        connection.pragma("recursive_triggers", True)
        connection.pragma("trusted_schema", False)
        connection.pragma("cell_size_check", True)
        connection.pragma("cache_size", -16384)

    def _check_version(self, *, create: bool) -> None:
        version, newest = int(self.scalar("PRAGMA user_version")), len(self._migrations)
        if version > newest:
            raise NewerVaultError(
                f"the vault's database is of version {version}; this agentkit knows {newest}",
                hint="update agentkit",
            )
        if version == 0 and not create:
            raise TamperedError("the vault's database is empty", hint="restore it from a backup")
        self._version = version
        self._connection.create_scalar_function("terms_of", _terms_of, flags=apsw.SQLITE_INNOCUOUS)
        if version == 0:
            with self.transaction():
                self._migrate()
                self._connection.execute("UPDATE newest SET digest = ?", (self.sum_rows(),))

    @property
    def outdated(self) -> bool:
        """Whether an older version wrote the database; it is to be checked first, and then to be brought up to date."""
        return self._version < len(self._migrations)

    def update(self) -> None:
        """Bring an older database up to date, in one commit."""
        with database_errors():
            with self.transaction():
                self._migrate()
                self._digest.restore(self.sum_rows())
                self._digest.touched = True
            self._connection.execute(triggers(self._tables()))

    def _migrate(self) -> None:
        for migration in self._migrations[self._version :]:
            self._connection.execute(migration)
        self._version = len(self._migrations)
        self._connection.execute(f"PRAGMA user_version = {self._version}")

    def _follow(self) -> None:
        """Let the content digest follow every change of this connection."""
        connection, digest = self._connection, self._digest
        self.generation = int(self.scalar("SELECT generation FROM newest"))
        digest.restore(bytes(self.scalar("SELECT digest FROM newest")))
        for name, function in (("row_added", digest.add), ("row_removed", digest.subtract)):
            connection.create_scalar_function(name, cast("Any", function), flags=apsw.SQLITE_INNOCUOUS)
        connection.execute(triggers(self._tables()))
        connection.execute(SESSION)
        self._following = True

    def _tables(self) -> dict[str, tuple[str, ...]]:
        """Return the tables of ours that this version of the database has."""
        there = {name for (name,) in self.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        return {table: columns for table, columns in TABLES.items() if table in there}

    @property
    def digest(self) -> bytes:
        """The content digest after the last commit: 32 bytes."""
        return self._digest.value

    def sum_rows(self) -> bytes:
        """Return the content digest, computed anew from every row."""
        fresh = self._digest.fresh()
        for table, columns in self._tables().items():
            for row in self._connection.execute(f"SELECT {', '.join(columns)} FROM {table}"):  # noqa: S608
                fresh.add(table, *row)
        return fresh.value

    def adopt(self) -> None:
        """Begin the content digest anew under this connection's key: the database is a copy from under another."""
        with database_errors():
            self._digest.restore(self.sum_rows())
            self._digest.touched = True
            with self.transaction():
                pass

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is done inside, or nothing of it; on disk when the block ends."""
        self._connection.execute("BEGIN IMMEDIATE")
        generation, digest = self.generation, self._digest.value
        before = digest
        try:
            yield
            if self._following and self._digest.touched:
                generation += 1
                digest = self._digest.value
                self._connection.execute("UPDATE newest SET generation = ?, digest = ?", (generation, digest))
            self._connection.execute("COMMIT")
            self.generation = generation
            self._digest.restore(digest)
        except BaseException:  # whatever happened, and an interrupt too: nothing half-done may stay
            if self._connection.in_transaction:
                # SQLite itself rolls back after some I/O errors, at times between our two calls.
                with suppress(apsw.Error):
                    self._connection.execute("ROLLBACK")
            self._digest.restore(before)
            raise

    def rows(self, sql: str, bindings: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return every row of a query."""
        return self._connection.execute(sql, bindings).fetchall()

    def row(self, sql: str, bindings: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """Return the first row of a query, or `None`."""
        for row in self._connection.execute(sql, bindings):
            return tuple(row)
        return None

    def scalar(self, sql: str, bindings: Sequence[Any] = ()) -> Any:  # noqa: ANN401 - whatever SQL returns
        """Return the first column of the first row, or `None`."""
        row = self.row(sql, bindings)
        return None if row is None else row[0]

    def change(self, sql: str, bindings: Sequence[Any] = ()) -> int:
        """Run one statement; return how many rows it changed, not counting those of triggers."""
        self._connection.execute(sql, bindings)
        return self._connection.changes()

    def change_many(self, sql: str, bindings: Sequence[Sequence[Any]]) -> None:
        """Run one statement once per row of `bindings`."""
        self._connection.executemany(sql, bindings)

    @property
    def last_row(self) -> int:
        """Row number of the last insert."""
        return self._connection.last_insert_rowid()

    def verify(self) -> None:
        """Read every page from the disk; check every row and every index.

        Raises:
            TamperedError: Something is damaged.
        """
        with database_errors():
            if self.rows("PRAGMA integrity_check(1)") != [("ok",)]:
                raise TamperedError("the vault's database is damaged", hint="restore it from a backup")
            if self.sum_rows() != self._digest.value:
                raise TamperedError(
                    "rows of the vault's database were changed outside of agentkit",
                    hint="restore it from a backup",
                )
            self.scan(())

    def scan(self, wanted: Sequence[bytes]) -> list[int]:
        """Read every page from the disk, free ones too, and count how often each of `wanted` occurs.

        Raises:
            TamperedError: A page cannot be authenticated.
        """
        with database_errors():
            self.fold_log()
            self._connection.pragma("shrink_memory")
            # Copying is the only way SQLite offers to read free pages and say so when one is damaged.
            self._drop_scratch()
            try:
                self.copy_to(self._scratch, os.urandom(32), durable=False)
            finally:
                self._drop_scratch()
            pages = self._connection.serialize("main") if wanted else b""
            return [pages.count(each) for each in wanted]

    def _drop_scratch(self) -> None:
        """Remove what a scan copied, or a killed one left: nobody has its key, and it would be in the way."""
        with disk_errors("the vault's folder"):
            self._scratch.unlink(missing_ok=True)

    def fold_log(self) -> None:
        """Move the write-ahead log into the database and empty it; call before the file goes on without its log.

        Raises:
            StorageError: The disk is full or failed; the log still holds what it held.
        """
        with database_errors():
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def copy_to(self, path: Path, key: bytes, *, durable: bool = True) -> None:
        """Write a consistent copy to the new file `path`, under `key`; on disk when it returns if `durable`."""
        with database_errors():
            copy = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
            try:
                copy.pragma("cipher", "chacha20")
                copy.pragma("key", "raw:" + key.hex())
                copy.pragma("journal_mode", "off")
                copy.pragma("synchronous", "full" if durable else "off")
                with copy.backup("main", self._connection, "main") as backup:
                    while not backup.done:
                        backup.step(1024)
            finally:
                copy.close()

    def close(self) -> None:
        """Fold the write-ahead log into the database and close; safe to call twice."""
        with suppress(apsw.Error):  # closing is best effort: all that was acknowledged is in the log
            self._connection.close()


def _terms_of(*texts: Any) -> bytes:
    return pack(" ".join(texts))


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn SQLite's errors into the memory's own; their texts never reach a message."""
    try:
        yield
    except (apsw.NotADBError, apsw.CorruptError):
        raise TamperedError(
            "the vault's database is damaged or was changed outside of agentkit",
            hint="restore it from a backup",
        ) from None
    except apsw.FullError:
        raise DiskFullError(
            "the vault cannot be written: no space left on the disk", hint="free some space, then try again"
        ) from None
    except (apsw.BusyError, apsw.LockedError):
        raise VaultBusyError(
            "the vault's database is open elsewhere", hint="stop the other process"
        ) from None
    except apsw.IOError:
        raise StorageError("the vault's database failed: input/output error") from None
    except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError):
        raise StorageError(
            "the vault's database cannot be opened for writing", hint="check its permissions"
        ) from None
    except UnicodeEncodeError:
        raise RecordError("a name or text is not valid Unicode (lone surrogates)") from None
    except OverflowError:
        raise RecordError("a number has over 64 bits") from None
    except apsw.NoMemError:
        raise StorageError("the vault's database ran out of memory") from None
