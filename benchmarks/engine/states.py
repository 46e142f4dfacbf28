"""A sealed conversation of 2,000 tokens put back into an engine that does not have it, against reading it again."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from agentkit.core.kv_store import KvStore
from agentkit.messages import Message
from agentkit.models.base import Sampling
from agentkit.models.engine import Engine
from agentkit.spawn import LocalSpawner
from benchmarks._noise import noise
from benchmarks.engine.sides import CONTEXT_TOKENS, model_path

HISTORY_WORDS = 1900


def measure(*, quick: bool) -> dict[str, Any]:
    """Return how much sooner the first token comes, and what saving costs."""
    with tempfile.TemporaryDirectory() as folder:
        store = KvStore(Path(folder) / "states", os.urandom(32))
        engine = Engine(
            model_path(),
            LocalSpawner(),
            context_tokens=CONTEXT_TOKENS,
            streams=1,  # so that any other prompt takes its place in the cache
            sha256="0" * 64,
            keeper=store.keeper(),
        )
        history = [Message.user(noise(HISTORY_WORDS, 900))]
        _, text, _ = ask(engine, history, "kept")
        began = time.perf_counter()
        store.close()  # waits until it is written; from now on nothing more is saved
        saving = time.perf_counter() - began
        turn = [*history, Message.assistant(text, history[0].labels), Message.user("And then?")]
        restored: list[float] = []
        again: list[float] = []
        for number in range(2 if quick else 5):
            for conversation, times in (("kept", restored), (f"unknown {number}", again)):
                ask(engine, [Message.system("Else."), Message.user("Say something else.")], None)
                seconds, _, usage = ask(engine, turn, conversation)
                if (usage.cache == "restored") is not (conversation == "kept"):
                    raise RuntimeError(f"the cache was used otherwise than planned: {usage.cache}")
                times.append(seconds)
        size = store.describe()["bytes"]
        engine.close()
    return {
        "restore_ratio": round(median(cold / warm for warm, cold in zip(restored, again, strict=True)), 2),
        "restore_prompt_tokens": usage.prompt_tokens,
        "restore_ttft_seconds": round(median(restored), 3),
        "reprefill_ttft_seconds": round(median(again), 3),
        "state_bytes": size,
        "state_write_seconds": round(saving, 3),
    }


def ask(engine: Engine, messages: list[Message], conversation: str | None) -> tuple[float, str, Any]:
    """Return seconds to the first token, the text and the usage of a short answer."""
    started = time.perf_counter()
    stream = engine.complete(messages, sampling=Sampling(max_tokens=2), conversation=conversation)
    text, first = "", 0.0
    while True:
        try:
            text += next(stream)
        except StopIteration as end:
            return first or time.perf_counter() - started, text, end.value.usage
        first = first or time.perf_counter() - started
