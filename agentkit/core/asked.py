"""What a request to run asks for: its fields, read and checked before anything runs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agentkit.calling.votes import MAX_COUNT, Votes
from agentkit.core.server import Session
from agentkit.errors import ConfigError
from agentkit.models.base import Sampling, ToolChoice
from agentkit.models.engine_wire import read_sampling

if TYPE_CHECKING:
    from agentkit.typed_output import Form
    from agentkit_tools import Tool

MAX_REASON_CHARACTERS = 500


def read_choice(request: Mapping[str, Any]) -> ToolChoice:
    """Return whether tools may, must not or must be called.

    Raises:
        ConfigError: The field is no such choice.
    """
    try:
        return ToolChoice.of(request.get("tool_choice") or "auto")
    except ValueError as error:
        raise ConfigError(str(error)) from error


def read_form(request: Mapping[str, Any], session: Session) -> Form | None:
    """Return the form the caller asked for; whether a value makes one of its own types, only the caller can say.

    Raises:
        ConfigError: No value can be bound to its schema.
    """
    from agentkit.typed_output import Form

    schema = request.get("form")
    if schema is None:
        return None
    if not isinstance(schema, dict):
        raise ConfigError("the schema of the output is no JSON object")

    def read(value: Any) -> Any:  # noqa: ANN401 - any JSON
        wrong = session.ask({"output": value}).get("wrong")
        if wrong is not None:
            raise ValueError(str(wrong)[:MAX_REASON_CHARACTERS])
        return value

    return Form(schema, read)


def read_levers(given: Mapping[str, Any] | None, default: Sampling) -> Sampling:
    """Return how tokens are to be drawn.

    Raises:
        ConfigError: There is no such lever, or a value is out of its range.
    """
    if given is None:
        return default
    try:
        return read_sampling(given, default)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"sampling: {error}") from error


def read_votes(request: Mapping[str, Any], default: Votes | None = None) -> Votes | None:
    """Return how often a doubtful call is asked for again; `None`: never.

    Args:
        request: As it came.
        default: Where it does not say.

    Raises:
        ConfigError: The field is no whole number, or out of its range.
    """
    count = request.get("votes")
    if count is None:
        return default
    if type(count) is not int or not 0 <= count <= MAX_COUNT:
        raise ConfigError(f"the votes are no whole number from 0 to {MAX_COUNT}", hint="4 is a good number")
    return Votes(count) if count else None


def callers_tools(
    specs: Sequence[Mapping[str, Any]], session: Session
) -> tuple[dict[str, Tool], dict[str, str]]:
    """Return the caller's tools by name, and which of them cannot be used, and why: the others work without them."""
    from agentkit_tools import ToolDefinitionError

    tools: dict[str, Tool] = {}
    refused: dict[str, str] = {}
    for index, spec in enumerate(specs):
        name = f"tool {index + 1}"
        try:
            name = str(spec["name"])
            tool = _caller_tool(spec, session)
        except ToolDefinitionError as error:
            refused[name] = error.message
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            refused[name] = f"its definition is malformed ({type(error).__name__})"
        else:
            if name in tools:
                refused[name] = "there are two tools of this name"
            tools[name] = tool
    return {name: tool for name, tool in tools.items() if name not in refused}, refused


def _caller_tool(spec: Mapping[str, Any], session: Session) -> Tool:
    """Return a tool of the caller's: it runs in the caller's process, and what it says is a tool's word."""
    from agentkit_tools import Tool, ToolOutput

    name = str(spec["name"])

    def run(arguments: Mapping[str, Any]) -> ToolOutput:
        started = time.monotonic()
        answer = session.ask({"call": {"name": name, "arguments": dict(arguments)}})
        if "text" not in answer:
            return ToolOutput(
                f"the program did not answer in {time.monotonic() - started:.0f} s", is_error=True
            )
        return ToolOutput(
            str(answer["text"]),
            is_error=bool(answer.get("is_error")),
            origin=_one_of(answer.get("origin"), ("tool", "document"), "tool"),
            privacy=_one_of(answer.get("privacy"), ("public", "private", "secret"), "private"),
            where="client",
        )

    return Tool(
        name=name,
        description=str(spec["description"]),
        parameters=dict(spec["parameters"]),
        capabilities=frozenset(map(str, spec.get("capabilities") or ())),
        timeout_seconds=float(spec.get("timeout_seconds") or 30.0),
        run=run,
    )


def _one_of(value: object, allowed: tuple[str, ...], otherwise: str) -> str:
    return value if isinstance(value, str) and value in allowed else otherwise
