"""Draw tokens from logits: llama.cpp's chain of samplers in C, or plain arg max where nothing else was asked for.

The order is llama.cpp's own: bias, penalties, DRY, then what cuts the tail off, then temperature, then the draw.
Covered: no sampler is NULL (one in the chain would end the process at the first draw), and the chain never sees a
token a grammar forbids, so top-k and top-p choose among those that may come.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from itertools import starmap
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from agentkit.errors import EngineError
from agentkit.models.base import Sampling
from agentkit.models.llama import LlamaModel

_DRY_BREAKERS = (b"\n", b":", b'"', b"*")
"""What ends a repetition for DRY; llama.cpp's own choice."""
_MIROSTAT_TOKENS = 100
_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


class Sampler:
    """Draws the tokens of one generation."""

    def __init__(self, model: LlamaModel, sampling: Sampling) -> None:
        """Build the chain; close it after.

        Raises:
            EngineError: llama.cpp refused a setting.
        """
        self.greedy = sampling.temperature == 0
        self.draws_from_all = not (
            sampling.top_k
            or sampling.top_p < 1
            or sampling.min_p
            or sampling.typical_p < 1
            or sampling.xtc_probability
            or sampling.mirostat
        )
        """Nothing cuts the tail off: a token drawn, refused and drawn anew among those allowed is drawn from these."""
        self._chain = None
        links = [*_shaping(model, sampling), *(() if self.greedy else _drawing(model, sampling))]
        if not links:
            return
        if self.greedy:
            links.append(llama_cpp.llama_sampler_init_greedy())
        self._chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        if not self._chain or not all(links):
            raise EngineError("llama.cpp refused the sampling settings")
        for link in links:
            llama_cpp.llama_sampler_chain_add(self._chain, link)
        self._whole = np.zeros(model.vocabulary_size, _CANDIDATE)
        self._whole["id"] = np.arange(model.vocabulary_size)
        self._candidates = self._whole.copy()

    def draw(self, logits: NDArray[np.float32], allowed: NDArray[np.bool_] | None = None) -> int:
        """Return a token of `logits`, one of `allowed` where that is given.

        Args:
            logits: One row, as long as the vocabulary.
            allowed: For every token, whether it may come.

        Raises:
            EngineError: None could be drawn.
        """
        if self._chain is None:
            return int(np.argmax(logits if allowed is None else np.where(allowed, logits, -np.inf)))
        candidates = self._candidates
        if allowed is None:
            candidates[:] = self._whole
            candidates["logit"] = logits
        else:
            ids = np.flatnonzero(allowed)
            candidates = candidates[: len(ids)]
            candidates["id"] = ids
            candidates["logit"] = logits[ids]
            candidates["p"] = 0
            if len(ids) == 1:  # nothing is left to draw, and mirostat divides by what it could draw from
                return int(ids[0])
        array = llama_cpp.llama_token_data_array(
            data=candidates.ctypes.data_as(llama_cpp.llama_token_data_p),
            size=len(candidates),
            selected=-1,
            sorted=False,
        )
        if len(candidates):
            llama_cpp.llama_sampler_apply(self._chain, ctypes.byref(array))
        if not 0 <= array.selected < array.size:
            raise EngineError("no token could be drawn from the logits")
        return int(array.data[array.selected].id)

    def accept(self, token: int) -> None:
        """Tell the chain which token was taken, for its penalties."""
        if self._chain is not None:
            llama_cpp.llama_sampler_accept(self._chain, token)

    def close(self) -> None:
        """Free the chain and all in it; safe to call twice."""
        if self._chain is not None:
            llama_cpp.llama_sampler_free(self._chain)
            self._chain = None


def _shaping(model: LlamaModel, sampling: Sampling) -> Iterator[Any]:
    """Yield what changes logits whether or not the draw is greedy."""
    size = model.vocabulary_size
    if biases := sampling.logit_bias:
        array = (llama_cpp.llama_logit_bias * len(biases))(*starmap(llama_cpp.llama_logit_bias, biases))
        yield llama_cpp.llama_sampler_init_logit_bias(size, len(biases), array)
    if sampling.repeat_penalty != 1 or sampling.frequency_penalty or sampling.presence_penalty:
        yield llama_cpp.llama_sampler_init_penalties(
            size,
            sampling.penalty_tokens,
            sampling.repeat_penalty,
            sampling.frequency_penalty,
            sampling.presence_penalty,
        )
    if sampling.dry_multiplier:
        breakers = (ctypes.c_char_p * len(_DRY_BREAKERS))(*_DRY_BREAKERS)
        yield llama_cpp.llama_sampler_init_dry(
            model.vocabulary_pointer,
            sampling.dry_multiplier,
            sampling.dry_base,
            sampling.dry_allowed_length,
            sampling.dry_tokens,
            breakers,
            len(breakers),
        )


def _drawing(model: LlamaModel, sampling: Sampling) -> Iterator[Any]:
    """Yield what cuts the tail off and draws from the rest."""
    if sampling.mirostat:
        yield llama_cpp.llama_sampler_init_temp(sampling.temperature)
        if sampling.mirostat == 1:
            yield llama_cpp.llama_sampler_init_mirostat(
                model.vocabulary_size,
                sampling.seed,
                sampling.mirostat_tau,
                sampling.mirostat_eta,
                _MIROSTAT_TOKENS,
            )
        else:
            yield llama_cpp.llama_sampler_init_mirostat_v2(
                sampling.seed, sampling.mirostat_tau, sampling.mirostat_eta
            )
        return
    if sampling.top_k:
        yield llama_cpp.llama_sampler_init_top_k(sampling.top_k)
    if sampling.typical_p < 1:
        yield llama_cpp.llama_sampler_init_typical(sampling.typical_p, 1)
    if sampling.top_p < 1:
        yield llama_cpp.llama_sampler_init_top_p(sampling.top_p, 1)
    if sampling.min_p:
        yield llama_cpp.llama_sampler_init_min_p(sampling.min_p, 1)
    if sampling.xtc_probability:
        yield llama_cpp.llama_sampler_init_xtc(
            sampling.xtc_probability, sampling.xtc_threshold, 1, sampling.seed
        )
    yield llama_cpp.llama_sampler_init_temp(sampling.temperature)
    yield llama_cpp.llama_sampler_init_dist(sampling.seed)
