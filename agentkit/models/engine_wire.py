"""What crosses between the engine and its worker, in plain values."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from agentkit.errors import (
    AgentkitError,
    BusyError,
    ConfigError,
    ContextOverflowError,
    EngineError,
    IsolationError,
    ModelError,
    ModelRefusedError,
)
from agentkit.labels import Labels
from agentkit.messages import Message, Role, ToolCall, ToolSpec
from agentkit.models.base import Sampling, TokenSignal

if TYPE_CHECKING:
    from agentkit.models.generate import Outcome

ERROR_KINDS: Mapping[str, type[AgentkitError]] = {
    "busy": BusyError,
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
            _write_calls(message.calls),
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
            read_calls(calls),
            answers,
            name,
        )
        for role, text, calls, answers, name in value
    ]


def _write_calls(calls: Sequence[ToolCall]) -> list[list[str]]:
    return [[call.id, call.name, json.dumps(call.arguments)] for call in calls]


def read_calls(value: Sequence[Sequence[Any]]) -> tuple[ToolCall, ...]:
    """Read calls that were written to cross.

    Raises:
        TypeError: They have another shape.
        ValueError: They have another shape.
    """
    calls = tuple(ToolCall(number, name, json.loads(arguments)) for number, name, arguments in value)
    for call in calls:
        if not (isinstance(call.id, str) and isinstance(call.name, str) and isinstance(call.arguments, dict)):
            raise TypeError("not a call")
    return calls


def write_tools(tools: Sequence[ToolSpec]) -> list[list[Any]]:
    """Return tools as they cross to the worker."""
    return [
        [
            tool.name,
            tool.description,
            json.dumps(tool.parameters),
            tool.beside,
            None if tool.narrowed is None else json.dumps(tool.narrowed),
        ]
        for tool in tools
    ]


def read_tools(value: Sequence[Sequence[Any]]) -> list[ToolSpec]:
    """Read what `write_tools` wrote."""
    return [
        ToolSpec(
            name,
            description,
            json.loads(parameters),
            bool(beside),
            None if narrowed is None else json.loads(narrowed),
        )
        for name, description, parameters, beside, narrowed in value
    ]


def write_sampling(sampling: Sampling) -> dict[str, Any]:
    """Return the levers as they cross to the worker."""
    return {each.name: getattr(sampling, each.name) for each in fields(sampling)}


def read_sampling(value: Mapping[str, Any], default: Sampling | None = None) -> Sampling:
    """Read what `write_sampling` wrote, or a caller's own choice of levers beside those of `default`.

    Raises:
        TypeError: There is no such lever, or its value is of another type.
        ValueError: A value is out of its range.
    """
    levers = dict(value)
    if "logit_bias" in levers:
        levers["logit_bias"] = tuple((token, float(bias)) for token, bias in levers["logit_bias"] or ())
    if not isinstance(levers.get("stop", ()), str):
        levers["stop"] = tuple(levers.get("stop") or ())
    return replace(default or Sampling(), **levers)


def read_signals(value: Sequence[Sequence[Any]]) -> tuple[TokenSignal, ...]:
    """Read the signals of a finished generation.

    Raises:
        TypeError: They have another shape.
        ValueError: They have another shape.
    """
    return tuple(
        TokenSignal(
            int(token),
            str(text),
            float(logprob),
            float(entropy),
            None if removed is None else float(removed),
            tuple((str(other), float(its)) for other, its in alternatives),
        )
        for token, text, logprob, entropy, removed, alternatives in value
    )


def write_outcome(outcome: Outcome, piece: Callable[[int], bytes]) -> dict[str, Any]:
    """Return a finished generation as it crosses back; `piece` gives the bytes of a token."""
    from agentkit.models.signals import mean_log_probability

    def shown(token: int) -> str:
        return piece(token).decode("utf-8", "replace")

    return {
        "stop": outcome.stop.value,
        "calls": _write_calls(outcome.calls),
        "refused": None
        if outcome.refused is None
        else [outcome.refused.reason, _write_calls(outcome.refused.calls)],
        "mean_logprob": mean_log_probability(outcome.signals),
        "forced_tokens": outcome.forced_tokens,
        "signals": [
            [
                signal.token,
                shown(signal.token),
                signal.log_probability,
                signal.entropy,
                signal.removed,
                [[shown(token), logprob] for token, logprob in signal.alternatives],
            ]
            for signal in outcome.signals
        ],
        "usage": [
            outcome.prompt_tokens,
            outcome.completion_tokens,
            outcome.reused_tokens,
            outcome.prefill_seconds,
            outcome.generate_seconds,
        ],
        "cache": [outcome.origin, outcome.state_refused, outcome.shifts, outcome.recomputed],
    }
