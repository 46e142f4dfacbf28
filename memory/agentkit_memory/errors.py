"""The errors of the memory.

    StoreError
    ├── VaultMissingError        there is no vault in this folder
    ├── VaultExistsError         there is one already; nothing was touched
    ├── VaultClosedError         the vault was closed
    ├── VaultBusyError           another process, or another `Vault`, has it open
    ├── WrongPassphraseError     no slot opens with this passphrase or secret
    ├── WeakKeyError             key derivation below the floor, or above what is sane to run
    ├── TamperedError            damaged or changed outside of agentkit
    ├── NewerVaultError          written by a newer version; left unharmed
    ├── RecordError              a record, name or setting that cannot be stored
    │   └── EmbeddingMismatchError   vectors of another model or size
    ├── EmbedderError            the embedding model's files cannot be used
    ├── VectorIndexError         the vector index cannot be used; exact search still works
    └── StorageError             the disk failed
        └── DiskFullError        no space left; the change was rolled back

Exit codes: 1 failed · 2 wrong usage · 3 not set up · 4 wrong passphrase · 5 refused · 6 busy · 7 out of space.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager


class StoreError(Exception):
    """Anything the memory reports: one line, and a hint that says what to do."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class VaultMissingError(StoreError):
    """There is no vault in this folder."""

    exit_code = 3


class VaultExistsError(StoreError):
    """There is a vault in this folder already; nothing was touched."""

    exit_code = 2


class VaultClosedError(StoreError):
    """The vault was closed."""


class VaultBusyError(StoreError):
    """Another process, or another `Vault` of this one, has the vault open."""

    exit_code = 6


class WrongPassphraseError(StoreError):
    """No slot opens with this passphrase or secret."""

    exit_code = 4


class WeakKeyError(StoreError):
    """A passphrase, secret or key derivation that protects nothing, or would exhaust the machine."""

    exit_code = 5


class TamperedError(StoreError):
    """Damaged, or changed outside of agentkit; nothing in it is trusted."""

    exit_code = 5


class NewerVaultError(StoreError):
    """Written by a newer version; left as it was."""

    exit_code = 5


class RecordError(StoreError):
    """A record, name or setting that cannot be stored."""

    exit_code = 2


class EmbeddingMismatchError(RecordError):
    """Vectors of another model, size or count than the vault holds."""


class EmbedderError(StoreError):
    """The embedding model's files are missing, malformed or of another kind."""

    exit_code = 5


class VectorIndexError(StoreError):
    """The vector index cannot be used; exact search still answers."""


class StorageError(StoreError):
    """The disk or file system failed; the change was rolled back."""


class DiskFullError(StorageError):
    """No space left; the change was rolled back."""

    exit_code = 7


@contextmanager
def disk_errors(subject: str) -> Iterator[None]:
    """Turn an `OSError` about `subject` into a `StorageError`."""
    try:
        yield
    except OSError as error:
        raise from_os(error, subject) from error


def from_os(error: OSError, subject: str) -> StorageError:
    """Return the typed form of an `OSError` about `subject`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(
            f"{subject} cannot be written: no space left on the disk", hint="free some space, then try again"
        )
    return StorageError(f"{subject} failed: {error.strerror or type(error).__name__}")
