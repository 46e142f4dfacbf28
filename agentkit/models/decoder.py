"""One context of llama.cpp: decodes batches in which several sequences take part, and edits their cache.

It keeps a ledger per sequence, the tokens whose keys and values are in the cache; everything else is derived from
those. The cache is unified: sequences share its cells, and a prefix copied from one to another costs nothing.
Covered: only asked-for rows of logits are kept; `seq_rm` is never believed without its answer; a decode that was
stopped or failed leaves the ledgers true.
Not covered: which sequence to use for what (`agentkit.models.slots`).
"""

from __future__ import annotations

import ctypes
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from agentkit.errors import ConfigError, EngineError, ModelError
from agentkit.models.adapters import Applied
from agentkit.models.cache_log import CacheLog
from agentkit.models.llama import DEFAULT_CONTEXT_TOKENS, KV_TYPES, LlamaModel, Settings

MIN_SLICE = 16
"""A sequence adds at most so many tokens to a step and is still not taken for one that reads a prompt."""
_ABORTED = 2  # `llama_decode`: the abort callback said so
_NO_ROOM = 1
_LOOK_SECONDS = 0.02
"""How often a watched decode asks whether to stop."""

Watch = Callable[[], bool]
"""Called often while the engine computes; true means stop now."""


class Aborted(EngineError):  # noqa: N818 - asked for, not a failure
    """A `Watch` stopped a decode."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one sequence adds to a batch."""

    sequence: int
    tokens: Sequence[int]
    """Not empty; they follow what the cache holds of the sequence."""
    logits: bool
    """Whether the logits behind the last of them are wanted."""


class Decoder:
    """A context, its cache and its ledgers."""

    def __init__(self, model: LlamaModel, settings: Settings) -> None:
        """Open a context on `model`.

        Raises:
            ConfigError: The window is longer than the model was trained for, or the cache smaller than a window.
            ModelError: The context does not fit into memory.
        """
        self._model = model
        self._settings = settings
        self.flash_attention = settings.flash_attention
        self.window_tokens = _window(model, settings)
        self.batch_tokens = max(settings.batch_tokens, MIN_SLICE * settings.streams)
        """The most tokens of one decode: there is room for every sequence in it."""
        self._context = self._open()
        self.cache_tokens: int = llama_cpp.llama_n_ctx(self._context)
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = _Batch(self.batch_tokens)
        self._rows: dict[int, int] = {}
        self._row = ctypes.c_float * model.vocabulary_size
        self._adapter: Applied | None = None
        self._cell = itertools.count()
        self.log = CacheLog()
        """What was done to the cache; whoever edits it says so there."""
        self.tokens: list[list[int]] = [[] for _ in range(settings.streams)]
        """The ledgers: what the cache holds of each sequence."""
        self._cells: list[list[int]] = [[] for _ in range(settings.streams)]
        # A swa or recurrent cache forgets on its own: what it shares could be gone when it is needed.
        self._forgets: int = llama_cpp.llama_model_n_swa(model.pointer)
        self._recurrent = bool(
            llama_cpp.llama_model_is_recurrent(model.pointer)
            or llama_cpp.llama_model_is_hybrid(model.pointer)
        )
        self.shares = not self._forgets and not self._recurrent
        """Whether a prefix can be copied from one sequence to another."""
        self.shifts = (
            settings.window == "shift"
            and self.shares
            and bool(
                llama_cpp.llama_memory_can_shift(self._memory)
            )  # where it cannot, asking would end the process
        )
        """Whether tokens can leave from the middle of a sequence, and are to."""

    def _open(self) -> Any:  # noqa: ANN401 - an opaque pointer of ctypes
        settings, params = self._settings, llama_cpp.llama_context_default_params()
        params.n_ctx = settings.cache_tokens or self.window_tokens
        if params.n_ctx < self.window_tokens:
            raise ConfigError(
                f"a cache of {params.n_ctx} tokens does not hold a window of {self.window_tokens}",
                hint=f"give it at least {self.window_tokens}",
            )
        params.n_batch = params.n_ubatch = self.batch_tokens  # a batch is computed whole, or not at all
        params.n_seq_max = params.n_outputs_max = settings.streams
        params.n_outputs_max_per_seq = 1  # one row of logits a sequence, never one a token
        params.kv_unified = True
        params.n_threads = params.n_threads_batch = settings.threads
        params.no_perf = True
        params.type_k, params.type_v = KV_TYPES[settings.k_type], KV_TYPES[settings.v_type]
        for flash in (settings.flash_attention, False) if settings.v_type == "f16" else (True,):
            params.flash_attn_type = (
                llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED if flash else llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
            )
            context = llama_cpp.llama_init_from_model(self._model.pointer, params)
            if context:
                self.flash_attention = flash
                return context
        if settings.v_type != "f16":
            raise ConfigError(
                f"values cannot be kept as {settings.v_type}: this model allows no flash attention",
                hint="keep values as f16",
            )
        raise ModelError(
            f"a context of {params.n_ctx} tokens cannot be opened",
            hint="agentkit models levers MODEL --context 2048",
        )

    def close(self) -> None:
        """Free the context."""
        llama_cpp.llama_free(self._context)

    def adapt(self, adapter: Applied | None) -> None:
        """Compute with this adapter from now on; the cache stays, and who uses it is for `Slots` to see to."""
        if adapter == self._adapter:
            return  # a change costs llama.cpp a new graph
        count = 0 if adapter is None else 1
        pointers, scales = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(), (ctypes.c_float * 1)()
        if adapter is not None:
            pointers[0], scales[0] = self._model.adapter(adapter.name), adapter.scale
        llama_cpp.llama_set_adapters_lora(self._context, pointers, count, scales)
        self._adapter = adapter

    # --- decoding -----------------------------------------------------------------------------------

    def decode(self, pieces: Sequence[Piece], watch: Watch | None = None) -> None:
        """Append to several sequences at once; the logits asked for are then there.

        Args:
            pieces: At most one a sequence, and at most `batch_tokens` together.
            watch: Asked now and then whether to stop; costs a little, so only for long decodes.

        Raises:
            Aborted: `watch` said stop; the ledgers are as before, or empty where the cache cannot step back.
            EngineError: llama.cpp failed; likewise.
        """
        self._rows = self._batch.fill(pieces, self.tokens)
        said = [(piece.sequence, len(piece.tokens), piece.logits) for piece in pieces]
        failures: list[BaseException] = []
        with self._watched(watch, failures):
            status = llama_cpp.llama_decode(self._context, self._batch.struct)
        if status == 0:
            self.log.decoded(said)
            for piece in pieces:
                self.tokens[piece.sequence].extend(piece.tokens)
                self._cells[piece.sequence].extend(itertools.islice(self._cell, len(piece.tokens)))
            return
        self._rows = {}
        if status == _ABORTED:
            self.log.decoded(said)
        else:
            self.log.lose()
        for piece in pieces:
            self.log.kept(piece.sequence, len(self.tokens[piece.sequence]))
            self.keep(piece.sequence, len(self.tokens[piece.sequence]))
        if failures:
            raise failures[0]
        if status == _ABORTED:
            raise Aborted("the decode was stopped")
        if status == _NO_ROOM:
            raise EngineError(f"the cache of {self.cache_tokens} tokens is full")
        raise EngineError(f"llama.cpp failed to decode {self._batch.size} tokens (status {status})")

    @contextmanager
    def _watched(self, watch: Watch | None, failures: list[BaseException]) -> Iterator[None]:
        if watch is None:
            yield
            return
        looked = 0.0
        stopping = False

        def stop(
            _data: object,
        ) -> bool:  # called for every node of the graph, from one of the computing threads
            nonlocal looked, stopping
            now = time.monotonic()
            if now - looked < _LOOK_SECONDS:
                return stopping
            looked = now
            try:
                stopping = watch()
            except BaseException as error:  # noqa: BLE001 - ctypes would print and drop it; `decode` raises it
                failures.append(error)
                stopping = True
            return stopping

        callback = llama_cpp.ggml_abort_callback(stop)
        llama_cpp.llama_set_abort_callback(self._context, callback, None)
        try:
            yield
        finally:
            llama_cpp.llama_set_abort_callback(self._context, llama_cpp.ggml_abort_callback(), None)

    def logits(self, sequence: int) -> NDArray[np.float32]:
        """Return the logits behind the last token of `sequence`: a view, valid until the next decode."""
        row = llama_cpp.llama_get_logits_ith(self._context, self._rows[sequence])
        if not row:
            raise EngineError("llama.cpp kept no logits")
        # `np.ctypeslib.as_array` says the same and takes ten times as long
        held = self._row.from_address(ctypes.addressof(row.contents))
        return np.frombuffer(memoryview(held), np.float32)

    # --- the cache ----------------------------------------------------------------------------------

    def state_bytes(self, sequence: int) -> int:
        """Return how many bytes the state of `sequence` has when it is taken out of the cache."""
        return int(llama_cpp.llama_state_seq_get_size(self._context, sequence))

    def write_state(self, sequence: int, address: int, size: int) -> int:
        """Write the state of `sequence` to memory; return how many bytes that took, 0 for a failure."""
        room = ctypes.cast(address, ctypes.POINTER(ctypes.c_uint8))
        return int(llama_cpp.llama_state_seq_get_data(self._context, room, size, sequence))

    def read_state(self, sequence: int, address: int, size: int, tokens: Sequence[int]) -> bool:
        """Fill the empty `sequence` from memory, `tokens` being its ledger; it stays empty on a failure."""
        room = ctypes.cast(address, ctypes.POINTER(ctypes.c_uint8))
        self.log.lose()  # nobody knows how it was computed
        taken = llama_cpp.llama_state_seq_set_data(self._context, room, size, sequence)
        last = llama_cpp.llama_memory_seq_pos_max(self._memory, sequence)
        self.tokens[sequence].extend(tokens)
        self._cells[sequence].extend(itertools.islice(self._cell, len(tokens)))
        if taken != size or last != len(tokens) - 1:
            self.keep(sequence, 0)
            return False
        return True

    def keep(self, sequence: int, count: int) -> None:
        """Drop everything of `sequence` behind its first `count` tokens; drop all where the cache cannot do that."""
        ledger = self.tokens[sequence]
        held = len(ledger)
        if count and not self._can_go_on_from(sequence, count):
            count = 0
        if count and not llama_cpp.llama_memory_seq_rm(self._memory, sequence, count, -1):
            count = 0
        if not count:
            llama_cpp.llama_memory_seq_rm(self._memory, sequence, -1, -1)  # a whole one never fails
        del ledger[count:], self._cells[sequence][count:]
        if not any(self.tokens):  # so that what comes next lies as in a fresh context
            llama_cpp.llama_memory_clear(self._memory, False)
            self.log.clear()
        elif count < held:
            self.log.kept(sequence, count)

    def _can_go_on_from(self, sequence: int, count: int) -> bool:
        """Return whether the cache still has what token `count` has to look back at."""
        if not self._forgets:
            return True
        oldest: int = llama_cpp.llama_memory_seq_pos_min(self._memory, sequence)
        return 0 <= oldest <= max(0, count - self._forgets)

    def shift(self, sequence: int, start: int, count: int) -> bool:
        """Let `count` tokens from `start` on leave, and move up what follows; return whether the cache could do it."""
        behind = set(self._cells[sequence][start + count :])
        others = (cells for other, cells in enumerate(self._cells) if other != sequence)
        if not self.shifts or any(not behind.isdisjoint(cells) for cells in others):
            return False  # a cell has one position: what is shared would move for the others, too
        if not llama_cpp.llama_memory_seq_rm(self._memory, sequence, start, start + count):
            return False
        llama_cpp.llama_memory_seq_add(self._memory, sequence, start + count, -1, -count)
        self.log.lose()  # what is there now is what no batch computed
        del self.tokens[sequence][start : start + count], self._cells[sequence][start : start + count]
        return True

    def copy(self, source: int, target: int, count: int) -> None:
        """Let the empty sequence `target` begin with the first `count` tokens of `source`; no cell is used for it."""
        if not self.shares or self.tokens[target]:
            raise EngineError("this prefix cannot be shared")
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, 0, count)
        self.log.copied(source, target, count)
        self.tokens[target] = self.tokens[source][:count]
        self._cells[target] = self._cells[source][:count]

    def used(self, without: Sequence[int] = ()) -> int:
        """Return how many cells hold something; `without` as if those sequences were empty."""
        held: set[int] = set()
        for sequence, cells in enumerate(self._cells):
            if sequence not in without:
                held.update(cells)
        return len(held)


def _window(model: LlamaModel, settings: Settings) -> int:
    trained = model.trained_tokens
    window = settings.context_tokens
    if window is None:
        return min(DEFAULT_CONTEXT_TOKENS, trained)
    if not 0 < window <= trained:
        raise ConfigError(
            f"a context of {window} tokens is outside what the model was trained for (1 to {trained})",
            hint=f"agentkit models levers MODEL --context {min(DEFAULT_CONTEXT_TOKENS, trained)}",
        )
    return window


class _Batch:
    """A `llama_batch` over arrays of ours, so that filling it is a few copies and not a loop over tokens."""

    def __init__(self, tokens: int) -> None:
        self._token = np.zeros(tokens, np.int32)
        self._pos = np.zeros(tokens, np.int32)
        self._sequence = np.zeros(tokens, np.int32)
        self._count = np.ones(tokens, np.int32)
        self._logits = np.zeros(tokens, np.int8)
        item = self._sequence.itemsize
        self._pointers = self._sequence.ctypes.data + item * np.arange(tokens, dtype=np.uintp)
        self.size = 0
        struct = llama_cpp.llama_batch()
        for name, array, kind in (
            ("token", self._token, ctypes.c_int32),
            ("pos", self._pos, ctypes.c_int32),
            ("n_seq_id", self._count, ctypes.c_int32),
            ("seq_id", self._pointers, ctypes.POINTER(ctypes.c_int32)),
            ("logits", self._logits, ctypes.c_int8),
        ):
            setattr(struct, name, ctypes.cast(array.ctypes.data, ctypes.POINTER(kind)))
        self.struct = struct

    def fill(self, pieces: Sequence[Piece], ledgers: Sequence[Sequence[int]]) -> dict[int, int]:
        """Take in `pieces`; return for each sequence that wants logits the row they will be behind."""
        rows: dict[int, int] = {}
        start = 0
        for piece in pieces:
            end = start + len(piece.tokens)
            position = len(ledgers[piece.sequence])
            self._token[start:end] = piece.tokens
            self._pos[start:end] = np.arange(position, position + end - start)
            self._sequence[start:end] = piece.sequence
            self._logits[start:end] = 0
            if piece.logits:
                self._logits[end - 1] = 1
                rows[piece.sequence] = end - 1
            start = end
        self.size = self.struct.n_tokens = start
        return rows
