"""What a tool is: a name, a schema, what it can do to the world, and a function."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, overload

from agentkit_tools.dialect import closed
from agentkit_tools.errors import ToolDefinitionError

CAPABILITIES = frozenset({"read_files", "write_files", "execute", "read_memory", "write_memory"})
"""What a tool can do to the world; a tool with none is harmless."""
CHANGES = frozenset({"write_files", "execute", "write_memory"})
"""Those that leave something behind."""
ORIGINS = ("system", "user", "model", "tool", "document")
PRIVACIES = ("public", "private", "secret")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """What a tool says, with its labels."""

    text: str
    is_error: bool = False
    origin: str = "tool"
    """Who wrote `text`: `document` for what stands in a file, `tool` for what a program computed."""
    privacy: str = "private"
    sources: tuple[str, ...] = ()
    """Record ids it was made from, so that forgetting can follow it."""
    where: str = "core"
    """`core`, `client`, or the sandbox tier it ran in."""


Run = Callable[[Mapping[str, Any]], ToolOutput]
Check = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Tool:
    """Something a model may ask for. Build one from a function with `tool`, or from its parts."""

    name: str
    description: str
    """What a model and an approving user read."""
    parameters: dict[str, Any]
    """JSON Schema of an object; one that leaves `additionalProperties` out is closed here."""
    capabilities: frozenset[str] = frozenset()
    """A subset of `CAPABILITIES`: what the policy rules on."""
    origin: str = "tool"
    """Least trusted origin of what it returns."""
    privacy: str = "private"
    timeout_seconds: float = 30.0
    run: Run = lambda _: ToolOutput("", is_error=True)
    """Takes checked arguments; may raise `ToolError` or anything else, which becomes an error output."""
    check: Check | None = None
    """Turns arguments from JSON into what `run` takes; default: as they are, once `parameters` accepts
    them."""
    function: Callable[..., Any] | None = None
    """The decorated function, so that the tool can still be called like it."""

    def __post_init__(self) -> None:
        """Refuse a tool that a model or the policy could misread.

        Raises:
            ToolDefinitionError: Its parts do not fit together.
        """
        if not _NAME.fullmatch(self.name):
            raise ToolDefinitionError(
                f"tool name {self.name!r} is not a letter and up to 63 letters, digits, _ or -"
            )
        unknown = sorted(self.capabilities - CAPABILITIES)
        if unknown:
            raise ToolDefinitionError(
                f"tool {self.name} has the unknown capability {unknown[0]!r}",
                hint=f"use some of {', '.join(sorted(CAPABILITIES))}",
            )
        if self.origin not in ORIGINS or self.privacy not in PRIVACIES:
            raise ToolDefinitionError(f"tool {self.name} has an unknown origin or privacy label")
        parameters = closed(self.parameters)
        if parameters is None:
            raise ToolDefinitionError(
                f"the parameters of tool {self.name} are not a closed object",
                hint='use {"type": "object", "properties": {...}, "additionalProperties": false}',
            )
        object.__setattr__(self, "parameters", parameters)
        if not self.timeout_seconds > 0:
            raise ToolDefinitionError(f"tool {self.name} has {self.timeout_seconds} seconds to run in")

    def spec(self) -> tuple[str, str, dict[str, Any]]:
        """Return what a model is shown: name, description and parameters."""
        return self.name, self.description, self.parameters

    def with_timeout(self, seconds: float) -> Tool:
        """Return this tool with another time limit."""
        return replace(self, timeout_seconds=seconds)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the function
        """Call the function behind the tool directly: no policy, no timeout."""
        if self.function is not None:
            return self.function(*args, **kwargs)
        if args:
            raise TypeError(f"tool {self.name} takes keyword arguments only")
        return self.run(kwargs)


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...
@overload
def tool(
    *,
    name: str | None = None,
    capabilities: Iterable[str] = (),
    origin: str = "tool",
    privacy: str = "private",
    timeout_seconds: float = 30.0,
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    capabilities: Iterable[str] = (),
    origin: str = "tool",
    privacy: str = "private",
    timeout_seconds: float = 30.0,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Turn a typed, documented function into a `Tool`.

    The docstring's text is the description, its `Args:` describe the parameters, and the annotations become a
    closed JSON Schema. The function returns text, a `ToolOutput`, or anything JSON can hold.

    Args:
        function: When used without parentheses.
        name: Default: the function's name.
        capabilities: What it can do to the world; see `CAPABILITIES`. Empty: harmless, runs unasked.
        origin: Who writes what it returns: `tool`, or `document` when it passes on what others wrote.
        privacy: `public`, `private` or `secret`.
        timeout_seconds: After that the call is given up; a thread cannot be killed, so bound the work inside.

    Raises:
        ToolDefinitionError: A parameter has no type, the docstring is missing, or a type has no schema.
    """

    def decorate(function: Callable[..., Any]) -> Tool:
        from agentkit_tools.schema import Signature

        signature = Signature(function)

        def run(arguments: Mapping[str, Any]) -> ToolOutput:
            return _output(function(**arguments), origin=origin, privacy=privacy)

        return Tool(
            name=name or function.__name__,
            description=signature.description,
            parameters=signature.parameters,
            capabilities=frozenset(capabilities),
            origin=origin,
            privacy=privacy,
            timeout_seconds=timeout_seconds,
            run=run,
            check=signature.check,
            function=function,
        )

    return decorate if function is None else decorate(function)


def _output(value: object, *, origin: str, privacy: str) -> ToolOutput:
    """Return what a function returned as a labelled output."""
    if isinstance(value, ToolOutput):
        return value
    if value is None:
        text = "done"
    elif isinstance(value, str):
        text = value
    else:
        import json

        text = json.dumps(value, ensure_ascii=False, default=str)
    return ToolOutput(text, origin=origin, privacy=privacy)
