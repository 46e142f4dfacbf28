"""A grammar in the form llama.cpp reads, built so that its parser and its matcher can cope with it.

A rule is a choice of sequences; a sequence is made of texts, sets of characters, tokens and other rules. There are no
groups and no repetitions: llama.cpp expands them anew at each place, refuses them from a few thousand on, and recurses
into nested ones until the stack is gone. A repetition here is a rule that ends in itself, or a chain of rules.
Covered: every rule can be brought to an end, so that a matcher never runs into a dead end; sizes are limited.
Source: llama.cpp, grammars/README.md and src/llama-grammar.cpp.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter

from agentkit.errors import ConfigError
from agentkit.models.automaton import Automaton
from agentkit_tools.pattern import Ranges

MAX_RULES = 60_000
MAX_CHARACTERS = 4_000_000


@dataclass(frozen=True, slots=True)
class Token:
    """One token of the vocabulary, whatever text it stands for."""

    number: int


@dataclass(frozen=True, slots=True)
class Ref:
    """Another rule."""

    number: int


Symbol = str | Ranges | Token | Ref
Alternative = tuple[Symbol, ...]
"""None is the empty text."""


@dataclass(frozen=True, slots=True)
class Gbnf:
    """A whole grammar."""

    rules: tuple[tuple[Alternative, ...], ...]
    """A `Ref` counts from 0; a rule nobody can end has no alternatives, and nobody refers to it."""
    start: int

    def text(self) -> str:
        """Return it as llama.cpp reads it.

        Raises:
            ConfigError: It is too large.
        """
        lines = [f"root ::= r{self.start}"]
        for number, alternatives in enumerate(self.rules):
            if alternatives:
                lines.append(f"r{number} ::= " + " | ".join(map(_sequence, alternatives)))
        text = "\n".join(lines) + "\n"
        if len(text) > MAX_CHARACTERS:
            raise ConfigError(f"the grammar has more than {MAX_CHARACTERS} characters")
        return text


class Rules:
    """The rules of a grammar while it is built."""

    def __init__(self) -> None:
        self._rules: list[list[Alternative]] = []
        self._same: dict[tuple[Alternative, ...], Ref] = {}

    def reserve(self) -> Ref:
        """Return a rule whose alternatives are added later.

        Raises:
            ConfigError: There are too many.
        """
        if len(self._rules) >= MAX_RULES:
            raise ConfigError(f"the grammar has more than {MAX_RULES} rules", hint="use a simpler schema")
        self._rules.append([])
        return Ref(len(self._rules) - 1)

    def define(self, rule: Ref, *alternatives: Alternative) -> Ref:
        """Add alternatives to a reserved rule; return it."""
        self._rules[rule.number] += alternatives
        return rule

    def add(self, *alternatives: Alternative) -> Ref:
        """Return a rule of these alternatives; the same ones give the same rule."""
        known = self._same.get(alternatives)
        if known is None:
            known = self._same[alternatives] = self.define(self.reserve(), *alternatives)
        return known

    def words(self, words: Iterable[tuple[str, Alternative]]) -> Ref:
        """Return a rule that is any of `words` and what follows it; what words begin with alike is written once."""
        first = self.reserve()
        todo = [(first, sorted(words, key=itemgetter(0)))]
        while todo:
            rule, several = todo.pop()
            start = 0
            while start < len(several):
                word, after = several[start]
                end = start + 1
                while word and end < len(several) and several[end][0][0] == word[0]:
                    end += 1
                if end == start + 1:
                    self.define(rule, (*((word,) if word else ()), *after))
                else:
                    alike = _common(word, several[end - 1][0])
                    following = self.reserve()
                    self.define(rule, (word[:alike], following))
                    todo.append((following, [(each[alike:], then) for each, then in several[start:end]]))
                start = end
        return first

    def automaton(self, automaton: Automaton, *then: Alternative) -> Ref:
        """Return the rule of the texts an automaton accepts, each followed by one of `then` (default: by nothing)."""
        states = [self.reserve() for _ in automaton.moves]
        for state, (rule, moves) in enumerate(zip(states, automaton.moves, strict=True)):
            self.define(rule, *((kept, states[to]) for ranges, to in moves if (kept := writable(ranges))))
            if state in automaton.final:
                self.define(rule, *(then or ((),)))
        return states[0]

    def finish(self, start: Ref) -> Gbnf | None:
        """Return the grammar without what can never be brought to an end; nothing where that is all of it."""
        users: dict[int, list[tuple[int, int]]] = {}
        missing: dict[tuple[int, int], int] = {}
        alive: set[int] = set()
        todo: list[int] = []
        for number, alternatives in enumerate(self._rules):
            for index, alternative in enumerate(alternatives):
                refs = [symbol.number for symbol in alternative if isinstance(symbol, Ref)]
                missing[number, index] = len(refs)
                for each in refs:
                    users.setdefault(each, []).append((number, index))
                if not refs and number not in alive:
                    alive.add(number)
                    todo.append(number)
        while todo:
            for place in users.get(todo.pop(), ()):
                missing[place] -= 1
                if not missing[place] and place[0] not in alive:
                    alive.add(place[0])
                    todo.append(place[0])
        if start.number not in alive:
            return None
        reached, todo = {start.number}, [start.number]
        kept: list[tuple[Alternative, ...]] = [()] * len(self._rules)
        while todo:
            number = todo.pop()
            kept[number] = tuple(
                alternative
                for index, alternative in enumerate(self._rules[number])
                if not missing[number, index]
            )
            for alternative in kept[number]:
                for symbol in alternative:
                    if isinstance(symbol, Ref) and symbol.number not in reached:
                        reached.add(symbol.number)
                        todo.append(symbol.number)
        return Gbnf(tuple(kept), start.number)


def _common(one: str, other: str) -> int:
    length = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        length += 1
    return length


def _sequence(alternative: Alternative) -> str:
    return " ".join(map(_symbol, alternative)) or '""'


def _symbol(symbol: Symbol) -> str:
    match symbol:
        case str():
            return '"' + "".join(map(_character, map(ord, symbol))) + '"'
        case Token(number):
            return f"<[{number}]>"
        case Ref(number):
            return f"r{number}"
    return "[" + "".join(map(_range, symbol)) + "]"


def _range(ends: tuple[int, int]) -> str:
    low, high = map(_character, ends)
    return low if low == high else f"{low}-{high}"


def _character(code: int) -> str:
    if 0x20 <= code < 0x7F and chr(code) not in '"\\[]^-':
        return chr(code)
    return f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"


def writable(ranges: Ranges) -> Ranges:
    """Return those characters that UTF-8 can write; llama.cpp takes 0 for the end of a text."""
    kept: list[tuple[int, int]] = []
    for low, high in ranges:
        kept += [
            (max(low, bottom), min(high, top))
            for bottom, top in ((1, 0xD7FF), (0xE000, 0x10FFFF))
            if max(low, bottom) <= min(high, top)
        ]
    return tuple(kept)
