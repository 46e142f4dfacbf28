"""Which turns of a conversation the model still sees (pure).

A turn begins with what the user said and ends before the next; it is kept whole or dropped whole, so a tool
result never loses its call. The newest turns stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from agentkit.messages import Message, Role

Turn = tuple[Message, ...]
"""A user message and all that followed it, oldest first."""


def split_turns(messages: Iterable[Message]) -> list[Turn]:
    """Cut a conversation into turns, oldest first; system messages belong to none and are left out."""
    turns: list[list[Message]] = []
    for message in messages:
        if message.role is Role.SYSTEM:
            continue
        if message.role is Role.USER or not turns:
            turns.append([])
        turns[-1].append(message)
    return [tuple(turn) for turn in turns]


def fit(turns: Sequence[Turn], budget_tokens: int, cost: Callable[[Turn], int]) -> list[Turn]:
    """Keep the newest turns that fit in `budget_tokens`.

    Args:
        turns: Oldest first, without the turn that is going on: that one is not history.
        budget_tokens: For all of them together; nothing is kept if it is 0 or less.
        cost: Tokens of one turn.

    Returns:
        The longest suffix of `turns` that fits, oldest first.
    """
    left = budget_tokens
    kept = 0
    for turn in reversed(turns):
        left -= cost(turn)
        if left < 0:
            break
        kept += 1
    return list(turns[len(turns) - kept :])
