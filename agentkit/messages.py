"""What a conversation is made of: frozen values, and nothing that acts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from agentkit.labels import Labels, Origin, Privacy


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model's request that a tool be run."""

    id: str
    name: str
    arguments: dict[str, Any]
    """Parsed and validated against the tool's parameters."""

    @property
    def spelt(self) -> str:
        """Name and arguments as text: the same for the same call, whatever its id."""
        return json.dumps([self.name, self.arguments], sort_keys=True, default=str)


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """What a model is shown of a tool."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON Schema of an object, `additionalProperties: false`."""
    beside: bool = False
    """Shown beside the last question instead of in the system message: chosen for this request, so that choosing
    anew never changes the prefix that the engine keeps computed."""
    narrowed: dict[str, Any] | None = None
    """What the arguments of a call are held to, where this request leaves less open than `parameters` show."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation, with its labels."""

    role: Role
    text: str
    labels: Labels
    calls: tuple[ToolCall, ...] = ()
    """What an assistant message asks for."""
    call_id: str | None = None
    """Which call a tool message answers."""
    name: str | None = None
    """Which tool a tool message comes from."""

    @classmethod
    def system(cls, text: str) -> Message:
        """Return a system message: trusted and public."""
        return cls(Role.SYSTEM, text, Labels(Origin.SYSTEM, Privacy.PUBLIC))

    @classmethod
    def user(cls, text: str) -> Message:
        """Return a message the user typed: trusted and private."""
        return cls(Role.USER, text, Labels(Origin.USER, Privacy.PRIVATE))

    @classmethod
    def assistant(cls, text: str, labels: Labels, calls: tuple[ToolCall, ...] = ()) -> Message:
        """Return what the model said; `labels` join those of everything it had read."""
        return cls(Role.ASSISTANT, text, labels, calls)

    @classmethod
    def tool(cls, call: ToolCall, text: str, labels: Labels) -> Message:
        """Return the result of `call`."""
        return cls(Role.TOOL, text, labels, call_id=call.id, name=call.name)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one completion."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    reused_tokens: int = 0
    """Of `prompt_tokens`, how many were already in the KV cache."""
    prefill_seconds: float = 0.0
    generate_seconds: float = 0.0
    cache: str = ""
    """What was done with the cache, in words: where the reused tokens came from, a saved state that was refused and
    why, shifts of the window. Empty where unknown."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A passage an answer rests on."""

    record_id: str
    source: str
    """Path or title, as shown to the user."""
    place: str
    """Page, line or heading; may be empty."""
    quote: str
    """The sentences used, verbatim."""
    score: float
    labels: Labels = field(default_factory=lambda: Labels(Origin.DOCUMENT, Privacy.PRIVATE))
