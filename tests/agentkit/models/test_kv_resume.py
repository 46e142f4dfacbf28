"""A conversation goes on in another engine where it was, from a sealed state, and gives the same answer."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agentkit.core.kv_store import KvStore
from agentkit.errors import WorkerHungError, WorkerLostError
from agentkit.messages import Message, Usage
from agentkit.models.base import Completion, Sampling, finish
from agentkit.models.connection import Connection
from agentkit.models.decoder import Decoder
from agentkit.models.engine import _MAX_SOURCES, Engine
from agentkit.models.kv_state import MAX_STATE_BYTES, Resume, State
from agentkit.models.kv_transfer import put_back, take_out
from agentkit.spawn import LocalSpawner

pytestmark = [pytest.mark.model, pytest.mark.slow]
CANARY = "The passphrase of the lighthouse is periwinkle. "
LONG = [Message.user(CANARY * 22 + "Say something.")]
QUESTION = [Message.user("What is a fox?")]
SHORT = Sampling(max_tokens=6)


class Saved(KvStore):
    """A store that says when a state has been written."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, b"k" * 32)
        self.written = threading.Event()

    def _put(self, *task: object) -> None:
        super()._put(*task)  # type: ignore[arg-type]
        self.written.set()


class Unchanged:
    """A keeper that gives what a store has and takes nothing."""

    def __init__(self, store: KvStore) -> None:
        self.find = store.keeper().find

    def save(self, state: State, file: int) -> None:
        os.close(file)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    store = Saved(tmp_path_factory.mktemp("states"))
    yield store
    store.close()


@pytest.fixture(scope="module")
def start(smollm2_path: Path, store: Saved) -> Callable[..., Engine]:
    """Return what starts another engine with the same store."""

    def start(**levers: object) -> Engine:
        settings = {"context_tokens": 1024, "sha256": "1" * 64, "keeper": store.keeper(), **levers}
        return Engine(smollm2_path, LocalSpawner(), **settings)  # type: ignore[arg-type]

    return start


@pytest.fixture(scope="module")
def told(start: Callable[..., Engine], store: Saved) -> tuple[list[Message], Completion]:
    """Return a conversation whose state is saved, and what an engine that computes all of it says next."""
    engine = start()
    try:
        first = finish(engine.complete(LONG, sampling=SHORT, conversation="one"))
        assert store.written.wait(30)
        longer = [*LONG, Message.assistant(first.text, LONG[0].labels), Message.user("Go on.")]
        plain = finish(engine.complete([Message.system("Else."), *longer], sampling=SHORT))
        assert plain.usage.cache == "cold"
        return longer, first
    finally:
        engine.close()


def usage(engine: Engine, messages: list[Message], conversation: str = "one") -> Usage:
    try:
        return finish(engine.complete(messages, sampling=SHORT, conversation=conversation)).usage
    finally:
        engine.close()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_it_goes_on_where_it_was_with_the_same_words(
    start: Callable[..., Engine], store: Saved, told: tuple[list[Message], Completion]
) -> None:
    longer, first = told
    engine = start(keeper=Unchanged(store))
    try:
        again = finish(engine.complete(longer, sampling=SHORT, conversation="one"))
        used = again.usage
        assert used.cache == "restored"
        assert used.prompt_tokens - used.reused_tokens < 40
        assert finish(engine.complete(longer, sampling=SHORT, conversation="one")).usage.cache == "reused"
        assert finish(engine.complete(LONG, sampling=SHORT, conversation="two")).text == first.text
        assert again.record is None  # no batch of this engine computed what was restored
        assert finish(engine.complete(QUESTION, sampling=SHORT)).record is not None
    finally:
        engine.close()
    fresh = start(keeper=None)
    try:
        assert finish(fresh.complete(longer, sampling=SHORT)).text == again.text
    finally:
        fresh.close()


def test_a_state_that_does_not_fit_is_no_error_and_is_told(
    start: Callable[..., Engine], store: Saved, told: tuple[list[Message], Completion]
) -> None:
    path = store._path("one")
    intact = path.read_bytes()
    damaged = bytearray(intact)
    damaged[-1] ^= 1
    for data, levers, words in (
        (intact, {"sha256": "2" * 64}, "another model"),
        (damaged, {}, "changed, cut"),
    ):
        path.write_bytes(data)
        used = usage(start(keeper=Unchanged(store), **levers), told[0])
        assert used.cache.startswith("cold; saved state refused: it was ")
        assert words in used.cache
        assert not path.exists()
    path.write_bytes(intact)


def test_a_state_of_another_build_does_not_fit(
    start: Callable[..., Engine],
    store: Saved,
    told: tuple[list[Message], Completion],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = store._path("one")
    intact = path.read_bytes()
    monkeypatch.setattr("agentkit.models.engine.library_key", lambda: "built with other flags")
    used = usage(start(keeper=Unchanged(store)), told[0])
    assert used.cache == "cold; saved state refused: it was made by another build of llama.cpp"
    path.write_bytes(intact)


def test_another_conversation_gets_nothing_of_it(
    start: Callable[..., Engine], store: Saved, told: tuple[list[Message], Completion]
) -> None:
    assert usage(start(keeper=Unchanged(store)), told[0], "two").cache == "cold"


def test_what_is_noted_of_conversations_does_not_grow_for_ever(start: Callable[..., Engine]) -> None:
    engine = start()
    for number in range(_MAX_SOURCES + 10):
        engine.complete(QUESTION, conversation=f"{number}")
    assert f"{_MAX_SOURCES + 9}" in engine._sources
    assert len(engine._sources) <= _MAX_SOURCES


def test_what_runs_alone_keeps_nothing_of_others(
    start: Callable[..., Engine], told: tuple[list[Message], Completion], tmp_path: Path
) -> None:
    """It has a cache of its own, and what lies in the common one meanwhile is another conversation's."""
    store = KvStore(tmp_path / "states", b"k" * 32)
    engine = start(keeper=store.keeper(), streams=1)
    try:
        finish(engine.complete(told[0], sampling=SHORT))  # of no conversation: nobody keeps it
        alone = replace(SHORT, reproducible=True)
        finish(engine.complete(QUESTION, sampling=alone, conversation="three"))
    finally:
        engine.close()
        store.close()
    assert store.describe()["states"] == 0


def test_nothing_of_it_is_in_clear(store: Saved, told: tuple[list[Message], Completion]) -> None:
    for path in store._folder.iterdir():
        data = path.read_bytes()
        assert b"periwinkle" not in data
        assert b"lighthouse" not in data


def test_a_state_without_room_is_refused_and_not_an_error() -> None:
    """More than any address space holds; nothing is asked of the cache."""
    file = os.memfd_create("state", os.MFD_CLOEXEC)
    try:
        os.ftruncate(file, 1 << 62)
        assert not put_back(cast("Decoder", None), 0, file, [1, 2, 3])
    finally:
        os.close(file)


def test_a_state_too_large_to_be_kept_is_not_even_taken_out() -> None:
    sizes: Any = SimpleNamespace(state_bytes=lambda _: MAX_STATE_BYTES + 1)  # and nothing to take it out with
    assert take_out(sizes, 0) is None


ENDS = {"killed": (signal.SIGKILL, WorkerLostError), "hung": (signal.SIGSTOP, WorkerHungError)}


@pytest.mark.parametrize("way", ENDS)
def test_a_worker_that_ends_with_a_state_on_its_way_to_it_costs_one_answer(
    start: Callable[..., Engine],
    store: Saved,
    told: tuple[list[Message], Completion],
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    end, error = ENDS[way]
    handed = []
    hand_over = Resume.hand_over

    def ends(resume: Resume, connection: Connection, number: int) -> None:
        os.kill(connection.pid, signal.SIGSTOP)  # it has asked for the state, and will never take it
        hand_over(resume, connection, number)
        os.kill(connection.pid, end)
        handed.append(number)

    engine = start(keeper=Unchanged(store))
    try:
        expected = finish(engine.complete(told[0], sampling=SHORT, conversation="one"))
        assert expected.usage.cache == "restored"
        engine.close()
        engine.describe()
        opened = descriptors()
        with monkeypatch.context() as patched:
            patched.setattr(Resume, "hand_over", ends)
            patched.setattr(engine, "_hang_seconds", 2.0)
            with pytest.raises(error):
                finish(engine.complete(told[0], sampling=SHORT, conversation="one"))
        assert len(handed) == 1
        again = finish(engine.complete(told[0], sampling=SHORT, conversation="one"))
        assert (again.usage.cache, again.text) == ("restored", expected.text)
        assert descriptors() == opened
    finally:
        engine.close()


@pytest.mark.parametrize("way", ENDS)
def test_a_worker_that_ends_while_it_saves_a_state_costs_one_answer(
    start: Callable[..., Engine],
    told: tuple[list[Message], Completion],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    way: str,
) -> None:
    """The state is there, all of it, or is not; the same is said with it and without it."""
    end, error = ENDS[way]
    store = KvStore(tmp_path / "states", b"k" * 32)
    engine = start(keeper=store.keeper())
    try:
        finish(engine.complete(LONG, sampling=SHORT))  # so that the rest is quick
        pid, opened = engine.describe()["worker_pid"], descriptors()
        for number in range(20):  # a save that was over too soon is no trial
            stream = engine.complete(LONG, sampling=SHORT, conversation=f"try {number}")
            next(stream)
            stopper = Stopper(pid)
            with monkeypatch.context() as patched:
                patched.setattr(engine, "_hang_seconds", 2.0)
                caught: Exception | None = None
                try:
                    stopper.start(then=end)
                    finish(stream)
                except (WorkerLostError, WorkerHungError) as raised:
                    caught = raised
                stopper.end()
            assert (caught is not None) == stopper.stopped
            if caught is not None:
                break
        assert type(caught) is error
        again = finish(engine.complete(LONG, sampling=SHORT, conversation=f"try {number}"))
        assert again.usage.cache in ("cold", "restored")
        assert again.text == told[1].text
    finally:
        engine.close()
        store.close()
    assert descriptors() <= opened
    assert not list((tmp_path / "states").glob("*.new"))


class Stopper:
    """Stops a worker while it has a state open, which is from the first byte of a save until it is sent."""

    def __init__(self, pid: int) -> None:
        self.stopped = False
        self._pid = pid
        self._over = threading.Event()

    def start(self, *, then: signal.Signals) -> None:
        self._thread = threading.Thread(target=self._run, args=(then,))
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self, then: signal.Signals) -> None:
        while not self._over.is_set():
            if self._saves():
                os.kill(self._pid, signal.SIGSTOP)
                while Path(f"/proc/{self._pid}/stat").read_text().rpartition(") ")[2][0] not in "Tt":
                    pass
                if self._saves():
                    self.stopped = True
                    os.kill(self._pid, then)
                    return
                os.kill(self._pid, signal.SIGCONT)

    def _saves(self) -> bool:
        for file in Path(f"/proc/{self._pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                if file.readlink().name.startswith("memfd:state"):
                    return True
        return False
