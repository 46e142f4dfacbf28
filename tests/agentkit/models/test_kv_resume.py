"""A conversation goes on in another engine where it was, from a sealed state, and gives the same answer."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agentkit.core.kv_store import KvStore
from agentkit.errors import WorkerLostError
from agentkit.messages import Message, Usage
from agentkit.models.base import Completion, Sampling, finish
from agentkit.models.engine import Engine
from agentkit.models.kv_state import State
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


def test_another_conversation_gets_nothing_of_it(
    start: Callable[..., Engine], store: Saved, told: tuple[list[Message], Completion]
) -> None:
    assert usage(start(keeper=Unchanged(store)), told[0], "two").cache == "cold"


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


def test_a_worker_killed_over_a_state_costs_one_answer(
    start: Callable[..., Engine], store: Saved, told: tuple[list[Message], Completion]
) -> None:
    engine = start(keeper=Unchanged(store))
    try:
        pid = engine.describe()["worker_pid"]
        stream = engine.complete(told[0], sampling=SHORT, conversation="one")
        os.kill(pid, signal.SIGSTOP)  # it will be killed with the state on its way
        threading.Timer(0.2, os.kill, (pid, signal.SIGKILL)).start()
        with pytest.raises(WorkerLostError):
            finish(stream)
        assert finish(engine.complete(told[0], sampling=SHORT, conversation="one")).usage.cache == "restored"
    finally:
        engine.close()
