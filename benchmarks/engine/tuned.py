"""How much sooner a prompt is read after `agentkit models tune`: the tuned profile against the file as it came.

Both sides run through the engine with one sequence, take turns, and the medians count. A model without a profile on
this machine is tuned first, in a store of its own.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

from agentkit.messages import Message
from agentkit.models.base import Sampling, finish
from agentkit.models.engine import Engine
from agentkit.models.profile import as_tuned, read_profile
from agentkit.models.store import ModelStore
from agentkit.models.tune import tune
from agentkit.paths import Home
from agentkit.spawn import LocalSpawner
from benchmarks._noise import noise
from benchmarks.engine.sides import MODEL, PREFILL_WORDS, in_turn


def tuned_prefill_ratio(store: ModelStore, name: str, *, rounds: int) -> dict[str, Any]:
    """Return prefill tokens a second as it came and tuned, and their ratio; the model must have a profile."""
    came = Engine(store.get(name).path, LocalSpawner(), streams=1)
    path, options = as_tuned(store, name)
    tuned = Engine(path, LocalSpawner(), **{**options, "streams": 1})
    try:
        rates = [
            in_turn(number, lambda: _prefill(came, number), lambda: _prefill(tuned, number))  # noqa: B023 - at once
            for number in range(rounds + 1)
        ]
    finally:
        came.close()
        tuned.close()
    del rates[0]  # the start
    profile = read_profile(store, store.get(name))
    return {
        "tuned_variant": profile and (profile.variant or "as it came"),
        "tuned_perplexity_change": profile and round(profile.perplexity_change, 4),
        "tuned_prefill_ratio": round(statistics.median(after / before for before, after in rates), 3),
        "untuned_prefill_tokens_s": round(statistics.median(before for before, _ in rates), 1),
        "tuned_prefill_tokens_s": round(statistics.median(after for _, after in rates), 1),
    }


def _prefill(engine: Engine, seed: int) -> float:
    prompt = [Message.user(noise(PREFILL_WORDS, seed))]
    usage = finish(engine.complete(prompt, sampling=Sampling(max_tokens=1))).usage
    return float((usage.prompt_tokens - usage.reused_tokens) / usage.prefill_seconds)


def measure(*, quick: bool) -> dict[str, Any]:
    """Tune the default model if it has no profile here, and measure."""
    store = ModelStore(Home.default().models)
    if read_profile(store, store.get(MODEL)) is not None:
        return tuned_prefill_ratio(store, MODEL, rounds=4 if quick else 8)
    with tempfile.TemporaryDirectory() as folder:
        own = ModelStore(Path(folder))
        own.import_file(store.get(MODEL).path, MODEL)
        tune(own, MODEL, LocalSpawner(), rounds=2 if quick else 5, scored_tokens=1100 if quick else 4096)
        return tuned_prefill_ratio(own, MODEL, rounds=4 if quick else 8)
