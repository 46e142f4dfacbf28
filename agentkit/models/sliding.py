"""The sliding window: what leaves a full cache, and what a prompt without its oldest turns goes on with (pure).

Behind a prefix that always stays, like the system prompt and the tools, the oldest tokens leave and the rest moves up.
What moved was computed while the dropped tokens were still to be seen, and remembers a little of them: close to a fresh
computation, not equal. So such tokens serve only the conversation they are of, and after `MAX_SHIFTS` moves they are
computed again.
Source: Xiao et al., Efficient Streaming Language Models with Attention Sinks (2023); a context shift of llama.cpp.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

MAX_SHIFTS = 8
SINK_TOKENS = 4
"""A model leans on the first tokens, whatever they are; without them its predictions fall apart."""
MOVE_TOKENS = 64
"""Fewer tokens are computed again rather than moved."""


@dataclass(frozen=True, slots=True)
class Window:
    """How a generation goes on when its window is full."""

    tokens: int
    """Size of the window."""
    keep: int
    """So many tokens at the beginning always stay; less than `tokens`."""


@dataclass(frozen=True, slots=True)
class Move:
    """Tokens that leave, and how far the prompt then goes on with what is left."""

    start: int
    count: int
    """So many leave from `start` on, and what follows moves up."""
    reach: int
    """The cache then holds so many tokens of the prompt."""


def leaving(held: int, keep: int) -> int:
    """Return how many tokens behind the first `keep` leave a full window that holds `held`: half of them."""
    return max(0, held - keep) // 2


def kept(common: int, tokens: int) -> int:
    """Return how many tokens always stay in a window of `tokens`, if `common` of them are the same in every prompt."""
    return min(max(common, SINK_TOKENS), tokens // 2)


def find_move(held: Sequence[int], prompt: Sequence[int], shared: int) -> Move | None:
    """Find where a prompt goes on in a cache from which its oldest turns have to leave.

    Args:
        held: What the cache holds.
        prompt: All of it.
        shared: So many tokens at their beginning are the same.

    Returns:
        The move that reaches farthest, or `None` where none spares `MOVE_TOKENS`.
    """
    needle = array("i", prompt[shared : min(shared + MOVE_TOKENS, len(prompt) - 1)])
    if len(needle) < MOVE_TOKENS:
        return None
    data, sought, item = array("i", held).tobytes(), needle.tobytes(), needle.itemsize
    best: Move | None = None
    at = data.find(sought, (shared + 1) * item)
    while at >= 0:
        if at % item == 0:
            begin = at // item
            limit = min(len(held) - begin, len(prompt) - 1 - shared)
            run = next((n for n in range(limit) if held[begin + n] != prompt[shared + n]), limit)
            if best is None or shared + run > best.reach:
                best = Move(shared, begin - shared, shared + run)
        at = data.find(sought, at + 1)
    return best
