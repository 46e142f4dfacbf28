"""What each quantisation of a model costs and brings, measured: the table of `agentkit bench quant`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from agentkit.errors import ConfigError, EngineError, LimitError, ModelError
from agentkit.models.gguf import GGUFHeader, read_header
from agentkit.models.levers import Levers
from agentkit.models.measuring import PREFILL_TOKENS, SCORED_TOKENS, Measured, Speed, best_of
from agentkit.models.profile import levers_of
from agentkit.models.ram_free import free_bytes
from agentkit.models.ram_need import misfit, need_with
from agentkit.models.store import ModelStore
from agentkit.models.variants import check_level, least_bytes, requantise
from agentkit.spawn import Spawner

BENCH_LEVELS = ("F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q2_K")
ROUNDS = 3
_LEAVES_OUT = (EngineError, ModelError, LimitError)
"""Not for this model, this build or this disk."""

LeaveOut = Callable[[str, str], None]
"""Called with what is left out, and why."""


@dataclass(frozen=True, slots=True)
class QuantRow:
    """One quantisation."""

    quantisation: str
    file_bytes: int
    memory_bytes: int
    """The most the process had, with a window of 1024 tokens."""
    prefill: float
    """Tokens a second, prompts of 512."""
    generate: float
    perplexity: float
    divergence: float
    """Mean divergence from the reference in nats a token; 0 for the reference itself."""
    is_reference: bool


def quant_table(
    store: ModelStore,
    name: str,
    spawner: Spawner,
    *,
    levels: Sequence[str] = BENCH_LEVELS,
    rounds: int = ROUNDS,
    scored_tokens: int = SCORED_TOKENS,
    step: Callable[[int, int, str], None] = lambda *_: None,
    leave_out: LeaveOut = lambda *_: None,
    free: Callable[[], int | None] = free_bytes,
) -> list[QuantRow]:
    """Measure a stored model and variants made of it; nothing is kept.

    All run with the levers of the model, and without rearranged weights where the file as it came fails with them.
    That file is the reference: a variant of a coarse file is never better than it. A level that cannot be made or
    run, or would not fit into memory, is left out.

    Args:
        store: Holds the model.
        name: Of the model.
        spawner: Starts the child processes.
        levels: Variants to measure.
        rounds: How often the speed of each is measured.
        scored_tokens: How much of the shipped text is scored.
        step: Told the steps done, their number, and what is done now.
        leave_out: Told what is left out, and why.
        free: Says how many bytes of memory can be taken; `None`: not known.

    Raises:
        ConfigError: The model is not one GGUF file, or a level does not exist.
        EngineError: The file as it came cannot be run, so that there is nothing to compare with.
        LimitError: It does not fit into memory.
    """
    model = store.get(name)
    if model.path.suffix != ".gguf":
        raise ConfigError(f"model {name} is no GGUF file")
    measure = partial(
        _measure,
        store,
        model.path,
        spawner,
        levels=[check_level(level) for level in levels],
        rounds=rounds,
        scored_tokens=scored_tokens,
        step=step,
        leave_out=leave_out,
        free=free,
    )
    levers = levers_of(store, model)
    try:
        return measure(levers)
    except EngineError as error:
        if not levers.repack:
            raise
        leave_out("rearranging weights", error.message)
        return measure(replace(levers, repack=False))


def _measure(
    store: ModelStore,
    came: Path,
    spawner: Spawner,
    levers: Levers,
    *,
    levels: Sequence[str],
    rounds: int,
    scored_tokens: int,
    step: Callable[[int, int, str], None],
    leave_out: LeaveOut,
    free: Callable[[], int | None],
) -> list[QuantRow]:
    """Return the rows of the file that came and of the variants made of it, all run with `levers`."""
    header = read_header(came)
    if why := _misfit(header, levers, free()):
        raise LimitError(f"{came.name} {why}", hint="close other programs, or choose a smaller model")
    total = 1 + len(levels) + rounds * (1 + len(levels))
    step(0, total, "perplexity as it came")
    with Measured(came, spawner) as worker:
        reference = worker.score(levers, tokens=scored_tokens)
    scores = [(header.quantisation, came, reference)]
    with store.staging() as staged:
        for done, level in enumerate(levels):
            step(1 + done, total, f"making {level}, and its perplexity")
            planned = replace(header, tensor_bytes=least_bytes(header, level))
            if why := _misfit(planned, levers, free()):
                leave_out(level, why)
                continue
            path = staged / f"{level}.gguf"
            try:
                requantise(came, path, level, spawner)
                with Measured(path, spawner) as worker:
                    scores.append((level, path, worker.score(levers, reference, tokens=scored_tokens)))
            except _LEAVES_OUT as error:
                leave_out(level, error.message)
                path.unlink(missing_ok=True)
        speeds: list[list[Speed]] = [[] for _ in scores]
        failed: set[int] = set()
        for seed in range(rounds):
            for number, (level, path, score) in enumerate(scores):
                if number in failed:
                    continue
                at = 1 + len(levels) + seed * len(scores) + number
                step(at, total, f"speed of {level}, {seed + 1} of {rounds}")
                try:
                    with Measured(path, spawner) as worker:
                        speeds[number].append(worker.speed(levers, seed=seed))
                except _LEAVES_OUT as error:
                    if score is reference:
                        raise
                    leave_out(level, error.message)
                    failed.add(number)
        rows = []
        for number, (level, path, score) in enumerate(scores):
            if number in failed:
                continue
            best = best_of(speeds[number])
            rows.append(
                QuantRow(
                    level,
                    path.stat().st_size,
                    best.memory_bytes,
                    best.prefill,
                    best.generate,
                    score.perplexity,
                    score.divergence or 0.0,
                    is_reference=score is reference,
                )
            )
    step(total, total, "done")
    return rows


def _misfit(header: GGUFHeader, levers: Levers, free: int | None) -> str:
    """Return why a file does not fit into memory as it is measured here; empty if it does."""
    from agentkit.models.scoring import CHUNK_TOKENS

    window = replace(levers, context_tokens=2 * PREFILL_TOKENS)
    return misfit(need_with(header, window, output_rows=CHUNK_TOKENS), free)
