"""Several answers at once, and answers that must come out the same each time."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

from agentkit.messages import Message
from agentkit.models.base import Completion, Sampling, finish
from agentkit.models.variants import requantise
from agentkit.spawn import LocalSpawner
from benchmarks.engine.raw import tokens_a_second
from benchmarks.engine.sides import STORY, Ours, model_path

STREAMS = 8
STREAM_TOKENS = 48
TUNED_LEVEL = "Q6_K"
"""What `models tune` chooses here for the default model."""


def measure(*, quick: bool) -> dict[str, Any]:
    """Return the total speed of eight answers side by side against one after another, and whether repeats repeat.

    For the file as it came, and for the level that tuning takes: what a batch gains is the kernels' of a level.
    """
    rounds, repeat_count = (2, 10) if quick else (4, 100)
    with tempfile.TemporaryDirectory() as folder:
        finer = Path(folder) / f"{TUNED_LEVEL}.gguf"
        requantise(model_path(), finer, TUNED_LEVEL, LocalSpawner())
        results = parallel("parallel8", model_path(), rounds) | parallel("tuned_parallel8", finer, rounds)
    wide = Ours(model_path(), streams=STREAMS)
    results |= {
        "reproducible_repeats": repeat_count,
        "reproducible_identical": repeats(wide, repeat_count),
    }
    wide.engine.close()
    return results | replays(6 if quick else 20)


def parallel(name: str, path: Path, rounds: int) -> dict[str, Any]:
    """Return what the engine gains from eight answers side by side, and what llama.cpp itself does."""
    wide = Ours(path, streams=STREAMS)
    wide.engine.describe()
    found = [together(wide, 10 * number) for number in range(rounds)]
    wide.engine.close()
    raw = [[tokens_a_second(path, count, STREAM_TOKENS) for count in (1, STREAMS)] for _ in range(rounds)]
    return {
        f"{name}_ratio": round(median(side / alone for alone, side in found), 2),
        f"{name}_raw_ratio": round(median(side / alone for alone, side in raw), 2),
        f"{name}_one_tokens_s": round(median(alone for alone, _ in found), 1),
        f"{name}_eight_tokens_s": round(median(side for _, side in found), 1),
        f"{name}_raw_eight_tokens_s": round(median(side for _, side in raw), 1),
    }


def together(ours: Ours, seed: int) -> tuple[float, float]:
    """Return tokens a second of eight answers in all, one after another and side by side."""
    prompts = [[Message.user(f"Write a story about number {seed + n} and a fox.")] for n in range(STREAMS)]
    started = time.perf_counter()
    alone = sum(ours.ask(prompt, STREAM_TOKENS)[0].usage.completion_tokens for prompt in prompts)
    between = time.perf_counter()
    written: list[int] = []

    def ask(prompt: list[Message]) -> None:
        written.append(ours.ask(prompt, STREAM_TOKENS)[0].usage.completion_tokens)

    threads = [threading.Thread(target=ask, args=(prompt,)) for prompt in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return alone / (between - started), sum(written) / (time.perf_counter() - between)


def replays(count: int) -> dict[str, Any]:
    """Return whether answers written side by side come out again from their records, and how large those are.

    In an engine of their own: each replay does all again that was done since the cache was empty.
    """
    ours = Ours(model_path(), streams=STREAMS)
    answers: list[tuple[list[Message], Sampling, Completion]] = []

    def ask(number: int) -> None:
        prompt = [Message.user(f"Tell me about number {number}{' and a fox' * (5 * number)}.")]
        sampling = Sampling(temperature=0.4 * (number % 3), seed=number, max_tokens=12 + number)
        answers.append((prompt, sampling, answer(ours, prompt, sampling)))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same = [
        first.record is not None and seen(answer(ours, prompt, sampling, first.record)) == seen(first)
        for prompt, sampling, first in answers
    ]
    ours.engine.close()
    return {
        "replays": count,
        "replay_identical": all(same),
        "replay_record_bytes": round(median(len(first.record or b"") for _, _, first in answers)),
    }


def answer(ours: Ours, prompt: list[Message], sampling: Sampling, replay: bytes | None = None) -> Completion:
    """Return a whole answer."""
    return finish(ours.engine.complete(prompt, sampling=sampling, replay=replay))


def seen(completion: Completion) -> tuple[tuple[int, float], ...]:
    """Return the tokens of an answer, each with its probability to the last bit."""
    return tuple((signal.token, signal.log_probability) for signal in completion.signals)


def repeats(ours: Ours, count: int) -> bool:
    """Return whether so many reproducible answers are the same to the last bit of every probability."""
    sampling = Sampling(temperature=0.8, seed=5, max_tokens=16, reproducible=True)
    return len({seen(answer(ours, [Message.user(STORY)], sampling)) for _ in range(count)}) == 1
