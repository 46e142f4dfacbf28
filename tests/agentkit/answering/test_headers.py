"""What the head of a mail says is found there, and nothing else is."""

from __future__ import annotations

import pytest

from agentkit.answering.headers import header_asked
from agentkit.context.words import terms

HEAD = "From: Anna Lindqvist <anna@example.org>\nTo: ole@example.org\nDate: Tue 3 March\nSubject: The pier"
MAIL = f"{HEAD}\n\nJonas wrote the report. We meet on Thursday."
NAMED = terms("newest mail read")


@pytest.mark.parametrize(
    ("question", "line"),
    [
        ("Who wrote the newest mail?", 0),
        ("From whom is the newest mail?", 0),
        ("Who sent me the newest mail?", 0),
        ("Who is the sender of the newest mail?", 0),
        ("To whom was the newest mail sent?", 1),
        ("Who was the newest mail sent to?", 1),
        ("When was the newest mail sent?", 2),
        ("On which day did Anna write the newest mail?", 2),
        ("What is the subject of the newest mail?", 3),
    ],
)
def test_a_question_for_a_line_of_the_head_is_answered_with_it(question: str, line: int) -> None:
    wanted = HEAD.splitlines()[line]
    assert header_asked(question, NAMED, MAIL) == (wanted, wanted.partition(": ")[2])


@pytest.mark.parametrize(
    "question",
    [
        "Who wrote the report?",
        "When do we meet?",
        "What does the newest mail say?",
        "Who is Jonas?",
        "Who is Ole?",
        "",
    ],
)
def test_what_is_not_asked_of_the_head_is_left_to_the_text(question: str) -> None:
    assert header_asked(question, NAMED, MAIL) is None


def test_what_the_subject_names_is_not_the_mail() -> None:
    mail = MAIL.replace("Subject: The pier", "Subject: The report")
    assert header_asked("Who wrote the report?", NAMED, mail) is None
    assert header_asked("When is the report?", NAMED, mail) is None


@pytest.mark.parametrize("text", ["", "From: a song\n\nla la", "A line\n\n" + MAIL, "From:\nTo:\n\nempty"])
def test_a_text_without_a_head_has_none(text: str) -> None:
    assert header_asked("Who wrote the newest mail?", NAMED, text) is None


def test_a_head_that_lacks_the_line_does_not_answer() -> None:
    assert (
        header_asked("When was the newest mail sent?", NAMED, "From: Anna\nSubject: The pier\n\nHi") is None
    )
