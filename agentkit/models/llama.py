"""A model that llama.cpp has loaded: its weights, its vocabulary and what its file says.

With `agentkit.models.decoder` and `agentkit.models.sampler` this is all that touches llama.cpp, and it runs only inside
the engine worker.
Covered: nothing is logged.
Not covered: a malformed model file may crash llama.cpp, and so may a build with broken kernels. That ends the
worker, not the program: nothing here runs in any other process.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp

from agentkit.errors import AgentkitError, EngineError, ModelError
from agentkit.models.base import CONSTRAINTS
from agentkit.models.build import build
from agentkit.models.gpu import GpuUse, check_cards

DEFAULT_CONTEXT_TOKENS = 4096
DEFAULT_STREAMS = 8
_SPLITS = {
    "none": llama_cpp.LLAMA_SPLIT_MODE_NONE,
    "layer": llama_cpp.LLAMA_SPLIT_MODE_LAYER,
    "row": llama_cpp.LLAMA_SPLIT_MODE_ROW,
}
KV_TYPES = {"f16": llama_cpp.GGML_TYPE_F16, "q8_0": llama_cpp.GGML_TYPE_Q8_0}


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
def drop_log(_level: int, _text: bytes, _data: object) -> None:
    """Drop what llama.cpp says: it may quote the model file, and standard error belongs to the user."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a model is loaded and its cache opened."""

    context_tokens: int | None = None
    """The window of one conversation; `None`: the smaller of 4096 and what the model was trained for."""
    cache_tokens: int | None = None
    """Tokens all conversations together may keep in the cache; `None`: one window."""
    streams: int = DEFAULT_STREAMS
    """How many generations may run at once, and how many conversations the cache may hold."""
    threads: int = 1
    flash_attention: bool = True
    repack: bool = True
    """Rearrange weights for this processor; some builds crash in it (see `agentkit.models.probe`)."""
    tool_format: str = "auto"
    """Name of the format for calls; `auto`: the one the chat template shows."""
    k_type: str = "f16"
    """How keys are kept; these three are checked by `agentkit.models.cache_levers`."""
    v_type: str = "f16"
    window: str = "recompute"
    constraint: str = CONSTRAINTS[0]
    """What binds calls and values: one of `agentkit.models.base.CONSTRAINTS`."""
    batch_tokens: int = 512
    """Tokens computed at once; more where all streams together could ask for more."""
    gpu: GpuUse = GpuUse()  # noqa: RUF009 - frozen


def place(params: Any, gpu: GpuUse) -> int:  # noqa: ANN401 - a struct of ctypes
    """Say in `params` which layers lie on graphics cards; return how many, -1 for all.

    Raises:
        ConfigError: There is no such card, or no build for one.
    """
    here = build()
    check_cards(gpu, [card.name for card in here.cards], offloads=here.offloads)
    params.n_gpu_layers = (-1 if here.cards else 0) if gpu.layers is None else gpu.layers
    params.split_mode = _SPLITS[gpu.split]
    params.main_gpu = gpu.main
    if gpu.shares:
        room = llama_cpp.llama_max_devices()
        params.tensor_split = (ctypes.c_float * room)(*gpu.shares[:room])  # params keeps it alive
    return int(params.n_gpu_layers)


class LlamaModel:
    """A loaded model."""

    def __init__(
        self, path: Path, settings: Settings, on_load: Callable[[float], None] = lambda _: None
    ) -> None:
        """Load `path`.

        Args:
            path: A GGUF file.
            settings: How to load it.
            on_load: Called with the fraction loaded, 0 to 1.

        Raises:
            ConfigError: It is to lie on a graphics card that is not there.
            ModelError: llama.cpp refused the file.
        """
        llama_cpp.llama_log_set(drop_log, None)
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        params.use_extra_bufts = settings.repack
        self.gpu_layers = place(params, settings.gpu)
        """How many layers were to lie on graphics cards; -1: all."""

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
        self._adapters: dict[str, Any] = {}
        self._piece = ctypes.create_string_buffer(1024)
        self._pieces: dict[tuple[int, bool], bytes] = {}

    def load_adapter(self, name: str, path: Path) -> None:
        """Load a LoRA adapter; it was checked before (`agentkit.models.adapters`).

        Raises:
            ModelError: llama.cpp refused the file.
        """
        pointer = llama_cpp.llama_adapter_lora_init(self._model, os.fsencode(path))
        if not pointer:
            raise ModelError(f"llama.cpp cannot load the adapter {name}")
        self._adapters[name] = pointer

    def adapter(self, name: str) -> Any:  # noqa: ANN401 - an opaque pointer of ctypes
        """Return a loaded adapter, for `agentkit.models.decoder`."""
        return self._adapters[name]

    def close(self) -> None:
        """Free the model and its adapters; what was opened on it is closed before."""
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
        known = self._pieces.get((token, special))
        if known is not None:
            return known
        length = llama_cpp.llama_token_to_piece(self._vocab, token, self._piece, len(self._piece), 0, special)
        if length < 0:
            self._piece = ctypes.create_string_buffer(-length)
            length = llama_cpp.llama_token_to_piece(self._vocab, token, self._piece, -length, 0, special)
        piece = self._pieces[token, special] = self._piece.raw[: max(0, length)]
        return piece

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
    def pointer(self) -> Any:  # noqa: ANN401 - an opaque pointer of ctypes
        """The model, for `agentkit.models.decoder`."""
        return self._model

    @property
    def vocabulary_pointer(self) -> int:
        """Address of the vocabulary, for llguidance."""
        return int(self._vocab)

    @property
    def tokenise_pointer(self) -> int | None:
        """Address of `llama_tokenize`, for llguidance."""
        return ctypes.cast(llama_cpp.llama_cpp._lib.llama_tokenize, ctypes.c_void_p).value  # noqa: SLF001 - the only way to it
