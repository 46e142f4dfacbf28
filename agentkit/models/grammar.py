"""Bind what a model writes to tool calls or to a JSON Schema, one token at a time.

Covered: a bound message can hold nothing but calls of the given tools, with arguments of the right shape, and in
`auto` mode free text never holds a control token. The separators are fixed, since free white space makes small
models pretty-print for ever; every string has a bound.
Not covered: what llguidance drops in its lenient mode, used where a schema has keywords it does not know; so
arguments are always validated after parsing, too (`agentkit.models.validate`).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import ConfigError, EngineError
from agentkit.messages import ToolSpec
from agentkit.models.base import ToolChoice
from agentkit.models.formats.tool_format import ToolFormat
from agentkit.models.lark import OPTIONS, message_grammar
from agentkit.models.normalise import SchemaError, normalise

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer
    from llguidance._lib import JsonCompileOptions

    from agentkit.models.llama import LlamaModel

MAX_CALLS = 8
"""Calls in one message."""


class Constraint(Protocol):
    """Says which tokens may come next."""

    def allowed(self, token: int) -> bool:
        """Return whether `token` may come next; an end token may where the text may end."""
        ...

    def mask(self) -> NDArray[np.bool_]:
        """Return for every token whether it may come next."""
        ...

    def commit(self, token: int) -> None:
        """Take `token`, which is allowed."""
        ...

    def forced(self) -> list[int]:
        """Take and return the tokens that have to come next, if that is settled."""
        ...

    @property
    def done(self) -> bool:
        """Whether the text is whole and nothing can follow."""
        ...


class GrammarTokeniser:
    """A model's vocabulary as llguidance needs it: built once a model, in about a quarter of a second."""

    def __init__(self, model: LlamaModel) -> None:
        from llguidance import LLTokenizer

        pieces = []
        for token in range(model.vocabulary_size):
            piece = model.piece(token, special=True)
            bracketed = piece.startswith(b"<") and piece.endswith(b">")
            special = model.is_control(token) or (model.is_user_defined(token) and bracketed)
            pieces.append(b"\xff" + piece if special else piece)
        ends = [token for token in range(model.vocabulary_size) if model.ends(token)]
        self.size = model.vocabulary_size
        self.special = {
            piece[1:].decode("utf-8", "replace"): token
            for token, piece in enumerate(pieces)
            if piece[:1] == b"\xff" and len(piece) > 1
        }
        self.inner: LLTokenizer = LLTokenizer.from_llamacpp(  # type: ignore[attr-defined]
            tokens=pieces,
            vocab_ptr=model.vocabulary_pointer,
            tokenize_fptr=model.tokenise_pointer,
            eos_token=ends or [model.eos],
        )

    @classmethod
    def of_llama(cls, llama: Any) -> GrammarTokeniser:  # noqa: ANN401 - a llama_cpp.Llama
        """Return the vocabulary of a `llama_cpp.Llama`."""
        from llguidance.llamacpp import lltokenizer_from_vocab

        made = cls.__new__(cls)
        made.size = llama.n_vocab()
        made.special = {}
        with warnings.catch_warnings():  # it still asks llama.cpp by an older name
            warnings.simplefilter("ignore", DeprecationWarning)
            made.inner = lltokenizer_from_vocab(llama._model.vocab)  # noqa: SLF001 - the only way to it
        return made


class GuidanceConstraint:
    """A `Constraint` by llguidance."""

    def __init__(self, tokeniser: GrammarTokeniser, grammar: str) -> None:
        """Compile `grammar`.

        Raises:
            ConfigError: It cannot be compiled.
        """
        from llguidance import LLMatcher, LLParserLimits

        self._size = tokeniser.size
        self._matcher: LLMatcher = LLMatcher(
            tokeniser.inner, grammar, log_level=0, limits=LLParserLimits(verbose_errors=False)
        )
        if self._matcher.is_error():
            raise ConfigError("the schema cannot be turned into a grammar")
        self._bits = np.zeros((1, (self._size + 31) // 32), np.int32)

    def allowed(self, token: int) -> bool:
        """Return whether `token` may come next."""
        return self._matcher.validate_tokens([token]) == 1

    def mask(self) -> NDArray[np.bool_]:
        """Return for every token whether it may come next."""
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        self._check()
        return np.unpackbits(self._bits.view(np.uint8), bitorder="little")[: self._size].astype(np.bool_)

    def commit(self, token: int) -> None:
        """Take `token`."""
        self._matcher.consume_token(token)
        self._check()

    def forced(self) -> list[int]:
        """Take and return what has to come next."""
        if self._matcher.is_stopped():
            return []
        tokens: list[int] = self._matcher.compute_ff_tokens()
        if tokens:
            self._matcher.consume_tokens(tokens)
            self._check()
        return tokens

    @property
    def done(self) -> bool:
        """Whether nothing can follow."""
        return self._matcher.is_stopped()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise EngineError("the grammar reached a limit", hint="use fewer tools, or a simpler schema")


def bind_tools(
    tokeniser: GrammarTokeniser, tool_format: ToolFormat, tools: Sequence[ToolSpec], choice: ToolChoice
) -> GuidanceConstraint:
    """Return the constraint for a message that may (`auto`) or must call `tools`.

    Raises:
        ConfigError: No such tool, or parameters no grammar can be made of.
    """
    offered = [tool for tool in tools if choice.mode != "named" or tool.name == choice.name]
    if not offered:
        raise ConfigError(
            f"there is no tool {choice.name!r} to call" if choice.name else "there is no tool to call"
        )
    for tool in offered:
        if reason := refusal(tool):
            raise ConfigError(f"the parameters of tool {tool.name[:80]!r} cannot be bound: {reason}")

    def bound(some: Sequence[ToolSpec], *, lenient: bool) -> GuidanceConstraint:
        grammar = message_grammar(
            tool_format,
            some,
            tokeniser.special,
            most=1 if choice.mode == "named" else MAX_CALLS,
            free=choice.mode == "auto",
            lenient=lenient,
        )
        return GuidanceConstraint(tokeniser, grammar)

    last: ConfigError | None = None
    for lenient in (False, True):
        try:
            return bound(offered, lenient=lenient)
        except ConfigError as error:
            last = error
    for tool in offered:  # name the one that cannot be used
        try:
            bound([tool], lenient=True)
        except ConfigError as error:
            raise ConfigError(
                f"the parameters of tool {tool.name!r} cannot be turned into a grammar"
            ) from error
    raise ConfigError(
        f"{len(offered)} tools are too many for one grammar", hint="let fewer be selected"
    ) from last


def refusal(tool: ToolSpec) -> str | None:
    """Return why no call of `tool` can be bound to its parameters, or nothing where they can."""
    try:
        normalise(tool.parameters, close=True)
    except SchemaError as error:
        return error.message
    return None


def bind_schema(
    tokeniser: GrammarTokeniser, schema: dict[str, Any], *, close: bool = False, formats: bool = False
) -> GuidanceConstraint:
    """Return the constraint for a text that is one JSON value of `schema`.

    Raises:
        ConfigError: No grammar can be made of the schema.
    """
    from llguidance import LLMatcher

    bounded = normalise(schema, close=close, formats=formats).schema
    options: JsonCompileOptions = {**OPTIONS}  # type: ignore[typeddict-item]
    try:
        return GuidanceConstraint(tokeniser, LLMatcher.grammar_from_json_schema(bounded, overrides=options))
    except ConfigError:
        options["lenient"] = True
        return GuidanceConstraint(tokeniser, LLMatcher.grammar_from_json_schema(bounded, overrides=options))
