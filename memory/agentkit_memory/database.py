"""The encrypted database: one connection, its settings, transactions, and what its errors mean.

The only importer of `apsw`. Every page is encrypted and authenticated by SQLite3 Multiple Ciphers (ChaCha20-Poly1305)
under a 32-byte key from the master key; the write-ahead log likewise. Exclusive locking keeps the log's index in
memory, so that no third file appears; temporary tables and sorts stay in memory.
Not covered: an older copy of a single page, or of the whole file, put back (memory/README.md §5).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import apsw

from agentkit_memory.errors import (
    DiskFullError,
    NewerVaultError,
    RecordError,
    StorageError,
    StoreError,
    TamperedError,
    VaultBusyError,
)
from agentkit_memory.schema import MIGRATIONS

FILE: Final = "vault.db"


class Database:
    """An open encrypted database. Not thread-safe: `Vault` holds the lock."""

    def __init__(
        self, path: Path, key: bytes, *, create: bool = False, migrations: Sequence[str] = MIGRATIONS
    ) -> None:
        """Open the database at `path` and bring it up to date.

        Args:
            path: The file; its write-ahead log stands beside it.
            key: 32 bytes.
            create: Whether it may be missing; a vault never opens an empty database in place of a lost one.
            migrations: What brings an older database up to date, in order.

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
        with database_errors():
            self._connection = apsw.Connection(str(path), flags=flags)
        try:
            with database_errors():
                self._configure(key)
                self._migrate(migrations, create=create)
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
        connection.pragma("trusted_schema", False)
        connection.pragma("cell_size_check", True)
        connection.pragma("cache_size", -16384)

    def _migrate(self, migrations: Sequence[str], *, create: bool) -> None:
        version = int(self.scalar("PRAGMA user_version"))
        if version > len(migrations):
            raise NewerVaultError(
                f"the vault's database is of version {version}; this agentkit knows {len(migrations)}",
                hint="update agentkit",
            )
        if version == 0 and not create:
            raise TamperedError("the vault's database is empty", hint="restore it from a backup")
        if version == len(migrations):
            return
        with self.transaction():
            for migration in migrations[version:]:
                self._connection.execute(migration)
            self._connection.execute(f"PRAGMA user_version = {len(migrations)}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is done inside, or nothing of it; on disk when the block ends."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:  # whatever happened, and an interrupt too: nothing half-done may stay
            if self._connection.in_transaction:
                # SQLite itself rolls back after some I/O errors, at times between our two calls.
                with suppress(apsw.Error):
                    self._connection.execute("ROLLBACK")
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
        """Read and check every page in use, every index and every posting; free pages hold nothing and are passed over.

        Raises:
            TamperedError: Something is damaged.
        """
        with database_errors():
            if self.rows("PRAGMA integrity_check(1)") != [("ok",)]:
                raise TamperedError("the vault's database is damaged", hint="restore it from a backup")
            self._connection.execute("INSERT INTO texts (texts, rank) VALUES ('integrity-check', 1)")

    def close(self) -> None:
        """Fold the write-ahead log into the database and close; safe to call twice."""
        with suppress(apsw.Error):  # closing is best effort: all that was acknowledged is in the log
            self._connection.close()


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
