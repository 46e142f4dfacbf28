"""Measure, score and requantise a model file with llama.cpp; runs only inside the workbench worker.

Apart from the engine's own way to llama.cpp: it wants many rows of logits where the engine wants one, and nothing of
samplers, templates or conversations.
Covered: at most `scoring.CHUNK_TOKENS` rows of logits at a time.
Not covered: a malformed file or a broken build may crash llama.cpp; that ends the worker.
"""

from __future__ import annotations

import ctypes
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from agentkit.errors import ConfigError, EngineError, ModelError
from agentkit.models import scoring
from agentkit.models.levers import Levers
from agentkit.models.llama import KV_TYPES, drop_log, place
from agentkit.models.sliding import MAX_SHIFTS, Window, leaving

_COUNTED = re.compile(rb"^\[ *(\d+)/ *(\d+)\]")


class Workbench:
    """A loaded model with one context, which can be opened again with other levers."""

    def __init__(self, path: Path, levers: Levers, *, context_tokens: int, rows: int = 1) -> None:
        """Load `path`.

        Raises:
            ModelError: llama.cpp refused the file, or the context.
        """
        llama_cpp.llama_log_set(drop_log, None)
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        params.use_extra_bufts = levers.repack
        place(params, levers.gpu)
        self._model = llama_cpp.llama_model_load_from_file(os.fsencode(path), params)
        if not self._model:
            raise ModelError("llama.cpp cannot load the model file", hint="agentkit models verify NAME")
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._size = llama_cpp.llama_vocab_n_tokens(self._vocab)
        if self._size <= 0:
            raise ModelError("the model file has no vocabulary")
        bos = llama_cpp.llama_vocab_bos(self._vocab)
        self._start = [bos] if bos >= 0 and llama_cpp.llama_vocab_get_add_bos(self._vocab) else []
        """What the model has to see before any text; without it, it predicts one badly."""
        batch = min(max(levers.batch_tokens, rows), context_tokens)  # rows are those of one batch
        options = llama_cpp.llama_context_default_params()
        options.n_ctx = context_tokens
        options.n_batch = options.n_ubatch = batch
        options.n_seq_max = 1
        options.n_outputs_max = options.n_outputs_max_per_seq = rows
        options.n_threads = options.n_threads_batch = levers.threads
        options.no_perf = True
        options.type_k, options.type_v = KV_TYPES[levers.k_type], KV_TYPES[levers.v_type]
        options.flash_attn_type = (
            llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED
            if levers.flash_attention
            else llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
        self._context = llama_cpp.llama_init_from_model(self._model, options)
        if not self._context:
            raise ModelError(f"a context of {context_tokens} tokens cannot be opened with these settings")
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch_tokens = batch
        self._batch = llama_cpp.llama_batch_init(batch, 0, 1)
        self._position = 0

    def close(self) -> None:
        """Free the model."""
        llama_cpp.llama_batch_free(self._batch)
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    def tokenise(self, text: str) -> list[int]:
        """Return the tokens of a bare text, and before them the one that starts every text of this model, if any."""
        data = text.encode("utf-8", "replace")
        buffer = (llama_cpp.llama_token * (len(data) + 16))()
        count = llama_cpp.llama_tokenize(self._vocab, data, len(data), buffer, len(buffer), False, False)
        if count < 0:  # a byte may become several tokens; so many there are
            buffer = (llama_cpp.llama_token * -count)()
            count = llama_cpp.llama_tokenize(self._vocab, data, len(data), buffer, -count, False, False)
        if count < 0:
            raise EngineError(f"a text of {len(data)} bytes cannot be tokenised")
        return [*self._start, *buffer[:count]]

    def clear(self) -> None:
        """Empty the cache."""
        llama_cpp.llama_memory_clear(self._memory, True)
        self._position = 0

    def decode(self, tokens: Sequence[int], *, all_rows: bool = False) -> None:
        """Append tokens; logits are kept of the last one, or of all of at most one chunk."""
        for start in range(0, len(tokens), self._batch_tokens):
            part = tokens[start : start + self._batch_tokens]
            batch = self._batch
            for index, token in enumerate(part):
                batch.token[index] = token
                batch.pos[index] = self._position + index
                batch.n_seq_id[index] = 1
                batch.seq_id[index][0] = 0
                batch.logits[index] = all_rows
            batch.n_tokens = len(part)
            batch.logits[len(part) - 1] = all_rows or start + self._batch_tokens >= len(tokens)
            status = llama_cpp.llama_decode(self._context, batch)
            if status:
                raise EngineError(f"llama.cpp failed to decode {len(part)} tokens (status {status})")
            self._position += len(part)

    def rows(self, count: int) -> NDArray[np.float32]:
        """Return the last `count` rows of logits: a view, valid until the next decode."""
        pointer = llama_cpp.llama_get_logits(self._context)
        if not pointer:
            raise EngineError("llama.cpp kept no logits")
        return np.ctypeslib.as_array(pointer, shape=(count, self._size))

    def speed(self, prefill_tokens: int, generate_tokens: int, seed: int) -> tuple[float, float]:
        """Return tokens a second of a prompt that nothing has cached, and of single tokens behind it."""
        chance = np.random.default_rng(seed)
        self.clear()
        prompt = [int(token) for token in chance.integers(0, self._size, prefill_tokens)]
        started = time.perf_counter()
        self.decode(prompt)
        between = time.perf_counter()
        for token in prompt[:generate_tokens]:
            self.decode([token])
        ended = time.perf_counter()
        return prefill_tokens / (between - started), generate_tokens / (ended - between)

    def score(
        self,
        tokens: Sequence[int],
        reference: scoring.Reference | None,
        beat: Callable[[int, int], None],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], scoring.Reference]:
        """Score a text; return the loss of each scored token, its divergence, and what was predicted.

        Where the model starts every text with a token, that one stands for the first of each window.

        Args:
            tokens: The text.
            reference: What to compare with; `None`: nothing, and the divergence is empty.
            beat: Called with the tokens decoded and their total.
        """
        losses, divergences, kept = [], [], []
        at = done = 0
        for chunk in scoring.chunks(tokens):
            part = chunk.tokens
            if chunk.first:
                self.clear()
                part = [*self._start, *part[len(self._start) :]]
            self.decode(part, all_rows=bool(chunk.targets))
            done += len(chunk.tokens)
            beat(done, len(tokens))
            if not chunk.targets:
                continue
            predicted = scoring.log_softmax(self.rows(len(chunk.tokens)))
            losses.append(scoring.loss(predicted, chunk.targets))
            if reference is None:
                kept.append(scoring.top(predicted))
            else:
                rows = slice(at, at + len(chunk.targets))
                theirs = scoring.Reference(reference.tokens[rows], reference.log_probabilities[rows])
                divergences.append(scoring.divergence(theirs, predicted))
            at += len(chunk.targets)
        if not losses:
            raise EngineError(f"a text of {len(tokens)} tokens is too short to be scored")
        none = np.empty(0, np.float32)
        predictions = scoring.Reference(
            np.concatenate([each.tokens for each in kept]) if kept else np.empty((0, 0), np.int32),
            np.concatenate([each.log_probabilities for each in kept])
            if kept
            else np.empty((0, 0), np.float32),
        )
        return np.concatenate(losses), np.concatenate(divergences) if divergences else none, predictions

    def slide(
        self,
        tokens: Sequence[int],
        window: Window,
        beat: Callable[[int, int], None],
        *,
        shift: bool,
    ) -> NDArray[np.float32]:
        """Score a text that outgrows its window, as one stream; return the loss of each token but the first.

        Args:
            tokens: The text.
            window: No larger than the context.
            beat: Called with the tokens decoded and their total.
            shift: Move what stays in a full window, as the engine does; else compute it again.

        Raises:
            ConfigError: There is nothing to score, or it is to be moved, and this model's cache cannot do that.
        """
        if len(tokens) < 2:
            raise ConfigError(
                f"a text of {len(tokens)} tokens cannot be scored",
                hint="the first has nothing before it: give two",
            )
        if shift and not llama_cpp.llama_memory_can_shift(self._memory):
            raise ConfigError("the cache of this model cannot be shifted")
        self.clear()
        held: list[int] = []
        losses = []
        shifts = 0
        for start in range(0, len(tokens) - 1, scoring.CHUNK_TOKENS):
            end = min(start + scoring.CHUNK_TOKENS, len(tokens) - 1)
            while len(held) + end - start > window.tokens:
                count = leaving(len(held), window.keep)
                moves = shift and shifts < MAX_SHIFTS
                shifts = shifts + 1 if moves else 0
                self._leave(held, window.keep, count, moves=moves)
            held += tokens[start:end]
            self.decode(tokens[start:end], all_rows=True)
            predicted = scoring.log_softmax(self.rows(end - start))
            losses.append(scoring.loss(predicted, tokens[start + 1 : end + 1]))
            beat(end, len(tokens))
        return np.concatenate(losses)

    def _leave(self, held: list[int], keep: int, count: int, *, moves: bool) -> None:
        """Let `count` tokens behind the first `keep` leave; move up what follows, or compute it again."""
        end = keep + count if moves else -1
        if not llama_cpp.llama_memory_seq_rm(self._memory, 0, keep, end):
            raise EngineError("the cache of this model cannot step back")
        del held[keep : keep + count]
        self._position = keep
        if moves:
            llama_cpp.llama_memory_seq_add(self._memory, 0, keep + count, -1, -count)
            self._position = len(held)
        else:
            self.decode(held[keep:])


def quantise(
    source: Path, target: Path, file_type: int, threads: int, beat: Callable[[int, int], None]
) -> None:
    """Write `source` to `target` in another quantisation.

    Args:
        source: A GGUF file of any quantisation; going from a coarse one to a fine one adds nothing.
        target: Is overwritten; half of it may be there after an error.
        file_type: As `gguf_types.FILE_TYPES` numbers them.
        threads: To compute with.
        beat: Called with the tensors done and their number.

    Raises:
        ModelError: llama.cpp cannot do it, or the disk is full.
    """

    @llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
    def follow(_level: int, text: bytes, _data: object) -> None:
        counted = _COUNTED.match(text)
        if counted:
            beat(int(counted[1]), int(counted[2]))

    llama_cpp.llama_log_set(follow, None)
    llama_cpp.llama_backend_init()
    params = llama_cpp.llama_model_quantize_default_params()
    params.allow_requantize = True
    params.ftype = file_type
    params.nthread = threads
    try:
        status = llama_cpp.llama_model_quantize(
            os.fsencode(source), os.fsencode(target), ctypes.byref(params)
        )
    finally:
        llama_cpp.llama_log_set(drop_log, None)
    if status:
        raise ModelError(f"llama.cpp could not write the model in another quantisation (status {status})")
