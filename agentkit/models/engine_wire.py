"""What crosses between the engine and its worker, in plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from agentkit.errors import (
    AgentkitError,
    ConfigError,
    ContextOverflowError,
    EngineError,
    IsolationError,
    ModelError,
    ModelRefusedError,
)
from agentkit.labels import Labels
from agentkit.messages import Message, Role, ToolCall, ToolSpec

ERROR_KINDS: Mapping[str, type[AgentkitError]] = {
    "config": ConfigError,
    "overflow": ContextOverflowError,
    "engine": EngineError,
    "isolation": IsolationError,
    "model": ModelError,
    "refused": ModelRefusedError,
}


def error_kind(error: AgentkitError) -> str:
    """Return the word under which `error` crosses; the nearest there is."""
    return next(
        (kind for kind, each in reversed(tuple(ERROR_KINDS.items())) if isinstance(error, each)), "engine"
    )


def write_messages(messages: Sequence[Message]) -> list[list[Any]]:
    """Return messages as they cross to the worker: without labels, which are none of its business."""
    return [
        [
            message.role.value,
            message.text,
            [[call.id, call.name, json.dumps(call.arguments)] for call in message.calls],
            message.call_id,
            message.name,
        ]
        for message in messages
    ]


def read_messages(value: Sequence[Sequence[Any]]) -> list[Message]:
    """Read what `write_messages` wrote."""
    return [
        Message(
            Role(role),
            text,
            Labels(),
            tuple(ToolCall(call_id, tool, json.loads(arguments)) for call_id, tool, arguments in calls),
            answers,
            name,
        )
        for role, text, calls, answers, name in value
    ]


def write_tools(tools: Sequence[ToolSpec]) -> list[list[str]]:
    """Return tools as they cross to the worker."""
    return [[tool.name, tool.description, json.dumps(tool.parameters)] for tool in tools]


def read_tools(value: Sequence[Sequence[str]]) -> list[ToolSpec]:
    """Read what `write_tools` wrote."""
    return [ToolSpec(name, description, json.loads(parameters)) for name, description, parameters in value]
