"""agentkit: agents that run wholly on your own machine.

    from agentkit import Agent, tool

Nothing is imported, opened or started until it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Agent": "agentkit.agent",
    "AgentkitError": "agentkit.errors",
    "Approval": "agentkit.events",
    "CallRefused": "agentkit.events",
    "CallSettled": "agentkit.events",
    "Decision": "agentkit.events",
    "Ending": "agentkit.events",
    "Event": "agentkit.events",
    "Finished": "agentkit.events",
    "Loop": "agentkit.loop",
    "Prompted": "agentkit.events",
    "Recalled": "agentkit.events",
    "Sampling": "agentkit.models.base",
    "ScriptedModel": "agentkit.models.scripted",
    "TextDelta": "agentkit.events",
    "ToolDenied": "agentkit.events",
    "ToolFinished": "agentkit.events",
    "ToolStarted": "agentkit.events",
    "Tool": "agentkit_tools",
    "ToolChoice": "agentkit.models.base",
    "form_of": "agentkit.typed_output",
    "grammar_for": "agentkit.models.grammar_for",
    "lock_process": "agentkit.lock_process",
    "tool": "agentkit_tools",
}

__all__ = sorted(_HOMES)

if TYPE_CHECKING:
    from agentkit.agent import Agent as Agent
    from agentkit.errors import AgentkitError as AgentkitError
    from agentkit.events import Approval as Approval
    from agentkit.events import CallRefused as CallRefused
    from agentkit.events import CallSettled as CallSettled
    from agentkit.events import Decision as Decision
    from agentkit.events import Ending as Ending
    from agentkit.events import Event as Event
    from agentkit.events import Finished as Finished
    from agentkit.events import Prompted as Prompted
    from agentkit.events import Recalled as Recalled
    from agentkit.events import TextDelta as TextDelta
    from agentkit.events import ToolDenied as ToolDenied
    from agentkit.events import ToolFinished as ToolFinished
    from agentkit.events import ToolStarted as ToolStarted
    from agentkit.lock_process import lock_process as lock_process
    from agentkit.loop import Loop as Loop
    from agentkit.models.base import Sampling as Sampling
    from agentkit.models.base import ToolChoice as ToolChoice
    from agentkit.models.grammar_for import grammar_for as grammar_for
    from agentkit.models.scripted import ScriptedModel as ScriptedModel
    from agentkit.typed_output import form_of as form_of
    from agentkit_tools import Tool as Tool
    from agentkit_tools import tool as tool


def __getattr__(name: str) -> Any:  # noqa: ANN401 - module attributes are of any type
    """Import a public name at its first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'agentkit' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
