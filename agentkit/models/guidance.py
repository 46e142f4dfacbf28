"""Constraints by llguidance: the back-end that is used unless another one is asked for.

Covered: a schema, or the calls of the same tools, are compiled once and copied after.
Not covered: what llguidance drops in its lenient mode, used where a schema has keywords it does not know.
"""

from __future__ import annotations

import json
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import ConfigError, EngineError
from agentkit.models.formats.message import MessageShape
from agentkit.models.lark import OPTIONS, message_grammar
from agentkit.models.vocabulary import Prefixes, Vocabulary

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

MAX_KEPT = 32
"""Grammars that are kept compiled."""


class Guidance:
    """Compiles for one vocabulary."""

    def __init__(self, tokeniser: LLTokenizer, size: int, special: Mapping[str, int]) -> None:
        self._tokeniser = tokeniser
        self._words = _Words(tokeniser, size)
        self._size = size
        self._special = special
        self._kept: OrderedDict[str, GuidanceConstraint] = OrderedDict()

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> Guidance:
        """Return what compiles for a vocabulary; takes about a quarter of a second."""
        from llguidance import LLTokenizer

        model = vocabulary.model
        pieces = [
            b"\xff" + piece if token in vocabulary.specials else piece
            for token, piece in enumerate(vocabulary.pieces)
        ]
        tokeniser = LLTokenizer.from_llamacpp(  # type: ignore[attr-defined]
            tokens=pieces,
            vocab_ptr=model.vocabulary_pointer,
            tokenize_fptr=model.tokenise_pointer,
            eos_token=sorted(vocabulary.ends) or [model.eos],
        )
        return cls(tokeniser, vocabulary.size, vocabulary.special)

    @classmethod
    def of_llama(cls, llama: Any) -> Guidance:  # noqa: ANN401 - a llama_cpp.Llama
        """Return what compiles values for a `llama_cpp.Llama`."""
        from llguidance.llamacpp import lltokenizer_from_vocab

        with warnings.catch_warnings():  # it still asks llama.cpp by an older name
            warnings.simplefilter("ignore", DeprecationWarning)
            tokeniser = lltokenizer_from_vocab(llama._model.vocab)  # noqa: SLF001 - the only way to it
        return cls(tokeniser, llama.n_vocab(), {})

    def message(self, shape: MessageShape) -> GuidanceConstraint:
        """Return the constraint for a message with calls; see `agentkit.models.grammar.Backend`."""
        try:
            return self._compiled(message_grammar(shape, self._special, lenient=False))
        except ConfigError:
            return self._compiled(message_grammar(shape, self._special, lenient=True))

    def value(self, form: dict[str, Any]) -> GuidanceConstraint:
        """Return the constraint for one JSON value; see `agentkit.models.grammar.Backend`."""
        try:
            return self._compiled(_value_grammar(form, lenient=False))
        except ConfigError:
            return self._compiled(_value_grammar(form, lenient=True))

    def _compiled(self, grammar: str) -> GuidanceConstraint:
        kept = self._kept.get(grammar)
        if kept is None:
            kept = GuidanceConstraint(self._matcher(grammar), self._words, self._size)
            self._kept[grammar] = kept
            if len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(grammar)
        return kept.copy()

    def _matcher(self, grammar: str) -> LLMatcher:
        from llguidance import LLMatcher, LLParserLimits

        # its own limits end the generation of an object with a thousand optional properties in the middle
        limits = LLParserLimits(max_items_in_row=20_000, step_max_items=500_000, verbose_errors=False)
        matcher: LLMatcher = LLMatcher(self._tokeniser, grammar, log_level=0, limits=limits)
        if matcher.is_error():
            raise ConfigError("the schema cannot be turned into a grammar")
        return matcher


def _value_grammar(form: dict[str, Any], *, lenient: bool) -> str:
    return "%llguidance {}\nstart: %json " + json.dumps(
        {**form, "x-guidance": {**OPTIONS, "lenient": lenient}}
    )


class _Words:
    """A vocabulary by what its tokens begin with."""

    def __init__(self, tokeniser: LLTokenizer, size: int) -> None:
        self._tokeniser = tokeniser
        self._size = size

    @cached_property
    def _prefixes(self) -> Prefixes:
        return Prefixes((self._tokeniser.decode_bytes([token]), token) for token in range(self._size))

    def longer(self, token: int) -> Sequence[tuple[bytes, int]]:
        """Return what follows the bytes of `token` in each token that begins with them, and that token."""
        said = self._tokeniser.decode_bytes([token])
        return [(piece[len(said) :], other) for piece, other in self._prefixes.longer(said)]

    def follows(self, matcher: LLMatcher, text: bytes) -> bool:
        """Return whether `text` may come next."""
        tokens = self._tokeniser.tokenize_bytes(text)
        return bool(matcher.validate_tokens(tokens) == len(tokens))


class GuidanceConstraint:
    """A `Constraint` by llguidance."""

    costly_mask = False

    def __init__(self, matcher: LLMatcher, words: _Words, size: int) -> None:
        self._matcher = matcher
        self._words = words
        self._size = size
        self._bits = np.zeros((1, (size + 31) // 32), np.int32)

    def copy(self) -> GuidanceConstraint:
        """Return one that stands where this one stands, and goes its own way."""
        return GuidanceConstraint(self._matcher.deep_copy(), self._words, self._size)

    def allowed(self, token: int) -> bool:
        """Return whether `token` may come next."""
        return self._matcher.validate_tokens([token]) == 1

    def mask(self) -> NDArray[np.bool_]:
        """Return for every token whether it may come next."""
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        self._check()
        bits = np.unpackbits(self._bits.view(np.uint8), count=self._size, bitorder="little")
        if np.count_nonzero(self._bits) == 1 and bits.sum() == 1:  # it named but one cut of what has to come
            for _, token in self._words.longer(int(bits.argmax())):
                bits[token] = self.allowed(token)
        return bits.view(np.bool_)

    def commit(self, token: int) -> None:
        """Take `token`."""
        self._matcher.consume_token(token)
        self._check()

    def forced(self) -> list[int]:
        """Take and return what has to come next."""
        if self._matcher.is_stopped():
            return []
        tokens: list[int] = self._matcher.compute_ff_tokens()
        if tokens:  # a tokeniser that knows no token for a byte cuts a text into tokens that do not spell it
            tokens = tokens[: self._matcher.validate_tokens(tokens)]
        if tokens:
            self._matcher.consume_tokens(tokens)
            if self._may_go_on(tokens[-1]):
                self._matcher.rollback(1)
                tokens.pop()
            self._check()
        return tokens

    def _may_go_on(self, token: int) -> bool:
        """Return whether the model, left alone, may have gone on in `token`, the last one taken.

        Then that is for it to choose: what it says next can hang on how it was cut. Behind `"}` it writes another
        call, behind `"` and `}}` the end.
        """
        return any(self._words.follows(self._matcher, rest) for rest, _ in self._words.longer(token))

    @property
    def done(self) -> bool:
        """Whether nothing can follow."""
        return self._matcher.is_stopped()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise EngineError("the grammar reached a limit", hint="use fewer tools, or a simpler schema")
