"""Generate one message: the decode loop in the engine worker."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from agentkit.errors import ContextOverflowError
from agentkit.messages import ToolCall
from agentkit.models.base import Sampling, StopReason
from agentkit.models.grammar import Constraint
from agentkit.models.llama import Aborted, LlamaModel, Sampler, log_probability
from agentkit.models.textstream import TextStream

SLOW_STEP_SECONDS = 0.2
"""A model slower than this is watched within a step, too; a faster one only between steps, which costs nothing."""


@dataclass(slots=True)
class Outcome:
    """What a generation came to."""

    prompt_tokens: int
    stop: StopReason = StopReason.END
    calls: tuple[ToolCall, ...] = ()
    reused_tokens: int = 0
    completion_tokens: int = 0
    forced_tokens: int = 0
    """Of `completion_tokens`, those the grammar left no choice about."""
    prefill_seconds: float = 0.0
    generate_seconds: float = 0.0
    log_probabilities: list[float] = field(default_factory=list)

    @property
    def mean_logprob(self) -> float | None:
        """Of the tokens the model chose; `None` where it chose none."""
        if not self.log_probabilities:
            return None
        mean = math.fsum(self.log_probabilities) / len(self.log_probabilities)
        return mean if math.isfinite(mean) else None


def check_fit(prompt_tokens: int, max_tokens: int, context_tokens: int) -> None:
    """Refuse a generation that could outgrow the window.

    Raises:
        ContextOverflowError: It could.
    """
    if prompt_tokens + max_tokens > context_tokens:
        raise ContextOverflowError(
            f"the prompt needs {prompt_tokens} tokens and the answer up to {max_tokens}, "
            f"but the window holds {context_tokens}",
            hint=f"raise --context to {prompt_tokens + max_tokens}, or allow fewer tokens for the answer",
        )


class Generation:
    """One generation, from prompt to stop."""

    def __init__(
        self,
        model: LlamaModel,
        prompt: Sequence[int],
        sampling: Sampling,
        *,
        constraint: Constraint | None,
        stream: TextStream,
        show: Callable[[str], None],
        watch: Callable[[], bool],
    ) -> None:
        """Prepare; nothing is decoded yet.

        Args:
            model: Its cache is reused as far as it goes.
            prompt: All of it; not empty.
            sampling: How to draw.
            constraint: Which tokens may come; `None`: any.
            stream: Takes the bytes.
            show: Takes text as soon as it may be shown; never an empty one.
            watch: Asked before every token, and often within a long decode; true means stop.
        """
        self._model = model
        self._prompt = prompt
        self._sampling = sampling
        self._constraint = constraint
        self._stream = stream
        self._show = show
        self._watch = watch
        self._outcome = Outcome(prompt_tokens=len(prompt))

    def run(self) -> Outcome:
        """Generate until the model ends, a stop string comes, the budget is spent, or `watch` says stop."""
        outcome = self._outcome
        sampler = self._model.sampler(self._sampling)
        started = time.perf_counter()
        try:
            outcome.reused_tokens = self._model.reuse(self._prompt)
            outcome.stop = self._start() or self._continue(sampler, started)
        except Aborted:
            outcome.stop = StopReason.CANCELLED
        finally:
            sampler.close()
        if rest := self._stream.finish():
            self._show(rest)
        outcome.prefill_seconds = outcome.prefill_seconds or time.perf_counter() - started
        outcome.generate_seconds = time.perf_counter() - started - outcome.prefill_seconds
        return outcome

    def _start(self) -> StopReason | None:
        """Decode the prompt, and at once what the grammar forces behind it."""
        forced = self._forced()
        stop = self._take(forced)
        if stop is None:
            self._model.decode([*self._prompt[self._outcome.reused_tokens :], *forced], self._watch)
        return stop

    def _continue(self, sampler: Sampler, started: float) -> StopReason:
        outcome, model = self._outcome, self._model
        before = time.perf_counter()
        outcome.prefill_seconds = before - started
        step_seconds = math.inf  # the first step tells how fast this model is
        while not self._watch():
            token = self._draw(sampler)
            if model.ends(token):
                return StopReason.END
            taken = [token]
            if self._constraint is not None:
                self._constraint.commit(token)
                taken += self._forced()
            if (stop := self._take(taken)) is not None:
                return stop
            model.decode(taken, self._watch if step_seconds > SLOW_STEP_SECONDS else None)
            now = time.perf_counter()
            before, step_seconds = now, now - before
        return StopReason.CANCELLED

    def _draw(self, sampler: Sampler) -> int:
        """Draw a token that may come.

        A greedy draw is checked first and masked only if refused, which comes to the same and is cheaper. Any other
        is masked first: top-k and top-p have to see only what may come.
        """
        logits, constraint = self._model.logits(), self._constraint
        if constraint is None:
            token = sampler.draw(logits)
        elif sampler.greedy:
            token = sampler.draw(logits)
            if not constraint.allowed(token):
                token = sampler.draw(logits, constraint.mask())
        else:
            token = sampler.draw(logits, constraint.mask())
        sampler.accept(token)
        if not self._model.ends(token):
            self._outcome.log_probabilities.append(log_probability(logits, token))
        return token

    def _forced(self) -> list[int]:
        """Take from the grammar what has to come; never decode past the budget, but let it complete a call."""
        tokens = [] if self._constraint is None else self._constraint.forced()
        self._outcome.forced_tokens += len(tokens)
        return tokens

    def _take(self, tokens: Sequence[int]) -> StopReason | None:
        """Count and show tokens; return why the generation is over, if it is."""
        outcome = self._outcome
        outcome.completion_tokens += len(tokens)
        shown = self._stream.feed(b"".join(self._model.piece(token) for token in tokens))
        if shown:
            self._show(shown)
        if self._stream.stopped:
            return StopReason.STOP
        if self._constraint is not None and self._constraint.done:
            return StopReason.END
        if outcome.completion_tokens >= self._sampling.max_tokens:
            return StopReason.LENGTH
        return None
