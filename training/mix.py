"""The mix of tasks: which kinds there are, how often each comes, and the order they come in."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from training.grounded import answer_from_text
from training.jottings import answer_from_jotting
from training.planted import answer_despite_order
from training.profiles import answer_from_profile
from training.reading import look_up, nowhere
from training.results import chained, chains, say_result
from training.tasks import (
    OWN,
    Example,
    Task,
    needs_nothing,
    no_tool_fits,
    one_call,
    pick,
    same_tool,
    scene,
    several_tools,
    small_talk,
    something_missing,
)
from training.tools import Tool, catalogue

TASKS: Mapping[str, tuple[Task, float]] = {
    "one_call": (one_call, 0.36),
    "needs_nothing": (needs_nothing, 0.05),
    "same_tool": (same_tool, 0.18),
    "several_tools": (several_tools, 0.20),
    "no_tool_fits": (no_tool_fits, 0.13),
    "something_missing": (something_missing, 0.03),
    "say_result": (say_result, 0.09),
    "chained": (chained, 0.05),
    "look_up": (look_up, 0.08),
    "nowhere": (nowhere, 0.04),
    "small_talk": (small_talk, 0.04),
}
"""Every kind of task with tools, and its share beside those of the others."""
PASSAGES: Mapping[str, tuple[Callable[[random.Random], Example], float]] = {
    "answer_from_text": (answer_from_text, 0.06),
    "answer_from_profile": (answer_from_profile, 0.065),
    "answer_from_jotting": (answer_from_jotting, 0.07),
    "answer_despite_order": (answer_despite_order, 0.03),
}
"""Every kind of question on a passage, likewise."""
BRANCHES = (3, 3, 3, 4)
"""How many examples begin with one scene."""
PINNED_SHARE = 0.3
"""How often tools stand in the system message, as pinned ones do, and not beside the question."""
_LEAST = {"several_tools": 2}
_TRIES = 20


def groups(
    seed: int,
    tools: Sequence[Tool],
    shares: Mapping[str, float] | None = None,
    *,
    branches: Sequence[int] = BRANCHES,
) -> Iterator[list[Example]]:
    """Yield, without end, examples that begin alike; the same arguments give the same ones.

    Args:
        seed: Of the random generator.
        tools: There are no others.
        shares: How often each kind comes; none: as often as in the training.
        branches: How many examples a group with tools has; one of these numbers.
    """
    wanted = shares or {name: share for name, (_, share) in (*TASKS.items(), *PASSAGES.items())}
    rng = random.Random(seed)
    talking = {name: share for name, share in wanted.items() if name in TASKS}
    mean = sum(branches) / len(branches)
    linked = chains(tools) if "chained" in wanted else []
    names = list(wanted)
    weights = [share if name in TASKS else share * mean for name, share in wanted.items()]
    while True:
        name = rng.choices(names, weights)[0]
        if name in PASSAGES:
            yield [replace(PASSAGES[name][0](rng), task=name)]
            continue
        more = rng.choices(list(talking), list(talking.values()), k=rng.choice(branches) - 1)
        if made := _group(rng, tools, linked, (name, *more)):
            yield made


def tasks(seed: int, tools: Sequence[Tool], shares: Mapping[str, float] | None = None) -> Iterator[Example]:
    """Yield examples without end, each by itself."""
    for group in groups(seed, tools, shares, branches=(1,)):
        yield from group


def _group(
    rng: random.Random,
    tools: Sequence[Tool],
    linked: Sequence[Sequence[tuple[Tool, Tool]]],
    names: Sequence[str],
) -> list[Example]:
    """Return examples of these kinds on one scene, each request once; fewer, where it does not allow one."""
    needs: dict[str, Callable[[], Sequence[Tool]]] = {
        "needs_nothing": lambda: [pick(rng, [tool for tool in tools if tool.needs_nothing])],
        "something_missing": lambda: [pick(rng, [tool for tool in tools if tool.short])],
        "say_result": lambda: [pick(rng, [tool for tool in tools if tool.outcomes])],
        "look_up": lambda: [pick(rng, [tool for tool in tools if tool.looks])],
        "chained": lambda: rng.choice(rng.choice(linked)) if linked else (),
    }
    first = [tool for name in dict.fromkeys(names) if name in needs for tool in needs[name]()]
    here = scene(rng, tools, first, least=max(_LEAST.get(name, 1) for name in names))
    if rng.random() < PINNED_SHARE:
        pinned = (replace(each, spec=replace(each.spec, beside=False)) for each in here.shown)
        here = replace(here, shown=tuple(pinned))
    made: dict[str, Example] = {}
    for name in names:
        example = next(filter(None, (TASKS[name][0](rng, here, tools) for _ in range(_TRIES))), None)
        if example is not None:
            made.setdefault(example.messages[1].text, replace(example, task=name))
    return list(made.values())


def is_held_out(tool: Tool) -> bool:
    """Return whether a tool is never trained on: every tenth, by its name, but for those that come with agentkit."""
    return tool.domain != OWN and hashlib.sha256(tool.name.encode()).digest()[0] % 10 == 0


def trained_tools() -> tuple[Tool, ...]:
    """Return the tools to train on."""
    return tuple(tool for tool in catalogue() if not is_held_out(tool))


def held_out_tools(*, needing_nothing: bool = False) -> tuple[Tool, ...]:
    """Return the tools to judge by, asked for in wordings that are kept back from the training.

    Args:
        needing_nothing: Those, too, that take no value: there are few.
    """
    held_out = (
        tool for tool in catalogue() if is_held_out(tool) and (needing_nothing or not tool.needs_nothing)
    )
    return tuple(replace(tool, asks=tool.kept or tool.asks) for tool in held_out)
