"""Compression: a subsequence, within the budget, with the sentences that matter."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.context.compress import GAP, compress, compress_all, rank
from agentkit.context.sentences import sentences
from agentkit_memory import HashEmbedder

SENTENCE = st.sampled_from(
    [
        "It rains in Oslo.",
        "The tank holds 200 litres.",
        "Dr. Sato has the key.",
        "- one item",
        "x = 3",
        "Why?",
        "A " * 40,
    ]
)
TEXTS = st.lists(SENTENCE, max_size=12).map("\n".join)


def words(text: str) -> int:
    return len(text.split())


def characters(text: str) -> int:
    """Count so that joined texts cost more than their parts."""
    return len(text) + 3


@given(TEXTS, st.text(max_size=30), st.integers(-2, 120), st.sampled_from([words, characters]))
def test_never_over_budget_and_always_a_subsequence(
    text: str, question: str, budget: int, count: object
) -> None:
    assert callable(count)
    result = compress(text, question, budget, count)
    if result.text:
        assert count(result.text) <= budget
    kept = [(each.start, each.end) for each in result.kept]
    assert kept == sorted(kept)
    assert all(text[start:end] in result.text for start, end in kept)
    assert len(result.kept) + result.dropped == len(sentences(text))
    position = 0
    for part in result.text.split(GAP):
        position = text.index(part.strip(), position) + len(part.strip())


@given(st.lists(TEXTS, max_size=4), st.integers(0, 80))
def test_several_texts_share_one_budget(texts: list[str], budget: int) -> None:
    results = compress_all(texts, "Who has the key?", budget, words)
    assert len(results) == len(texts)
    assert sum(words(each.text) for each in results) <= budget


@settings(deadline=None, max_examples=40)
@given(TEXTS, st.integers(0, 60))
def test_an_embedder_changes_the_choice_and_not_the_promise(text: str, budget: int) -> None:
    result = compress(text, "Who has the key?", budget, words, embedder=HashEmbedder())
    assert words(result.text) <= max(budget, 0)


def test_what_fits_is_returned_whole() -> None:
    text = "One.  Two.\n\nThree."
    assert compress(text, "two", 3, words).text == text


def test_the_sentence_that_answers_survives_and_gaps_are_marked() -> None:
    text = (
        " ".join(f"Row {n} is dull." for n in range(50))
        + " The spare key is under the pot. "
        + "Nothing more. " * 20
    )
    result = compress(text, "Where is the spare key?", 20, words)
    assert "The spare key is under the pot." in result.text
    assert result.text.count(GAP) == 2
    assert result.dropped > 40


def test_equal_scores_keep_what_stands_first() -> None:
    assert compress("Alpha one. Alpha two. Alpha six.", "alpha", 6, words).text.startswith("Alpha one.")


def test_scores_compare_across_texts() -> None:
    scored = rank("the spare key", [sentences("It rains. Clouds."), sentences("The spare key is here.")])
    assert scored[1][0].score > max(each.score for each in scored[0])
    assert rank("x", []) == []
    assert rank("x", [[]]) == [[]]
