"""Ask again where a model doubts its own call, and let the majority decide.

Covered: the first completion counts as one voice and wins a tie; the same request gives the same result.
Not covered: text; it has been shown by then.
Source: self-consistency, Wang et al., 2022.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from agentkit.limits import add_usage
from agentkit.messages import Message, ToolCall, ToolSpec
from agentkit.models.base import Completion, Model, Sampling, ToolChoice, finish

MAX_COUNT = 16


@dataclass(frozen=True, slots=True)
class Votes:
    """When a call is asked for again, and how."""

    count: int = 4
    """Further completions, 1 to 16, drawn side by side; four cost about as much time as one or two."""
    below: float = -0.7
    """Where the model gave some token of its call a lower log-probability than this: where it was all but undecided."""
    temperature: float = 0.7

    def __post_init__(self) -> None:
        """Refuse numbers that ask for nothing, or for too much."""
        if not 1 <= self.count <= MAX_COUNT or self.temperature <= 0:
            raise ValueError(f"votes need 1 to {MAX_COUNT} further completions, and a temperature over 0")


def doubt(completion: Completion) -> float:
    """Return the lowest log-probability among the tokens that were chosen; 0 where none is known."""
    return min((signal.log_probability for signal in completion.signals), default=0.0)


def settle(
    model: Model,
    messages: Sequence[Message],
    tools: Sequence[ToolSpec],
    choice: ToolChoice,
    sampling: Sampling,
    first: Completion,
    votes: Votes,
) -> Completion:
    """Return `first`, or what most say in its place, with the usage of all.

    Args:
        model: Asked again, several times at once.
        messages: As `first` was asked for; so are the next three.
        tools: See there.
        choice: See there.
        sampling: See there.
        first: Without calls, or without doubt, it stands.
        votes: When and how to ask again.

    Raises:
        EngineError: The worker failed.
    """
    if not first.calls or doubt(first) >= votes.below:
        return first

    def again(number: int) -> Completion:
        drawn = replace(sampling, temperature=votes.temperature, seed=sampling.seed + number)
        return finish(model.complete(messages, tools=tools, choice=choice, sampling=drawn))

    with ThreadPoolExecutor(votes.count) as pool:
        every = [first, *pool.map(again, range(1, votes.count + 1))]
    counted = Counter(_calls(each.calls) for each in every)
    winner = max(every, key=lambda each: counted[_calls(each.calls)])  # the first of several
    usage = first.usage
    for each in every[1:]:
        usage = add_usage(usage, each.usage)
    return replace(winner, usage=usage) if winner.calls else replace(first, usage=usage)


def _calls(calls: Sequence[ToolCall]) -> str:
    return json.dumps([[call.name, call.arguments] for call in calls], sort_keys=True)
