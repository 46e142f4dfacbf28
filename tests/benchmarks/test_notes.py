"""The questions on the example notes are answered there, and the vault they are asked of holds them."""

from __future__ import annotations

import pytest

from agentkit.demo.run import PDF_QUESTION, QUESTION, UNKNOWN
from agentkit.demo.stage import find_notes
from agentkit.recall import Recall
from agentkit_memory import HashEmbedder
from benchmarks._notes import Asked, asked, holds, vault

NOTES = find_notes()
PLAIN = (".md", ".txt", ".html", ".csv")


@pytest.mark.parametrize("each", [each for each in asked() if each.answers], ids=lambda each: each.question)
def test_an_answer_stands_in_the_note_that_is_named(each: Asked) -> None:
    note = NOTES / each.source
    assert note.is_file()
    if note.suffix in PLAIN:
        assert holds(note.read_text(encoding="utf-8"), each.answers)


def test_what_no_note_answers_names_none() -> None:
    absent = [each for each in asked() if not each.answers]
    assert len(absent) > 10
    assert {each.source for each in absent} == {""}


def test_rewordings_of_the_demonstration_are_not_its_own_words() -> None:
    reworded = [each.question for each in asked() if each.demo]
    assert len(reworded) >= 12
    assert not {QUESTION, PDF_QUESTION, UNKNOWN} & set(reworded)


@pytest.mark.slow
def test_the_notes_are_searched_as_an_agent_searches_them() -> None:
    embedder = HashEmbedder(64)
    with vault(embedder) as made:
        found = Recall(made, embedder, kinds=("document",)).search(
            "What is the booking code of our flights to Porto?"
        )
        assert len(made.files()) == sum(path.is_file() for path in NOTES.rglob("*"))
    assert any("QX7LMP" in each.quote for each in found)
