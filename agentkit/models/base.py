"""The `Model` seam: messages in, text and tool calls out."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from agentkit.messages import Message, ToolCall, ToolSpec, Usage

CONSTRAINTS = ("llguidance", "gbnf")
"""What can bind a text to a grammar; the first is used unless another one is asked for."""
MAX_BIASES = 1024
MAX_BIAS = 100


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn. Every value is a lever a user may hold."""

    temperature: float = 0.0
    """0 is greedy; at most 5."""
    top_k: int = 0
    """0 is off."""
    top_p: float = 1.0
    """In (0, 1]; 1 is off."""
    min_p: float = 0.0
    """In [0, 1); 0 is off."""
    typical_p: float = 1.0
    """In (0, 1]; 1 is off."""
    xtc_probability: float = 0.0
    """In [0, 1]; how often the likeliest choices are left out. 0 is off."""
    xtc_threshold: float = 0.1
    """In [0, 0.5]; which choices count as likely for XTC."""
    repeat_penalty: float = 1.0
    """In [1, 2]; 1 is off."""
    frequency_penalty: float = 0.0
    """In [-2, 2], for each time a token came before; 0 is off."""
    presence_penalty: float = 0.0
    """In [-2, 2], once for a token that came before; 0 is off."""
    penalty_tokens: int = 64
    """How many of the last tokens the three penalties look at."""
    dry_multiplier: float = 0.0
    """In [0, 5]; punishes repeated runs of tokens. 0 is off."""
    dry_base: float = 1.75
    """In [1, 4]; how fast that grows with the length of the run."""
    dry_allowed_length: int = 2
    """Runs up to this many tokens are let pass."""
    dry_tokens: int = 1024
    """How many of the last tokens DRY looks at."""
    mirostat: int = 0
    """1 or 2: hold the surprise of the text steady, instead of all that cuts the tail off. 0 is off."""
    mirostat_tau: float = 5.0
    """In [0, 20]; the surprise to hold, in bits."""
    mirostat_eta: float = 0.1
    """In (0, 1]; how fast it is corrected."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """Token id and what is added to its logit, in [-100, 100]; at most 1024."""
    seed: int = 0
    """Same seed, same draw, on the same machine and prompt state."""
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    """The text ends before the first of these."""
    alternatives: int = 0
    """In [0, 20]; how many of the likeliest tokens to name beside each that was chosen."""
    grammar: bool = True
    """Bind calls and values to their grammar. Without it they are only checked when they are written, and refused
    where they are invalid: for measuring what the grammar is worth."""
    adapter: str | None = None
    """The name of a LoRA adapter the engine was given; `None`: the model as it is."""
    adapter_scale: float = 1.0
    """In [-4, 4]; how strongly the adapter works. 0 is off."""
    reproducible: bool = False
    """Compute it alone, from nothing, without flash attention and in fixed batches, so that it repeats bit for bit
    on this machine; slower, and other answers wait."""

    def __post_init__(self) -> None:
        """Refuse values llama.cpp would accept and turn into nonsense."""
        ranges = (
            ("temperature", 0.0, 5.0),
            ("top_k", 0, 1_000_000),
            ("top_p", 1e-6, 1.0),
            ("min_p", 0.0, 0.999),
            ("typical_p", 1e-6, 1.0),
            ("xtc_probability", 0.0, 1.0),
            ("xtc_threshold", 0.0, 0.5),
            ("repeat_penalty", 1.0, 2.0),
            ("frequency_penalty", -2.0, 2.0),
            ("presence_penalty", -2.0, 2.0),
            ("penalty_tokens", 0, 100_000),
            ("dry_multiplier", 0.0, 5.0),
            ("dry_base", 1.0, 4.0),
            ("dry_allowed_length", 1, 1_000),
            ("dry_tokens", 0, 100_000),
            ("mirostat", 0, 2),
            ("mirostat_tau", 0.0, 20.0),
            ("mirostat_eta", 1e-6, 1.0),
            ("seed", 0, 2**32 - 1),
            ("max_tokens", 1, 1_000_000),
            ("alternatives", 0, 20),
            ("adapter_scale", -4.0, 4.0),
        )
        for name, low, high in ranges:
            value = getattr(self, name)
            whole = isinstance(low, int)
            # ctypes takes no 40.0 for 40
            if type(value) is not int and (whole or not isinstance(value, float)):
                what = value if isinstance(value, (int, float)) else f"of type {type(value).__name__}"
                raise ValueError(f"{name} is {what}, and has to be {'an int' if whole else 'a number'}")
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}, outside {low} to {high}")
        for name in ("reproducible", "grammar"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is neither true nor false")
        if not isinstance(self.stop, tuple) or not all(isinstance(each, str) for each in self.stop):
            raise ValueError("stop is no tuple of texts")
        if len(self.logit_bias) > MAX_BIASES:
            raise ValueError(f"logit_bias names {len(self.logit_bias)} tokens, more than {MAX_BIASES}")
        for token, bias in self.logit_bias:
            if type(token) is not int or token < 0 or not -MAX_BIAS <= bias <= MAX_BIAS:
                raise ValueError(f"logit_bias of token {token} is {bias}, outside -{MAX_BIAS} to {MAX_BIAS}")


GREEDY = Sampling()
"""The likeliest token every time, and no lever beside it."""


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether the model may, must not, or must call a tool."""

    mode: str = "auto"
    """`none`, `auto` (free text, or calls after the trigger), `required` (one or more calls) or `named`."""
    name: str | None = None
    """The tool to call, for `named`."""

    def __post_init__(self) -> None:
        """Refuse a choice that says nothing."""
        if self.mode not in ("none", "auto", "required", "named") or (self.name is None) is (
            self.mode == "named"
        ):
            raise ValueError("a tool choice is none, auto, required, or named with the name of a tool")

    @classmethod
    def of(cls, value: object) -> ToolChoice:
        """Read a choice as callers write it: `none`, `auto`, `required`, or `{"name": TOOL}`.

        Raises:
            ValueError: It is none of them.
        """
        match value:
            case "none" | "auto" | "required":
                return cls(str(value))
            case {"name": str(name), **rest} if not rest:
                return cls("named", name)
        raise ValueError("a tool choice is none, auto, required, or the name of a tool")

    @classmethod
    def named(cls, name: str) -> ToolChoice:
        """Require a call of the tool `name`."""
        return cls("named", name)


NONE = ToolChoice("none")
AUTO = ToolChoice("auto")
REQUIRED = ToolChoice("required")


class StopReason(StrEnum):
    """Why a completion ended."""

    END = "end"
    """The model ended it."""
    STOP = "stop"
    """A stop string."""
    LENGTH = "length"
    """`max_tokens`, or the window was full."""
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class TokenSignal:
    """What the model thought of one token it chose, from its logits before any grammar, penalty or temperature."""

    token: int
    text: str
    """With U+FFFD where the token is only part of a character."""
    log_probability: float
    entropy: float
    """Of the whole distribution, in nats."""
    removed: float | None = None
    """The probability of all tokens the grammar forbade here; `None` where looking would have cost too much."""
    alternatives: tuple[tuple[str, float], ...] = ()
    """The likeliest tokens with their log-probabilities, as many as `Sampling.alternatives`."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the calls, or the value, that a model wrote count for nothing."""

    reason: str
    """Says where it is wrong, never what was written."""
    calls: tuple[ToolCall, ...] = ()
    """As written, to show the model again and never to run; empty where they could not be read."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One generation."""

    text: str
    """Without the calls."""
    calls: tuple[ToolCall, ...]
    """All of them valid: one invalid call of a message spoils the others."""
    stop: StopReason
    usage: Usage = field(default_factory=Usage)
    mean_logprob: float | None = None
    """Mean log-probability of the sampled tokens, from unmasked logits; `None` where unknown."""
    signals: tuple[TokenSignal, ...] = ()
    """One for each token the model chose; those a grammar left no choice about have none. Empty where unknown."""
    record: bytes | None = field(default=None, repr=False, compare=False)
    """How it was computed, without any text, for `Engine.complete(replay=…)`; `None` where that is not known."""
    refused: Refusal | None = None
    """Set where it wrote calls that are invalid or break off, or a value that is not of the schema asked for."""


Stream = Generator[str, None, Completion]
"""Yields text as it is generated (never the markup of a call); returns the `Completion`."""


def finish(stream: Stream) -> Completion:
    """Read a stream to its end, and return what it came to."""
    try:
        while True:
            next(stream)
    except StopIteration as end:
        completion: Completion = end.value
        return completion
    finally:
        stream.close()


class Model(Protocol):
    """A language model with a chat template and a token counter."""

    @property
    def name(self) -> str:
        """As in the catalogue or store."""
        ...

    @property
    def context_tokens(self) -> int:
        """Size of the window: prompt and completion together."""
        ...

    def count(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> int:
        """Count the tokens of the whole prompt, chat template and tool block included."""
        ...

    def count_text(self, text: str) -> int:
        """Count the tokens of a bare text."""
        ...

    def complete(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        choice: ToolChoice = NONE,
        sampling: Sampling | None = None,
        schema: dict[str, Any] | None = None,
    ) -> Stream:
        """Generate the next assistant message.

        Args:
            messages: Oldest first; must fit, together with `max_tokens`.
            tools: What the model may call.
            choice: Whether it may, must not or must.
            sampling: Default: greedy.
            schema: Bind the whole text to this JSON Schema; never together with tools.

        Raises:
            ContextOverflowError: Prompt and `max_tokens` exceed the window.
            EngineError: The worker failed; nothing of the completion is kept.

        Closing the generator cancels the generation.
        """
        ...

    def close(self) -> None:
        """Free what the model holds; safe to call twice."""
        ...
