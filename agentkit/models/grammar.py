"""Bind what a model writes to tool calls or to a JSON Schema, one token at a time.

Covered: a bound message can hold nothing but calls of the given tools, with arguments of the right shape, and in
`auto` mode free text never holds a control token. The separators are fixed, since free white space makes small
models pretty-print for ever; every string has a bound.
Not covered: what no grammar can hold, or a back-end leaves out; so arguments are always validated after parsing, too
(`agentkit.models.validate`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import ConfigError
from agentkit.messages import ToolSpec
from agentkit.models.base import CONSTRAINTS, ToolChoice
from agentkit.models.formats.fitting import Fitting
from agentkit.models.formats.message import MessageShape
from agentkit.models.formats.tool_format import Envelope, ToolFormat
from agentkit.models.normalise import normalise
from agentkit.models.usable import refusal

if TYPE_CHECKING:
    from agentkit.models.vocabulary import Vocabulary

MAX_CALLS = 8
"""Calls in one message."""


class Constraint(Protocol):
    """Says which tokens may come next."""

    costly_mask: bool
    """A mask takes milliseconds: whoever draws first checks what was drawn, where that comes to the same."""

    def allowed(self, token: int) -> bool:
        """Return whether `token` may come next; an end token may where the text may end."""
        ...

    def mask(self) -> NDArray[np.bool_]:
        """Return for every token whether it may come next."""
        ...

    def commit(self, token: int) -> None:
        """Take `token`, which is allowed."""
        ...

    def forced(self) -> list[int]:
        """Take and return the tokens that have to come next, if that is settled."""
        ...

    @property
    def done(self) -> bool:
        """Whether the text is whole and nothing can follow."""
        ...


class Backend(Protocol):
    """Makes constraints for one vocabulary."""

    def message(self, shape: MessageShape) -> Constraint:
        """Return the constraint for a message with calls.

        Raises:
            ConfigError: No grammar can be made of it.
        """
        ...

    def value(self, form: dict[str, Any]) -> Constraint:
        """Return the constraint for a text that is one JSON value.

        Args:
            form: Its schema, as `agentkit.models.normalise` makes it.

        Raises:
            ConfigError: No grammar can be made of it.
        """
        ...


def backend_for(vocabulary: Vocabulary, name: str = CONSTRAINTS[0]) -> Backend:
    """Return the back-end of this name, one of `CONSTRAINTS`, for the vocabulary of a model.

    Raises:
        ConfigError: There is none of this name.
    """
    if name == "llguidance":
        from agentkit.models.guidance import Guidance

        return Guidance.of(vocabulary)
    if name == "gbnf":
        from agentkit.models.gbnf_backend import GbnfBackend

        return GbnfBackend(vocabulary)
    raise ConfigError(f"there is no constraint {name!r}", hint=f"use one of {', '.join(CONSTRAINTS)}")


def bind_tools(
    backend: Backend,
    tool_format: ToolFormat,
    tools: Sequence[ToolSpec],
    choice: ToolChoice,
    *,
    envelope: Envelope | None = None,
    thinking: bool = False,
) -> Constraint:
    """Return the constraint for a message that may (`auto`) or must call `tools`.

    Args:
        backend: Makes it.
        tool_format: How calls are written.
        tools: What may be called.
        choice: Whether, and which.
        envelope: What stands around thoughts, where the model thinks; only `auto` leaves room for them.
        thinking: The prompt has opened the thoughts already.

    Raises:
        ConfigError: No such tool, or parameters no grammar can be made of.
    """
    offered = [tool for tool in tools if choice.mode != "named" or tool.name == choice.name]
    if not offered:
        raise ConfigError(
            f"there is no tool {choice.name!r} to call" if choice.name else "there is no tool to call"
        )
    for tool in offered:
        if reason := refusal(tool.parameters):
            raise ConfigError(f"the parameters of tool {tool.name[:80]!r} cannot be bound: {reason}")
    shape = MessageShape(
        tool_format,
        Fitting(tool_format, offered).shown,
        most=1 if choice.mode == "named" else MAX_CALLS,
        free=choice.mode == "auto",
        envelope=envelope,
        thinking=thinking,
    )
    try:
        return backend.message(shape)
    except ConfigError as error:
        last = error
    for tool, shown in zip(offered, shape.tools, strict=True):  # name the one that cannot be used
        try:
            backend.message(replace(shape, tools=(shown,)))
        except ConfigError as error:
            raise ConfigError(
                f"the parameters of tool {tool.name[:80]!r} cannot be turned into a grammar: {error.message}"
            ) from error
    raise ConfigError(
        f"{len(offered)} tools are too many for one grammar", hint="let fewer be selected"
    ) from last


def bind_schema(
    backend: Backend, schema: dict[str, Any], *, close: bool = False, formats: bool = False
) -> Constraint:
    """Return the constraint for a text that is one JSON value of `schema`.

    Raises:
        ConfigError: No grammar can be made of the schema.
    """
    return backend.value(normalise(schema, close=close, formats=formats).schema)
