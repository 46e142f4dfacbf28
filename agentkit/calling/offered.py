"""Which tools of a toolbox can be called at all, and why the others cannot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agentkit.errors import ConfigError
from agentkit.models.base import ToolChoice
from agentkit.models.usable import refusal

if TYPE_CHECKING:
    from agentkit_tools import Tool, Toolbox


def unusable(toolbox: Toolbox) -> dict[str, str]:
    """Return the tools whose parameters no grammar can be made of, and why; the others work without them."""
    reasons = {tool.name: refusal(tool.parameters) for tool in toolbox}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def usable(toolbox: Toolbox, refused: Mapping[str, str], choice: ToolChoice) -> list[Tool]:
    """Return the tools that may be shown.

    Args:
        toolbox: All there are.
        refused: Those that cannot be called, and why.
        choice: What the caller demands.

    Raises:
        ConfigError: There is no such tool as `choice` names, or none at all where it demands a call.
    """
    offered = [tool for tool in toolbox if tool.name not in refused]
    if choice.name is not None and choice.name in refused:
        raise ConfigError(f"tool {choice.name!r} cannot be called: {refused[choice.name]}")
    if choice.name is not None and choice.name not in {tool.name for tool in offered}:
        raise ConfigError(f"there is no tool {choice.name[:80]!r} to call", hint="agentkit tools list")
    if choice.mode in ("required", "named") and not offered:
        raise ConfigError("there is no tool to call, and a call is required")
    return offered
