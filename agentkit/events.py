"""What a run yields, as it happens. Frozen values; `to_wire` and `from_wire` carry them between processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from agentkit.messages import Evidence, ToolCall, Usage


class Ending(StrEnum):
    """Why a turn ended."""

    ANSWERED = "answered"
    NOT_FOUND = "not_found"
    """The documents do not hold the answer, and the agent said so."""
    STEP_LIMIT = "step_limit"
    CALL_LIMIT = "call_limit"
    TOKEN_LIMIT = "token_limit"  # noqa: S105 - no password
    TIME_LIMIT = "time_limit"
    REPEATED_CALL = "repeated_call"
    INVALID_CALL = "invalid_call"
    """The model wrote a call its tool does not take, was told why, and did so again."""
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Prompted:
    """A prompt is about to be read; `ledger` says what each part of it costs, in tokens."""

    ledger: dict[str, int]
    window_tokens: int
    dropped_turns: int
    """Whole turns that no longer fit and were left out."""
    tools: tuple[str, ...]
    """Names of the tools shown to the model."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Why each of them is shown."""
    unusable: dict[str, str] = field(default_factory=dict)
    """Tools that can never be shown, since no call of theirs could be checked, and why."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """What the memory search found for this turn."""

    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A call passed policy and approval and is now run."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A call ended; `text` is what the model will read."""

    call: ToolCall
    text: str
    is_error: bool
    seconds: float
    where: str
    """`core`, `client`, or the sandbox tier it ran in."""


@dataclass(frozen=True, slots=True)
class ToolDenied:
    """A call was not run."""

    call: ToolCall
    reason: str


@dataclass(frozen=True, slots=True)
class CallRefused:
    """The model wrote calls of which one at least is invalid; none was run."""

    calls: tuple[ToolCall, ...]
    """As written, those that could be read."""
    reason: str
    """Says where it is wrong."""
    again: bool
    """Whether the model is told the reason and writes again."""


@dataclass(frozen=True, slots=True)
class CallSettled:
    """A doubtful call was asked for again, or something was left out of it (`agentkit.calling.votes`)."""

    voices: int
    """How many completions it was chosen from."""
    dropped: tuple[str, ...]
    """`tool.argument` of values that nobody spoke of, `tool` of a call that was there already."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The turn is over."""

    text: str
    ending: Ending
    evidence: tuple[Evidence, ...]
    usage: Usage
    confidence: str
    """`high`, `medium` or `low`."""
    confidence_reason: str
    output: Any = None
    """The answer in the form the caller asked for; `None` where no form was asked for, or there is no answer."""


Event = (
    Prompted
    | Recalled
    | TextDelta
    | ToolStarted
    | ToolFinished
    | ToolDenied
    | CallRefused
    | CallSettled
    | Finished
)


@dataclass(frozen=True, slots=True)
class Approval:
    """A question to the user: may this call run, with exactly these arguments?"""

    call: ToolCall
    tool_description: str
    capabilities: tuple[str, ...]
    """What the tool can do: `write_files`, `execute`, `memory` …"""
    reason: str
    """Why the policy asks."""
    origin: str
    """The least trusted origin the model had read when it made this call."""


class Decision(StrEnum):
    """The user's answer."""

    ALLOW = "allow"
    DENY = "deny"
    NOBODY = "nobody"
    """There was nobody to ask, which denies."""


def to_wire(event: Event | Approval) -> dict[str, Any]:
    """Return the plain form that crosses process borders."""
    from pydantic import TypeAdapter

    return {"type": type(event).__name__, **TypeAdapter(type(event)).dump_python(event, mode="json")}


def from_wire(value: dict[str, Any]) -> Event | Approval:
    """Read what `to_wire` wrote.

    Raises:
        ValueError: The value has another shape.
    """
    from pydantic import TypeAdapter

    kinds = {kind.__name__: kind for kind in (*Event.__args__, Approval)}
    rest = dict(value)
    kind = kinds.get(rest.pop("type", ""))
    if kind is None:
        raise ValueError("an event of an unknown type")
    event: Event | Approval = TypeAdapter(kind).validate_python(rest)
    return event
