"""The one file that touches llama.cpp; it runs only inside the engine worker.

It holds one model, one context and one sequence, and keeps a ledger of the tokens whose keys and values are in
the cache, so that the next prompt costs only what is new in it.
Covered: only one row of logits is ever kept; nothing is logged; no sampler is NULL; `seq_rm` is never believed
without its answer.
Not covered: a malformed model file may crash llama.cpp, and so may a build with broken kernels. That ends the
worker, not the program: nothing here runs in any other process.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from agentkit.errors import AgentkitError, ConfigError, EngineError, ModelError
from agentkit.models.base import Sampling

BATCH_TOKENS = 512
PENALTY_WINDOW = 64
"""How many of the last tokens a repeat penalty looks at."""
_ABORTED = 2  # `llama_decode`: the abort callback said so

Watch = Callable[[], bool]
"""Called often while the engine computes; true means stop now."""


class Aborted(EngineError):  # noqa: N818 - asked for, not a failure
    """A `Watch` stopped a decode."""


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
def _drop_log(_level: int, _text: bytes, _data: object) -> None:
    """Drop what llama.cpp says: it may quote the model file, and standard error belongs to the user."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a model is loaded."""

    context_tokens: int | None = None
    """`None`: the smaller of 4096 and what the model was trained for."""
    threads: int = 1
    flash_attention: bool = True
    repack: bool = True
    """Rearrange weights for this processor; some builds crash in it (see `agentkit.models.probe`)."""


class LlamaModel:
    """A loaded model with its context."""

    def __init__(
        self, path: Path, settings: Settings, on_load: Callable[[float], None] = lambda _: None
    ) -> None:
        """Load `path`.

        Args:
            path: A GGUF file.
            settings: How to load it.
            on_load: Called with the fraction loaded, 0 to 1.

        Raises:
            ConfigError: The context is longer than the model was trained for.
            ModelError: llama.cpp refused the file, or the context does not fit into memory.
        """
        llama_cpp.llama_log_set(_drop_log, None)
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        params.use_extra_bufts = settings.repack

        def loading(fraction: float, _data: object) -> bool:
            try:
                on_load(fraction)
            except AgentkitError:  # nobody listens any more; ctypes would print it and go on
                return False
            return True

        params.progress_callback = llama_cpp.llama_progress_callback(loading)
        self._model = llama_cpp.llama_model_load_from_file(os.fsencode(path), params)
        if not self._model:
            raise ModelError("llama.cpp cannot load the model file", hint="agentkit models verify NAME")
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        if llama_cpp.llama_vocab_type(self._vocab) == llama_cpp.LLAMA_VOCAB_TYPE_NONE:
            raise ModelError("the model file has no vocabulary")
        if not llama_cpp.llama_model_has_decoder(self._model):
            raise ModelError(
                "the model cannot generate text", hint="choose a chat model, not an embedding model"
            )
        self.trained_tokens: int = llama_cpp.llama_model_n_ctx_train(self._model)
        self.vocabulary_size: int = llama_cpp.llama_vocab_n_tokens(self._vocab)
        self.flash_attention = settings.flash_attention
        self._context = self._open_context(settings)
        self.context_tokens: int = llama_cpp.llama_n_ctx(self._context)
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = llama_cpp.llama_batch_init(BATCH_TOKENS, 0, 1)
        self._piece = ctypes.create_string_buffer(1024)
        self.tokens: list[int] = []
        """The ledger: what the cache of the one sequence holds."""

    def _open_context(self, settings: Settings) -> Any:  # noqa: ANN401 - an opaque pointer of ctypes
        wanted = (
            min(4096, self.trained_tokens) if settings.context_tokens is None else settings.context_tokens
        )
        if not 0 < wanted <= self.trained_tokens:
            raise ConfigError(
                f"a context of {wanted} tokens is outside what the model was trained for (1 to {self.trained_tokens})",
                hint=f"--context {min(4096, self.trained_tokens)}",
            )
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = wanted
        params.n_batch = params.n_ubatch = BATCH_TOKENS
        params.n_seq_max = 1
        params.n_outputs_max = params.n_outputs_max_per_seq = 1  # one row of logits, never one a token
        params.n_threads = params.n_threads_batch = settings.threads
        params.no_perf = True
        for flash in (settings.flash_attention, False):
            params.flash_attn_type = (
                llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED if flash else llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
            )
            context = llama_cpp.llama_init_from_model(self._model, params)
            if context:
                self.flash_attention = flash
                return context
        raise ModelError(
            f"a context of {params.n_ctx} tokens cannot be opened", hint="choose a smaller --context"
        )

    def close(self) -> None:
        """Free the model."""
        llama_cpp.llama_batch_free(self._batch)
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    # --- what the file says -------------------------------------------------------------------------

    def metadata(self, key: str) -> str | None:
        """Return one value of the file's metadata, as text."""
        size = 4096
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = llama_cpp.llama_model_meta_val_str(self._model, key.encode(), buffer, size)
            if length < 0:
                return None
            if length < size:
                return buffer.raw[:length].decode("utf-8", "replace")
            size = length + 1

    def chat_template(self) -> str | None:
        """Return the chat template in the file."""
        text = llama_cpp.llama_model_chat_template(self._model, None)
        return None if text is None else text.decode("utf-8", "replace")

    # --- tokens -------------------------------------------------------------------------------------

    def tokenise(self, text: str, *, special: bool = False) -> list[int]:
        """Return the tokens of `text`; control tokens are recognised only where `special`."""
        data = text.encode("utf-8", "replace")
        room = len(data) + 16
        buffer = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(self._vocab, data, len(data), buffer, room, False, special)
        if count < 0:
            buffer = (llama_cpp.llama_token * -count)()
            count = llama_cpp.llama_tokenize(self._vocab, data, len(data), buffer, -count, False, special)
        if count < 0:
            raise EngineError(f"a text of {len(data)} bytes cannot be tokenised")
        return list(buffer[:count])

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """Return the bytes of `token`; a control token has some only where `special`."""
        length = llama_cpp.llama_token_to_piece(self._vocab, token, self._piece, len(self._piece), 0, special)
        if length < 0:
            self._piece = ctypes.create_string_buffer(-length)
            length = llama_cpp.llama_token_to_piece(self._vocab, token, self._piece, -length, 0, special)
        return self._piece.raw[: max(0, length)]

    def ends(self, token: int) -> bool:
        """Return whether `token` ends a generation."""
        return bool(llama_cpp.llama_vocab_is_eog(self._vocab, token))

    def is_control(self, token: int) -> bool:
        """Return whether `token` is one a text must never turn into."""
        marks = llama_cpp.LLAMA_TOKEN_ATTR_CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN
        return bool(llama_cpp.llama_vocab_get_attr(self._vocab, token) & marks)

    def is_user_defined(self, token: int) -> bool:
        """Return whether `token` is one the model's makers added beside the control tokens."""
        return bool(
            llama_cpp.llama_vocab_get_attr(self._vocab, token) & llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED
        )

    @property
    def adds_bos(self) -> bool:
        """Whether every prompt has to start with `bos`."""
        return bool(llama_cpp.llama_vocab_get_add_bos(self._vocab))

    @property
    def bos(self) -> int:
        """The token that starts a text; -1 where there is none."""
        return int(llama_cpp.llama_vocab_bos(self._vocab))

    @property
    def eos(self) -> int:
        """The token that ends a text; -1 where there is none."""
        return int(llama_cpp.llama_vocab_eos(self._vocab))

    @property
    def vocabulary_pointer(self) -> int:
        """Address of the vocabulary, for llguidance."""
        return int(self._vocab)

    @property
    def tokenise_pointer(self) -> int | None:
        """Address of `llama_tokenize`, for llguidance."""
        return ctypes.cast(llama_cpp.llama_cpp._lib.llama_tokenize, ctypes.c_void_p).value  # noqa: SLF001 - the only way to it

    # --- decoding -----------------------------------------------------------------------------------

    def reuse(self, prompt: Sequence[int]) -> int:
        """Keep what the cache shares with `prompt` and drop the rest; return how many tokens stay.

        At least one token of the prompt is left to decode, since the cache holds no logits.
        """
        shared = 0
        for ours, theirs in zip(self.tokens, prompt[:-1], strict=False):
            if ours != theirs:
                break
            shared += 1
        self.keep(shared)
        return len(self.tokens)

    def keep(self, count: int) -> None:
        """Drop everything behind the first `count` tokens; drop all of it where the cache cannot do that."""
        if not llama_cpp.llama_memory_seq_rm(self._memory, 0, count, -1):
            llama_cpp.llama_memory_clear(self._memory, True)
            count = 0
        del self.tokens[count:]

    def decode(self, tokens: Sequence[int], watch: Watch | None = None) -> None:
        """Append `tokens` to the sequence; the logits are then those behind the last one.

        Raises:
            Aborted: `watch` said stop; the ledger says how far it came.
            EngineError: llama.cpp failed.
        """
        with self._watched(watch):
            for start in range(0, len(tokens), BATCH_TOKENS):
                self._decode_batch(
                    tokens[start : start + BATCH_TOKENS], last=start + BATCH_TOKENS >= len(tokens)
                )

    def _decode_batch(self, tokens: Sequence[int], *, last: bool) -> None:
        batch, position = self._batch, len(self.tokens)
        for index, token in enumerate(tokens):
            batch.token[index] = token
            batch.pos[index] = position + index
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = 0
            batch.logits[index] = 0
        batch.n_tokens = len(tokens)
        batch.logits[len(tokens) - 1] = last
        status = llama_cpp.llama_decode(self._context, batch)
        if status == 0:
            self.tokens.extend(tokens)
            return
        self.keep(position)  # part of the batch may be in the cache
        if status == _ABORTED:
            raise Aborted("the decode was stopped")
        raise EngineError(f"llama.cpp failed to decode {len(tokens)} tokens (status {status})")

    @contextmanager
    def _watched(self, watch: Watch | None) -> Iterator[None]:
        if watch is None:
            yield
            return
        failures: list[BaseException] = []

        def stop(_data: object) -> bool:
            try:
                return watch()
            except BaseException as error:  # noqa: BLE001 - ctypes would print and drop it; it is raised below
                failures.append(error)
                return True

        callback = llama_cpp.ggml_abort_callback(stop)
        llama_cpp.llama_set_abort_callback(self._context, callback, None)
        try:
            yield
        except Aborted:
            if failures:
                raise failures[0] from None
            raise
        finally:
            llama_cpp.llama_set_abort_callback(self._context, llama_cpp.ggml_abort_callback(), None)

    def logits(self) -> NDArray[np.float32]:
        """Return the logits behind the last token: a view, valid until the next decode."""
        row = llama_cpp.llama_get_logits_ith(self._context, -1)
        if not row:
            raise EngineError("llama.cpp kept no logits")
        return np.ctypeslib.as_array(row, shape=(self.vocabulary_size,))

    def sampler(self, sampling: Sampling) -> Sampler:
        """Return a sampler for one generation; close it after."""
        return Sampler(self.vocabulary_size, sampling)


_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


class Sampler:
    """Draws tokens from logits: a chain in C, or plain arg max where nothing else was asked for."""

    def __init__(self, vocabulary_size: int, sampling: Sampling) -> None:
        self.greedy = sampling.temperature == 0
        self._size = vocabulary_size
        self._chain = None
        if self.greedy and sampling.repeat_penalty == 1:
            return
        self._candidates = np.zeros(vocabulary_size, _CANDIDATE)
        self._ids = np.arange(vocabulary_size, dtype=np.int32)
        self._chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        links = []
        if sampling.repeat_penalty != 1:
            links.append(
                llama_cpp.llama_sampler_init_penalties(
                    vocabulary_size, PENALTY_WINDOW, sampling.repeat_penalty, 0.0, 0.0
                )
            )
        if self.greedy:
            links.append(llama_cpp.llama_sampler_init_greedy())
        else:
            if sampling.top_k:
                links.append(llama_cpp.llama_sampler_init_top_k(sampling.top_k))
            if sampling.top_p < 1:
                links.append(llama_cpp.llama_sampler_init_top_p(sampling.top_p, 1))
            if sampling.min_p:
                links.append(llama_cpp.llama_sampler_init_min_p(sampling.min_p, 1))
            links.append(llama_cpp.llama_sampler_init_temp(sampling.temperature))
            links.append(llama_cpp.llama_sampler_init_dist(sampling.seed))
        if not self._chain or not all(links):  # a NULL in the chain would end the process at the first draw
            raise EngineError("llama.cpp refused the sampling settings")
        for link in links:
            llama_cpp.llama_sampler_chain_add(self._chain, link)

    def draw(self, logits: NDArray[np.float32], allowed: NDArray[np.bool_] | None = None) -> int:
        """Return a token of `logits`, one of `allowed` where that is given."""
        if self._chain is None:
            return int(np.argmax(logits if allowed is None else np.where(allowed, logits, -np.inf)))
        candidates = self._candidates
        candidates["id"] = self._ids
        candidates["logit"] = logits if allowed is None else np.where(allowed, logits, -np.inf)
        candidates["p"] = 0
        array = llama_cpp.llama_token_data_array(
            data=candidates.ctypes.data_as(llama_cpp.llama_token_data_p),
            size=self._size,
            selected=-1,
            sorted=False,
        )
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


def log_probability(logits: NDArray[np.float32], token: int) -> float:
    """Return the log-probability of `token` under unmasked `logits`."""
    top = logits.max()
    return float(logits[token] - top - np.log(np.exp(logits - top).sum()))
