"""What each quantisation of a model costs and brings, measured: the table of `agentkit bench quant`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentkit.errors import ConfigError, EngineError, LimitError, ModelError
from agentkit.models.gguf import read_header
from agentkit.models.levers import Levers
from agentkit.models.measuring import SCORED_TOKENS, Measured, Speed, best_of
from agentkit.models.store import ModelStore
from agentkit.models.threads import default_threads
from agentkit.models.variants import check_level, requantise
from agentkit.spawn import Spawner

BENCH_LEVELS = ("F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q2_K")
ROUNDS = 3
_LEAVES_OUT = (EngineError, ModelError, LimitError)
"""Not for this model, this build or this disk."""


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
    leave_out: Callable[[str, str], None] = lambda *_: None,
) -> list[QuantRow]:
    """Measure a stored model and variants made of it; nothing is kept. A level that cannot be made or run is left out.

    `leave_out` is told which level that is, and why.

    The reference is the file as it came: a variant of a coarse file is never better than that file.

    Raises:
        ConfigError: The model is not one GGUF file, or a level does not exist.
        EngineError: The file as it came cannot be run, so that there is nothing to compare with.
    """
    model = store.get(name)
    if model.path.suffix != ".gguf":
        raise ConfigError(f"model {name} is no GGUF file")
    levels = [check_level(level) for level in levels]
    levers = Levers(default_threads())
    total = 1 + len(levels) + rounds * (1 + len(levels))
    step(0, total, "perplexity as it came")
    with Measured(model.path, spawner) as worker:
        reference = worker.score(levers, tokens=scored_tokens)
    scores = [(read_header(model.path).quantisation, model.path, reference)]
    with store.staging() as staged:
        for done, level in enumerate(levels):
            step(1 + done, total, f"making {level}, and its perplexity")
            path = staged / f"{level}.gguf"
            try:
                requantise(model.path, path, level, spawner)
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
