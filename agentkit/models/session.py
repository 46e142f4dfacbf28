"""A loaded model and all that is built once for it: decoder, template, guard, grammar. Lives in the worker."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agentkit.errors import ConfigError
from agentkit.messages import Message, Role, ToolSpec
from agentkit.models.adapters import Adapter, Applied, applied
from agentkit.models.base import Refusal, Sampling, StopReason, ToolChoice
from agentkit.models.cache_log import Record, digest
from agentkit.models.decoder import Decoder, Piece
from agentkit.models.generate import Generation, Outcome, check_fit
from agentkit.models.grammar import Backend, Constraint, backend_for, bind_schema, bind_tools
from agentkit.models.kv_transfer import Transfer
from agentkit.models.llama import LlamaModel, Settings
from agentkit.models.markup import Markup
from agentkit.models.probe import library_key
from agentkit.models.prompt import render_prompt
from agentkit.models.scheduler import Scheduler
from agentkit.models.signals import Reader
from agentkit.models.sliding import Window, kept
from agentkit.models.slots import common_prefix
from agentkit.models.template import GUARD, ChatTemplate
from agentkit.models.textstream import TextStream
from agentkit.models.validate import check_text, read_calls
from agentkit.models.vocabulary import Vocabulary

_WARM_TOKENS = 9
_POSITION_BYTES = 12
"""Of a token's state, what is not keys and values: its position and which sequence has it."""


@dataclass(frozen=True, slots=True)
class Request:
    """A completion on its way: what is generated, and what its text has to be."""

    generation: Generation
    adapter: Applied | None
    stream: TextStream
    tools: tuple[ToolSpec, ...]
    schema: dict[str, Any] | None

    @property
    def digest(self) -> str:
        """What a record of it is bound to: every token it was asked with, and how to draw."""
        return digest(self.generation.prompt, self.generation.sampling, self.adapter, self.schema)


class Session:
    """Prepares completions, concludes them, and counts, with one model."""

    def __init__(
        self,
        path: Path,
        settings: Settings,
        *,
        adapters: Mapping[str, Adapter],
        beat: Callable[[], None],
    ) -> None:
        """Load the model and its adapters, compile its template and decode a few tokens.

        Args:
            path: The model file.
            settings: How to load it.
            adapters: Adapters of the model by name, each checked and with its hash.
            beat: Called now and then meanwhile.

        Raises:
            ConfigError: The settings do not go with the model.
            ModelError: The file or its template cannot be used.
        """
        self._model = LlamaModel(path, settings, lambda _fraction: beat())
        for name, adapter in adapters.items():
            self._model.load_adapter(name, adapter.path)
        self._adapters = {name: adapter.sha256 or "" for name, adapter in adapters.items()}
        self._decoder = Decoder(self._model, settings)
        pinned = replace(
            settings,
            streams=1,
            cache_tokens=None,
            flash_attention=False,
            k_type="f16",
            v_type="f16",
            batch_tokens=512,
            window="recompute",
        )
        self.scheduler = Scheduler(
            self._decoder,
            pinned=lambda: Decoder(self._model, pinned),
            again=lambda: Decoder(self._model, settings),
        )
        self.states = Transfer(self._decoder, self.scheduler.slots)
        self._reader = Reader(self._model.vocabulary_size)
        self._settings = settings
        self._library = library_key()
        self._template = ChatTemplate(
            self._model.chat_template(),
            bos=self._text(self._model.bos),
            eos=self._text(self._model.eos),
            tool_format=settings.tool_format,
        )
        self._vocabulary = Vocabulary(self._model)
        self._markup = Markup(self._template, self._vocabulary)
        self._backend: Backend | None = None
        self._warm(beat)

    def _text(self, token: int) -> str:
        return self._model.piece(token, special=True).decode("utf-8", "replace") if token >= 0 else ""

    def _warm(self, beat: Callable[[], None]) -> None:
        """Decode a batch and a single token: a build with broken kernels dies here and not in a conversation."""

        def watch() -> bool:  # the weights of a large model are read from disk here, which takes time
            beat()
            return False

        size = self._model.vocabulary_size
        sizes = []
        for tokens in ([index % size for index in range(_WARM_TOKENS)], [0]):
            self._decoder.decode([Piece(0, tokens, logits=True)], watch)
            sizes.append(self._decoder.state_bytes(0))
        self._token_bytes = max(0, sizes[1] - sizes[0] - _POSITION_BYTES)
        self._decoder.keep(0, 0)

    def describe(self) -> dict[str, Any]:
        """Return what was loaded and how."""
        return {
            "model": self._model.metadata("general.name") or "",
            "context_tokens": self._decoder.window_tokens,
            "cache_tokens": self._decoder.cache_tokens,
            "streams": self._settings.streams,
            "trained_tokens": self._model.trained_tokens,
            "vocabulary": self._model.vocabulary_size,
            "template": self._template.fingerprint,
            "tool_format": self._template.format.name,
            "tool_format_reason": self._template.chosen.reason,
            "tool_format_native": self._template.chosen.native,
            "shows_system": self._template.shows_system,
            "threads": self._settings.threads,
            "flash_attention": self._decoder.flash_attention,
            "repack": self._settings.repack,
            "batch_tokens": self._decoder.batch_tokens,
            "gpu_layers": self._model.gpu_layers,
            "k_type": self._settings.k_type,
            "v_type": self._settings.v_type,
            "window": self._settings.window,
            "window_shifts": self._decoder.shifts,
            "kv_bytes_per_token": self._token_bytes,
            "constraint": self._settings.constraint,
        }

    def prompt(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> list[int]:
        """Return the tokens of the whole prompt.

        Raises:
            TemplateError: The chat template refused or failed.
        """
        return self._tokenise(self._render(messages, tools))

    def _render(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
        return render_prompt(self._template, self._markup.guard, messages, tools)

    def _tokenise(self, text: str) -> list[int]:
        tokens: list[int] = []
        for part in text.split(GUARD):  # see `Guard`
            tokens += self._model.tokenise(part, special=True)
        if self._model.adds_bos and tokens[:1] != [self._model.bos]:
            tokens.insert(0, self._model.bos)
        return tokens

    def piece(self, token: int) -> bytes:
        """Return the bytes of a token, as they stand in a text."""
        return self._model.piece(token)

    def count_text(self, text: str) -> int:
        """Return the number of tokens of a bare text, none of them a control token."""
        return len(self._model.tokenise(text))

    def prepare(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec],
        choice: ToolChoice,
        sampling: Sampling,
        schema: dict[str, Any] | None,
        show: Callable[[str], None],
    ) -> Request:
        """Make ready to generate the next message; see `Model.complete`.

        Raises:
            ContextOverflowError: Prompt and budget exceed the window.
            ConfigError: The tools or the schema cannot be bound, or there is no such adapter.
        """
        adapter = applied(sampling, self._adapters)
        self._check_biases(sampling)
        shown = schema is None and bool(tools)
        calls = shown and choice.mode != "none"
        free = schema is None and choice.mode in ("none", "auto")
        text = self._render(messages, tools)
        if not free:
            text += self._markup.unthinking(text, call=schema is None)
        thinking = free and self._markup.thinks(text)
        prompt = self._tokenise(text)
        window = self._window(messages, tools, prompt)
        # a sliding window needs room for the next token alone
        check_fit(len(prompt), 1 if window else sampling.max_tokens, self._decoder.window_tokens)
        held = tuple(
            tool if tool.narrowed is None else replace(tool, parameters=tool.narrowed) for tool in tools
        )
        constraint: Constraint | None = None
        if schema is not None:
            constraint = bind_schema(self._bound(), schema) if sampling.grammar else None
        elif calls and sampling.grammar:
            constraint = bind_tools(
                self._bound(),
                self._template.format,
                held,
                choice,
                envelope=self._template.envelope,
                thinking=thinking,
            )
        elif not calls and not free:
            raise ConfigError("a call is required, but there are no tools")
        stops = sampling.stop if schema is None else ()
        marked = shown or (schema is None and any(message.role is Role.TOOL for message in messages))
        stream = self._markup.stream(
            stops, tools=marked, calls=calls, results=marked, thoughts=free, thinking=thinking
        )
        generation = Generation(
            self._model,
            prompt,
            sampling,
            constraint=constraint,
            stream=stream,
            show=show,
            reader=self._reader,
            window=window,
            marks=self._markup.tokens,
        )
        return Request(generation, adapter, stream, held, schema)

    def _window(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], prompt: Sequence[int]
    ) -> Window | None:
        """Return how to go on when the window is full: system messages and tools stay, whatever leaves."""
        if self._settings.window != "shift":
            return None
        system = [message for message in messages if message.role is Role.SYSTEM]
        always = self.prompt([*system, Message.user("")], [tool for tool in tools if not tool.beside])
        common = common_prefix(always, prompt, min(len(always), len(prompt)))
        tokens = self._decoder.window_tokens
        return Window(tokens, kept(common, tokens))

    def _check_biases(self, sampling: Sampling) -> None:
        size = self._model.vocabulary_size
        for token, _ in sampling.logit_bias:
            if token >= size:
                raise ConfigError(f"logit_bias names token {token}, but the model has {size} tokens")

    def conclude(self, request: Request) -> Outcome:
        """Return what a finished generation came to, its calls read and checked.

        The grammar allows what a schema forbids only where llguidance does not know a keyword.
        """
        stream, outcome = request.stream, request.generation.outcome
        if outcome.stop is StopReason.CANCELLED:
            return outcome
        if stream.in_markup:
            salt = hashlib.blake2b(array("i", request.generation.prompt).tobytes()).digest()
            read = read_calls(self._template.format, stream.markup, request.tools, salt)
            if isinstance(read, Refusal):
                outcome.refused = read
            else:
                outcome.calls = read
        elif request.schema is not None:
            outcome.refused = check_text(stream.text, request.schema)
        return outcome

    def pack_record(self, request: Request) -> bytes | None:
        """Return how a finished generation was computed, for `unpack_record`; `None` where that is not known."""
        record = request.generation.outcome.record
        return None if record is None else record.pack(engine=self._digest(), request=request.digest)

    def unpack_record(self, data: bytes, request: Request) -> Record:
        """Read the record of this very request.

        Raises:
            ConfigError: It is damaged, or of another engine or request.
        """
        return Record.unpack(
            data,
            engine=self._digest(),
            request=request.digest,
            streams=self._settings.streams,
            batch_tokens=self._decoder.batch_tokens,
        )

    def _digest(self) -> str:
        """Return what a record is bound to: the model, the library, and all that shapes a computation."""
        said = [self._model.metadata(key) for key in ("general.name", "general.file_type")]
        return digest(said, self._model.vocabulary_size, self._library, self._settings)

    def _bound(self) -> Backend:
        if self._backend is None:
            self._backend = backend_for(self._vocabulary, self._settings.constraint)
        return self._backend
