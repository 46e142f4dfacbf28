"""The two sides of the comparison: the engine in its worker, and `llama_cpp.Llama` in this process.

Beside the peer, which has one sequence, the engine has one too: what it keeps of other conversations costs a little
attention in every step.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from agentkit.messages import Message
from agentkit.models.base import Completion, Sampling
from agentkit.models.engine import Engine
from agentkit.models.threads import default_threads
from agentkit.paths import Home
from agentkit.spawn import ENGINE_ENVIRONMENT, LocalSpawner
from benchmarks._noise import noise

T = TypeVar("T")
MODEL = "smollm2-135m"
CONTEXT_TOKENS = 4096
PREFILL_WORDS = 470
GENERATED = 128
STORY = "Write a long story about a lighthouse keeper, his daughter and a storm that lasts for seven days."


def model_path() -> Path:
    """Return where the default model lies, if it is there."""
    return Home.default().models / MODEL / "SmolLM2-135M-Instruct.Q4_1.gguf"


class Ours:
    """The engine, as a program uses it: everything is timed at the client."""

    def __init__(self, path: Path, *, streams: int = 1) -> None:
        self.engine = Engine(path, LocalSpawner(), context_tokens=CONTEXT_TOKENS, streams=streams)

    def ask(self, messages: list[Message], tokens: int) -> tuple[Completion, float, float]:
        """Return the completion, seconds to its first text, and seconds from there to its end."""
        started = time.perf_counter()
        stream = self.engine.complete(messages, sampling=Sampling(max_tokens=tokens))
        first: float | None = None
        while True:
            try:
                next(stream)
            except StopIteration as end:
                now = time.perf_counter()
                first = now if first is None else first
                return end.value, first - started, now - first
            if first is None:
                first = time.perf_counter()

    def prefill(self, seed: int) -> float:
        """Return tokens a second of a prompt of about 500."""
        completion, first, _ = self.ask([Message.user(noise(PREFILL_WORDS, seed))], 1)
        return (completion.usage.prompt_tokens - completion.usage.reused_tokens) / first

    def generate(self) -> tuple[float, str]:
        """Return tokens a second after the first, and the text."""
        completion, _, rest = self.ask([Message.user(STORY)], GENERATED)
        return (completion.usage.completion_tokens - 1) / rest, completion.text


class Peer:
    """`llama_cpp.Llama` with the same threads, batch, window and flash attention."""

    def __init__(self, path: Path) -> None:
        os.environ.update(ENGINE_ENVIRONMENT)  # before libgomp is loaded, as in the worker
        import llama_cpp

        self.llama: Any = llama_cpp.Llama(
            str(path),
            n_ctx=CONTEXT_TOKENS,
            n_threads=default_threads(),
            n_threads_batch=default_threads(),
            n_batch=512,
            flash_attn=True,
            verbose=False,
        )

    def tokens(self, text: str) -> list[int]:
        """Return the tokens of one user message in ChatML, with the system text of the model's template."""
        system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
        prompt = f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
        return list(self.llama.tokenize(prompt.encode(), add_bos=False, special=True))

    def first_token(self, tokens: list[int]) -> float:
        """Return seconds to the first token, with nothing in the cache."""
        self.llama.reset()
        started = time.perf_counter()
        self.llama.eval(tokens)
        self.llama.sample(temp=0.0)
        return time.perf_counter() - started

    def prefill(self, seed: int) -> float:
        """Return tokens a second of a prompt of about 500."""
        tokens = self.tokens(noise(PREFILL_WORDS, seed))
        return len(tokens) / self.first_token(tokens)

    def generate(self) -> tuple[float, str]:
        """Return tokens a second after the first, and the text."""
        self.llama.reset()
        made: list[int] = []
        first = 0.0
        for token in self.llama.generate(self.tokens(STORY), temp=0.0):
            if not made:
                first = time.perf_counter()
            made.append(token)
            if len(made) == GENERATED or token == self.llama.token_eos():
                break
        rate = (len(made) - 1) / (time.perf_counter() - first)
        return rate, self.llama.detokenize(made).decode("utf-8", "replace")


def in_turn(number: int, ours: Callable[[], T], theirs: Callable[[], T]) -> tuple[T, T]:
    """Measure both sides, the other one first in every second round."""
    if number % 2:
        second = theirs()
        return ours(), second
    return ours(), theirs()
