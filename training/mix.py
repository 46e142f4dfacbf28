"""The mix of tasks: which kinds there are, how often each comes, and the order they come in."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from training.grounded import answer_from_text
from training.jottings import answer_from_jotting
from training.profiles import answer_from_profile
from training.tasks import (
    Example,
    no_tool_fits,
    one_call,
    same_tool,
    say_result,
    several_tools,
    something_missing,
)
from training.tools import Tool, catalogue

Make = Callable[[random.Random, Sequence[Tool]], Example]

TASKS: Mapping[str, tuple[Make, float]] = {
    "one_call": (one_call, 0.36),
    "same_tool": (same_tool, 0.13),
    "several_tools": (several_tools, 0.13),
    "no_tool_fits": (no_tool_fits, 0.13),
    "something_missing": (something_missing, 0.03),
    "say_result": (say_result, 0.05),
    "answer_from_text": (answer_from_text, 0.07),
    "answer_from_profile": (answer_from_profile, 0.12),
    "answer_from_jotting": (answer_from_jotting, 0.12),
}
"""Every kind of task, and its share beside those of the others."""


PINNED_SHARE = 0.3
"""How often tools stand in the system message, as pinned ones do, and not beside the question."""


def tasks(seed: int, tools: Sequence[Tool], shares: Mapping[str, float] | None = None) -> Iterator[Example]:
    """Yield examples without end; the same arguments give the same ones."""
    wanted = shares or {name: share for name, (_, share) in TASKS.items()}
    rng = random.Random(seed)
    names = list(wanted)
    while True:
        name = rng.choices(names, [wanted[each] for each in names])[0]
        example = replace(TASKS[name][0](rng, tools), task=name)
        if rng.random() < PINNED_SHARE:
            example = replace(example, tools=tuple(replace(tool, beside=False) for tool in example.tools))
        yield example


def is_held_out(tool: Tool) -> bool:
    """Return whether a tool is never trained on: every tenth, by its name."""
    return hashlib.sha256(tool.name.encode()).digest()[0] % 10 == 0


def trained_tools() -> tuple[Tool, ...]:
    """Return the tools to train on."""
    return tuple(tool for tool in catalogue() if not is_held_out(tool))


def held_out_tools() -> tuple[Tool, ...]:
    """Return the tools to judge by."""
    return tuple(tool for tool in catalogue() if is_held_out(tool))
