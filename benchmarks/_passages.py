"""Public questions with the one passage that holds the answer: Natural Questions and HotpotQA.

Source: the oracle file of *Lost in the Middle* (NQ), and the HotpotQA questions of HippoRAG, each with the paragraph
among its supporting ones that holds the answer; questions whose answer is yes or no, or stands in none, are left out.
"""

from __future__ import annotations

import gzip
import json
import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks._data import evenly

SETS = ("nq", "hotpotqa")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, its passage, and the answers that count."""

    id: str
    question: str
    title: str
    passage: str
    answers: tuple[str, ...]


def asked(name: str, folder: Path, limit: int | None = None) -> list[Asked]:
    """Return `limit` questions of `nq` or `hotpotqa`, taken evenly from all, in the order of the data.

    Raises:
        FileNotFoundError: The data is not there.
    """
    found = _nq(folder) if name == "nq" else _hotpotqa(folder)
    return evenly(found, limit)


def right(said: str, answers: Sequence[str]) -> bool:
    """Return whether one of `answers` stands in `said` as whole words, in the usual normal form of such scores."""
    words = f" {normal(said)} "
    return any(f" {normal(answer)} " in words for answer in answers if normal(answer))


def normal(text: str) -> str:
    """Return a text in lower case, without punctuation, articles and extra white space (SQuAD)."""
    kept = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def _nq(folder: Path) -> list[Asked]:
    with gzip.open(
        folder / "lost_in_the_middle" / "nq-open-oracle.jsonl.gz", "rt", encoding="utf-8"
    ) as lines:
        rows = [json.loads(line) for line in lines]
    return [
        Asked(f"nq_{number}", row["question"], context["title"], context["text"], tuple(row["answers"]))
        for number, row in enumerate(rows)
        for context in row["ctxs"][:1]
        if right(context["text"], row["answers"])
    ]


def _hotpotqa(folder: Path) -> list[Asked]:
    rows = json.loads((folder / "multihop_hipporag" / "hotpotqa_train.json").read_text(encoding="utf-8"))
    found = []
    for number, row in enumerate(rows):
        supporting = {title for title, _ in row["supporting_facts"]}
        for title, sentences in row["context"]:
            text = "".join(sentences)
            if (
                title in supporting
                and normal(row["answer"]) not in ("yes", "no")
                and right(text, [row["answer"]])
            ):
                found.append(Asked(f"hotpotqa_{number}", row["question"], title, text, (row["answer"],)))
                break
    return found
