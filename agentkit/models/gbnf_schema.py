"""From a schema in the small form to the rules of a llama.cpp grammar.

Objects have their keys in the order of the schema (but see `MAX_CHAIN`), strings their escapes the one way
`json.dumps` writes them, and the separators are `", "` and `": "`. What the form says is kept exactly, but for patterns
and numbers that would take too many rules: these are loosened, never tightened, for values are checked after.
Source: RFC 8259; the form is that of `agentkit.models.normalise`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from typing import Any

from agentkit.models.automaton import (
    EVERYTHING,
    MAX_STATES,
    Automaton,
    TooLargeError,
    complement,
    intersection,
    of_lengths,
    of_others,
    of_pattern,
    shared,
)
from agentkit.models.formats.syntax import dump_json
from agentkit.models.gbnf import Alternative, Ref, Rules, writable
from agentkit.models.numerals import of_numbers
from agentkit.models.schema_shapes import MAX_STRING
from agentkit_tools.dialect import TYPES
from agentkit_tools.pattern import PatternError, Ranges, invert

MAX_NAME = 256
"""Characters in the name of a property that the schema does not list."""
MAX_CHAIN = 24
"""More properties in a row that may be left out come in any order: in a fixed one each would be a place to be at."""
MAX_PATTERN_STATES = 2 * MAX_STATES
"""States of patterns that turn out too large, all together: behind that the next one is checked after at once."""
BLOCK = 64
"""Characters counted at once: a bound of 4096 takes 200 rules then, and not 4096."""
_ESCAPED: Ranges = ((0, 0x1F), (0x22, 0x22), (0x5C, 0x5C))
PLAIN = writable(invert(_ESCAPED))
"""What stands for itself in a string."""
_SHORT = {'"': '"', "\\": "\\", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}


class SchemaRules:
    """Adds the rules of schemas to a grammar."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._scope = ""
        self._forms: Mapping[str, Any] = {}
        self._states = MAX_PATTERN_STATES
        self._definitions: dict[tuple[str, str], Ref] = {}
        self._known: dict[tuple[str, str], Ref] = {}
        self._escaped: dict[Ranges, Ref] = {}
        self._blocks: dict[tuple[str, int, int], Ref] = {}

    def whole(self, form: Mapping[str, Any]) -> Ref:
        """Return the rule of the values of a whole form, its definitions included."""
        self._forms = form.get("$defs", {})
        self._scope = json.dumps(self._forms) if self._forms else ""
        return self._value({key: form[key] for key in form if key != "$defs"})

    def _value(self, form: Any) -> Ref:  # noqa: ANN401 - any JSON
        """Return the rule of the values of `form`; what two schemas say alike is one rule."""
        key = self._scope, json.dumps(form)
        rule = self._known.get(key)
        if rule is None:
            rule = self._known[key] = self._rules.reserve()
            self._rules.define(rule, *self._alternatives(form))
        return rule

    def _alternatives(self, form: Any) -> list[Alternative]:  # noqa: ANN401 - any JSON
        match form:
            case False:
                return []
            case {"$ref": str(target)}:
                return [(self._definition(target.removeprefix("#/$defs/")),)]
            case {"anyOf": list(forms)}:
                return [(self._value(each),) for each in forms]
            case {"enum": list(values)}:
                whole = [int(value) for value in values if isinstance(value, float) and value.is_integer()]
                written = [dump_json(value) for value in (*values, *whole)]  # -2.0 is -2
                return [(self._rules.words((word, ()) for word in {*written} if _encodes(word)),)]
        rest = {} if form is True else form
        kinds = rest.get("type", TYPES)
        kinds = [kinds] if isinstance(kinds, str) else kinds
        return [(self._typed(kind, rest),) for kind in kinds if kind != "integer" or "number" not in kinds]

    def _definition(self, name: str) -> Ref:
        rule = self._definitions.get((self._scope, name))
        if rule is None:
            rule = self._definitions[self._scope, name] = self._rules.reserve()
            self._rules.define(rule, (self._value(self._forms[name]),))
        return rule

    def _typed(self, kind: str, form: Mapping[str, Any]) -> Ref:
        match kind:
            case "string":
                return self._string(form)
            case "integer" | "number":
                return self._rules.automaton(of_numbers(form, whole=kind == "integer"))
            case "object":
                return self._object(form)
            case "array":
                return self._array(form)
            case "boolean":
                return self._rules.add(("true",), ("false",))
        return self._rules.add(("null",))

    # --- strings ------------------------------------------------------------------------------------

    def _string(self, form: Mapping[str, Any]) -> Ref:
        least, most = form.get("minLength", 0), form.get("maxLength")
        pattern = form.get("pattern")
        if pattern is not None:
            with suppress(TooLargeError, PatternError):
                found = self._pattern(pattern)
                if least or most is not None:
                    with suppress(TooLargeError):  # the length is checked after, then
                        found = intersection(found, of_lengths(least, most))
                return self._rules.add(('"', self._quoted(found, MAX_STRING)))
        bound = MAX_STRING if most is None else most
        return self._rules.add(('"', *self._exactly(least), self._at_most(bound - least)))

    def _pattern(self, source: str) -> Automaton:
        """Return the automaton of a pattern.

        Raises:
            PatternError: It cannot be used.
            TooLargeError: It has too many states, or those before it had.
        """
        limit = min(MAX_STATES, self._states)
        try:
            return of_pattern(source, limit)
        except TooLargeError:
            self._states -= limit
            raise

    def _quoted(self, automaton: Automaton, bound: int) -> Ref:
        """Return the rule of the texts an automaton accepts, as they stand in a string, and the closing quote."""
        if automaton.empty:
            return self._rules.reserve()  # no alternative: nothing leads here
        states = [self._rules.reserve() for _ in automaton.moves]
        for state, (rule, moves) in enumerate(zip(states, automaton.moves, strict=True)):
            if state in automaton.final and moves == ((EVERYTHING, state),):
                self._rules.define(rule, (self._at_most(bound),))
                continue
            for ranges, to in moves:
                self._rules.define(rule, *self._characters(ranges, states[to]))
            if state in automaton.final:
                self._rules.define(rule, ('"',))
        return states[0]

    def _characters(self, ranges: Ranges, then: Ref) -> list[Alternative]:
        """Return how one character of `ranges` is written in a string, and `then`."""
        plain, escaped = shared(PLAIN, ranges), shared(_ESCAPED, ranges)
        found: list[Alternative] = []
        if plain:
            found.append((plain, then))
        if escaped:
            found.append(("\\", self._escapes(escaped), then))
        return found

    def _escapes(self, ranges: Ranges) -> Ref:
        """Return the rule of what stands behind the backslash of these characters."""
        rule = self._escaped.get(ranges)
        if rule is None:
            codes = [code for low, high in ranges for code in range(low, high + 1)]
            words = [_SHORT.get(chr(code), f"u{code:04x}") for code in codes]
            rule = self._escaped[ranges] = self._rules.words((word, ()) for word in words)
        return rule

    def _at_most(self, count: int) -> Ref:
        """Return the rule of up to `count` characters and the closing quote."""
        blocks, rest = divmod(count, BLOCK)
        key = "at most", blocks, rest
        rule = self._blocks.get(key)
        if rule is None:
            rule = self._blocks[key] = self._rules.reserve()
            if blocks:
                self._rules.define(
                    rule,
                    (*self._exactly(BLOCK), self._at_most(count - BLOCK)),
                    (self._at_most(BLOCK - 1),),
                )
            else:
                if rest:
                    self._rules.define(rule, *self._characters(EVERYTHING, self._at_most(rest - 1)))
                self._rules.define(rule, ('"',))
        return rule

    def _exactly(self, count: int) -> Alternative:
        """Return what is `count` characters long."""
        blocks, rest = divmod(count, BLOCK)
        return (*(self._chain(BLOCK),) * blocks, *((self._chain(rest),) if rest else ()))

    def _chain(self, count: int) -> Ref:
        key = "exactly", count, 0
        rule = self._blocks.get(key)
        if rule is None:
            rule = self._blocks[key] = self._rules.reserve()
            if count:
                self._rules.define(rule, *self._characters(EVERYTHING, self._chain(count - 1)))
            else:
                self._rules.define(rule, ())
        return rule

    # --- arrays and objects -------------------------------------------------------------------------

    def _array(self, form: Mapping[str, Any]) -> Ref:
        prefix = [self._value(each) for each in form.get("prefixItems", ())]
        items = self._value(form.get("items", {}))
        return self._listed("[", prefix, (items,), "]", form.get("minItems", 0), form.get("maxItems"))

    def _listed(
        self, opening: str, first: list[Ref], item: Alternative, closing: str, least: int, most: int | None
    ) -> Ref:
        """Return a rule for items between brackets: those of `first`, then `item` again and again."""
        last = max(len(first), least, 1) if most is None else most
        states = [self._rules.reserve() for _ in range(last + 1)]
        for index, rule in enumerate(states):
            each = (first[index],) if index < len(first) else item
            if index < last or most is None:
                self._rules.define(rule, (*((", ",) if index else ()), *each, states[min(index + 1, last)]))
            if index >= least:
                self._rules.define(rule, (closing,))
        return self._rules.add((opening, states[0]))

    def _object(self, form: Mapping[str, Any]) -> Ref:
        properties = form.get("properties", {})
        others = self._others(form, properties)
        if not properties and others:
            other = self._rules.add(*others)
            least, most = form.get("minProperties", 0), form.get("maxProperties")
            return self._listed("{", [], (other,), "}", least, most)
        required = set(form.get("required", ()))
        first, rest = self._rules.reserve(), self._rules.reserve()
        self._rules.define(first, ("}",), *((*other, rest) for other in others))
        self._rules.define(rest, ("}",), *((", ", *other, rest) for other in others))
        pairs = [
            (f"{written}: ", self._value(each), name in required)
            for name, each in properties.items()
            if _encodes(written := dump_json(name))
        ]
        for needed, group in groupby(reversed(pairs), key=itemgetter(2)):
            several = [(written, value) for written, value, _ in group]
            runs = [[each] for each in several] if needed or len(several) <= MAX_CHAIN else [several]
            for run in runs:
                after_first, after_rest = first, rest
                first, rest = self._rules.reserve(), self._rules.reserve()
                after_pair = after_rest if len(run) == 1 else rest
                pair = self._rules.words((written, (value, after_pair)) for written, value in run)
                self._rules.define(first, (pair,))
                self._rules.define(rest, (", ", pair))
                if not needed:
                    self._rules.define(first, (after_first,))
                    self._rules.define(rest, (after_rest,))
        return self._rules.add(("{", first))

    def _others(self, form: Mapping[str, Any], properties: Mapping[str, Any]) -> list[Alternative]:
        """Return the pairs an object may have beside its listed properties."""
        additional = form.get("additionalProperties", {})
        if additional is False and "patternProperties" not in form:
            return []
        names = of_others(properties)
        pairs: list[tuple[Automaton, Any]] = [(names, additional)]
        for pattern, each in form.get("patternProperties", {}).items():
            try:
                found = self._pattern(pattern)
                pairs = [
                    (intersection(found, names), each),
                    (intersection(complement(found), names), additional),
                ]
            except (TooLargeError, PatternError):
                pairs = [(names, each), (names, additional)]
        return [
            ('"', self._quoted(automaton, MAX_NAME), ": ", self._value(each))
            for automaton, each in pairs
            if each is not False
        ]


def _encodes(text: str) -> bool:
    """Return whether a text can be written at all; half a character cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
