"""Bring things into a folder whole or not at all: a private area beside it, and one rename at the end."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agentkit.models.disk import disk_errors


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """Yield a fresh private folder on the disk of `folder`; it goes at the end, with all that is left in it.

    What a killed process left behind is removed first; an area that is in use is known by its lock.

    Raises:
        LimitError: The disk is full.
        ModelError: `folder` may not be written.
    """
    with disk_errors(folder):
        root = folder / ".staging"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        root.mkdir(mode=0o700, exist_ok=True)
        with locked(folder):
            _sweep(root)
            area = root / secrets.token_hex(8)
            area.mkdir(mode=0o700)
            lock = hold(area / "lock")
        try:
            files = area / "files"
            files.mkdir(mode=0o700)
            yield files
        finally:
            shutil.rmtree(area, ignore_errors=True)  # the next sweep gets what is left
            os.close(lock)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` against other processes, for the moment of a rename."""
    lock = hold(folder / ".lock", wait=True)
    try:
        yield
    finally:
        os.close(lock)


def hold(path: Path, *, wait: bool = False) -> int:
    """Return a descriptor that holds the lock file `path`; closing it lets go.

    Raises:
        BlockingIOError: Another process holds it, and `wait` is false.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException:  # Ctrl-C included, while it waits: nobody else knows the descriptor
        os.close(descriptor)
        raise
    return descriptor


def _sweep(root: Path) -> None:
    for area in root.iterdir():
        try:
            lock = hold(area / "lock")
        except (BlockingIOError, NotADirectoryError):
            continue
        try:
            shutil.rmtree(area, ignore_errors=True)
        finally:
            os.close(lock)
