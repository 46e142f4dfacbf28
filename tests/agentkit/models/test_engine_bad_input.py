"""Malformed model files through the real engine, and a worker killed at any moment."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import threading
from pathlib import Path

import pytest

from agentkit.errors import AgentkitError, EngineError, ModelError
from agentkit.messages import Message
from agentkit.models.base import Sampling
from agentkit.models.engine import Engine
from agentkit.spawn import LocalSpawner

CORPUS = Path(__file__).parents[4] / "shared/data/gguf_malformed"
QUICK_CASES = 12
GIB_IN_KIB = 1 << 20


def cases() -> list[dict[str, str]]:
    path = CORPUS / "manifest.json"
    return json.loads(path.read_text()) if path.is_file() else []


def try_all(chosen: list[dict[str, str]]) -> list[str]:
    """Load each; return what went otherwise than the manifest says, or by anything but a typed error."""
    wrong = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for case in chosen:
        engine = Engine(CORPUS / "files" / f"{case['name']}.gguf", LocalSpawner())
        try:
            engine.describe()
            verdict = "loaded"
        except AgentkitError as error:
            verdict = "refused" if isinstance(error, (ModelError, EngineError)) else type(error).__name__
        finally:
            engine.close()
        if case["must"] == "reject" and verdict == "loaded":
            wrong.append(f"{case['name']}: {verdict}")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GIB_IN_KIB
    return wrong


@pytest.mark.slow
def test_some_malformed_models_are_refused() -> None:
    if not cases():
        pytest.skip("the corpus of malformed GGUF files is not beside this checkout")
    accepted = [case for case in cases() if case["must"] != "reject"]
    chosen = [*random.Random(1).sample(cases(), QUICK_CASES), *accepted[:4]]
    assert try_all(chosen) == []


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_all_malformed_models_are_refused() -> None:
    if not cases():
        pytest.skip("the corpus of malformed GGUF files is not beside this checkout")
    assert len(cases()) == 171
    assert try_all(cases()) == []


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def kill_many(path: Path, times: int) -> None:
    """Kill the worker at a random moment of prefill or decoding; each time the next request is served."""
    chance = random.Random(times)
    engine = Engine(path, LocalSpawner(), context_tokens=1024)
    short = Sampling(max_tokens=2)
    question = [Message.user("Tell me about a fox.")]
    dead: list[int] = []
    try:
        list(engine.complete(question, sampling=short))
        before = descriptors()
        for number in range(times):
            pid = engine.describe()["worker_pid"]
            words = " ".join(chance.choice(("red", "old", "wet")) for _ in range(400))
            stream = engine.complete([Message.user(words)], sampling=Sampling(max_tokens=200))
            killer = threading.Timer(chance.uniform(0.0, 1.2), os.kill, (pid, signal.SIGKILL))
            killer.start()
            try:
                with pytest.raises(EngineError):
                    for _ in stream:
                        pass
                    killer.join()  # it was quicker than the shot; the next call notices
                    engine.count_text(f"not counted before {number}")
            finally:
                killer.join()
            dead.append(pid)
            list(engine.complete(question, sampling=short))
        assert descriptors() <= before + 2
        assert threading.active_count() < 8
    finally:
        engine.close()
    for pid in dead:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.model
@pytest.mark.slow
def test_ten_random_kills_cost_one_request_each(smollm2_path: Path) -> None:
    kill_many(smollm2_path, 10)


@pytest.mark.model
@pytest.mark.long
@pytest.mark.timeout(3600)
def test_two_hundred_random_kills_cost_one_request_each(smollm2_path: Path) -> None:
    kill_many(smollm2_path, 200)
