r"""The regular part of JSON Schema's `pattern`: from its text to a tree.

Python's `re` backtracks: a pattern such as `^(a+)+$` from somebody's tool can keep it busy for ever, and no signal
or thread can be relied on to stop it. What is parsed here is matched in bounded time (`agentkit_tools.matching`).
Covered: literals, classes, groups, alternation, greedy and lazy repetition, anchors at the ends of a branch.
Not covered: look-around, back-references, `\b`, `\p{...}` and anchors in the middle; they raise `PatternError`.
Source: ECMA-262 §22.2 (its classes: `\d` and `\w` are ASCII); Thompson, "Regular expression search algorithm", 1968.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

MAX_SOURCE_CHARACTERS = 4096
MAX_STATES = 10_000
MAX_DEPTH = 60
MAX_BRANCHES = 64
LAST = 0x10FFFF

Ranges = tuple[tuple[int, int], ...]
"""Code points from and to, sorted and apart."""


class PatternError(ValueError):
    """A pattern is malformed, is not regular, or is too large."""


@dataclass(frozen=True, slots=True)
class Chars:
    """One character of a set."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Sequence:
    """One part after the other; none is the empty text."""

    parts: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """Any one of several; none is no text at all."""

    parts: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A part at least `least` and at most `most` times; `None`: any number."""

    part: Tree
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Anchor:
    """`^` or `$`; gone once a pattern is parsed."""

    mark: str


Tree = Chars | Sequence | Choice | Repeat | Anchor
EMPTY = Sequence(())
ANY = Chars(((0, LAST),))
ANYTHING = Repeat(ANY, 0, None)


def union(*sets: Iterable[tuple[int, int]]) -> Ranges:
    """Return the characters of any of `sets`."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(each for ranges in sets for each in ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(high, merged[-1][1])
        else:
            merged.append((low, high))
    return tuple(merged)


def invert(ranges: Ranges) -> Ranges:
    """Return every other character."""
    others, start = [], 0
    for low, high in ranges:
        if low > start:
            others.append((start, low - 1))
        start = high + 1
    if start <= LAST:
        others.append((start, LAST))
    return tuple(others)


def _each(text: str) -> Ranges:
    return union([(ord(character), ord(character)) for character in text])


DIGIT = ((48, 57),)
WORD = union(DIGIT, [(65, 90), (97, 122)], _each("_"))
SPACE = union(_each("\t\n\v\f\r \xa0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff"), [(0x2000, 0x200A)])
LINE = invert(_each("\n\r\u2028\u2029"))
_CLASSES = {
    "d": DIGIT,
    "D": invert(DIGIT),
    "w": WORD,
    "W": invert(WORD),
    "s": SPACE,
    "S": invert(SPACE),
}
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}
_HEX = {"x": 2, "u": 4}


class _Parser:
    """Recursive descent over one pattern."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._place = 0
        self._depth = 0

    def parse(self) -> Tree:
        tree = self._choice()
        if self._place < len(self._source):
            raise PatternError("a bracket is closed that was never opened")
        return tree

    def _peek(self) -> str:
        return self._source[self._place : self._place + 1]

    def _take(self) -> str:
        character = self._peek()
        if not character:
            raise PatternError("it ends too early")
        self._place += 1
        return character

    def _skip(self, text: str) -> bool:
        if not self._source.startswith(text, self._place):
            return False
        self._place += len(text)
        return True

    def _choice(self) -> Tree:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise PatternError("its groups are nested too deep")
        branches = [self._sequence()]
        while self._skip("|"):
            branches.append(self._sequence())
        self._depth -= 1
        return branches[0] if len(branches) == 1 else Choice(tuple(branches))

    def _sequence(self) -> Tree:
        parts: list[Tree] = []
        while (character := self._peek()) and character not in "|)":
            parts.append(self._repeated(self._atom()))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _repeated(self, part: Tree) -> Tree:
        bounds: tuple[int, int | None]
        match self._peek():
            case "*":
                bounds = 0, None
            case "+":
                bounds = 1, None
            case "?":
                bounds = 0, 1
            case "{":
                found = self._bounds()
                if found is None:
                    return part
                bounds = found
            case _:
                return part
        self._place += 1
        self._skip("?")  # lazy or greedy: the same texts match
        if isinstance(part, Anchor):
            raise PatternError("it repeats an anchor")
        if self._peek() in tuple("*+?"):
            raise PatternError("it repeats a repetition")
        return Repeat(part, *bounds)

    def _bounds(self) -> tuple[int, int | None] | None:
        """Return the bounds of `{2}`, `{2,}` or `{2,3}`, and stop at its closing bracket; `None` for a plain `{`."""
        end = self._source.find("}", self._place)
        low, comma, high = self._source[self._place + 1 : end].partition(",")
        if end < 0 or not low.isdecimal() or not (not high or high.isdecimal()):
            return None  # an ordinary character
        least = int(low[:9])
        most = least if not comma else int(high[:9]) if high else None
        if most is not None and most < least:
            raise PatternError("a repetition has its bounds the wrong way round")
        self._place = end
        return least, most

    def _atom(self) -> Tree:
        character = self._take()
        match character:
            case "^" | "$":
                return Anchor(character)
            case ".":
                return Chars(LINE)
            case "(":
                return self._group()
            case "[":
                return Chars(self._class())
            case "\\":
                return Chars(self._escape(inside=False))
            case "*" | "+" | "?":
                raise PatternError("it repeats nothing")
        return Chars(_each(character))

    def _group(self) -> Tree:
        if self._skip("?"):
            if self._skip("<") and self._peek() not in ("=", "!"):
                while self._take() != ">":
                    pass
            elif not self._skip(":"):
                raise PatternError("it looks ahead or behind")
        tree = self._choice()
        if not self._skip(")"):
            raise PatternError("a bracket is never closed")
        return tree

    def _class(self) -> Ranges:
        inverted = self._skip("^")
        ranges: list[Ranges] = []
        while not self._skip("]"):
            low = self._member()
            if self._peek() == "-" and self._source[self._place + 1 : self._place + 2] not in ("]", ""):
                self._place += 1
                high = self._member()
                if len(low) != 1 or low[0][0] != low[0][1] or len(high) != 1 or high[0][0] != high[0][1]:
                    ranges += [low, high, _each("-")]
                elif high[0][0] < low[0][0]:
                    raise PatternError("a range of characters runs backwards")
                else:
                    ranges.append(((low[0][0], high[0][0]),))
            else:
                ranges.append(low)
        members = union(*ranges)
        return invert(members) if inverted else members

    def _member(self) -> Ranges:
        character = self._take()
        return self._escape(inside=True) if character == "\\" else _each(character)

    def _escape(self, *, inside: bool) -> Ranges:
        character = self._take()
        if character in _CLASSES:
            return _CLASSES[character]
        if character in _CONTROLS:
            return _each(_CONTROLS[character])
        if character == "b" and inside:
            return _each("\b")
        if character == "0" and not self._peek().isdecimal():
            return _each("\0")
        if character == "c":
            return _each(chr(ord(self._take()) % 32))
        if character in _HEX:
            return self._hex(_HEX[character], braces=character == "u")
        if character.isalnum():
            raise PatternError(f"it has the escape \\{character}, which is not regular or not known")
        return _each(character)

    def _hex(self, digits: int, *, braces: bool) -> Ranges:
        if braces and self._skip("{"):
            end = self._source.find("}", self._place)
            text = self._source[self._place : end] if end >= 0 else ""
            self._place = end + 1
        else:
            text = self._source[self._place : self._place + digits]
            self._place += digits
        try:
            code = int(text, 16)
        except ValueError:
            raise PatternError("it has a malformed escape") from None
        if not 0 <= code <= LAST:
            raise PatternError("it has a malformed escape")
        return ((code, code),)


@functools.lru_cache(maxsize=256)
def parse(source: str) -> Tree:
    """Return the tree of all texts in which `source` is found: those that match it from end to end.

    Raises:
        PatternError: It is malformed, is not regular, or is too large.
    """
    if len(source) > MAX_SOURCE_CHARACTERS:
        raise PatternError(f"it has {len(source)} characters, over {MAX_SOURCE_CHARACTERS}")
    branches = [_pad(branch) for branch in _branches(_Parser(source).parse())]
    tree = branches[0] if len(branches) == 1 else Choice(tuple(branches))
    if _states(tree) > MAX_STATES:
        raise PatternError("it repeats too much")
    return tree


def _branches(tree: Tree) -> list[list[Tree]]:
    """Return the sequences a pattern is made of, so that anchors stand only at the ends of each."""
    found: list[list[Tree]]
    match tree:
        case Choice(parts):
            found = [each for part in parts for each in _branches(part)] if _anchored(tree) else [[tree]]
        case Sequence(parts):
            found = [[]]
            for part in parts:
                found = [[*before, *after] for before in found for after in _branches(part)]
                if len(found) > MAX_BRANCHES:
                    raise PatternError("it has too many branches with anchors")
        case Repeat(part, _, _) if _anchored(part):
            raise PatternError("it repeats an anchor")
        case _:
            found = [[tree]]
    return found


def _anchored(tree: Tree) -> bool:
    match tree:
        case Anchor():
            return True
        case Choice(parts) | Sequence(parts):
            return any(map(_anchored, parts))
        case Repeat(part, _, _):
            return _anchored(part)
    return False


def _pad(parts: list[Tree]) -> Tree:
    """Return a branch that matches from end to end; without an anchor anything may stand before or behind it."""
    begin, end = Anchor("^"), Anchor("$")
    first = last = False
    while parts and parts[0] == begin:
        first, parts = True, parts[1:]
    while parts and parts[-1] == end:
        last, parts = True, parts[:-1]
    if any(isinstance(part, Anchor) for part in parts):
        raise PatternError("it has an anchor in its middle")
    whole = (*(() if first else (ANYTHING,)), *parts, *(() if last else (ANYTHING,)))
    return whole[0] if len(whole) == 1 else Sequence(whole)


def _states(tree: Tree) -> int:
    match tree:
        case Sequence(parts) | Choice(parts):
            return 1 + sum(map(_states, parts))
        case Repeat(part, least, most):
            return 1 + _states(part) * max(1, least if most is None else most)
    return 1
