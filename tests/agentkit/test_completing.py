"""What a request left out is said in reply, and both are read as one request."""

from __future__ import annotations

import pytest

from agentkit import prompt
from agentkit.completing import asks_back, completed
from agentkit.labels import Labels, Origin, Privacy
from agentkit.messages import Message, ToolCall

MODEL = Labels(Origin.MODEL, Privacy.PUBLIC)
REQUEST = "When is low tide on 4 March?"


def talk(*said: str) -> list[Message]:
    """Return a conversation in which user and model take turns."""
    return [Message.assistant(text, MODEL) if n % 2 else Message.user(text) for n, text in enumerate(said)]


def words(*said: str) -> list[str]:
    return [message.text for message in completed(talk(*said))]


def test_a_reply_stands_with_its_request_named_after_what_was_asked_for() -> None:
    question = prompt.still_needed(["name of the harbour"])
    assert asks_back(question)
    assert words(REQUEST, question, "Port Ellery") == [f"{REQUEST}\nname of the harbour: Port Ellery"]
    assert words("Hi", "Hello.", REQUEST, question, "Port Ellery", "At six.", "Thanks") == [
        "Hi", "Hello.", f"{REQUEST}\nname of the harbour: Port Ellery", "At six.", "Thanks",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "question", [prompt.still_needed(["day", "place"]), "Please tell me: the day and the place."]
)
def test_a_reply_to_a_question_for_several_things_stands_as_it_is(question: str) -> None:
    assert words("When is it?", question, "Today, at Port Ellery") == ["When is it?\nToday, at Port Ellery"]


def test_one_reply_after_another_is_put_to_the_same_request() -> None:
    said = words(
        "Book a room.", prompt.still_needed(["name"]), "Oak", prompt.still_needed(["people"]), "We are 7"
    )
    assert said == ["Book a room.\nname: Oak\npeople: We are 7"]


@pytest.mark.parametrize(
    "reply",
    [
        "never mind", "Forget it.", "No, thanks", "cancel", "I don't know", "What is 3 + 4?", "Where is it",
        "Give me the weather for Oslo", "please add that to my list", "", " ".join(["word"] * 31),
    ],
)  # fmt: skip
def test_who_says_something_else_has_not_replied(reply: str) -> None:
    question = prompt.still_needed(["name of the harbour"])
    assert words(REQUEST, question, reply) == [REQUEST, question, reply]


def test_what_asks_for_nothing_missing_takes_no_reply() -> None:
    assert words(REQUEST, "At six.", "Port Ellery") == [REQUEST, "At six.", "Port Ellery"]
    question = Message.assistant(prompt.still_needed(["day"]), MODEL, (ToolCall("c", "tides", {}),))
    said = [Message.user(REQUEST), question, Message.user("Monday")]
    assert completed(said) == said


def test_both_count_as_what_all_of_it_came_from() -> None:
    said = talk(REQUEST, prompt.still_needed(["day"]), "Monday")
    (joined,) = completed(said)
    assert joined.labels == said[0].labels.join(said[1].labels).join(said[2].labels)
    assert joined.labels.origin is Origin.MODEL
