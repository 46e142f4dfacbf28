"""Sealed states: what goes in comes out for whom it was made, and anything else is refused whole and gone."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agentkit.core import kv_store
from agentkit.core.kv_store import KvStore
from agentkit.models.kv_state import Misfit, Shape, State, StateRefusedError, pack
from agentkit_memory.seal import seal

KEY = b"k" * 32
CANARY = b"the canary sings in the coal mine "
SHAPE = Shape("abc 1 2", "0.3.36", 4096, "f16", "f16", flash_attention=True, window="recompute", adapter="")
STATE = State("my tax affairs", SHAPE, pack([7, 8, 9]), 3, 0, ("record-1",))


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kv_store, "PIECE_BYTES", 1000)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KvStore]:
    store = KvStore(tmp_path / "states", KEY)
    yield store
    store.close()


def opened(data: bytes) -> int:
    """Return an open file without a name that holds `data`."""
    file = os.memfd_create("test")
    os.write(file, data)
    return file


def saved(store: KvStore, data: bytes = CANARY * 100, state: State = STATE) -> Path | None:
    """Save a state, wait until that is done, and return its file."""
    before = set(files(store))
    store.keeper().save(state, opened(data))
    wait_for_writer(store)
    new = set(files(store)) - before
    return new.pop() if new else None


def wait_for_writer(store: KvStore) -> None:
    """Wait until all that was handed to the store is written."""
    writer, store._writer = store._writer, None
    if writer is not None:
        store._waiting.put(None)
        writer.join()


def files(store: KvStore) -> list[Path]:
    return sorted(store._folder.iterdir())


def read(store: KvStore, state: State = STATE, shape: Shape = SHAPE) -> bytes | None:
    """Return the bytes of a saved state; `None` where there is none."""
    found = store.keeper().find(state.conversation, shape)
    if found is None:
        return None
    try:
        assert found.state == state
        file = found.open()
        try:
            return os.pread(file, 1 << 20, 0)
        finally:
            os.close(file)
    finally:
        found.close()


@pytest.mark.parametrize("size", [1, 999, 1000, 1001, 3400])
def test_what_was_saved_comes_back(store: KvStore, size: int) -> None:
    data = random.Random(size).randbytes(size)
    saved(store, data)
    assert read(store) == data
    assert store.keeper().find("another", SHAPE) is None
    newer = replace(STATE, tokens=pack([1]), exact=1)
    saved(store, b"newer", newer)
    assert read(store, newer) == b"newer"
    assert len(files(store)) == 1


def test_nothing_of_it_is_in_clear(store: KvStore) -> None:
    path = saved(store)
    assert path is not None
    everything = path.read_bytes() + os.fsencode(path)
    for secret in (CANARY[:12], b"tax", b"abc 1 2", pack([7, 8, 9]), b"record-1", b"conversation"):
        assert secret not in everything
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("changed", "misfit"),
    [
        ({"model": "def 1 2"}, Misfit.MODEL),
        ({"library": "0.3.37"}, Misfit.LIBRARY),
        ({"context_tokens": 2048}, Misfit.SETTINGS),
        ({"k_type": "q8_0"}, Misfit.SETTINGS),
        ({"v_type": "q8_0"}, Misfit.SETTINGS),
        ({"flash_attention": False}, Misfit.SETTINGS),
        ({"window": "shift"}, Misfit.SETTINGS),
    ],
)
def test_it_serves_only_what_it_was_made_with(
    store: KvStore, changed: dict[str, object], misfit: Misfit
) -> None:
    saved(store)
    with pytest.raises(StateRefusedError) as refused:
        read(store, shape=replace(SHAPE, **changed))  # type: ignore[arg-type]
    assert refused.value.reason is misfit
    assert files(store) == []


@pytest.mark.parametrize("seed", range(40))
def test_a_changed_or_cut_file_is_refused_and_gone(store: KvStore, seed: int) -> None:
    chance = random.Random(seed)
    path = saved(store)
    assert path is not None
    data = bytearray(path.read_bytes())
    at = (
        chance.randrange(len(data))
        if seed > 9
        else [0, 7, 8, 11, 12, 30, -1, -17, -1000, 60][seed] % len(data)
    )
    match seed % 3:
        case 0:
            data[at] ^= 1 << chance.randrange(8)
        case 1:
            del data[at:]
        case _:
            data += b"x"
    path.write_bytes(data)
    with pytest.raises(StateRefusedError) as refused:
        read(store)
    assert refused.value.reason is Misfit.DAMAGED
    assert files(store) == []


def test_pieces_cannot_be_swapped_nor_taken_from_another_state(store: KvStore) -> None:
    first = saved(store)
    other = saved(store, CANARY * 100, replace(STATE, conversation="other"))
    assert first is not None
    assert other is not None
    sealed = kv_store._OVERHEAD + 1000
    mine, theirs = bytearray(first.read_bytes()), other.read_bytes()
    swapped = bytes(mine[: -3 * sealed]) + bytes(mine[-sealed:]) + bytes(mine[-3 * sealed : -sealed])
    for wrong in (swapped, theirs, bytes(mine[:-sealed]) + theirs[-sealed:]):
        first.write_bytes(wrong)
        with pytest.raises(StateRefusedError):
            read(store)
        first.write_bytes(mine)
    assert read(store) == CANARY * 100


def test_another_key_opens_nothing_and_removes_it(store: KvStore, tmp_path: Path) -> None:
    path = saved(store)
    assert path is not None
    data = path.read_bytes()
    rotated = KvStore(tmp_path / "states", b"r" * 32)
    assert files(rotated) == []
    path.write_bytes(data)
    assert rotated.keeper().find(STATE.conversation, SHAPE) is None  # not even its name is the same
    path.rename(rotated._path(STATE.conversation))
    with pytest.raises(StateRefusedError):
        read(rotated)


def test_the_longest_unused_go_when_the_limit_is_reached(tmp_path: Path) -> None:
    store = KvStore(tmp_path / "states", KEY, limit_bytes=40_000)
    names = [f"conversation {number}" for number in range(4)]
    for number, name in enumerate(names):
        path = saved(store, bytes(11_000), replace(STATE, conversation=name))
        assert path is not None
        os.utime(path, (number, number))
        if number == 2:
            assert (
                read(store, replace(STATE, conversation=names[0])) is not None
            )  # used: now it is the newest
    left = [name for name in names if store._path(name).exists()]
    assert left == [names[0], names[2], names[3]]
    said = store.describe()
    assert said["bytes"] <= said["limit_bytes"] == 40_000
    assert saved(store, bytes(50_000), replace(STATE, conversation="too large")) is None


def test_what_is_deleted_is_gone_and_what_was_on_its_way_never_arrives(store: KvStore) -> None:
    keeper = store.keeper()
    saved(store)
    other = replace(STATE, conversation="other", sources=("record-2",))
    saved(store, state=other)
    store.delete(STATE.conversation)
    assert read(store) is None
    assert read(store, other) is not None
    keeper.save(STATE, opened(CANARY))  # by an engine that was still at work when something was deleted
    wait_for_writer(store)
    assert read(store) is None
    saved(store)
    assert store.forget(["record-2", "record-3"]) == 1
    assert read(store, other) is None
    assert read(store) is not None
    store.clear()
    assert files(store) == []


def test_a_closed_store_takes_nothing_and_leaks_no_file(store: KvStore) -> None:
    store.close()
    file = opened(CANARY)
    store.keeper().save(STATE, file)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file)
    assert files(store) == []


def test_who_hands_over_a_state_does_not_wait_until_another_is_sealed(
    store: KvStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the thread that listens to the engine: while it waited, no answer would be shown."""
    sealing, go_on = threading.Event(), threading.Event()

    def slow(*arguments: bytes) -> bytes:
        sealing.set()
        assert go_on.wait(30)
        return seal(*arguments)

    monkeypatch.setattr(kv_store, "seal", slow)
    keeper = store.keeper()
    keeper.save(STATE, opened(CANARY))
    assert sealing.wait(30)
    other = replace(STATE, conversation="other")
    hands_over = threading.Thread(target=keeper.save, args=(other, opened(CANARY)))
    hands_over.start()
    hands_over.join(5)
    waited = hands_over.is_alive()
    go_on.set()
    hands_over.join()
    assert not waited
    wait_for_writer(store)
    assert (read(store), read(store, other)) == (CANARY, CANARY)


@pytest.mark.slow
def test_killed_while_it_saves_the_older_state_or_the_newer_one_is_there(tmp_path: Path) -> None:
    folder, code = tmp_path / "states", Path(__file__)
    store = KvStore(folder, KEY)
    saved(store, b"0" * 100_000)
    chance, killed = random.Random(4), 0
    for _ in range(12):
        child = subprocess.Popen([sys.executable, str(code), str(folder)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()  # it saves by now, again and again
        threading.Event().wait(chance.uniform(0.0, 0.05))
        child.send_signal(signal.SIGKILL)
        killed += child.wait() == -signal.SIGKILL
        child.stdout.close()
        after = KvStore(folder, KEY)
        data = read(after)
        assert data is not None
        assert len(set(data)) == 1  # whole: one kind of byte, not a piece of one and a piece of another
        assert len(files(after)) == 1
    assert killed == 12


def _save_for_ever(folder: Path) -> None:
    store = KvStore(folder, KEY)
    print("ready", flush=True)
    number = 0
    while True:
        number += 1
        file = opened(bytes([number % 256]) * 100_000)
        with store._changing:
            store._put(STATE, file)
        os.close(file)


if __name__ == "__main__":
    _save_for_ever(Path(sys.argv[1]))
