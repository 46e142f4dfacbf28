"""Match the patterns of JSON Schema in bounded time: a pattern is a set of states, every character is looked at once.

Source: Thompson, "Regular expression search algorithm", 1968.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from itertools import pairwise

from agentkit_tools.pattern import (
    MAX_STATES,
    Chars,
    Choice,
    PatternError,
    Ranges,
    Repeat,
    Sequence,
    Tree,
    parse,
)

MAX_STEPS = 100_000
"""Of one match; about a tenth of a second."""


class Machine:
    """A pattern as states; the sets of states met so far are kept, with where each character leads."""

    def __init__(self, tree: Tree) -> None:
        self._moves: list[tuple[Ranges, int]] = []
        """For a state that reads a character: which, and the state it leads to."""
        self._jumps: list[list[int]] = []
        """For a state that reads nothing: where it leads."""
        self._end = self._state()
        self.start = self._closure([self._build(tree, self._end)])
        """The states before the first character."""
        self._known: dict[tuple[frozenset[int], str], frozenset[int]] = {}

    def _state(self) -> int:
        self._moves.append(((), -1))
        self._jumps.append([])
        return len(self._moves) - 1

    def _build(self, tree: Tree, following: int) -> int:
        """Return the state before `tree`, which leads to `following`."""
        match tree:
            case Chars(ranges):
                state = self._state()
                self._moves[state] = ranges, following
                return state
            case Sequence(parts):
                for part in reversed(parts):
                    following = self._build(part, following)
                return following
            case Choice(parts):
                state = self._state()
                self._jumps[state] = [self._build(part, following) for part in parts]
                return state
            case Repeat(part, least, most):
                if most is None:
                    loop = self._state()
                    self._jumps[loop] = [self._build(part, loop), following]
                    following = loop
                else:
                    for _ in range(most - least):
                        optional = self._state()
                        self._jumps[optional] = [self._build(part, following), following]
                        following = optional
                for _ in range(least):
                    following = self._build(part, following)
        return following

    def _closure(self, states: list[int]) -> frozenset[int]:
        seen = set(states)
        while states:
            for each in self._jumps[states.pop()]:
                if each not in seen:
                    seen.add(each)
                    states.append(each)
        return frozenset(seen)

    def accepts(self, states: frozenset[int]) -> bool:
        """Return whether a text that leads to `states` matches."""
        return self._end in states

    def edges(self, states: frozenset[int]) -> Iterator[tuple[Ranges, frozenset[int]]]:
        """Yield which characters lead from `states` to which; every character leads to one of them at most."""
        moves = [self._moves[state] for state in states if self._moves[state][0]]
        cuts = sorted({cut for ranges, _ in moves for low, high in ranges for cut in (low, high + 1)})
        for low, after in pairwise(cuts):
            reached = [to for ranges, to in moves if any(first <= low <= last for first, last in ranges)]
            if reached:
                yield ((low, after - 1),), self._closure(list(set(reached)))

    def matches(self, text: str) -> bool:
        """Return whether the whole `text` matches.

        Raises:
            PatternError: It takes too long.
        """
        if len(self._known) > MAX_STATES:
            self._known.clear()
        current, steps = self.start, 0
        for character in text:
            key = current, character
            following = self._known.get(key)
            if following is None:
                steps += len(current)
                if steps > MAX_STEPS:
                    raise PatternError("it takes too long to match")
                code = ord(character)
                reached = [
                    self._moves[state][1]
                    for state in current
                    if any(low <= code <= high for low, high in self._moves[state][0])
                ]
                following = self._known[key] = self._closure(list(set(reached)))
            if not following:
                return False
            current = following
        return self._end in current


@functools.lru_cache(maxsize=64)
def machine(source: str) -> Machine:
    """Return the states of the pattern `source`.

    Raises:
        PatternError: The pattern is malformed, is not regular, or is too large.
    """
    return Machine(parse(source))


def found_in(source: str, text: str) -> bool:
    """Return whether the pattern `source` is found in `text`, in time bounded by their lengths.

    Raises:
        PatternError: The pattern is malformed, is not regular, or is too large.
    """
    return machine(source).matches(text)
