"""A worker that is killed, hangs or runs out of memory at any moment costs one request, and leaks nothing."""

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
from contextlib import suppress
from pathlib import Path

import pytest

from agentkit.errors import EngineError, ModelError, WorkerHungError, WorkerLostError
from agentkit.messages import Message, ToolSpec
from agentkit.models.base import NONE, REQUIRED, Sampling
from agentkit.models.engine import Engine
from agentkit.models.gguf import read_header
from agentkit.models.ram_need import ram_need
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


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)


def starve(pid: int) -> None:
    """Leave the worker no more memory than it has."""
    _, most = resource.prlimit(pid, resource.RLIMIT_DATA)
    resource.prlimit(pid, resource.RLIMIT_DATA, (min(data_bytes(pid), most), most))


WAYS: dict[str, Callable[[int], None]] = {"killed": kill, "hung": stop, "out of memory": starve}


def data_bytes(pid: int | str) -> int:
    """Return how much memory of its own a process has taken."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmData:"):
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


def disturb(path: Path, times: int, tools: tuple[ToolSpec, ...]) -> None:
    """Disturb the worker at random moments of prefill and decoding; each time the next request is served."""
    chance = random.Random(times)
    counts: Counter[str] = Counter()
    engine = Engine(path, LocalSpawner(), context_tokens=1024)
    try:
        list(engine.complete(QUESTION, sampling=SHORT))
        ours = children()
        files, memory = descriptors(), resident_bytes()
        for number in range(times):
            counts[attempt(engine, chance, tools, list(WAYS)[number % len(WAYS)])] += 1
            list(engine.complete(QUESTION, sampling=SHORT))
        assert len(children()) == len(ours)
        assert descriptors() <= files + 2
        assert resident_bytes() - memory < LEAK_BYTES
        assert threading.active_count() < 8
    finally:
        engine.close()
    assert len(children()) == len(ours) - 1
    assert counts.total() == times
    print(f"\n{times} disturbances: {dict(counts)}")


def attempt(engine: Engine, chance: random.Random, tools: tuple[ToolSpec, ...], way: str) -> str:
    """Disturb one request; return what happened, in words."""
    patience = engine._hang_seconds
    pid = engine.describe()["worker_pid"]
    words = " ".join(chance.choice(("red", "old", "wet")) for _ in range(chance.choice((5, 300))))
    bound = chance.random() < 0.3
    stream = engine.complete(
        [Message.user(words)],
        tools=tools if bound else (),
        choice=REQUIRED if bound else NONE,
        sampling=Sampling(max_tokens=80, reproducible=way == "out of memory"),
    )
    shot = threading.Timer(chance.uniform(0.0, 1.0), WAYS[way], (pid,))
    shot.start()
    if way == "hung":
        engine._hang_seconds = HUNG_SECONDS
    shown = 0
    try:
        for _ in stream:
            shown += 1
        shot.join()  # it was quicker than the shot; the next call notices, or there is nothing to notice
        engine.count_text(f"not counted before {chance.random()}")
    except (WorkerLostError, WorkerHungError) as error:
        kind = "hung" if isinstance(error, WorkerHungError) else "lost"
        return f"{way} {'in prefill' if not shown else 'in decoding'}: {kind}"
    except (EngineError, ModelError):  # there was no room for the context of a reproducible answer
        return f"{way}: refused"
    finally:
        shot.join()
        engine._hang_seconds = patience
        if way == "out of memory":  # there is room again
            with suppress(ProcessLookupError):
                _, most = resource.prlimit(pid, resource.RLIMIT_DATA)
                resource.prlimit(pid, resource.RLIMIT_DATA, (most, most))
    return f"{way}: finished first"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_fifteen_random_disturbances_cost_one_request_each(
    smollm2_path: Path, tools: tuple[ToolSpec, ...]
) -> None:
    disturb(smollm2_path, 15, tools)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_two_hundred_random_disturbances_cost_one_request_each(
    smollm2_path: Path, tools: tuple[ToolSpec, ...]
) -> None:
    disturb(smollm2_path, 200, tools)


@pytest.mark.slow
def test_a_worker_may_take_no_more_memory_than_its_model_accounts_for(
    smollm2_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a reproducible answer needs has room; a limit far below that is an error, and the next engine works."""
    engine = Engine(smollm2_path, LocalSpawner(), context_tokens=1024)
    pid = engine.describe()["worker_pid"]
    soft, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
    assert data_bytes(pid) < soft == hard < 4 << 30
    assert list(engine.complete(QUESTION, sampling=Sampling(max_tokens=2, reproducible=True)))
    engine.close()
    need = ram_need(read_header(smollm2_path), 1024, flash_attention=False)
    monkeypatch.setattr("agentkit.models.engine.MEMORY_SLACK", (50 << 20) - 2 * need.total_bytes)
    with pytest.raises((EngineError, ModelError)):  # where it runs out is chance
        engine.describe()
    monkeypatch.undo()
    assert list(engine.complete(QUESTION, sampling=SHORT))
    engine.close()
