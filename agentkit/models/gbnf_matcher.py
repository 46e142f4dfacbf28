"""Follow a grammar character by character, beside llama.cpp: what has to come next, and whether the text may end.

llama.cpp answers which tokens may come; it does not say that only one text can, nor which tokens are meant as tokens
and not as their spelling. The answers of both are compared in the tests.
"""

from __future__ import annotations

from collections.abc import Iterable

from agentkit.models.gbnf import Alternative, Gbnf, Ref, Token


class _Node:
    """A place in a rule, and where to go on after that rule; the same place is the same object."""

    __slots__ = ("alternative", "closure", "index", "offset", "parent")

    def __init__(self, alternative: Alternative, index: int, offset: int, parent: _Node | None) -> None:
        self.alternative = alternative
        self.index = index
        self.offset = offset
        self.parent = parent
        self.closure: frozenset[_Node | None] | None = None


State = frozenset[_Node | None]
"""All places a text may have led to; `None` is the end."""


class Matcher:
    """Knows the states of one grammar."""

    def __init__(self, grammar: Gbnf) -> None:
        self._rules = grammar.rules
        self.has_tokens = any(
            isinstance(symbol, Token) for rule in grammar.rules for each in rule for symbol in each
        )
        """Whether a token stands for itself anywhere."""
        self._nodes: dict[tuple[int, int, int, int], _Node] = {}
        self.answers: dict[tuple[State, bytes], bool] = {}
        """What was found out about a state and the bytes before it; kept for the next text."""
        self.start = self._closure(self._node((Ref(grammar.start),), 0, 0, None))

    def _node(self, alternative: Alternative, index: int, offset: int, parent: _Node | None) -> _Node | None:
        if index == len(alternative):
            return parent
        key = id(alternative), index, offset, id(parent)
        node = self._nodes.get(key)
        if node is None:  # which keeps the alternative and the parent, so their ids stay theirs
            node = self._nodes[key] = _Node(alternative, index, offset, parent)
        return node

    def _closure(self, node: _Node | None) -> State:
        """Return the places of `node` where a character or a token comes next."""
        if node is None:
            return frozenset((None,))
        if node.closure is None:
            found: set[_Node | None] = set()
            seen: set[_Node | None] = {node}
            todo: list[_Node | None] = [node]
            while todo:
                each = todo.pop()
                symbol = None if each is None else each.alternative[each.index]
                if each is None or not isinstance(symbol, Ref):
                    found.add(each)
                    continue
                after = self._node(each.alternative, each.index + 1, 0, each.parent)
                for alternative in self._rules[symbol.number]:
                    inner = self._node(alternative, 0, 0, after)
                    if inner not in seen:
                        seen.add(inner)
                        todo.append(inner)
            node.closure = frozenset(found)
        return node.closure

    def step(self, state: State, character: str) -> State:
        """Return where `character` leads; the empty set where it may not come."""
        code = ord(character)
        found: set[_Node | None] = set()
        for node in state:
            if node is None:
                continue
            symbol = node.alternative[node.index]
            if isinstance(symbol, str):
                if symbol[node.offset] == character:
                    found |= self._closure(self._after(node, symbol))
            elif isinstance(symbol, tuple) and any(low <= code <= high for low, high in symbol):
                found |= self._closure(self._node(node.alternative, node.index + 1, 0, node.parent))
        return frozenset(found)

    def read(self, state: State, text: str) -> State:
        """Return where `text` leads."""
        for character in text:
            if not state:
                break
            state = self.step(state, character)
        return state

    def take(self, state: State, token: int) -> State:
        """Return where a token leads that is meant as a token."""
        found: set[_Node | None] = set()
        for node in state:
            if node is not None and node.alternative[node.index] == Token(token):
                found |= self._closure(self._node(node.alternative, node.index + 1, 0, node.parent))
        return frozenset(found)

    def _after(self, node: _Node, text: str) -> _Node | None:
        if node.offset + 1 < len(text):
            return self._node(node.alternative, node.index, node.offset + 1, node.parent)
        return self._node(node.alternative, node.index + 1, 0, node.parent)


def tokens_of(state: State) -> set[int]:
    """Return the tokens that may come as tokens."""
    symbols = [node.alternative[node.index] for node in state if node is not None]
    return {symbol.number for symbol in symbols if isinstance(symbol, Token)}


def ranges_of(state: State) -> Iterable[tuple[int, int]]:
    """Yield the characters that may come, from and to."""
    for node in state:
        symbol = None if node is None else node.alternative[node.index]
        if isinstance(symbol, str) and node is not None:
            code = ord(symbol[node.offset])
            yield code, code
        elif isinstance(symbol, tuple):
            yield from symbol


def only_character(state: State) -> str | None:
    """Return the character that has to come; `None` where there is a choice, or the text may end."""
    if None in state or tokens_of(state):
        return None
    codes = set()
    for low, high in ranges_of(state):
        codes.add(low)
        if low != high or len(codes) > 1:
            return None
    return chr(codes.pop()) if codes else None


def few_characters(state: State, most: int) -> list[str]:
    """Return the characters that may come, or nothing where there are more than `most`."""
    codes: set[int] = set()
    for low, high in ranges_of(state):
        if high - low >= most:
            return []
        codes.update(range(low, high + 1))
    return sorted(map(chr, codes)) if len(codes) <= most else []
