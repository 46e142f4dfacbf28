"""The next turn of a long conversation, whose beginning is in the cache, against reading all of it again."""

from __future__ import annotations

from statistics import median
from typing import Any

from agentkit.messages import Message
from benchmarks._noise import noise
from benchmarks.engine.sides import Ours, Peer, model_path

HISTORY_WORDS = 1900


def measure(*, quick: bool) -> dict[str, Any]:
    """Return how much sooner the first token comes."""
    ours, peer = Ours(model_path()), Peer(model_path())
    turns, again = [], []
    for number in range(2 if quick else 4):
        turns.append(next_turn(ours, 300 + 10 * number))
        again.append(peer.first_token(peer.tokens(noise(HISTORY_WORDS, 400 + number))))
    ours.engine.close()
    warm, prompt_tokens, new_tokens = turns[-1]
    return {
        "reuse_ttft_ratio": round(
            median(theirs / mine for (mine, _, _), theirs in zip(turns, again, strict=True)), 2
        ),
        "reuse_prompt_tokens": prompt_tokens,
        "reuse_new_tokens": new_tokens,
        "reuse_ttft_seconds": round(warm, 3),
        "peer_reprefill_seconds": round(median(again), 3),
    }


def next_turn(ours: Ours, seed: int) -> tuple[float, int, int]:
    """Return seconds to the first token of a turn after a long history, its prompt and its new tokens."""
    history = [Message.user(noise(HISTORY_WORDS, seed))]
    answer, _, _ = ours.ask(history, 8)
    turn = [
        *history,
        Message.assistant(answer.text, history[0].labels),
        Message.user(noise(20, seed + 1)),
    ]
    completion, first, _ = ours.ask(turn, 1)
    usage = completion.usage
    return first, usage.prompt_tokens, usage.prompt_tokens - usage.reused_tokens
