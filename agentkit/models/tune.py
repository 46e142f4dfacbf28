"""Find out how a stored model runs best on this machine, and remember it.

Levers that cost no quality come first: flash attention, rearranged weights, threads. Then variants in other
quantisations, made here, of which only those are considered that cost no more perplexity than allowed. Candidates take
turns, and medians count; each runs in a child process, so that a crash of one is one candidate less.
What counts is the time of a turn with 500 new prompt tokens and 100 tokens of answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from agentkit.errors import ConfigError, EngineError, ModelError
from agentkit.models.levers import Levers
from agentkit.models.measuring import SCORED_TOKENS, Measured, Score, Speed, median
from agentkit.models.profile import Profile, levers_of, write_profile
from agentkit.models.store import ModelStore
from agentkit.models.threads import default_threads
from agentkit.models.variants import check_level, make_variant, requantise
from agentkit.spawn import Spawner

TUNED_LEVELS = ("BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0")
MAX_PERPLEXITY_CHANGE = 0.03
ROUNDS = 5

Step = Callable[[int, int, str], None]
"""Called with the steps done, their number, and what is done now."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to run the model."""

    label: str
    level: str | None
    """`None`: the file as it came."""
    levers: Levers
    speed: Speed | None
    """`None`: it crashed, or llama.cpp refused."""
    perplexity_change: float | None
    """Against the file as it came; `None` where it was not measured."""
    file_bytes: int


@dataclass(frozen=True, slots=True)
class Tuning:
    """What tuning found."""

    candidates: tuple[Candidate, ...]
    """The first is the model as it came."""
    best: Candidate
    perplexity: float
    """Of the file as it came."""


def tune(
    store: ModelStore,
    name: str,
    spawner: Spawner,
    *,
    levels: Sequence[str] = TUNED_LEVELS,
    max_perplexity_change: float = MAX_PERPLEXITY_CHANGE,
    rounds: int = ROUNDS,
    scored_tokens: int = SCORED_TOKENS,
    step: Step = lambda *_: None,
) -> Tuning:
    """Tune a stored model and write its profile; only the variant that is best is kept.

    Args:
        store: Holds the model.
        name: Of the model.
        spawner: Starts the child processes.
        levels: Variants to try; empty: only what costs no quality.
        max_perplexity_change: How much worse the model may predict text: 0.03 is three per cent.
        rounds: How often each candidate has its turn.
        scored_tokens: How much of the shipped text is scored.
        step: Told how far it is.

    Raises:
        ConfigError: The model is not one GGUF file, or a level does not exist.
        ModelError: It cannot be run at all.
        LimitError: The disk is full.
    """
    model = store.get(name)
    if model.path.suffix != ".gguf" or model.kind != "chat":
        raise ConfigError(f"model {name} is no chat model in a GGUF file, and cannot be tuned")
    levels = [check_level(level) for level in levels]
    own = levers_of(store, model)  # what costs quality or is not about speed stays as the user has it
    came = replace(
        own, threads=default_threads(), flash_attention=True, repack=True, batch_tokens=Levers(1).batch_tokens
    )
    threads = sorted({1, came.threads, _logical()} - {came.threads})
    total = 2 + len(threads) + 2 * len(levels)
    done = 0

    def say(what: str) -> None:
        nonlocal done
        step(done, total, what)
        done += 1

    say("flash attention and rearranged weights")
    ways = [("as it came", came)]
    ways += [("without flash attention", replace(came, flash_attention=False))]
    ways += [("weights not rearranged", replace(came, repack=False))]
    found = _compare(model.path, ways, spawner, rounds)
    first = found[0].speed
    if first is None:
        raise ModelError(f"model {name} cannot be run", hint="agentkit doctor")
    best = _quickest(found)
    for count in threads:
        say(f"{count} threads")
        found += _compare(
            model.path, [(f"{count} threads", replace(best.levers, threads=count))], spawner, rounds
        )
        best = _quickest([best, found[-1]])
    say("perplexity")
    with Measured(model.path, spawner) as worker:
        reference = worker.score(best.levers, tokens=scored_tokens)
    with store.staging() as staged, ExitStack() as kept:
        runs: list[tuple[str, Path, float]] = []
        for level in levels:
            say(f"making {level}")
            try:
                path = staged / f"{level}.gguf"
                requantise(model.path, path, level, spawner)
                kept.callback(path.unlink, missing_ok=True)
                say(f"perplexity of {level}")
                with Measured(path, spawner) as worker:
                    score = worker.score(best.levers, reference, tokens=scored_tokens)
            except (EngineError, ModelError):  # this level is not for this model, or not for this build
                found.append(Candidate(level, level, best.levers, None, None, 0))
                continue
            change = _change(score, reference)
            runs.append((level, path, change))
        found += _levels(model.path, runs, best, spawner, rounds)
    fit = [each for each in found if (each.perplexity_change or 0) <= max_perplexity_change]
    best = _quickest(fit)
    variant = None if best.level is None else make_variant(store, name, best.level, spawner)
    if best.speed is None:
        raise ModelError(f"model {name} cannot be run", hint="agentkit doctor")
    profile = Profile(
        best.levers,
        None if variant is None else variant.name,
        None if variant is None else variant.sha256,
        best.perplexity_change or 0.0,
        (round(first.prefill, 1), round(first.generate, 1)),
        (round(best.speed.prefill, 1), round(best.speed.generate, 1)),
    )
    write_profile(store, model, profile)
    step(total, total, "done")
    return Tuning(tuple(found), best, reference.perplexity)


def _compare(
    path: Path, ways: Sequence[tuple[str, Levers]], spawner: Spawner, rounds: int
) -> list[Candidate]:
    """Measure several ways to run one file, in turns."""
    measured = _in_turns([(path, levers) for _, levers in ways], spawner, rounds)
    size = path.stat().st_size
    return [
        Candidate(label, None, levers, speed, 0.0, size)
        for (label, levers), speed in zip(ways, measured, strict=True)
    ]


def _levels(
    path: Path, runs: Sequence[tuple[str, Path, float]], best: Candidate, spawner: Spawner, rounds: int
) -> list[Candidate]:
    """Measure variants, and the best so far beside them."""
    if not runs:
        return []
    files = [path, *(file for _, file, _ in runs)]
    again, *speeds = _in_turns([(file, best.levers) for file in files], spawner, rounds)
    found = [replace(best, label="best without requantising", speed=again)] if again else []
    return found + [
        Candidate(level, level, best.levers, speed, change, file.stat().st_size)
        for (level, file, change), speed in zip(runs, speeds, strict=True)
    ]


def _in_turns(runs: Sequence[tuple[Path, Levers]], spawner: Spawner, rounds: int) -> list[Speed | None]:
    """Return the medians of each; `None` for one that crashed or was refused. One computes at a time."""
    taken: list[list[Speed]] = [[] for _ in runs]
    failed: set[int] = set()
    for seed in range(rounds):
        for number, (path, levers) in enumerate(runs):
            if number in failed:
                continue
            try:
                with Measured(path, spawner) as worker:
                    taken[number].append(worker.speed(levers, seed=seed))
            except (EngineError, ModelError):
                failed.add(number)
    return [None if number in failed else median(each) for number, each in enumerate(taken)]


def _quickest(candidates: Sequence[Candidate]) -> Candidate:
    return min(candidates, key=lambda each: math.inf if each.speed is None else each.speed.turn_seconds)


def _change(score: Score, reference: Score) -> float:
    return math.exp(score.loss - reference.loss) - 1


def _logical() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
