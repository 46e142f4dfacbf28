"""Constraints by llama.cpp's grammars (GBNF), compiled from schemas by our own hand: the second back-end.

llama.cpp says which tokens may come. What it cannot say is said here, by following the grammar beside it: which tokens
have to come, which may come as tokens and not as their spelling (it lets control tokens pass as text), and which
would leave a malformed character behind (it takes some for well-formed).
Covered: never a NULL sampler, never an unchecked token; a schema that is compiled once is kept.
Not covered: speed. A mask over the whole vocabulary takes milliseconds where text is free.
"""

from __future__ import annotations

import codecs
import itertools
import json
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import ConfigError, EngineError
from agentkit.models.formats.message import MessageShape
from agentkit.models.gbnf import Gbnf, Rules
from agentkit.models.gbnf_matcher import Matcher, State, few_characters, only_character, ranges_of, tokens_of
from agentkit.models.gbnf_message import message_rules
from agentkit.models.gbnf_sampler import GrammarSampler
from agentkit.models.gbnf_schema import SchemaRules
from agentkit.models.vocabulary import Prefixes, Vocabulary

MAX_KEPT = 16
"""Grammars that are kept compiled."""
MAX_LOOKED = 16
"""Of so many characters that may come behind a forced text, each is looked at."""
MAX_FORCED = 512
"""Characters that are forced at once."""
_NO_BYTE = 256


class GbnfBackend:
    """Compiles for one vocabulary."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._special = vocabulary.special
        self._tokens = _Tokens(vocabulary)
        self._kept: OrderedDict[str, GbnfConstraint] = OrderedDict()

    def message(self, shape: MessageShape) -> GbnfConstraint:
        """Return the constraint for a message with calls; see `agentkit.models.grammar.Backend`."""
        return self._compiled(shape.key, lambda: message_rules(shape, self._special))

    def value(self, form: dict[str, Any]) -> GbnfConstraint:
        """Return the constraint for one JSON value; see `agentkit.models.grammar.Backend`."""
        return self._compiled(json.dumps(form), lambda: value_rules(form))

    def _compiled(self, key: str, build: Callable[[], Gbnf]) -> GbnfConstraint:
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = GbnfConstraint.of(self._tokens, build())
            if len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return kept.copy()


def value_rules(form: dict[str, Any]) -> Gbnf:
    """Return the grammar of one JSON value.

    Args:
        form: Its schema, as `agentkit.models.normalise` makes it.

    Raises:
        ConfigError: It is too large, or nothing satisfies it.
    """
    rules = Rules()
    grammar = rules.finish(SchemaRules(rules).whole(form))
    if grammar is None:
        raise ConfigError("no value can satisfy the schema")
    return grammar


class _Tokens:
    """A vocabulary by what its tokens begin with."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.pieces = vocabulary.pieces
        self.size = vocabulary.size
        ordinary = [
            token
            for token in range(self.size)
            if token not in vocabulary.specials and token not in vocabulary.ends and self.pieces[token]
        ]
        self.first = np.full(self.size, _NO_BYTE, np.int16)
        """The first byte of each token that may stand where a character begins."""
        self.following: list[int] = []
        """Tokens that may go on within a character."""
        for token in ordinary:
            if decoded(b"", self.pieces[token]) is not None:
                self.first[token] = self.pieces[token][0]
            if 0x80 <= self.pieces[token][0] < 0xC0:
                self.following.append(token)
        self.prefixes = Prefixes(
            (self.pieces[token], token) for token in ordinary if self.first[token] != _NO_BYTE
        )

    def cut(self, text: str) -> list[int]:
        """Return the tokens the model's tokeniser cuts `text` into; nothing where it changes the text."""
        tokens = self.vocabulary.model.tokenise(text)
        return tokens if b"".join(self.pieces[token] for token in tokens) == text.encode() else []


class GbnfConstraint:
    """A `Constraint` by llama.cpp."""

    costly_mask = True

    def __init__(self, tokens: _Tokens, matcher: Matcher, sampler: GrammarSampler) -> None:
        self._tokens = tokens
        self._ends = tokens.vocabulary.ends
        self._matcher = matcher
        self._sampler = sampler
        self._marked = matcher.has_tokens
        self._state: State = matcher.start
        self._pending = b""
        """The first bytes of a character."""
        self._ended = False

    @classmethod
    def of(cls, tokens: _Tokens, grammar: Gbnf) -> GbnfConstraint:
        """Return the constraint of `grammar` before the first token.

        Raises:
            ConfigError: The grammar is too large.
        """
        pointer = tokens.vocabulary.model.vocabulary_pointer
        return cls(tokens, Matcher(grammar), GrammarSampler(pointer, tokens.size, grammar.text()))

    def copy(self) -> GbnfConstraint:
        """Return one for another text by the same grammar."""
        return GbnfConstraint(self._tokens, self._matcher, self._sampler.copy())

    def allowed(self, token: int) -> bool:
        """Return whether `token` may come next."""
        if self._ended or not 0 <= token < self._tokens.size:
            return False
        if token in self._ends:
            return self._may_end
        if self._tokens.first[token] == _NO_BYTE and not self._pending:
            wanted = token in tokens_of(self._state)
        else:
            wanted = decoded(self._pending, self._tokens.pieces[token]) is not None
        return wanted and self._sampler.allowed(token) and self._reads(token)

    def mask(self) -> NDArray[np.bool_]:
        """Return for every token whether it may come next."""
        found = np.zeros(self._tokens.size, np.bool_)
        if self._ended:
            return found
        candidates = self._candidates()
        found[candidates] = self._sampler.among(candidates)
        if self._marked:
            for each in map(int, found.nonzero()[0]):
                found[each] = self._reads(each)
        for token in tokens_of(self._state):
            found[token] = self._sampler.allowed(token)
        if self._may_end:
            found[list(self._ends)] = True
        return found

    def _candidates(self) -> NDArray[np.int32]:
        """Return the tokens whose first byte may come, the only ones llama.cpp has to look at."""
        pieces = self._tokens.pieces
        if self._pending:
            fits = [
                token for token in self._tokens.following if decoded(self._pending, pieces[token]) is not None
            ]
            return np.array(fits, np.int32)
        may = first_bytes(self._state)
        return np.flatnonzero(may[self._tokens.first]).astype(np.int32)

    def _reads(self, token: int) -> bool:
        """Return whether a token may come that llama.cpp allows: a mark of the grammar it may have taken for text."""
        if not self._marked or token in self._tokens.vocabulary.specials:
            return True
        read = decoded(self._pending, self._tokens.pieces[token])
        return read is not None and (not read[0] or bool(self._matcher.read(self._state, read[0])))

    def commit(self, token: int) -> None:
        """Take `token`.

        Raises:
            EngineError: It may not come.
        """
        if not self.allowed(token):
            raise EngineError("a token came that the grammar forbids")
        if token in self._ends:
            self._ended = True
            return
        if token in self._tokens.vocabulary.specials:
            self._state = self._matcher.take(self._state, token)
        else:
            text, self._pending = decoded(self._pending, self._tokens.pieces[token]) or ("", b"")
            self._state = self._matcher.read(self._state, text)
        self._sampler.accept(token)
        if not self._state:
            raise EngineError("llama.cpp took a token that its grammar forbids")

    def forced(self) -> list[int]:
        """Take and return what has to come next."""
        taken: list[int] = []
        whole = True
        while whole and not self._ended and not self._pending:
            tokens, whole = self._settled()
            for token in tokens:
                self.commit(token)
            taken += tokens
        return taken

    def _settled(self) -> tuple[list[int], bool]:
        """Return tokens that have to come next, and whether it is worth asking again behind them."""
        special = tokens_of(self._state)
        if len(special) == 1 and None not in self._state and not any(ranges_of(self._state)):
            return list(special), True
        text, state = "", self._state
        while len(text) < MAX_FORCED and (character := only_character(state)) is not None:
            text += character
            state = self._matcher.step(state, character)
        if not text:
            return [], False
        tokens = whole = self._tokens.cut(text)
        # the model, left alone, may cut the end in another way where it means to go on: that is for it to choose
        for character in few_characters(state, MAX_LOOKED):
            pairs = zip(tokens, self._tokens.cut(text + character), strict=False)
            tokens = [token for token, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)]
        if len(tokens) < len(whole):
            return tokens, False
        for count in range(max(0, len(tokens) - 4), len(tokens)):
            rest = b"".join(self._tokens.pieces[token] for token in tokens[count:])
            if self._goes_on(state, rest):
                return tokens[:count], False
        return tokens, bool(tokens)

    def _goes_on(self, state: State, rest: bytes) -> bool:
        """Return whether a token of the model spells `rest` and more that may come after it."""
        known = self._matcher.answers.get((state, rest))
        if known is None:
            may = first_bytes(state)
            known = any(
                may[piece[len(rest)]]
                and (more := decoded(b"", piece[len(rest) :])) is not None
                and (not more[0] or bool(self._matcher.read(state, more[0])))
                for piece, _ in self._tokens.prefixes.longer(rest)
            )
            self._matcher.answers[state, rest] = known
        return known

    @property
    def done(self) -> bool:
        """Whether nothing can follow."""
        return self._ended or (self._state == {None} and not self._pending)

    @property
    def _may_end(self) -> bool:
        return None in self._state and not self._pending


def first_bytes(state: State) -> NDArray[np.bool_]:
    """Return for each byte whether a character that may come begins with it; and no for `_NO_BYTE`."""
    may = np.zeros(_NO_BYTE + 1, np.bool_)
    for low, high in ranges_of(state):
        may[chr(low).encode()[0] : chr(high).encode()[0] + 1] = True
    return may


def decoded(pending: bytes, piece: bytes) -> tuple[str, bytes] | None:
    """Return the characters of `piece` after the bytes `pending`, and the bytes of one that is not whole yet.

    None where that cannot become UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        text = decoder.decode(pending + piece)
    except UnicodeDecodeError:
        return None
    rest: bytes = decoder.getstate()[0]
    return text, rest
