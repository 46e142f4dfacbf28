"""Find out how a stored model runs best on this machine, and remember it.

Levers that cost no quality come first: flash attention, rearranged weights, threads. Then variants in other
quantisations, made here, of which only those are run that cost no more perplexity than allowed. Then, with the best
of these, how much of a prompt is computed at once. Last, what was found runs beside the model as it came.
Candidates take turns, and the best of each one's turns counts, since other load only ever slows one down; each runs
in a child process, so that a crash of one is one candidate less; where that is the model as it came, all go on with
its weights not rearranged. None is run that would not fit into memory.
What counts is the time of a turn with 500 new prompt tokens and 100 tokens of answer.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agentkit.errors import AgentkitError, ConfigError, EngineError, LimitError, ModelError
from agentkit.models.gguf import GGUFHeader, read_header
from agentkit.models.levers import Levers
from agentkit.models.manifest import StoredModel
from agentkit.models.measuring import PREFILL_TOKENS, SCORED_TOKENS, Measured, Speed, best_of
from agentkit.models.profile import (
    Profile,
    as_tuned,
    levers_of,
    profile_key,
    read_profile,
    untuned,
    write_profile,
)
from agentkit.models.ram_free import free_bytes
from agentkit.models.ram_need import misfit, need_with
from agentkit.models.store import ModelStore
from agentkit.models.tuning_notes import TuningNotes
from agentkit.models.variants import check_level, least_bytes, make_variant, requantise
from agentkit.spawn import Spawner

TUNED_LEVELS = ("BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0")
TUNED_BATCHES = (128, 256, 1024)
LONG_PROMPT_TOKENS = 1024
"""Batches are compared with a prompt that is longer than most of them."""
MAX_PERPLEXITY_CHANGE = 0.03
ROUNDS = 5
WORTH = 0.02
"""A lever that gains less is left as it was: so much is noise."""

Step = Callable[[int, int, str], None]
"""Called with the steps done, their number, and what is done now."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to run the model."""

    label: str
    level: str | None
    """`None`: the file as it came."""
    levers: Levers
    speed: Speed | None = None
    """`None`: it was not run, for the reason in `why`."""
    perplexity_change: float | None = 0.0
    """Against the file as it came; `None` where it was not measured."""
    file_bytes: int = 0
    why: str = ""
    """Why it was not run, or what was wrong with it."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What tuning found."""

    candidates: tuple[Candidate, ...]
    """All that were looked at, in their order."""
    came: Candidate
    """The model as it came, measured beside `best`."""
    before: Candidate
    """The model as it ran until now, measured beside `best`."""
    best: Candidate
    """How it runs from now on."""
    perplexity: float
    """Of the file as it came."""


@dataclass(frozen=True, slots=True)
class _Run:
    """One way to run one file, to be measured."""

    candidate: Candidate
    path: Path


def tune(
    store: ModelStore,
    name: str,
    spawner: Spawner,
    *,
    levels: Sequence[str] = TUNED_LEVELS,
    batches: Sequence[int] = TUNED_BATCHES,
    max_perplexity_change: float = MAX_PERPLEXITY_CHANGE,
    rounds: int = ROUNDS,
    scored_tokens: int = SCORED_TOKENS,
    step: Step = lambda *_: None,
    free: Callable[[], int | None] = free_bytes,
) -> Tuning:
    """Tune a stored model and write its profile; only the variant that is best is kept.

    An interrupted tuning goes on where it was, if it is asked for again within the hour.

    Args:
        store: Holds the model.
        name: Of the model.
        spawner: Starts the child processes.
        levels: Variants to try; empty: only what costs no quality.
        batches: How many tokens of a prompt to compute at once, beside 512.
        max_perplexity_change: How much worse the model may predict text: 0.03 is three per cent.
        rounds: How often each candidate has its turn.
        scored_tokens: How much of the shipped text is scored.
        step: Told how far it is.
        free: Says how many bytes of memory can be taken; `None`: not known.

    Raises:
        ConfigError: The model is not one GGUF file, or a level does not exist.
        ModelError: It cannot be run at all.
        LimitError: The chosen variant does not fit on the disk.
    """
    model = store.get(name)
    if model.path.suffix != ".gguf" or model.kind != "chat":
        raise ConfigError(f"model {name} is no chat model in a GGUF file, and cannot be tuned")
    tuner = _Tuner(store, model, spawner, rounds=rounds, scored_tokens=scored_tokens, free=free)
    levels = [check_level(level) for level in levels]
    tuner.plan(levels, batches, step)
    tuner.settle()
    best = tuner.levers()
    perplexity = math.exp(tuner.loss(model.path, best.levers, "as it came"))
    with store.staging() as staged:
        best, path = tuner.levels(best, levels, staged, max_perplexity_change)
        best = tuner.batches(best, path, batches)
        found = tuner.conclude(best, path, perplexity)
    best = found.best
    variant = None if best.level is None else make_variant(store, name, best.level, spawner)
    came, chosen = found.came.speed, best.speed
    if came is None or chosen is None:
        raise ModelError(f"model {name} cannot be run", hint="agentkit doctor")
    profile = Profile(
        best.levers,
        None if variant is None else variant.name,
        None if variant is None else variant.sha256,
        best.perplexity_change or 0.0,
        (round(came.prefill, 1), round(came.generate, 1)),
        (round(chosen.prefill, 1), round(chosen.generate, 1)),
    )
    write_profile(store, model, profile)
    tuner.done()
    return found


class _Tuner:
    """The parts of a tuning, in their order, and all that they share."""

    def __init__(
        self,
        store: ModelStore,
        model: StoredModel,
        spawner: Spawner,
        *,
        rounds: int,
        scored_tokens: int,
        free: Callable[[], int | None],
    ) -> None:
        self._store, self._model, self._spawner = store, model, spawner
        self._rounds, self._scored_tokens, self._free = rounds, scored_tokens, free
        self._came = untuned(levers_of(store, model))
        self._notes = TuningNotes(store.folder / model.name, profile_key(model), time.time())
        self._found: list[Candidate] = []
        self._size = model.path.stat().st_size
        self._loss = 0.0

    def plan(self, levels: Sequence[str], batches: Sequence[int], step: Step) -> None:
        """Count the measurements there will be at the most, and remember whom to tell."""
        runs = len(self._ways()) + 1 + len(levels) + 1 + len(batches) + 3
        self._steps, self._step, self._at = 1 + len(levels) + self._rounds * runs, step, 0

    def _say(self, what: str, steps: int = 1) -> None:
        self._step(min(self._at, self._steps), self._steps, what)
        self._at += steps

    # --- the parts ----------------------------------------------------------------------------------

    def _ways(self) -> list[tuple[str, Levers]]:
        came = self._came
        ways = [("as it came", came)]
        if came.repack:
            ways.append(("weights not rearranged", replace(came, repack=False)))
        if came.v_type == "f16":  # quantised values need it
            ways.append(("without flash attention", replace(came, flash_attention=False)))
        counts = sorted({1, _logical()} - {came.threads})
        return ways + [
            (f"{count} thread{'s' * (count > 1)}", replace(came, threads=count)) for count in counts
        ]

    def settle(self) -> None:
        """Run the model once as it came; where that fails, go on without rearranged weights, as the engine does."""
        came = Candidate("weights rearranged", None, self._came, file_bytes=self._size)
        run = _Run(came, self._model.path)
        if not came.levers.repack or self._misfit(read_header(run.path), came.levers):
            return
        self._say("speed: as it came", 0)
        try:
            self._speed(run, PREFILL_TOKENS, "turn 0", seed=0)
        except AgentkitError as error:
            self._found.append(replace(came, why=error.message))
            self._came = replace(self._came, repack=False)

    def levers(self) -> Candidate:
        """Return the best of the ways that cost no quality."""
        runs = [
            _Run(Candidate(label, None, levers, file_bytes=self._size), self._model.path)
            for label, levers in self._ways()
        ]
        first, *others = self._measure(runs)
        if first.speed is None:
            raise ModelError(f"model {self._model.name} cannot be run: {first.why}", hint="agentkit doctor")
        return _best(first, others)

    def levels(
        self, best: Candidate, levels: Sequence[str], staged: Path, max_change: float
    ) -> tuple[Candidate, Path]:
        """Return the best of `best` and the variants that predict text well enough, and its file."""
        runs = [_Run(replace(best, label="best without requantising"), self._model.path)]
        for level in levels:
            self._say(f"making {level}, and its perplexity")
            made = self._variant(level, best.levers, staged, max_change)
            if isinstance(made, _Run):
                runs.append(made)
            else:
                self._found.append(made)
                self._at += self._rounds
        if len(runs) == 1:
            return best, self._model.path
        first, *others = self._measure(runs)
        chosen = _best(first, others)
        path = next(run.path for run in runs if run.candidate.label == chosen.label)
        return (best if chosen is first else chosen), path

    def batches(self, best: Candidate, path: Path, batches: Sequence[int]) -> Candidate:
        """Return `best` with the batch that reads a long prompt soonest."""
        tried = sorted(set(batches) - {best.levers.batch_tokens})
        same = replace(best, label=f"batches of {best.levers.batch_tokens}")
        others = [
            replace(best, label=f"batches of {batch}", levers=replace(best.levers, batch_tokens=batch))
            for batch in tried
        ]
        first, *rest = self._measure(
            [_Run(each, path) for each in (same, *others)], prompt=LONG_PROMPT_TOKENS
        )
        return replace(best, levers=_best(first, rest).levers)

    def conclude(self, best: Candidate, path: Path, perplexity: float) -> Tuning:
        """Run what was found beside the model as it came and as it ran until now, and return all of it."""
        profile = read_profile(self._store, self._model)
        ran, _ = as_tuned(self._store, self._model.name)
        cost = profile.perplexity_change if profile else 0.0
        came = Candidate("as it came, at the end", None, self._came, file_bytes=self._size)
        levers = levers_of(self._store, self._model)
        levers = replace(levers, repack=levers.repack and self._came.repack)
        now = Candidate("as it ran until now", None, levers, perplexity_change=cost)
        others = (
            [_Run(replace(best, label="as found best"), path)]
            if (best.level, best.levers) != (None, came.levers)
            else []
        )
        if (ran, now.levers) != (self._model.path, came.levers):
            others.append(_Run(replace(now, file_bytes=ran.stat().st_size), ran))
        looked = tuple(self._found)
        came, *measured = self._measure([_Run(came, self._model.path), *others], turn="end")
        best = _best(came, [each for each in measured if each.label == "as found best"])
        before = next((each for each in measured if each.label == now.label), came)
        return Tuning(looked, came, before, best, perplexity)

    def done(self) -> None:
        """The profile is written: what was noted is of no more use."""
        self._notes.forget()
        self._step(self._steps, self._steps, "done")

    # --- what they are made of ----------------------------------------------------------------------

    def _variant(self, level: str, levers: Levers, staged: Path, max_change: float) -> _Run | Candidate:
        """Make and score a variant; return it with the reason if it is not worth running."""
        candidate = Candidate(level, level, levers, perplexity_change=None)
        header = read_header(self._model.path)
        if why := self._misfit(replace(header, tensor_bytes=least_bytes(header, level)), levers):
            return replace(candidate, why=why)  # a file too large for this machine is not even made
        path = staged / f"{level}.gguf"
        try:
            requantise(self._model.path, path, level, self._spawner)
            size = path.stat().st_size
            change = math.exp(self.loss(path, levers, level) - self._loss) - 1
        except (EngineError, ModelError, LimitError) as error:  # not for this model, this build or this disk
            return replace(candidate, why=error.message)
        candidate = replace(candidate, perplexity_change=change, file_bytes=size)
        why = self._misfit(read_header(path), levers)
        if change > max_change:
            why = f"perplexity rises by more than {max_change:.1%}"
        if why:
            path.unlink()
            return replace(candidate, why=why)
        return _Run(candidate, path)

    def loss(self, path: Path, levers: Levers, label: str) -> float:
        """Return the mean loss on the shipped text; that of the file as it came is what others are compared with."""
        if label == "as it came":
            self._say("perplexity")
        what = f"loss of {label}, {self._scored_tokens} tokens, {levers}"
        known = self._notes.recall(what)
        if known is None:
            with Measured(path, self._spawner) as worker:
                known = (worker.score(levers, tokens=self._scored_tokens).loss,)
            self._notes.note(what, known)
        if label == "as it came":
            self._loss = known[0]
        return known[0]

    def _measure(
        self, runs: Sequence[_Run], *, prompt: int = PREFILL_TOKENS, turn: str = "turn"
    ) -> list[Candidate]:
        """Return the candidates with their speed, or why they have none. One computes at a time."""
        taken: list[list[Speed]] = [[] for _ in runs]
        why = [self._misfit(read_header(run.path), run.candidate.levers) for run in runs]
        for number in range(self._rounds):
            for index, run in enumerate(runs):
                if why[index]:
                    continue
                try:
                    self._say(f"speed: {run.candidate.label}, {number + 1} of {self._rounds}")
                    taken[index].append(self._speed(run, prompt, f"{turn} {number}", seed=number))
                except AgentkitError as error:
                    why[index] = error.message
        measured = [
            replace(run.candidate, speed=None if reason else best_of(speeds), why=reason)
            for run, speeds, reason in zip(runs, taken, why, strict=True)
        ]
        self._found += measured
        return measured

    def _speed(self, run: _Run, prompt: int, turn: str, *, seed: int) -> Speed:
        levers = run.candidate.levers
        what = f"speed of {run.path.name}, {prompt} tokens, {turn}, {levers}"
        known = self._notes.recall(what)
        if known is not None and len(known) == 3:
            return Speed(known[0], known[1], int(known[2]))
        with Measured(run.path, self._spawner) as worker:
            speed = worker.speed(levers, seed=seed, prefill_tokens=prompt)
        self._notes.note(what, (speed.prefill, speed.generate, speed.memory_bytes))
        return speed

    def _misfit(self, header: GGUFHeader, levers: Levers) -> str:
        """Return why a file does not fit into memory with the window it would have; empty if it does."""
        return misfit(need_with(header, levers), self._free())


def _best(first: Candidate, others: Sequence[Candidate]) -> Candidate:
    """Return the quickest, or `first` where none gains enough."""
    quickest = min(others, key=_seconds, default=first)
    return quickest if _seconds(quickest) < _seconds(first) * (1 - WORTH) else first


def _seconds(candidate: Candidate) -> float:
    return math.inf if candidate.speed is None else candidate.speed.turn_seconds


def _logical() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
