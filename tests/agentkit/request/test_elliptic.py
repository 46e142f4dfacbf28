"""A request that leaves something out is put into full where its words say how, and nowhere else."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.labels import Labels
from agentkit.messages import Message
from agentkit.request.completing import completed
from agentkit.request.elliptic import whole

FAR = "How far is it from Oslo to Bergen by car?"


@pytest.mark.parametrize(
    ("before", "request_", "meant"),
    [
        ("What is 17 percent of 89 euros?", "and of 120?", "What is 17 percent of 120 euros?"),
        ("What is 3 + 4?", "What about 5", "What is 3 + 5?"),
        ("What is 3 * 1.5?", "and 2.5?", "What is 3 * 2.5?"),
        ("What time is it in Tokyo?", "and in New York?", "What time is it in New York?"),
        ("What time is it in Tokyo?", "In London?", "What time is it in London?"),
        ("What time is it in Tokyo?", "How about Bergen?", "What time is it in Bergen?"),
        ("When is the birthday of Anna?", "and Ole?", "When is the birthday of Ole?"),
        ("When is Anna's birthday?", "and Ole's?", "When is Ole's birthday?"),
        ("What's on today?", "and tomorrow?", "What's on tomorrow?"),
        ("Is it dry in Oslo on Monday?", "and on Tuesday?", "Is it dry in Oslo on Tuesday?"),
        ("Is it dry in Oslo on Monday?", "and Bergen?", "Is it dry in Bergen on Monday?"),
        ("Convert 5 miles to km", "and to feet?", "Convert 5 miles to feet"),
        ("Set a timer for 5 minutes", "and for 10", "Set a timer for 10 minutes"),
        ("How much do yachts pay?", "and fishing boats?", "How much do fishing boats pay?"),
        ("How much do fishing boats pay a night?", "and yachts?", "How much do yachts pay a night?"),
        ("How much is the car?", "and the rent?", "How much is the rent?"),
        ("When does the shop open?", "and the bakery?", "When does the bakery open?"),
        (FAR, "and to Trondheim?", "How far is it from Oslo to Trondheim by car?"),
        (FAR, "and by train?", "How far is it from Oslo to Bergen by train?"),
    ],
)
def test_what_is_left_out_is_what_was_said_before(before: str, request_: str, meant: str) -> None:
    assert whole(request_, before) == meant
    told = [Message.user(before), Message.assistant("Yes.", Labels()), Message.user(request_)]
    assert [message.text for message in completed(told)] == [before, "Yes.", meant]


@pytest.mark.parametrize(
    "request_",
    [
        "and thanks",
        "and you?",
        "and what is it?",
        "and how far is that?",
        "in May 5 people will come",
        "and the rent?",
        "",
    ],
)
def test_a_request_of_its_own_stays(request_: str) -> None:
    assert whole(request_, "Is it dry in the car on 5 May?") == request_


def test_what_the_request_before_has_no_place_for_stays() -> None:
    for request in ("and in Oslo?", "and 7?", "and tomorrow?", "and Ole?"):
        assert whole(request, "how much is the rent?") == request
    for request in ("then wait", "Then cancel", "and goodbye"):
        assert whole(request, "When does the train leave?") == request
    assert whole("and the dentist?", "What is the name of the vet?") == "and the dentist?"


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_two_texts_end_in_a_text(request: str, before: str) -> None:
    assert isinstance(whole(request, before), str)


def test_long_texts_take_no_long_time() -> None:
    began = time.monotonic()
    for text in ("and " * 50_000, "and of " + "1." * 200, "and A " + "A " * 200):
        whole(text, "of 1" * 120 + " in" * 10)
        whole("and of 7?", text[:500])
    assert time.monotonic() - began < 2
