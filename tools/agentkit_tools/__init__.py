"""Tools an agent may call, the policy that decides, and the sandbox they run in."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentkit_tools.builtin import builtin_tools as builtin_tools
    from agentkit_tools.definition import Tool as Tool
    from agentkit_tools.definition import ToolOutput as ToolOutput
    from agentkit_tools.definition import tool as tool
    from agentkit_tools.errors import BrokerError as BrokerError
    from agentkit_tools.errors import LandlockError as LandlockError
    from agentkit_tools.errors import PolicyError as PolicyError
    from agentkit_tools.errors import SandboxError as SandboxError
    from agentkit_tools.errors import SeccompError as SeccompError
    from agentkit_tools.errors import ToolDefinitionError as ToolDefinitionError
    from agentkit_tools.errors import ToolDeniedError as ToolDeniedError
    from agentkit_tools.errors import ToolError as ToolError
    from agentkit_tools.errors import ToolFailedError as ToolFailedError
    from agentkit_tools.errors import ToolInputError as ToolInputError
    from agentkit_tools.errors import ToolTimeoutError as ToolTimeoutError
    from agentkit_tools.policy import Policy as Policy
    from agentkit_tools.policy import Ruling as Ruling
    from agentkit_tools.policy import Verdict as Verdict
    from agentkit_tools.sandbox import Limits as Limits
    from agentkit_tools.sandbox import NoSandbox as NoSandbox
    from agentkit_tools.sandbox import Sandbox as Sandbox
    from agentkit_tools.sandbox import SandboxReport as SandboxReport
    from agentkit_tools.sandbox import SandboxRequest as SandboxRequest
    from agentkit_tools.sandbox import SandboxResult as SandboxResult
    from agentkit_tools.toolbox import Toolbox as Toolbox

_HOMES = {
    "builtin": ("builtin_tools",),
    "errors": (
        "BrokerError", "LandlockError", "PolicyError", "SandboxError", "SeccompError", "ToolDefinitionError",
        "ToolDeniedError", "ToolError", "ToolFailedError", "ToolInputError", "ToolTimeoutError",
    ),
    "policy": ("Policy", "Ruling", "Verdict"),
    "sandbox": ("Limits", "NoSandbox", "Sandbox", "SandboxReport", "SandboxRequest", "SandboxResult"),
    "definition": ("Tool", "ToolOutput", "tool"),
    "toolbox": ("Toolbox",),
}  # fmt: skip


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562: whatever the name stands for
    """Import a public name when it is first used, so that importing the package costs nothing."""
    for module, names in _HOMES.items():
        if name in names:
            value = getattr(importlib.import_module(f"agentkit_tools.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
