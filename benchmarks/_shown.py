"""What an agent shows a model for a request, and whether the model must call one of the tools."""

from __future__ import annotations

from collections.abc import Sequence

from agentkit.calling.intents import intent
from agentkit.calling.selection import Chosen, Selection
from agentkit.messages import ToolSpec
from agentkit.models.base import AUTO, NONE, ToolChoice


def shown(
    request: str,
    tools: Sequence[ToolSpec],
    selection: Selection | None,
    choice: ToolChoice = AUTO,
    *,
    forcing: bool = True,
) -> tuple[Chosen, ToolChoice]:
    """Return the tools, what is known of them, and the choice as `agentkit.loop` comes to them.

    Args:
        request: What the user says.
        tools: All there are.
        selection: Chooses among them; `None`: all are shown.
        choice: What is asked for.
        forcing: A request that names its tool beyond doubt has to be a call of that tool.
    """
    forced = intent(request, [tool.name for tool in tools]) if forcing else None
    if forced is not None:
        return Selection().choose(request, tools, forced=forced), ToolChoice.named(forced.tool)
    if selection is None:
        chosen = Chosen(tuple(tools), {})
    else:
        chosen = selection.choose(request, tools, required=choice.mode == "required")
    return chosen, choice if chosen.tools else NONE
