"""What a turn may use up, and what it has used: a turn always ends, and says why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agentkit.events import Ending
from agentkit.messages import ToolCall, Usage
from agentkit.models.base import Completion, StopReason


@dataclass(frozen=True, slots=True)
class Limits:
    """The most one turn may use. Reaching one ends the turn with its `Ending`, never with an exception."""

    steps: int = 6
    """Completions."""
    calls: int = 12
    """Tool calls, denied ones too."""
    tokens: int = 4096
    """Generated tokens."""
    seconds: float = 120
    """On the clock, without the time a person took to approve."""
    identical_calls: int = 2
    """How often the very same call may come in a row."""
    repairs: int = 1
    """How often the model is told that a call it wrote is invalid; at least 0."""

    def __post_init__(self) -> None:
        """Refuse limits under which no turn could begin."""
        for name in ("steps", "calls", "tokens", "seconds", "identical_calls"):
            if not getattr(self, name) > 0:
                raise ValueError(f"the limit on {name} must be more than 0")
        if self.repairs < 0:
            raise ValueError("the limit on repairs must be 0 or more")


DEFAULT_LIMITS = Limits()


class Spent:
    """What one turn has used so far."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._began = clock()
        self._steps = 0
        self._calls = 0
        self._repairs = 0
        self._last_call = ""
        self._in_a_row = 0
        self.usage = Usage()

    @property
    def tokens_left(self) -> int:
        """How many tokens may still be generated, at least 0."""
        return max(0, self._limits.tokens - self.usage.completion_tokens)

    def waited(self, seconds: float) -> None:
        """Do not count time that a person took."""
        self._began += seconds

    def late(self) -> bool:
        """Say whether the time is up."""
        return self._clock() - self._began >= self._limits.seconds

    def before_step(self) -> Ending | None:
        """Return the limit that forbids another step, or count the step."""
        if self.late():
            return Ending.TIME_LIMIT
        if not self.tokens_left:
            return Ending.TOKEN_LIMIT
        if self._steps >= self._limits.steps:
            return Ending.STEP_LIMIT
        self._steps += 1
        return None

    def after_step(self, completion: Completion) -> Ending | None:
        """Return why a completion that broke off ends the turn, or nothing."""
        if completion.stop is StopReason.CANCELLED:
            return Ending.TIME_LIMIT if self.late() else Ending.CANCELLED
        broken_call = completion.refused is not None or not (completion.text or completion.calls)
        if completion.stop is StopReason.LENGTH and (broken_call or not self.tokens_left):
            return Ending.TOKEN_LIMIT
        return None

    def before_call(self, call: ToolCall) -> Ending | None:
        """Return the limit that forbids this call, or count the call."""
        in_a_row = self._in_a_row + 1 if call.spelt == self._last_call else 1
        if in_a_row > self._limits.identical_calls:
            return Ending.REPEATED_CALL
        if self._calls >= self._limits.calls:
            return Ending.CALL_LIMIT
        if self.late():
            return Ending.TIME_LIMIT
        self._last_call, self._in_a_row = call.spelt, in_a_row
        self._calls += 1
        return None

    def may_repair(self) -> bool:
        """Say whether an invalid call may go back to the model, and count it."""
        if self._repairs >= self._limits.repairs:
            return False
        self._repairs += 1
        return True

    def used(self, usage: Usage) -> None:
        """Add the tokens of one completion."""
        self.usage = add_usage(self.usage, usage)


def add_usage(one: Usage, other: Usage) -> Usage:
    """Return the sum of two usages."""
    return Usage(
        one.prompt_tokens + other.prompt_tokens,
        one.completion_tokens + other.completion_tokens,
        one.reused_tokens + other.reused_tokens,
        one.prefill_seconds + other.prefill_seconds,
        one.generate_seconds + other.generate_seconds,
        "; ".join(dict.fromkeys(each for each in (one.cache, other.cache) if each)),
    )
