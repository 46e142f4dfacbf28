"""A text that a tool brings is fetched for what it says, and says what was asked of it."""

from __future__ import annotations

import itertools

import pytest

from agentkit import prompt
from agentkit.messages import Role
from training.draws import stands_in
from training.mix import tasks, trained_tools
from training.tasks import Example
from training.tools import CatalogueError, catalogue
from training.tools import _read as read


@pytest.fixture(scope="module")
def drawn() -> list[Example]:
    return list(itertools.islice(tasks(3, trained_tools(), {"look_up": 1.0}), 400))


def test_a_text_is_fetched_by_a_tool_that_brings_one(drawn: list[Example]) -> None:
    fetching = [example for example in drawn if example.calls]
    brings = sum(bool(tool.looks) for tool in catalogue())
    assert len({call.name for example in fetching for call in example.calls}) > brings
    assert all(len(example.calls) == 1 and not example.text for example in fetching)


def test_what_is_said_stands_in_the_text_or_is_that_it_does_not(drawn: list[Example]) -> None:
    told = [example for example in drawn if not example.calls]
    left_open = [example for example in told if example.text == prompt.NOT_SAID]
    assert 0.1 < len(left_open) / len(told) < 0.4
    for example in told:
        *_, asked, result = example.messages
        assert (asked.role, result.role) == (Role.ASSISTANT, Role.TOOL)
        assert result.call_id == asked.calls[0].id
    copied = [example for example in told if example.text == example.messages[-1].text]
    assert 0.02 < len(copied) / len(told) < 0.2
    answered = [example for example in told if example not in left_open]
    assert sum(stands_in(each.text, each.messages[-1].text) for each in answered) / len(answered) > 0.9


def test_what_no_tool_brings_is_declined() -> None:
    declined = list(itertools.islice(tasks(4, trained_tools(), {"nowhere": 1.0}), 200))
    assert {(example.text, example.calls) for example in declined} == {(prompt.UNABLE, ())}
    searching = {
        name for tool in catalogue() if tool.name == "search_documents" for name in (tool.name, *tool.also)
    }
    assert not searching & {tool.name for example in declined for tool in example.tools}


@pytest.mark.parametrize(
    ("looks", "frames"),
    [
        (["{question} It's in {path}."], []),
        (["{question} It's in {path}."], ["{who} wrote"]),
        (["It's in {path}."], ["{text}"]),
        (["{question} It's there."], ["{text}"]),
        (["{question} {inside} {path}"], ["{text}"]),
        (["{question} It's in {folder}."], ["{text}"]),
    ],
)
def test_a_text_that_cannot_be_asked_about_is_refused(looks: list[str], frames: list[str]) -> None:
    parameters = {"path": {"kind": "file", "about": "The file"}}
    entry = {
        "name": "see",
        "about": "See.",
        "asks": ["See {path}.", "Show {path}."],
        "parameters": parameters,
    }
    assert read({**entry, "looks": ["{question} {path}"], "frames": ["{text}"]}, "test").looks
    with pytest.raises(CatalogueError, match="test, see: "):
        read({**entry, "looks": looks, "frames": frames}, "test")
