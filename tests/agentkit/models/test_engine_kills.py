"""A worker that is killed, hangs or runs out of memory at any moment costs one request, and leaks nothing.

Moments: prefill, decoding, and while the state of a conversation is saved or put back.
"""

from __future__ import annotations

import gc
import os
import random
import resource
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from agentkit.core.kv_store import KvStore, SealedState
from agentkit.errors import EngineError, ModelError, WorkerHungError, WorkerLostError
from agentkit.messages import Message, ToolSpec, Usage
from agentkit.models.base import NONE, REQUIRED, Completion, Sampling, finish
from agentkit.models.engine import Engine
from agentkit.models.gguf import read_header
from agentkit.models.kv_state import Shape, State
from agentkit.models.ram_need import ram_need
from agentkit.models.stream import EngineStream
from agentkit.spawn import LocalSpawner

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are set on Linux"),
]
QUESTION = [Message.user("Tell me about a fox.")]
SHORT = Sampling(max_tokens=2)
HUNG_SECONDS = 1.0
"""Sooner than a person would lose patience."""
LEAK_BYTES = 64 << 20


TEXTS = [
    f"The passphrase of the {place} is {word}. " * 25 + "Say it again."
    for place, word in (
        ("lighthouse", "periwinkle"),
        ("mill", "saffron"),
        ("bridge", "walnut"),
        ("tower", "slate"),
    )
]
"""Long enough to be saved, and together more than the cache holds: by the time one is asked again, it is gone."""
STATES_BYTES = 128 << 20
MOMENTS = {"anywhere": 1.0, "save": 0.03, "restore": 0.1}
"""Where a disturbance is aimed, and within how many seconds from its beginning."""


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)


LIMITS = {resource.RLIMIT_DATA: "VmData:", resource.RLIMIT_AS: "VmSize:"}
"""Each limit, and where the system says what of it is taken; a state on its way is memory of the second kind."""


def starve(pid: int) -> None:
    """Leave the worker no more memory than it has."""
    for limit, field in LIMITS.items():
        _, most = resource.prlimit(pid, limit)
        now = taken_bytes(pid, field)
        resource.prlimit(pid, limit, (now if most == resource.RLIM_INFINITY else min(now, most), most))


def feed(pid: int) -> None:
    """Leave it room again."""
    with suppress(ProcessLookupError):
        for limit in LIMITS:
            _, most = resource.prlimit(pid, limit)
            resource.prlimit(pid, limit, (most, most))


def shoot(way: str, pid: int) -> None:
    with suppress(ProcessLookupError, FileNotFoundError):  # the one before was hung, and is gone
        WAYS[way](pid)


WAYS: dict[str, Callable[[int], None]] = {"killed": kill, "hung": stop, "out of memory": starve}


def taken_bytes(pid: int | str, field: str = "VmData:") -> int:
    """Return how much memory of its own a process has taken, or another figure of its status."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    return 0


def children() -> set[int]:
    """Return the processes that are ours, dead ones that nobody waited for included."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # it is gone
            if parent == os.getpid():
                found.add(int(entry.name))
    return found


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class Watched:
    """A keeper that says when a state is asked for: it is put back within the next moments."""

    def __init__(self, store: KvStore) -> None:
        self._keeper = store.keeper()
        self.opened: Callable[[], None] = lambda: None

    def find(self, conversation: str, shape: Shape) -> WatchedState | None:
        found = self._keeper.find(conversation, shape)
        return None if found is None else WatchedState(found, self.opened)

    def save(self, state: State, file: int) -> None:
        self._keeper.save(state, file)


class WatchedState:
    def __init__(self, found: SealedState, opened: Callable[[], None]) -> None:
        self._found = found
        self._opened = opened
        self.state = found.state
        self.close = found.close

    def open(self) -> int:
        self._opened()
        return self._found.open()


def states(folder: Path) -> KvStore:
    return KvStore(folder, b"k" * 32, limit_bytes=STATES_BYTES)


def start(path: Path, keeper: Watched) -> Engine:
    return Engine(path, LocalSpawner(), context_tokens=1024, sha256="1" * 64, keeper=keeper)


def ask(engine: Engine, number: int, conversation: str) -> tuple[str, Usage]:
    """Return what is answered to one of the texts, and how."""
    said = finish(engine.complete([Message.user(TEXTS[number])], sampling=SHORT, conversation=conversation))
    return said.text, said.usage


def disturb(path: Path, folder: Path, times: int, tools: tuple[ToolSpec, ...]) -> None:
    """Disturb the worker at random moments; each time the next request is served, as if nothing had been.

    A moment is anywhere in prefill or decoding, or near the save of a fresh conversation, or near the restoring of one
    that the cache has lost. At the end every state that is kept serves.
    """
    chance = random.Random(times)
    counts: Counter[str] = Counter()
    with closing(states(folder)) as store, closing(start(path, Watched(store))) as engine:
        expected = [ask(engine, number, f"kept {number}")[0] for number in range(len(TEXTS))]
    assert all(expected)
    store = states(folder)
    assert store.describe()["states"] == len(TEXTS)
    keeper = Watched(store)
    engine = start(path, keeper)
    asked = {f"kept {number}": number for number in range(len(TEXTS))}
    try:
        assert ask(engine, 0, "kept 0")[1].cache == "restored"
        ours = children()
        files, memory = descriptors(), resident_bytes()
        for at in range(times):
            way, moment, number = list(WAYS)[at % 3], list(MOMENTS)[at // 3 % 3], at % len(TEXTS)
            name = f"fresh {at}" if moment == "save" else f"kept {number}"
            asked[name] = number
            if moment == "anywhere":
                stream = anything(engine, chance, tools, alone=way == "out of memory")
            else:
                stream = engine.complete([Message.user(TEXTS[number])], sampling=SHORT, conversation=name)
            what, said = attempt(engine, keeper, chance, way, moment, stream)
            assert said is None or said.text == expected[number]
            counts[what] += 1
            text, used = ask(engine, number, name)
            assert text == expected[number]
            assert used.cache.split("; saved")[0] in ("cold", "reused", "restored", "copied")
            counts[f"next one {used.cache}"] += 1
        store.close()  # what waits to be written is open
        assert len(children()) == len(ours)
        assert descriptors() <= files + 2
        assert resident_bytes() - memory < LEAK_BYTES
        assert threading.active_count() < 8
    finally:
        engine.close()
        store.close()
    assert len(children()) == len(ours) - 1
    print(f"\n{times} disturbances: {dict(sorted(counts.items()))}")
    for moment in ("in save", "in restore"):
        assert sum(count for what, count in counts.items() if moment in what) >= times // 9
    all_of_it_serves(path, folder, asked, expected)


def all_of_it_serves(path: Path, folder: Path, asked: dict[str, int], expected: list[str]) -> None:
    """Whatever is kept is whole, and another engine says the same with it."""
    with closing(states(folder)) as store, closing(start(path, Watched(store))) as engine:
        engine.describe()
        kept = [name for name in asked if store._path(name).exists()]
        assert len(kept) > len(TEXTS)  # fresh ones were saved
        ways: Counter[str] = Counter()
        for name in kept:
            found = store.find(name, engine._shape(""))
            assert found is not None
            with closing(found):
                os.close(found.open())  # refused if a byte of it were wrong
            text, used = ask(engine, asked[name], name)
            assert text == expected[asked[name]]
            ways[used.cache] += 1
        # the same text may be in the cache already; now and then that is emptied, so that answers have records
        assert set(ways) <= {"restored", "copied", "cold"}
        assert ways["restored"] >= len(TEXTS)
    assert not list(folder.glob("*.new"))


def anything(
    engine: Engine, chance: random.Random, tools: tuple[ToolSpec, ...], *, alone: bool
) -> EngineStream:
    words = " ".join(chance.choice(("red", "old", "wet")) for _ in range(chance.choice((5, 300))))
    bound = chance.random() < 0.3
    return engine.complete(
        [Message.user(words)],
        tools=tools if bound else (),
        choice=REQUIRED if bound else NONE,
        sampling=Sampling(max_tokens=80, reproducible=alone),
    )


def attempt(
    engine: Engine, keeper: Watched, chance: random.Random, way: str, moment: str, stream: EngineStream
) -> tuple[str, Completion | None]:
    """Disturb one request; return what happened, in words, and what was said where that is always the same."""
    patience = engine._hang_seconds
    pid = engine.describe()["worker_pid"]
    shot = threading.Timer(chance.uniform(0.0, MOMENTS[moment]), shoot, (way, pid))
    if way == "hung":
        engine._hang_seconds = HUNG_SECONDS
    where, said = "in prefill" if moment == "anywhere" else f"in {moment}", None
    try:
        if moment == "restore":
            keeper.opened = shot.start
            said = finish(stream)
        elif moment == "save":
            next(stream)  # what follows is one more token, and the save
            shot.start()
            said = finish(stream)
        else:
            shot.start()
            for _ in stream:
                where = "in decoding"
        if shot.ident is None:
            return f"{way}: was in the cache", said
        shot.join()  # it was quicker than the shot; the next call notices, or there is nothing to notice
        where = where if way == "out of memory" else f"after {where.removeprefix('in ')}"
        engine.count_text(f"not counted before {chance.random()}")
    except (WorkerLostError, WorkerHungError) as error:
        kind = "hung" if isinstance(error, WorkerHungError) else "lost"
        return f"{way} {where}: {kind}", said
    except (EngineError, ModelError):  # there was no room for the context of a reproducible answer
        return f"{way} {where}: refused", said
    finally:
        keeper.opened = lambda: None
        if shot.ident is not None:
            shot.join()
        engine._hang_seconds = patience
        feed(pid)
    return f"{way} {where}: {said.usage.cache if said else 'served'}", said


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nine_random_disturbances_cost_one_request_each(
    smollm2_path: Path, tmp_path: Path, tools: tuple[ToolSpec, ...]
) -> None:
    disturb(smollm2_path, tmp_path / "states", 9, tools)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_two_hundred_random_disturbances_cost_one_request_each(
    smollm2_path: Path, tmp_path: Path, tools: tuple[ToolSpec, ...]
) -> None:
    disturb(smollm2_path, tmp_path / "states", 200, tools)


@pytest.mark.slow
def test_a_worker_may_take_no_more_memory_than_its_model_accounts_for(
    smollm2_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a reproducible answer needs has room; a limit far below that is an error, and the next engine works."""
    engine = Engine(smollm2_path, LocalSpawner(), context_tokens=1024)
    pid = engine.describe()["worker_pid"]
    soft, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
    assert taken_bytes(pid) < soft == hard < 4 << 30
    assert list(engine.complete(QUESTION, sampling=Sampling(max_tokens=2, reproducible=True)))
    engine.close()
    need = ram_need(read_header(smollm2_path), 1024, flash_attention=False)
    monkeypatch.setattr("agentkit.models.engine.MEMORY_SLACK", (50 << 20) - 2 * need.total_bytes)
    with pytest.raises((EngineError, ModelError)):  # where it runs out is chance
        engine.describe()
    monkeypatch.undo()
    assert list(engine.complete(QUESTION, sampling=SHORT))
    engine.close()
