"""`grammar_for`: bind any model to a JSON Schema, without the rest of agentkit.

    from llama_cpp import Llama, LogitsProcessorList
    from agentkit import grammar_for

    schema = {"type": "object", "properties": {"legs": {"type": "integer"}}, "required": ["legs"]}
    bound = grammar_for(schema, close=True)
    llama = Llama("model.gguf", verbose=False)
    said = llama("A fox has", max_tokens=64, logits_processor=LogitsProcessorList([bound.processor(llama)]))
    value = bound.read(said["choices"][0]["text"])

Covered: what is read back is of the schema, all of it, or an `InvalidError`; a schema that cannot be used is refused
when it is given, not in the middle of a generation.
Not covered: a text cut off by `max_tokens` is no JSON, and reading it says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from agentkit.models.grammar import Constraint, bind_schema
from agentkit.models.guidance import Guidance
from agentkit.models.normalise import Normalised, normalise
from agentkit.models.schema_check import read_value

LogitsProcessor = Callable[[NDArray[np.intc], NDArray[np.single]], NDArray[np.single]]


class BoundGrammar:
    """A schema ready to bind models to."""

    def __init__(self, schema: Any, *, close: bool = False, formats: bool = False) -> None:  # noqa: ANN401 - any JSON
        self._schema = schema
        self._close, self._formats = close, formats
        self._normalised: Normalised = normalise(schema, close=close, formats=formats)
        self._vocabularies: WeakKeyDictionary[Any, Guidance] = WeakKeyDictionary()

    @property
    def schema(self) -> dict[str, Any]:
        """The schema in the small form grammars are made of."""
        return self._normalised.schema

    @property
    def after_checks(self) -> tuple[str, ...]:
        """What no grammar can hold and `read` checks, as words with their places."""
        return self._normalised.after_checks

    def processor(self, llama: Any) -> LogitsProcessor:  # noqa: ANN401 - a llama_cpp.Llama
        """Return a logits processor for one generation of `llama`, a `llama_cpp.Llama`.

        Raises:
            ConfigError: The schema is too large for one grammar.
        """
        vocabulary = self._vocabularies.get(llama)
        if vocabulary is None:
            vocabulary = self._vocabularies[llama] = Guidance.of_llama(llama)
        return _Processor(bind_schema(vocabulary, self._schema, close=self._close, formats=self._formats))

    def read(self, text: str) -> Any:  # noqa: ANN401 - any JSON
        """Return the value a model wrote.

        Raises:
            InvalidError: It is not JSON, or not of the schema.
        """
        value = read_value(text)
        self._normalised.check(value)
        return value


class _Processor:
    """Lets through what the grammar allows after the tokens it has seen since the first call."""

    def __init__(self, constraint: Constraint) -> None:
        self._constraint = constraint
        self._seen: int | None = None

    def __call__(self, tokens: NDArray[np.intc], scores: NDArray[np.single]) -> NDArray[np.single]:
        if self._seen is not None:
            for token in tokens[self._seen :]:
                self._constraint.commit(int(token))
        self._seen = len(tokens)
        scores[~self._constraint.mask()] = -np.inf
        return scores


def grammar_for(schema: Any, *, close: bool = False, formats: bool = False) -> BoundGrammar:  # noqa: ANN401 - any JSON
    """Return what binds a model to `schema`, usable with `llama_cpp.Llama` alone.

    Args:
        schema: JSON Schema, draft 7 or 2020-12, or a dialect of it: OpenAI, pydantic, MCP, BFCL.
        close: Objects take no names the schema does not list, as the parameters of a tool.
        formats: Bind `format`, too; JSON Schema takes it for a remark.

    Raises:
        SchemaError: No value satisfies it, it is malformed or too large, or it refers to what is not in it.
    """
    return BoundGrammar(schema, close=close, formats=formats)
