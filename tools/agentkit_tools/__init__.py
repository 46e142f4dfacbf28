"""Tools an agent may call, the policy that decides, and the sandbox they run in."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentkit_tools.errors import LandlockError, SandboxError, SeccompError, ToolError

__all__ = ["LandlockError", "SandboxError", "SeccompError", "ToolError"]

_HOMES = {
    "agentkit_tools.errors": ("LandlockError", "SandboxError", "SeccompError", "ToolError"),
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562: whatever the name stands for
    """Import a public name when it is first used, so that importing the package costs nothing."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
