"""Generate one message, one row of logits at a time: what the scheduler asks of each stream in a batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import ContextOverflowError, EngineError
from agentkit.messages import ToolCall
from agentkit.models.base import Refusal, Sampling, StopReason
from agentkit.models.cache_log import Record
from agentkit.models.grammar import Constraint
from agentkit.models.llama import LlamaModel
from agentkit.models.sampler import Sampler
from agentkit.models.signals import Reader, Signal
from agentkit.models.sliding import Window
from agentkit.models.textstream import TextStream

CHEAP_MASK_SECONDS = 0.0005
"""A grammar whose masks take longer is asked for one only when it refuses a token."""


@dataclass(slots=True)
class Outcome:
    """What a generation came to."""

    prompt_tokens: int
    stop: StopReason = StopReason.END
    calls: tuple[ToolCall, ...] = ()
    refused: Refusal | None = None
    reused_tokens: int = 0
    origin: str = "cold"
    """Where the reused tokens came from; see `agentkit.models.slots.Place`."""
    state_refused: bool = False
    """Whether llama.cpp did not take a saved state."""
    shifts: int = 0
    """How often the window was shifted for it, before and while it was written."""
    recomputed: int = 0
    """How often what the window keeps had to be computed again while it was written."""
    completion_tokens: int = 0
    forced_tokens: int = 0
    """Of `completion_tokens`, those the grammar left no choice about."""
    prefill_seconds: float = 0.0
    generate_seconds: float = 0.0
    signals: list[Signal] = field(default_factory=list)
    """One for each token the model chose."""
    record: Record | None = None
    """How it was computed, where that can be said."""


def check_fit(prompt_tokens: int, max_tokens: int, context_tokens: int) -> None:
    """Refuse a generation that could outgrow the window.

    Raises:
        ContextOverflowError: It could.
    """
    if prompt_tokens + max_tokens > context_tokens:
        raise ContextOverflowError(
            f"the prompt needs {prompt_tokens} tokens and the answer up to {max_tokens}, "
            f"but the window holds {context_tokens}",
            hint=f"agentkit models levers MODEL --context {prompt_tokens + max_tokens}, "
            "or allow fewer tokens for the answer",
        )


class Generation:
    """One generation, from prompt to stop.

    `tokens` is all that has to be in the cache before the next token can be drawn; whoever decodes compares it with
    what is there, and calls `advance` with the logits behind the last of them.
    """

    def __init__(
        self,
        model: LlamaModel,
        prompt: Sequence[int],
        sampling: Sampling,
        *,
        constraint: Constraint | None,
        stream: TextStream,
        show: Callable[[str], None],
        reader: Reader,
        window: Window | None = None,
        marks: Mapping[int, str] | None = None,
    ) -> None:
        """Prepare; nothing is drawn yet.

        Args:
            model: Whose tokens these are.
            prompt: All of it; not empty.
            sampling: How to draw.
            constraint: Which tokens may come; `None`: any.
            stream: Takes the bytes.
            show: Takes text as soon as it may be shown; never an empty one.
            reader: Reads what the logits say.
            window: How it goes on when the window is full; `None`: it was checked that this cannot happen.
            marks: Control tokens that mean something to `stream`, with their spelling.
        """
        self.prompt = tuple(prompt)
        self.tokens = list(prompt)
        self.sampling = sampling
        self.outcome = Outcome(prompt_tokens=len(prompt))
        self.stop: StopReason | None = None
        """Why it is over, once it is."""
        self.window = window
        self.reading = len(self.prompt)
        """It is at its prompt as long as the cache holds fewer tokens than this."""
        self._model = model
        self._constraint = constraint
        self._stream = stream
        self._show = show
        self._reader = reader
        self._marks = marks or {}
        self._sampler: Sampler | None = None
        self._started = 0.0
        self._first = 0.0
        self._mask_seconds = 0.0

    @property
    def reserve(self) -> int:
        """How many tokens prompt and answer may need together."""
        needed = len(self.prompt) + self.sampling.max_tokens
        return needed if self.window is None else min(needed, self.window.tokens)

    def let_go(self, start: int, count: int) -> None:
        """Go on without `count` tokens from `start` on: the window was full."""
        del self.tokens[start : start + count]
        self.reading = 0

    def start(self, reused_tokens: int, origin: str = "cold") -> None:
        """Say that decoding begins; what the grammar forces at the very start is decoded with the prompt."""
        self._started = time.perf_counter()
        self.outcome.reused_tokens, self.outcome.origin = reused_tokens, origin
        self._sampler = Sampler(self._model, self.sampling)
        self._go_on(self._forced())

    def advance(self, logits: NDArray[np.float32]) -> None:
        """Draw the next token from the logits behind `tokens`.

        Raises:
            EngineError: They are no numbers.
        """
        if not np.isfinite(logits.max()):
            raise EngineError("the model gives no numbers: its weights, or those of an adapter, are damaged")
        if not self._first:
            self._first = time.perf_counter()
        token, allowed = self._draw(logits)
        if self._model.ends(token):
            self.stop = StopReason.END
            return
        signal = self._reader.read(
            logits,
            token,
            allowed=self._look(allowed),
            bound=self._constraint is not None,
            alternatives=self.sampling.alternatives,
        )
        self.outcome.signals.append(signal)
        taken = [token]
        if self._constraint is not None:
            self._constraint.commit(token)
            taken += self._forced()
        self._go_on(taken)

    def finish(self, stop: StopReason | None = None) -> Outcome:
        """End it, for `stop` if it is not over by itself; return what it came to. Safe to call twice."""
        outcome = self.outcome
        outcome.stop = self.stop = self.stop or stop or StopReason.END
        if self._sampler is not None:
            self._sampler.close()
            self._sampler = None
            if rest := self._stream.finish():
                self._show(rest)
            now = time.perf_counter()
            outcome.prefill_seconds = (self._first or now) - self._started
            outcome.generate_seconds = now - (self._first or now)
        return outcome

    def _draw(self, logits: NDArray[np.float32]) -> tuple[int, NDArray[np.bool_] | None]:
        """Draw a token that may come; return it, and the mask where one had to be made.

        A greedy draw is checked first and masked only if refused, which comes to the same and is cheaper. So does any
        other draw from all tokens; but top-k and top-p have to see only what may come, and are masked first.
        """
        sampler, constraint = self._sampler, self._constraint
        if sampler is None:
            raise ValueError("start first")
        allowed = None
        if constraint is None:
            token = sampler.draw(logits)
        elif sampler.greedy or (constraint.costly_mask and sampler.draws_from_all):
            token = sampler.draw(logits)
            if not constraint.allowed(token):
                allowed = self._mask(constraint)
                token = sampler.draw(logits, allowed)
        else:
            allowed = self._mask(constraint)
            token = sampler.draw(logits, allowed)
        sampler.accept(token)
        return token, allowed

    def _look(self, allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        """Return the mask of this step for the signals, if there is one or it costs next to nothing."""
        constraint = self._constraint
        if allowed is not None or constraint is None or constraint.costly_mask:
            return allowed
        return self._mask(constraint) if self._mask_seconds < CHEAP_MASK_SECONDS else None

    def _mask(self, constraint: Constraint) -> NDArray[np.bool_]:
        before = time.perf_counter()
        allowed = constraint.mask()
        # the slowest one counts for a while, so that one quick mask does not invite many slow ones
        self._mask_seconds = max(time.perf_counter() - before, 0.8 * self._mask_seconds)
        return allowed

    def _forced(self) -> list[int]:
        """Take from the grammar what has to come; never decode past the budget, but let it complete a call."""
        tokens = [] if self._constraint is None else self._constraint.forced()
        self.outcome.forced_tokens += len(tokens)
        return tokens

    def _go_on(self, taken: Sequence[int]) -> None:
        """Count and show tokens; they are to be decoded next, unless the generation is over."""
        outcome = self.outcome
        outcome.completion_tokens += len(taken)
        shown = ""
        for token in taken:
            mark = self._marks.get(token)
            shown += (
                self._stream.feed(self._model.piece(token)) if mark is None else self._stream.feed_token(mark)
            )
        if shown:
            self._show(shown)
        if self._stream.stopped:
            self.stop = StopReason.STOP
        elif self._constraint is not None and self._constraint.done:
            self.stop = StopReason.END
        elif outcome.completion_tokens >= self.sampling.max_tokens:
            self.stop = StopReason.LENGTH
        else:
            self.tokens.extend(taken)
