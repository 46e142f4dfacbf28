"""A transcript is kept as it was said, and is well-formed however it ended."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.errors import ConfigError
from agentkit.labels import Labels, Origin, Privacy
from agentkit.messages import Message, Role, ToolCall
from agentkit.transcript import Transcript, from_dict, to_dict

LABELS = st.builds(
    Labels,
    st.sampled_from(Origin),
    st.sampled_from(Privacy),
    st.lists(st.text(), unique=True).map(lambda s: tuple(sorted(s))),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
CALLS = st.builds(ToolCall, st.text(), st.text(), st.dictionaries(st.text(), JSON, max_size=3))
MESSAGES = st.builds(
    Message,
    st.sampled_from(Role),
    st.text(),
    LABELS,
    st.lists(CALLS, max_size=2).map(tuple),
    st.none() | st.text(),
    st.none() | st.text(),
)


@settings(max_examples=40)
@given(MESSAGES)
def test_a_message_is_read_back_unchanged(message: Message) -> None:
    assert from_dict(to_dict(message)) == message


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"role": "user"},
        {"role": "king", "text": "", "labels": ["user", "private", []]},
        {"role": "user", "text": 3, "labels": ["user", "private", []]},
        {"role": "user", "text": "", "labels": ["user", "private"]},
        {"role": "assistant", "text": "", "labels": ["user", "private", []], "calls": [{"id": "1"}]},
    ],
)
def test_what_is_no_message_is_refused(stored: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="another shape"):
        from_dict(stored)


def test_a_turn_cut_off_by_a_crash_is_closed_when_it_is_read() -> None:
    calls = (ToolCall("a", "look", {}), ToolCall("b", "look", {}))
    said = [
        Message.user("hi"),
        Message.assistant("", Labels(), calls),
        Message.tool(calls[0], "yes", Labels()),
    ]
    kept: list[dict[str, Any]] = []
    read = Transcript.load([to_dict(each) for each in said], sink=kept.append)
    assert list(read[:3]) == said
    assert [(m.role, m.call_id) for m in read[3:]] == [(Role.TOOL, "b"), (Role.ASSISTANT, None)]
    assert len(kept) == 2


def test_a_message_the_sink_refused_was_never_said() -> None:
    def full(_: dict[str, Any]) -> None:
        raise OSError("no space left")

    transcript = Transcript(sink=full)
    with pytest.raises(OSError, match="no space"):
        transcript.append(Message.user("hi"))
    assert len(transcript) == 0
