"""From the markup of calls, as its format describes it, to the rules of a llama.cpp grammar.

Free text is not bound by llama.cpp's lazy mode, which would let control tokens pass: it is part of the grammar, as an
automaton that waits for the trigger.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence

from agentkit.errors import ConfigError
from agentkit.models.automaton import (
    EVERYTHING,
    Automaton,
    TooLargeError,
    complement,
    explore,
    intersection,
    of_lengths,
    of_pattern,
)
from agentkit.models.formats.marks import cut
from agentkit.models.formats.message import MessageShape
from agentkit.models.formats.parts import Choice, Json, Mark, Part, Raw, Repeat, Row, Text
from agentkit.models.gbnf import Alternative, Gbnf, Ref, Rules, Symbol, Token, writable
from agentkit.models.gbnf_schema import SchemaRules
from agentkit_tools.pattern import Ranges, invert, union


def message_rules(shape: MessageShape, special: Mapping[str, int]) -> Gbnf:
    """Return the grammar of a whole message.

    Args:
        shape: What it may hold.
        special: The model's control tokens, by their spelling.

    Raises:
        ConfigError: It is too large, or no call can be made at all.
    """
    writer = _Writer(special)
    rules = writer.rules
    calls = writer.write(shape.calls)
    trigger = writer.write(Mark(shape.tool_format.trigger))
    bound = calls if shape.tool_format.leading else (*trigger, *calls)
    envelope = shape.envelope
    if not shape.free:
        start = rules.add(bound)
    elif envelope is None:
        start = _said(writer, shape, calls)
    else:
        opening = writer.write(Mark(envelope.thought_opening))
        thought = writer.write(Raw(envelope.thought_closing, most=None))
        start = rules.reserve()
        if envelope.answer_opening:
            answer = writer.write(Mark(envelope.answer_opening))
            rules.define(start, (*opening, *thought, start), (*answer, _anything(rules)), bound)
        else:
            said = _said(writer, shape, calls)
            rules.define(start, (*thought, said))
            if not shape.thinking:
                rules.define(start, (said,), (*opening, *thought, said))
    grammar = rules.finish(start)
    if grammar is None:
        raise ConfigError("no value can satisfy the schema")
    return grammar


def _anything(rules: Rules) -> Ref:
    text = rules.reserve()
    return rules.define(text, (writable(EVERYTHING), text), ())


def _said(writer: _Writer, shape: MessageShape, calls: Alternative) -> Ref:
    """Return the rule of a text that may end in calls; it does not begin with a thought."""
    rules, tool_format = writer.rules, shape.tool_format
    trigger = writer.write(Mark(tool_format.trigger))
    thought = "" if shape.envelope is None or shape.thinking else shape.envelope.thought_opening
    barred = [
        mark for mark in (thought, tool_format.trigger if tool_format.leading else "") if writer.is_text(mark)
    ]
    texts = [complement(of_pattern(rf"^\s*{_spelt(mark)}")) for mark in barred]
    start = rules.reserve()
    if tool_format.leading or not writer.is_text(tool_format.trigger):
        text = functools.reduce(intersection, texts) if texts else None
        before = _anything(rules) if text is None else rules.automaton(text)
        rules.define(start, (before,), calls if tool_format.leading else (before, *trigger, *calls))
        return start
    waiting = up_to(tool_format.trigger)
    anywhere = Automaton(waiting.moves, frozenset(range(len(waiting.moves))) - waiting.final)
    for each in texts:
        waiting, anywhere = intersection(waiting, each), intersection(anywhere, each)
    return rules.define(start, (rules.automaton(waiting, calls),), (rules.automaton(anywhere),))


def _spelt(word: str) -> str:
    """Return the pattern of exactly this word."""
    return "".join(f"\\u{{{ord(each):x}}}" for each in word)


def up_to(word: str) -> Automaton:
    """Return the automaton of all texts that end with `word` and do not hold it before."""

    def edges(known: int) -> Iterable[tuple[Ranges, int]]:
        if known == len(word):
            return
        read = word[:known]
        for character in set(word[: known + 1]):
            grown = read + character
            length = next(size for size in range(len(grown), -1, -1) if grown.endswith(word[:size]))
            yield ((ord(character), ord(character)),), length
        yield invert(union([(ord(each), ord(each)) for each in set(word[: known + 1])])), 0

    return explore(0, edges, lambda known: known == len(word))


class _Writer:
    """Writes parts as rules."""

    def __init__(self, special: Mapping[str, int]) -> None:
        self.rules = Rules()
        self._schemas = SchemaRules(self.rules)
        self._special = special

    def is_text(self, mark: str) -> bool:
        """Return whether ordinary tokens write all of a mark."""
        return bool(mark) and all(token is None for _, token in cut(mark, self._special))

    def write(self, part: Part) -> Alternative:
        """Return the symbols of `part`."""
        match part:
            case Mark(text):
                return tuple(
                    piece if token is None else Token(token) for piece, token in cut(text, self._special)
                )
            case Text(text):
                return (text,) if text else ()
            case Json(schema):
                return (self._schemas.whole(schema),)
            case Row(parts):
                return _joined(symbol for each in parts for symbol in self.write(each))
            case Choice(parts):
                return self._choice([self.write(each) for each in parts])
            case Repeat(inner, least, most, between):
                return self._repeat(
                    self.write(inner), least, most, () if between is None else self.write(between)
                )
            case Raw(stop, least, most):
                return self._raw(stop, least, most)

    def _choice(self, options: Sequence[Alternative]) -> Alternative:
        """Return a rule of several; what they begin with alike is written once, or 300 tools were 300 places to be."""
        worded = [
            (option[0], option[1:]) if option and isinstance(option[0], str) else ("", option)
            for option in options
        ]
        return (self.rules.words(worded),)

    def _repeat(self, one: Alternative, least: int, most: int | None, between: Alternative) -> Alternative:
        last = max(least, 1) if most is None else most
        states = [self.rules.reserve() for _ in range(last + 1)]
        item = self.rules.add(one)
        for index, rule in enumerate(states):
            if index < last or most is None:
                following = states[min(index + 1, last)]
                self.rules.define(rule, (*(between if index else ()), item, following))
            if index >= least:
                self.rules.define(rule, ())
        return (states[0],)

    def _raw(self, stop: str, least: int, most: int | None) -> Alternative:
        mark = self.write(Mark(stop))
        whole = up_to(stop)
        if any(isinstance(symbol, Token) for symbol in mark):
            text = Automaton(whole.moves, frozenset(range(len(whole.moves))) - whole.final)
            return (self.rules.automaton(_bounded(text, least, most)), *mark)
        longest = None if most is None else most + len(stop)
        return (self.rules.automaton(_bounded(whole, least + len(stop), longest)),)


def _bounded(automaton: Automaton, least: int, most: int | None) -> Automaton:
    """Return `automaton` with these lengths, or as it is where that took too many rules: the value is checked after."""
    try:
        return intersection(automaton, of_lengths(least, most))
    except TooLargeError:
        return automaton


def _joined(symbols: Iterable[Symbol]) -> Alternative:
    """Return symbols with texts beside each other made one."""
    made: list[Symbol] = []
    for symbol in symbols:
        if isinstance(symbol, str) and made and isinstance(made[-1], str):
            made[-1] += symbol
        else:
            made.append(symbol)
    return tuple(made)
