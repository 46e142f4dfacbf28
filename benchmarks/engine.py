"""Measure the engine worker beside `llama_cpp.Llama` with equal settings, in the same run.

`python -m benchmarks.engine [--quick]` prints a table, then one flat JSON object. Ratios are ours to the peer's,
higher is better; rounds alternate, ours first in one and the peer's in the next, and the median of the rounds' ratios
counts, so that other load hits both sides. Beside the peer, which has one sequence, the engine has one too: what it
keeps of other conversations costs a little attention in every step.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from agentkit.messages import Message
from agentkit.models.base import Completion, Sampling
from agentkit.models.engine import Engine
from agentkit.models.threads import default_threads
from agentkit.paths import Home
from agentkit.spawn import ENGINE_ENVIRONMENT, LocalSpawner
from benchmarks import engine_tuned
from benchmarks._noise import noise

T = TypeVar("T")
MODEL = ("smollm2-135m", "SmolLM2-135M-Instruct.Q4_1.gguf")
CONTEXT_TOKENS = 4096
PREFILL_WORDS = 470
HISTORY_WORDS = 1900
GENERATED = 128
STREAMS = 8
STREAM_TOKENS = 48
STORY = "Write a long story about a lighthouse keeper, his daughter and a storm that lasts for seven days."
KEYS = (
    "prefill_ratio",
    "generate_ratio",
    "tuned_prefill_ratio",
    "reuse_ttft_ratio",
    "restore_ratio",
    "shift_ppl_ratio",
    "shift_rss_growth",
    "parallel8_ratio",
    "replay_identical",
)


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

    def next_turn(self, seed: int) -> tuple[float, int, int]:
        """Return seconds to the first token of a turn after a long history, its prompt and its new tokens."""
        history = [Message.user(noise(HISTORY_WORDS, seed))]
        answer, _, _ = self.ask(history, 8)
        turn = [
            *history,
            Message.assistant(answer.text, history[0].labels),
            Message.user(noise(20, seed + 1)),
        ]
        completion, first, _ = self.ask(turn, 1)
        usage = completion.usage
        return first, usage.prompt_tokens, usage.prompt_tokens - usage.reused_tokens


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


def repeats(ours: Ours, count: int) -> bool:
    """Return whether so many reproducible answers are the same to the last bit of every probability."""
    sampling = Sampling(temperature=0.8, seed=5, max_tokens=16, reproducible=True)
    seen = set()
    for _ in range(count):
        stream = ours.engine.complete([Message.user(STORY)], sampling=sampling)
        try:
            while True:
                next(stream)
        except StopIteration as end:
            seen.add(tuple((signal.token, signal.log_probability) for signal in end.value.signals))
    return len(seen) == 1


def memory_mb(pid: int) -> dict[str, float]:
    """Return resident memory of a process, now and at its highest."""
    values = {}
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        if name in ("VmRSS", "VmHWM", "RssAnon"):
            values[name] = round(int(rest.split()[0]) / 1024, 1)
    return values


def cold_start(path: Path) -> dict[str, float]:
    """Return seconds from nothing to the first token of a prompt of about 500, and what they are made of."""
    ours = Ours(path)
    started = time.perf_counter()
    ours.engine.describe()
    loaded = time.perf_counter() - started
    completion, first, _ = ours.ask([Message.user(noise(PREFILL_WORDS, 1))], 1)
    ours.engine.close()
    return {
        "cold_load_seconds": round(loaded, 3),
        "cold_first_token_seconds": round(loaded + first, 3),
        "cold_prompt_tokens": completion.usage.prompt_tokens,
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="benchmarks.engine", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    quick = parser.parse_args(arguments).quick
    path = Home.default().models.joinpath(*MODEL)
    if not path.is_file():
        print("the default model is not in the store: run `make setup`", file=sys.stderr)
        return 3
    results: dict[str, Any] = dict.fromkeys(KEYS)
    results |= cold_start(path)
    ours, peer = Ours(path), Peer(path)
    ours.engine.describe()
    wide = Ours(path, streams=STREAMS)
    prefill: list[tuple[float, float]] = []
    generate: list[tuple[float, float]] = []
    same_text = True
    for number in range(6 if quick else 12):
        first = (lambda: ours.prefill(100 + number), lambda: peer.prefill(200 + number))  # noqa: B023 - called at once
        prefill.append(in_turn(number, *first))
        (our_rate, our_text), (peer_rate, peer_text) = in_turn(number, ours.generate, peer.generate)
        generate.append((our_rate, peer_rate))
        same_text = same_text and peer_text.startswith(our_text[:200])
    turns, again = [], []
    for number in range(2 if quick else 4):
        turns.append(ours.next_turn(300 + 10 * number))
        again.append(peer.first_token(peer.tokens(noise(HISTORY_WORDS, 400 + number))))
    warm, prompt_tokens, new_tokens = turns[-1]
    parallel = [together(wide, 10 * number) for number in range(2 if quick else 4)]
    repeat_count = 10 if quick else 100
    results |= {
        "prefill_ratio": round(median(mine / theirs for mine, theirs in prefill), 3),
        "generate_ratio": round(median(mine / theirs for mine, theirs in generate), 3),
        "reuse_ttft_ratio": round(
            median(theirs / mine for (mine, _, _), theirs in zip(turns, again, strict=True)), 2
        ),
        "parallel8_ratio": round(median(side / alone for alone, side in parallel), 2),
        "reproducible_repeats": repeat_count,
        "reproducible_identical": repeats(wide, repeat_count),
        "one_stream_tokens_s": round(median(alone for alone, _ in parallel), 1),
        "eight_streams_tokens_s": round(median(side for _, side in parallel), 1),
        "prefill_tokens_s": round(median(mine for mine, _ in prefill), 1),
        "peer_prefill_tokens_s": round(median(theirs for _, theirs in prefill), 1),
        "generate_tokens_s": round(median(mine for mine, _ in generate), 1),
        "peer_generate_tokens_s": round(median(theirs for _, theirs in generate), 1),
        "reuse_prompt_tokens": prompt_tokens,
        "reuse_new_tokens": new_tokens,
        "reuse_ttft_seconds": round(warm, 3),
        "peer_reprefill_seconds": round(median(again), 3),
        "same_text_as_peer": same_text,
        **{
            f"worker_{name}_mb": value
            for name, value in memory_mb(ours.engine.describe()["worker_pid"]).items()
        },
        "threads": default_threads(),
    }
    ours.engine.close()
    wide.engine.close()
    results |= engine_tuned.measure(quick=quick)
    show(results)
    print(json.dumps(results))
    return 0


def in_turn(number: int, ours: Callable[[], T], theirs: Callable[[], T]) -> tuple[T, T]:
    """Measure both sides, the other one first in every second round."""
    if number % 2:
        second = theirs()
        return ours(), second
    return ours(), theirs()


def show(results: dict[str, Any]) -> None:
    """Print the table."""
    print(f"{'':44}{'ours':>10}{'peer':>10}{'ratio':>8}")
    rows = (
        ("prefill, about 500 tokens, tok/s", "prefill_tokens_s", "peer_prefill_tokens_s", "prefill_ratio"),
        (
            f"generate {GENERATED} tokens, tok/s",
            "generate_tokens_s",
            "peer_generate_tokens_s",
            "generate_ratio",
        ),
        (
            f"{STREAMS} at once against one after another, tok/s",
            "eight_streams_tokens_s",
            "one_stream_tokens_s",
            "parallel8_ratio",
        ),
        (
            "next turn against re-prefill, s",
            "reuse_ttft_seconds",
            "peer_reprefill_seconds",
            "reuse_ttft_ratio",
        ),
    )
    for label, mine, theirs, ratio in rows:
        print(f"{label:44}{results[mine]:>10}{results[theirs]:>10}{results[ratio]:>8}")
    for name, value in results.items():
        if name not in {each for row in rows for each in row[1:]} and value is not None:
            print(f"{name:44}{value!s:>10}")


if __name__ == "__main__":
    raise SystemExit(main())
