"""Deterministic automata over characters: patterns, texts that are not these words, and what automata share (pure).

A grammar of llama.cpp knows no pattern, no "anything but these names" and no number between two others. Each of them
is an automaton, and an automaton is a few rules. Every state here reaches an end: who follows one is never stuck.
Source: Hopcroft, Motwani, Ullman, "Introduction to Automata Theory", 2006, §2.3 and §4.2.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from agentkit_tools.matching import machine
from agentkit_tools.pattern import Ranges, invert, union

Key = TypeVar("Key", bound=Hashable)
MAX_STATES = 4096
EVERYTHING: Ranges = ((0, 0x10FFFF),)


class TooLargeError(ValueError):
    """An automaton has more states than anybody wants to follow."""


@dataclass(frozen=True, slots=True)
class Automaton:
    """State 0 is the first; the ranges that lead out of one state do not overlap."""

    moves: tuple[tuple[tuple[Ranges, int], ...], ...]
    """For each state, which characters lead where."""
    final: frozenset[int]
    """States in which a text may end."""

    def accepts(self, text: str) -> bool:
        """Return whether `text` leads from the first state to a final one."""
        state = 0
        for character in text:
            code = ord(character)
            found = [
                to for ranges, to in self.moves[state] if any(low <= code <= high for low, high in ranges)
            ]
            if not found:
                return False
            state = found[0]
        return state in self.final

    @property
    def empty(self) -> bool:
        """Whether it accepts no text at all."""
        return not self.final


def explore(
    start: Key,
    edges: Callable[[Key], Iterable[tuple[Ranges, Key]]],
    final: Callable[[Key], bool],
    limit: int = MAX_STATES,
) -> Automaton:
    """Return the automaton whose states are the keys that are reached from `start`.

    Raises:
        TooLargeError: There are more than `limit`.
    """
    numbers = {start: 0}
    keys = [start]
    moves: list[list[tuple[Ranges, int]]] = []
    while len(moves) < len(keys):
        found: dict[int, list[Ranges]] = {}
        for ranges, key in edges(keys[len(moves)]):
            if not ranges:
                continue
            if key not in numbers:
                if len(keys) >= limit:
                    raise TooLargeError(f"more than {limit} states")
                numbers[key] = len(keys)
                keys.append(key)
            found.setdefault(numbers[key], []).append(ranges)
        moves.append([(union(*parts), number) for number, parts in found.items()])
    return _trimmed(moves, {number for key, number in numbers.items() if final(key)})


def _trimmed(moves: Sequence[Sequence[tuple[Ranges, int]]], final: set[int]) -> Automaton:
    """Leave out every state from which no text can be ended."""
    before: dict[int, list[int]] = {}
    for state, out in enumerate(moves):
        for _, to in out:
            before.setdefault(to, []).append(state)
    alive, todo = set(final), list(final)
    while todo:
        for state in before.get(todo.pop(), ()):
            if state not in alive:
                alive.add(state)
                todo.append(state)
    order = [0, *sorted(alive - {0})]
    numbers = {state: index for index, state in enumerate(order)}
    kept = tuple(
        tuple((ranges, numbers[to]) for ranges, to in moves[state] if to in alive) for state in order
    )
    return Automaton(kept, frozenset(numbers[state] for state in final))


def of_pattern(source: str, limit: int = MAX_STATES) -> Automaton:
    """Return the automaton of all texts in which the pattern `source` is found.

    Raises:
        PatternError: The pattern cannot be used.
        TooLargeError: It has more states than `limit`.
    """
    states = machine(source)
    return explore(states.start, states.edges, states.accepts, limit)


def of_lengths(least: int, most: int | None, limit: int = MAX_STATES) -> Automaton:
    """Return the automaton of all texts of `least` to `most` characters."""
    last = least if most is None else most

    def edges(count: int) -> Iterable[tuple[Ranges, int]]:
        if count < last or most is None:
            yield EVERYTHING, min(count + 1, last)

    return explore(0, edges, lambda count: count >= least, limit)


def of_others(words: Iterable[str]) -> Automaton:
    """Return the automaton of all texts but `words`."""
    known = set(words)
    following: dict[str, set[str]] = {}
    for word in known:
        for end in range(len(word)):
            following.setdefault(word[:end], set()).add(word[end])

    def edges(read: str | None) -> Iterable[tuple[Ranges, str | None]]:
        characters = following.get(read, ()) if read is not None else ()
        for character in characters:
            yield ((ord(character), ord(character)),), f"{read}{character}"
        yield invert(union([(ord(each), ord(each)) for each in characters])), None

    start: str | None = ""
    return explore(start, edges, lambda read: read not in known, limit=max(MAX_STATES, 4 * len(following)))


def intersection(one: Automaton, other: Automaton, limit: int = MAX_STATES) -> Automaton:
    """Return the automaton of the texts both accept.

    Raises:
        TooLargeError: It has more states than `limit`.
    """

    def edges(pair: tuple[int, int]) -> Iterable[tuple[Ranges, tuple[int, int]]]:
        for mine, to in one.moves[pair[0]]:
            for theirs, too in other.moves[pair[1]]:
                yield shared(mine, theirs), (to, too)

    return explore((0, 0), edges, lambda pair: pair[0] in one.final and pair[1] in other.final, limit)


def complement(one: Automaton) -> Automaton:
    """Return the automaton of all other texts."""

    def edges(state: int) -> Iterable[tuple[Ranges, int]]:
        if state < 0:
            yield EVERYTHING, -1
            return
        yield from one.moves[state]
        yield invert(union(*(ranges for ranges, _ in one.moves[state]))), -1

    return explore(0, edges, lambda state: state not in one.final)


def shared(one: Ranges, other: Ranges) -> Ranges:
    """Return the characters that are in both."""
    found = []
    for low, high in one:
        for bottom, top in other:
            if max(low, bottom) <= min(high, top):
                found.append((max(low, bottom), min(high, top)))
    return tuple(found)
