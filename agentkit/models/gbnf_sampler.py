"""llama.cpp's own grammar matcher behind guards, for it ends the process where anything is wrong.

Covered: a grammar it refuses is an error (NULL in a chain of samplers is a crash at the first draw), and a token is
accepted only after it was checked (any other is a C++ exception that nobody can catch).
Source: llama.cpp, src/llama-grammar.cpp.
"""

from __future__ import annotations

import ctypes

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from agentkit.errors import ConfigError, EngineError

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


class GrammarSampler:
    """A text so far, and which tokens may come next."""

    def __init__(self, vocabulary_pointer: int, size: int, grammar: str | None = None) -> None:
        """Parse `grammar`.

        Raises:
            ConfigError: llama.cpp refused it.
        """
        self._size = size
        self._vocabulary = vocabulary_pointer
        self._candidates = np.zeros(size, _CANDIDATE)
        self._checked = -1
        self._sampler = None
        if grammar is not None:
            self._sampler = llama_cpp.llama_sampler_init_grammar(
                vocabulary_pointer, grammar.encode(), b"root"
            )
            if not self._sampler:
                raise ConfigError("llama.cpp refused the grammar of the schema", hint="use a simpler schema")

    def copy(self) -> GrammarSampler:
        """Return one that stands where this one stands, and goes its own way."""
        made = GrammarSampler(self._vocabulary, self._size)
        made._sampler = llama_cpp.llama_sampler_clone(self._sampler)
        if not made._sampler:
            raise EngineError("llama.cpp could not copy a grammar")
        return made

    def __del__(self) -> None:
        if self._sampler:
            llama_cpp.llama_sampler_free(self._sampler)

    def allowed(self, token: int) -> bool:
        """Return whether `token` may come next."""
        if not 0 <= token < self._size:
            return False
        fits = bool(self.among(np.array([token], np.int32))[0])
        if fits:
            self._checked = token
        return fits

    def among(self, tokens: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return for each of `tokens`, each in the vocabulary, whether it may come next."""
        candidates = self._candidates[: len(tokens)]
        candidates["id"] = tokens
        candidates["logit"] = 0
        array = llama_cpp.llama_token_data_array(
            data=candidates.ctypes.data_as(llama_cpp.llama_token_data_p),
            size=len(candidates),
            selected=-1,
            sorted=False,
        )
        if len(candidates):
            llama_cpp.llama_sampler_apply(self._sampler, ctypes.byref(array))
        fits: NDArray[np.bool_] = candidates["logit"] == 0
        return fits

    def accept(self, token: int) -> None:
        """Take `token`.

        Raises:
            EngineError: It may not come; nothing was changed.
        """
        if token != self._checked and not self.allowed(token):
            raise EngineError("a token came that the grammar forbids")
        self._checked = -1
        llama_cpp.llama_sampler_accept(self._sampler, token)
