"""From nothing to the first token of a prompt of about 500, and the floor under it.

The floor is the least that any engine in a process of its own can take: a bare Python that loads llama.cpp and the
model, and decodes as many tokens.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from statistics import median
from typing import Any

from agentkit.messages import Message
from agentkit.models.threads import default_threads
from agentkit.spawn import ENGINE_ENVIRONMENT
from benchmarks._noise import noise
from benchmarks.engine.sides import CONTEXT_TOKENS, PREFILL_WORDS, Ours, model_path

FLOOR = """
import sys, llama_cpp
path, threads, context, tokens = sys.argv[1], *map(int, sys.argv[2:])
llama = llama_cpp.Llama(path, n_ctx=context, n_threads=threads, n_threads_batch=threads, flash_attn=True, verbose=False)
llama.eval([100 + each for each in range(tokens)])
llama.sample(temp=0.0)
"""


def measure(*, quick: bool) -> dict[str, Any]:
    """Return seconds, in turns with the floor."""
    loads, firsts, floors, tokens = [], [], [], 0
    for number in range(1 if quick else 3):
        ours = Ours(model_path())
        started = time.perf_counter()
        ours.engine.describe()
        loaded = time.perf_counter() - started
        completion, first, _ = ours.ask([Message.user(noise(PREFILL_WORDS, number))], 1)
        ours.engine.close()
        tokens = completion.usage.prompt_tokens
        loads.append(loaded)
        firsts.append(loaded + first)
        floors.append(floor(tokens))
    return {
        "cold_load_seconds": round(median(loads), 3),
        "cold_first_token_seconds": round(median(firsts), 3),
        "cold_floor_seconds": round(median(floors), 3),
        "cold_prompt_tokens": tokens,
    }


def floor(tokens: int) -> float:
    """Return the seconds a bare process takes to load the model and decode so many tokens."""
    numbers = map(str, (default_threads(), CONTEXT_TOKENS, tokens))
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-I", "-c", FLOOR, str(model_path()), *numbers],
        env={**os.environ, **ENGINE_ENVIRONMENT},
        check=True,
    )
    return time.perf_counter() - started
