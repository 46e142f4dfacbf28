"""Computed states of conversations on disk, sealed: so that a long conversation goes on at once after a restart.

A state is the prompt in another form, so nothing of it is ever in clear on disk; even its name is a keyed hash of the
conversation's. It is a cache: whatever is wrong with a state, it is removed and the prompt computed again.
Covered: confidentiality and integrity; a cut, changed, swapped or foreign file is refused whole; a kill at any moment
leaves the older state or the newer one. The longest unused go when all together are over the limit.
Not covered: an older genuine state of the same conversation put back in its place. It serves only as far as the prompt
begins with its tokens, so it changes the speed and nothing else.

    KIND · length of the sealed head (4 bytes) · sealed head · sealed pieces of `PIECE_BYTES` each

The head has a random id, and each piece is bound to that id and its number. How a blob is sealed: memory/README.md §5.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from agentkit.models.kv_state import MAX_STATE_BYTES, Misfit, Shape, State, StateRefusedError
from agentkit_memory import StoreError
from agentkit_memory.seal import MAGIC, SALT_BYTES, TAG_BYTES, seal, unseal

KIND = b"AKKV0001"
PIECE_BYTES = 4 << 20
LIMIT_BYTES = 2 << 30
"""All states together; 2 GiB are about 90 conversations of 1,000 tokens with the default model."""
_OVERHEAD = len(MAGIC) + SALT_BYTES + TAG_BYTES
_MAX_HEAD_BYTES = 16 << 20
_ENDING = ".state"
_QUEUE = 2
"""States that may wait to be written, each as large as the memory it came from; more are let go."""


@dataclass(frozen=True, slots=True)
class _Head:
    id: bytes
    size: int
    piece: int
    state: State


class KvStore:
    """The sealed states of one vault. Thread-safe."""

    def __init__(self, folder: Path, key: bytes, *, limit_bytes: int = LIMIT_BYTES) -> None:
        """Open the store; remove what an interrupted save left, and what is under another key.

        Args:
            folder: Made private to this user when it is missing.
            key: 32 bytes; whoever rotates it cannot open older states, and removes them.
            limit_bytes: Of all states together, as they lie on the disk.
        """
        self._folder = folder
        self._key = key
        self._limit = limit_bytes
        self._changing = threading.Lock()
        """Held while files or the epoch change, and so for as long as a state is sealed and written."""
        self._queueing = threading.Lock()
        """Held for a moment only: who hands over a state also listens to the engine, and must not wait for the disk."""
        self._epoch = 0
        self._waiting: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._closed = False
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in folder.glob("*.new"):
            leftover.unlink(missing_ok=True)
        self._drop_foreign()

    def _drop_foreign(self) -> None:
        """Remove what this key does not open: it serves nobody, and was perhaps meant to be gone."""
        for path in self._files():
            with contextlib.suppress(OSError), path.open("rb") as file:  # what cannot be read stays for today
                try:
                    self._head(file, path.name)
                except StateRefusedError as error:
                    if error.reason is Misfit.DAMAGED:
                        path.unlink(missing_ok=True)

    # --- for one engine -------------------------------------------------------------------------------------

    def keeper(self) -> EngineKeeper:
        """Return what one engine keeps its states with; anything deleted later makes it useless."""
        return EngineKeeper(self, self._epoch)

    def find(self, conversation: str, shape: Shape) -> SealedState | None:
        """Return the state of a conversation; see `agentkit.models.kv_state.Keeper`."""
        path = self._path(conversation)
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return None
        except OSError:
            raise StateRefusedError(Misfit.STORAGE) from None
        try:
            head = self._head(file, path.name)
            misfit = shape.misfit(head.state.shape)
            if misfit is not None:
                raise StateRefusedError(misfit)
        except BaseException as error:
            file.close()
            if isinstance(error, StateRefusedError):
                path.unlink(missing_ok=True)
            raise
        with contextlib.suppress(OSError):  # it was used: others go before it
            os.utime(path)
        return SealedState(head.state, lambda: self._unsealed(file, path, head), file)

    def save(self, state: State, file: int, epoch: int) -> None:
        """Keep a state, soon, if nothing was deleted since `epoch`; see `agentkit.models.kv_state.Keeper`."""
        with self._queueing:
            if not self._closed and epoch == self._epoch and self._waiting.qsize() < _QUEUE:
                if self._writer is None:
                    self._writer = threading.Thread(target=self._write, name="kv-writer", daemon=True)
                    self._writer.start()
                self._waiting.put(_Task(state, file, epoch))
                return
        os.close(file)

    # --- deleting -------------------------------------------------------------------------------------------

    def delete(self, conversation: str) -> None:
        """Delete the state of a conversation; what is on its way into the store never arrives."""
        with self._changing:
            self._epoch += 1
            self._path(conversation).unlink(missing_ok=True)

    def forget(self, sources: Collection[str]) -> int:
        """Delete every state that was made from one of these records, or cannot be read; return how many."""
        gone, wanted = 0, set(sources)
        with self._changing:
            self._epoch += 1
            for path in self._files():
                try:
                    with path.open("rb") as file:
                        made_from = set(self._head(file, path.name).state.sources)
                except (OSError, StateRefusedError):
                    made_from = wanted
                if made_from & wanted:
                    path.unlink(missing_ok=True)
                    gone += 1
        return gone

    def clear(self) -> None:
        """Delete every state."""
        with self._changing:
            self._epoch += 1
            for path in self._files():
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Write what was handed over, and take nothing more. Safe to call twice."""
        with self._queueing:
            self._closed = True
            writer, self._writer = self._writer, None
        if writer is not None:
            self._waiting.put(None)
            writer.join()

    def describe(self) -> dict[str, int]:
        """Return how many states there are, the bytes they take, and the most they may."""
        sizes = [_size(path) for path in self._files()]
        return {"states": len(sizes), "bytes": sum(sizes), "limit_bytes": self._limit}

    # --- writing --------------------------------------------------------------------------------------------

    def _write(self) -> None:
        while (task := self._waiting.get()) is not None:
            try:
                with self._changing:
                    if task.epoch == self._epoch:
                        self._put(task.state, task.file)
            except OSError:
                continue  # the disk is full or failed: the state is computed again when it is needed
            finally:
                os.close(task.file)

    def _put(self, state: State, source: int) -> None:
        path = self._path(state.conversation)
        size = os.fstat(source).st_size
        if not 0 < size <= min(MAX_STATE_BYTES, self._limit):
            return
        head = _Head(os.urandom(16), size, PIECE_BYTES, state)
        sealed = seal(self._key, _pack(head), _place(path.name))
        fresh = path.with_name(path.name + ".new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(fresh, flags, 0o600), "wb") as file:
                file.write(KIND + len(sealed).to_bytes(4, "little") + sealed)
                for number, start in enumerate(range(0, size, PIECE_BYTES)):
                    # read, never mapped: whoever holds the other end could cut it short under us
                    piece = os.pread(source, min(PIECE_BYTES, size - start), start)
                    file.write(seal(self._key, piece, _place_of(head.id, number)))
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
        self._make_room(path)

    def _make_room(self, newest: Path) -> None:
        """Delete the longest unused until all are within the limit."""
        left = sorted(self._files(), key=lambda path: (path == newest, path.stat().st_mtime_ns))
        total = sum(map(_size, left))
        for path in left:
            if total <= self._limit:
                return
            total -= _size(path)
            path.unlink(missing_ok=True)

    # --- reading --------------------------------------------------------------------------------------------

    def _head(self, file: BinaryIO, name: str) -> _Head:
        """Read the head of a state.

        Raises:
            StateRefusedError: It is damaged.
        """
        try:
            kind, length = file.read(len(KIND)), int.from_bytes(file.read(4), "little")
            if kind != KIND or length > _MAX_HEAD_BYTES:
                raise StateRefusedError(Misfit.DAMAGED)
            return _unpack(unseal(self._key, file.read(length), _place(name)))
        except (StoreError, ValueError, KeyError, TypeError):
            raise StateRefusedError(Misfit.DAMAGED) from None
        except OSError:
            raise StateRefusedError(Misfit.STORAGE) from None

    def _unsealed(self, file: BinaryIO, path: Path, head: _Head) -> int:
        """Return an open file in memory with the bytes of a state, every piece of which is genuine.

        Raises:
            StateRefusedError: One is not, or is missing.
        """
        target = os.memfd_create("state", os.MFD_CLOEXEC)
        try:
            for number, start in enumerate(range(0, head.size, head.piece)):
                length = min(head.piece, head.size - start)
                piece = unseal(self._key, file.read(length + _OVERHEAD), _place_of(head.id, number))
                os.write(target, piece)
            if file.read(1):
                raise StateRefusedError(Misfit.DAMAGED)
        except (StoreError, OSError, StateRefusedError) as error:
            os.close(target)
            path.unlink(missing_ok=True)
            reason = Misfit.STORAGE if isinstance(error, OSError) else Misfit.DAMAGED
            raise StateRefusedError(reason) from None
        return target

    def _path(self, conversation: str) -> Path:
        name = hashlib.blake2b(conversation.encode("utf-8", "replace"), key=self._key, digest_size=16)
        return self._folder / (name.hexdigest() + _ENDING)

    def _files(self) -> Iterator[Path]:
        return iter(sorted(self._folder.glob("*" + _ENDING)))


class EngineKeeper:
    """What one engine keeps its states with: `agentkit.models.kv_state.Keeper`, until something is deleted.

    An engine that was ended because something was forgotten may still be sending a state that holds it.
    """

    def __init__(self, store: KvStore, epoch: int) -> None:
        self._store = store
        self._epoch = epoch

    def find(self, conversation: str, shape: Shape) -> SealedState | None:
        """Return the state of a conversation."""
        return self._store.find(conversation, shape)

    def save(self, state: State, file: int) -> None:
        """Keep a state."""
        self._store.save(state, file, self._epoch)


class SealedState:
    """A state whose head was read: `agentkit.models.kv_state.Found`."""

    def __init__(self, state: State, unsealed: Callable[[], int], file: BinaryIO) -> None:
        self._state = state
        self._unsealed = unsealed
        self._file = file

    @property
    def state(self) -> State:
        """What it is."""
        return self._state

    def open(self) -> int:
        """Return an open file with its bytes; once only."""
        return self._unsealed()

    def close(self) -> None:
        """Let go of it."""
        self._file.close()


@dataclass(frozen=True, slots=True)
class _Task:
    state: State
    file: int
    epoch: int


def _place(name: str) -> bytes:
    return b"agentkit kv v1 head " + name.encode()


def _place_of(identity: bytes, number: int) -> bytes:
    return b"agentkit kv v1 piece " + identity + number.to_bytes(4, "little")


def _pack(head: _Head) -> bytes:
    state = head.state
    said = {
        "id": head.id.hex(),
        "size": head.size,
        "piece": head.piece,
        "conversation": state.conversation,
        "shape": state.shape.to_wire(),
        "exact": state.exact,
        "shifts": state.shifts,
        "sources": list(state.sources),
    }
    text = json.dumps(said).encode()
    return len(text).to_bytes(4, "little") + text + state.tokens


def _unpack(data: bytes) -> _Head:
    end = 4 + int.from_bytes(data[:4], "little")
    said = json.loads(data[4:end])
    state = State(
        conversation=said["conversation"],
        shape=Shape.from_wire(said["shape"]),
        tokens=data[end:],
        exact=said["exact"],
        shifts=said["shifts"],
        sources=tuple(said["sources"]),
    )
    return _Head(bytes.fromhex(said["id"]), said["size"], said["piece"], state)


def _size(path: Path) -> int:
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0
    return max(found.st_size, found.st_blocks * 512)
