"""Public questions are read with the passage that holds the answer, and answers are judged in their normal form."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks._passages import SETS, Asked, asked, normal, right


@pytest.mark.parametrize(
    ("said", "answers", "is_right"),
    [
        ("It was Oslo.", ["Oslo"], True),
        ("In the year 1,905!", ["1905"], True),
        ("the Beatles", ["A Beatles"], True),
        ("Osloer", ["Oslo"], False),
        ("It was Oslo.", ["Bergen", "oslo"], True),
        ("", ["Oslo"], False),
        ("Anything at all", ["the"], False),
    ],
)
def test_an_answer_counts_where_it_stands_as_whole_words(
    said: str, answers: list[str], is_right: bool
) -> None:
    assert right(said, answers) is is_right


def test_the_normal_form_has_no_case_marks_or_articles() -> None:
    assert normal("The  Queen's apple, AN apple a day!") == "queens apple apple day"


def paragraph(title: str, *sentences: str) -> list[Any]:
    return [title, list(sentences)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a few rows in the forms of the public data."""
    (tmp_path / "lost_in_the_middle").mkdir()
    (tmp_path / "multihop_hipporag").mkdir()
    rows = [
        {"question": f"who {text}", "answers": ["Ann"], "ctxs": [{"title": f"T{text}", "text": text}]}
        for text in ("Ann sang.", "Nobody sang.", "And so did Ann.")
    ]
    with gzip.open(tmp_path / "lost_in_the_middle" / "nq-open-oracle.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    context = [
        paragraph("Far", "Ann sang."),
        paragraph("Near", "It rained. ", "Ann sang."),
        paragraph("No", "yes"),
    ]
    hops = [
        {"question": "who?", "answer": answer, "supporting_facts": facts, "context": context}
        for answer, facts in (("Ann", [["Near", 1]]), ("yes", [["No", 0]]), ("Bob", [["Near", 0]]))
    ]
    (tmp_path / "multihop_hipporag" / "hotpotqa_train.json").write_text(json.dumps(hops))
    return tmp_path


def test_a_question_whose_passage_does_not_hold_the_answer_is_left_out(folder: Path) -> None:
    assert [(each.id, each.passage) for each in asked("nq", folder)] == [
        ("nq_0", "Ann sang."),
        ("nq_2", "And so did Ann."),
    ]
    assert len(asked("nq", folder, 1)) == 1


def test_of_several_paragraphs_the_supporting_one_is_given_and_yes_or_no_is_left_out(folder: Path) -> None:
    assert asked("hotpotqa", folder) == [
        Asked("hotpotqa_0", "who?", "Near", "It rained. Ann sang.", ("Ann",))
    ]


@pytest.mark.parametrize("name", SETS)
def test_data_that_is_not_there_is_an_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        asked(name, tmp_path)
