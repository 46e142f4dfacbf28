"""What is measured is shown the tools that an agent would show, and called as an agent would have it called."""

from __future__ import annotations

import pytest

from agentkit.calling.selection import Selection
from agentkit.messages import ToolSpec
from agentkit.models.base import AUTO, NONE, REQUIRED, ToolChoice
from benchmarks._shown import shown

CLOSED = {"type": "object", "properties": {}, "required": []}
TOOLS = [
    ToolSpec("wave", "Wave to somebody.", CLOSED),
    ToolSpec("sing", "Sing a song.", CLOSED),
]


def names(
    request: str, selection: Selection | None, choice: ToolChoice = AUTO
) -> tuple[list[str], ToolChoice]:
    chosen, choice = shown(request, TOOLS, selection, choice)
    return [tool.name for tool in chosen.tools], choice


def test_a_request_that_names_its_tool_is_a_call_of_it_unless_nothing_is_forced() -> None:
    request = "Use the wave tool, then sing a song."
    assert names(request, None) == (["wave"], ToolChoice.named("wave"))
    assert names(request, Selection(), REQUIRED) == (["wave"], ToolChoice.named("wave"))
    chosen, choice = shown(request, TOOLS, None, forcing=False)
    assert ([tool.name for tool in chosen.tools], choice) == (["wave", "sing"], AUTO)


@pytest.mark.parametrize(
    ("selection", "choice", "wanted"),
    [
        (None, AUTO, (["wave", "sing"], AUTO)),
        (Selection(), AUTO, (["sing"], AUTO)),
        (Selection(), REQUIRED, (["sing"], REQUIRED)),
    ],
)
def test_the_selection_chooses_where_there_is_one(
    selection: Selection | None, choice: ToolChoice, wanted: tuple[list[str], ToolChoice]
) -> None:
    assert names("Please sing a song.", selection, choice) == wanted


def test_where_nothing_is_shown_nothing_can_be_called_unless_it_has_to_be() -> None:
    assert names("How deep is the sea?", Selection()) == ([], NONE)
    tools, choice = names("How deep is the sea?", Selection(), REQUIRED)
    assert (len(tools), choice) == (1, REQUIRED)
