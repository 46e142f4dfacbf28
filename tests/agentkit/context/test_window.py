"""Whole turns, the newest, within the budget: whatever the conversation."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.context.window import fit, split_turns
from agentkit.labels import Labels
from agentkit.messages import Message, Role, ToolCall

LABELS = Labels()


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """Make turns with any number of calls, each followed by its results."""
    messages = [Message.system("be brief")] if draw(st.booleans()) else []
    for turn in range(draw(st.integers(0, 8))):
        messages.append(Message.user(draw(st.text(max_size=30))))
        for step in range(draw(st.integers(0, 3))):
            calls = tuple(ToolCall(f"{turn}.{step}.{n}", "tool", {}) for n in range(draw(st.integers(1, 3))))
            messages.append(Message.assistant("", LABELS, calls))
            messages.extend(Message.tool(call, draw(st.text(max_size=50)), LABELS) for call in calls)
        messages.append(Message.assistant(draw(st.text(max_size=30)), LABELS))
    return messages


def cost(turn: tuple[Message, ...]) -> int:
    return sum(4 + len(message.text) for message in turn)


@settings(max_examples=50)
@given(conversations(), st.integers(-5, 600))
def test_what_is_kept_is_the_longest_suffix_that_fits(messages: list[Message], budget: int) -> None:
    turns = split_turns(messages)
    kept = fit(turns, budget, cost)
    assert kept == turns[len(turns) - len(kept) :]
    assert sum(map(cost, kept)) <= max(budget, 0)
    if len(kept) < len(turns):
        assert sum(map(cost, turns[len(turns) - len(kept) - 1 :])) > budget


@settings(max_examples=50)
@given(conversations(), st.integers(0, 600))
def test_no_result_loses_its_call_and_no_call_its_result(messages: list[Message], budget: int) -> None:
    kept = [message for turn in fit(split_turns(messages), budget, cost) for message in turn]
    asked = [call.id for message in kept for call in message.calls]
    answered = [message.call_id for message in kept if message.role is Role.TOOL]
    assert asked == answered


@settings(max_examples=50)
@given(conversations())
def test_splitting_loses_nothing_but_system_messages(messages: list[Message]) -> None:
    turns = split_turns(messages)
    assert [m for turn in turns for m in turn] == [m for m in messages if m.role is not Role.SYSTEM]
    assert all(turn[0].role is Role.USER for turn in turns)
