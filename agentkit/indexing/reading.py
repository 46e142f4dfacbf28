"""Read documents in a locked worker: the core's side of `reader_worker`.

Covered: a parser that hangs, crashes, is killed or lies costs one file, not the core; symbolic links, FIFOs
and devices are never read.
Not covered: who may read the file; that is decided by the folders that are indexed.
"""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Self

from agentkit.errors import IndexingError, IsolationError
from agentkit.indexing.document import DEFAULT_LIMITS, Block, Document, ReadLimits, block_from_wire
from agentkit.spawn import Child, Spawner
from agentkit.wire import ConnectionLost, FrameError

_START_SECONDS = 60.0
_BYTES_A_SECOND = 1 << 20


class ReadInterruptedError(IndexingError):
    """Reading ended for a reason that need not lie in the file: it is worth another try."""


@contextmanager
def open_document(path: Path, limits: ReadLimits) -> Iterator[int]:
    """Open a regular file for reading, without following a link and without waiting; yield its descriptor.

    Raises:
        IndexingError: It is gone, no regular file, not readable, or larger than the limit.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise IndexingError(_why_not_open(error)) from error
    try:
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode):
            raise IndexingError("it is not a regular file")
        if state.st_size > limits.file_bytes:
            raise IndexingError(
                f"it is larger than {limits.file_bytes >> 20} MB: {state.st_size >> 20} MB",
            )
        yield fd
    finally:
        os.close(fd)


def _why_not_open(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "it is gone"
    if isinstance(error, PermissionError):
        return "it may not be read by this user"
    return f"it cannot be opened: {os.strerror(error.errno or 0).lower()}"


class Reader:
    """Reads one document at a time, in a worker that is started when needed and replaced when it fails."""

    def __init__(
        self, spawner: Spawner, *, limits: ReadLimits = DEFAULT_LIMITS, timeout_seconds: float = 30.0
    ) -> None:
        """Start nothing yet.

        Args:
            spawner: Starts the worker.
            limits: What one file may cost.
            timeout_seconds: How long a file may take, besides one second for each MB of it.
        """
        self.limits = limits
        self.enforced: tuple[str, ...] = ()
        """What the running worker's lock holds, in words; empty before the first file."""
        self._spawner = spawner
        self._timeout = timeout_seconds
        self._child: Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Process id of the running worker, if there is one."""
        return self._child.pid if self._child else None

    def start(self) -> None:
        """Start the worker now, if none runs; else the first file waits for it.

        Raises:
            IsolationError: The worker could not lock itself, or did not start.
        """
        self._running()

    def read(self, path: Path) -> Document:
        """Read the document at `path`.

        Raises:
            IndexingError: It cannot be opened, is no document, is over a limit, or its parser failed.
            IsolationError: The worker could not lock itself.
        """
        with open_document(path, self.limits) as fd:
            return self.read_open(fd, path.name)

    def read_open(self, fd: int, name: str) -> Document:
        """Read an open file from its beginning; its offset stays where it is.

        Raises:
            ReadInterruptedError: The worker was killed, or took too long; the file may be innocent.
            IndexingError: It is no document, is over a limit, or its parser failed.
            IsolationError: The worker could not lock itself.
        """
        seconds = self._timeout + os.fstat(fd).st_size / _BYTES_A_SECOND
        for attempt in (1, 2):
            child = self._running()
            began = False
            deadline = time.monotonic() + seconds
            try:
                child.channel.send({"read": name}, fds=(fd,))
                began = "began" in child.channel.receive(seconds)
                return self._receive(child, deadline)
            except TimeoutError as error:
                self.close()
                raise ReadInterruptedError(f"reading it took more than {seconds:.3g} s") from error
            except ConnectionLost as error:
                self.close()
                if not began and attempt == 1:
                    continue  # the worker was gone before it saw this file
                if child.exit_status() in (None, -signal.SIGKILL):
                    raise ReadInterruptedError("the reader worker was killed while reading it") from error
                raise IndexingError("the reader worker ended while reading it") from error
            except FrameError as error:
                self.close()
                raise IndexingError("the reader worker sent something else than frames") from error
        raise ReadInterruptedError("the reader worker ended before reading it")

    def close(self) -> None:
        """End the worker; safe to call twice, and the next file starts a new one."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()

    def _running(self) -> Child:
        """Return the worker, started if there is none."""
        if self._child is not None and self._child.exit_status() is not None:
            self.close()
        if self._child is not None:
            return self._child
        child = self._spawner.spawn("agentkit.indexing.reader_worker", idle=True)
        try:
            child.channel.send({"limits": asdict(self.limits)})
            answer = child.channel.receive(_START_SECONDS)
        except (ConnectionLost, FrameError, TimeoutError) as error:
            child.kill()
            raise IsolationError(
                "the reader worker did not start", hint="run `agentkit doctor` to see what is missing"
            ) from error
        if "ready" not in answer:
            child.kill()
            raise IsolationError(
                f"the reader worker could not lock itself: {answer.get('refused', 'no reason given')}",
                hint="run `agentkit doctor` to see what this kernel can enforce",
            )
        self.enforced = tuple(str(each) for each in answer["ready"])
        self._child = child
        return child

    def _receive(self, child: Child, deadline: float) -> Document:
        blocks: list[Block] = []
        characters = 0
        while True:
            message = child.channel.receive(max(0.001, deadline - time.monotonic()))
            if "blocks" in message:
                for value in _listed(message["blocks"]):
                    blocks.append(self._checked(value))
                    characters += len(blocks[-1].text)
                if characters > self.limits.characters or len(blocks) > self.limits.blocks:
                    self.close()
                    raise IndexingError("the reader worker sent more than it may")
            elif "refused" in message:
                raise IndexingError(_printable(message["refused"]))
            else:
                match message.get("done"):
                    case {"title": str(title), "notes": [*notes]}:
                        return Document(
                            _printable(title), tuple(blocks), tuple(_printable(note) for note in notes[:8])
                        )
                self.close()
                raise IndexingError("the reader worker sent a frame of another shape")

    def _checked(self, value: object) -> Block:
        try:
            return block_from_wire(value)
        except IndexingError:
            self.close()  # a worker that sends such things is not to be trusted with the next document
            raise


def _printable(value: object) -> str:
    """Return a worker's word, short enough and safe to be shown on a terminal."""
    return "".join(letter for letter in str(value)[:300] if letter.isprintable())


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]
