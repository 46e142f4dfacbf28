"""Put large files on disk so that a crash, a full disk or Ctrl-C leaves all of a file or nothing of it."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agentkit.errors import LimitError, ModelError, NotFoundError
from agentkit.models.progress import Meter, OnProgress, Progress, Step, silent

CHUNK_BYTES = 1 << 20
SPARE_BYTES = 64 << 20
"""Left free on the disk of the store, so that the vault can still write."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def require_space(folder: Path, needed: int) -> None:
    """Check that `needed` bytes fit on the disk of `folder`.

    Raises:
        LimitError: They do not, or would leave less than `SPARE_BYTES`.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise LimitError(
            f"{folder}: {needed} bytes are needed, and {SPARE_BYTES} to spare; the disk has {free} free",
            hint="free some space, or set AGENTKIT_MODELS to a folder on a larger disk",
        )


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn a full disk, and a folder that may not be written, into errors a user can act on."""
    try:
        yield
    except PermissionError as error:
        raise ModelError(
            f"{error.filename or folder}: permission denied",
            hint="check who owns the model store, or set AGENTKIT_MODELS to another folder",
        ) from error
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise LimitError(
            f"{folder}: the disk is full ({os.strerror(error.errno or 0).lower()}); what was begun is removed",
            hint="free some space, or set AGENTKIT_MODELS to a folder on a larger disk",
        ) from error


def hash_file(
    path: Path, *, subject: str | None = None, step: Step = "check", on_progress: OnProgress = silent
) -> str:
    """Return the SHA-256 of a file, in hex, saying how far it has come."""
    digest = hashlib.sha256()
    meter, done = Meter(), 0
    with path.open("rb", buffering=0) as source:
        total = os.fstat(source.fileno()).st_size
        while chunk := source.read(CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            if meter.due(done) or done == total:
                on_progress(Progress(step, subject or path.name, done, total, meter.speed))
    return digest.hexdigest()


def copy_file(source: Path, target: Path, *, on_progress: OnProgress = silent) -> None:
    """Copy `source` to the new file `target`, private to this user and flushed to the disk.

    Raises:
        LimitError: The disk is full; nothing is left of `target`.
    """
    meter, done = Meter(), 0
    try:
        with source.open("rb", buffering=0) as reader, new_file(target) as writer:
            total = os.fstat(reader.fileno()).st_size
            require_space(target.parent, total)
            while chunk := reader.read(CHUNK_BYTES):
                write_all(writer, chunk)
                done += len(chunk)
                if meter.due(done) or done == total:
                    on_progress(Progress("copy", source.name, done, total, meter.speed))
            os.fsync(writer)
    except BaseException:  # Ctrl-C included: half a copy is of no use to anyone
        target.unlink(missing_ok=True)
        raise


@contextmanager
def new_file(path: Path) -> Iterator[int]:
    """Create `path`, private to this user; it must not be there yet. Yield its descriptor."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`: a regular file takes less only where the disk ends."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def flush_folder(folder: Path) -> None:
    """Make the names in `folder` survive a crash."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_file(path: Path) -> None:
    """Make the content of `path` survive a crash."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def regular_file(path: Path) -> Path:
    """Return `path` with symbolic links followed, when it names a readable regular file.

    Raises:
        NotFoundError: There is nothing there.
        ModelError: It is something else, or may not be read.
    """
    try:
        real = path.expanduser().resolve(strict=True)
        status = real.stat()
    except (FileNotFoundError, NotADirectoryError, RuntimeError):
        raise NotFoundError(f"{path}: no such file") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"{path}: not a regular file", hint="name the .gguf file itself")
    if not os.access(real, os.R_OK):
        raise ModelError(f"{path}: permission denied")
    return real
