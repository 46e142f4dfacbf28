"""Is what a model says backed by what it read? Words and numbers, no second model (pure).

Not covered: meaning. An answer built from the right words in the wrong order passes; a right answer in words
of its own may not. So it decides about confidence and about showing the quote, never about truth.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from agentkit import prompt
from agentkit.calling.intents import speaks_of_arithmetic
from agentkit.context.words import alike, numbers, terms, words
from agentkit.request.completing import asks_back
from agentkit.request.dates import CARDINALS

BACKED = 0.6
"""The share of an answer's words that what was read has to hold."""


@dataclass(frozen=True, slots=True)
class Support:
    """How much of an answer stands in its sources."""

    share: float
    """Of the answer's own content words, those the question lacks, how many the sources hold; 0 to 1."""
    new: int
    """How many such words there are: an answer without any only repeats the question."""
    missing_numbers: tuple[str, ...]
    """Numbers of the answer that neither sources nor question hold."""


def support(answer: str, sources: Iterable[str], question: str = "") -> Support:
    """Compare the words and numbers of an answer with its sources."""
    held: set[str] = set()
    figures: set[str] = set(numbers(question))
    for text in sources:
        spelt_out = [str(CARDINALS[word]) for word in words(text) if word in CARDINALS]
        held.update(terms(text), spelt_out)
        figures.update(numbers(text), spelt_out)
    asked = set(terms(question))
    new = [term for term in dict.fromkeys(terms(answer)) if term not in asked]
    share = sum(1 for term in new if any(alike(term, other) for other in held)) / len(new) if new else 0.0
    missing = tuple(each for each in dict.fromkeys(numbers(answer)) if each not in figures)
    return Support(share, len(new), missing)


def trust(
    answer: str,
    question: str,
    results: Sequence[str],
    passages: Sequence[str],
    *,
    called: Container[str] = (),
) -> tuple[str, str]:
    """Return how far an answer can be relied on (`high`, `medium`, `low`), and why in words for the user.

    Args:
        answer: What a model says.
        question: What it was asked.
        results: Those of the tools it called.
        passages: Quotes it was shown.
        called: Names of the tools it called.
    """
    read = [*results, *passages]
    if asks_back(answer):
        return "low", "what it needs was not said"
    if not read and answer.strip() == prompt.UNABLE:
        return "low", "neither a tool nor a document helps"
    if not read:
        return "low", "from the model's own knowledge; nothing backs it"
    if "calculator" in called and not speaks_of_arithmetic(question):
        return "low", "the request does not say in English what to calculate"
    backing = support(answer, read, question)
    what = "tool results" if results else "passages"
    if backing.missing_numbers:
        return "low", f"the {what} do not hold its numbers"
    if backing.share < BACKED:
        return "low", f"most of its words are not in the {what}"
    return ("high" if results else "medium"), f"its words and numbers stand in the {what}"
