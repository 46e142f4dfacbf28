"""Cut texts down to the sentences that matter for a question, under an exact token budget (pure).

Selection only: the output is a subsequence of the input's sentences in their order, gaps are marked `[...]`,
and every kept sentence knows its offsets. Never over budget, whatever the counter says of joined texts.
Score: z-normalised BM25 (idf from the texts themselves) + z-normalised cosine (each sentence read with the
one before it) + a small prior for what stands first. Works without an embedder, on BM25 and position alone.
Not covered: rewriting. Nothing is paraphrased, shortened within a sentence, or summed up.
Source: Robertson and Zaragoza 2009 for BM25; the fusion is measured in `benchmarks/`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from agentkit.context.sentences import Sentence, sentences
from agentkit.context.words import terms

if TYPE_CHECKING:
    from numpy.typing import NDArray

GAP = "[...]"
DENSE_WEIGHT = 0.5
LEXICAL_WEIGHT = 0.5
POSITION_WEIGHT = 0.1
_K1, _B = 1.2, 0.6


class Embeds(Protocol):
    """Whatever turns texts into unit vectors; every `agentkit_memory` embedder does."""

    def embed(self, texts: Sequence[str]) -> NDArray[Any]:
        """Return one row per text, of unit length."""
        ...


@dataclass(frozen=True, slots=True)
class Compressed:
    """What is left of one text."""

    text: str
    kept: tuple[Sentence, ...]
    """In order; offsets into the original text."""
    dropped: int
    """Sentences left out."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A sentence and how well it answers to the question."""

    sentence: Sentence
    score: float
    dense: float
    """Cosine of question and sentence read with the one before it; 0 without an embedder."""
    lexical: float
    """BM25 of the sentence for the question's words."""


def compress(
    text: str,
    question: str,
    budget_tokens: int,
    count: Callable[[str], int],
    *,
    embedder: Embeds | None = None,
) -> Compressed:
    """Cut `text` down to at most `budget_tokens`; a text that fits is returned whole.

    Args:
        text: Any text.
        question: What the kept sentences should help to answer.
        budget_tokens: For the result, gap marks included; at 0 or less nothing is kept.
        count: Tokens of a text, as the model counts them.
        embedder: For meaning beside words.
    """
    return compress_all([text], question, budget_tokens, count, embedder=embedder)[0]


def compress_all(
    texts: Sequence[str],
    question: str,
    budget_tokens: int,
    count: Callable[[str], int],
    *,
    embedder: Embeds | None = None,
) -> list[Compressed]:
    """Cut several texts down to one budget; their sentences compete with each other.

    Returns:
        One result per text, in order. The sum of their tokens is at most `budget_tokens`.
    """
    pieces = [sentences(text) for text in texts]
    if sum(count(text) for text in texts) <= budget_tokens:
        return [Compressed(text, tuple(piece), 0) for text, piece in zip(texts, pieces, strict=True)]
    scored = rank(question, pieces, embedder=embedder)
    order = sorted(
        ((each.score, -owner, -place) for owner, row in enumerate(scored) for place, each in enumerate(row)),
        reverse=True,
    )
    chosen: list[set[int]] = [set() for _ in texts]
    mark = 2 * count(f" {GAP} ")
    left = budget_tokens
    picked: list[tuple[int, int]] = []
    for _, negative_owner, negative_place in order:
        owner, place = -negative_owner, -negative_place
        cost = count(pieces[owner][place].text) + mark
        if cost <= left:
            left -= cost
            chosen[owner].add(place)
            picked.append((owner, place))
    # Tokens of joined pieces may differ from the sum over the pieces: the exact count decides.
    while True:
        results = [
            _render(text, piece, kept) for text, piece, kept in zip(texts, pieces, chosen, strict=True)
        ]
        if not picked or sum(count(each.text) for each in results if each.text) <= budget_tokens:
            return results
        owner, place = picked.pop()
        chosen[owner].discard(place)


def rank(
    question: str,
    texts: Sequence[Sequence[Sentence]],
    *,
    embedder: Embeds | None = None,
    contexts: Sequence[Sequence[str]] | None = None,
) -> list[list[Scored]]:
    """Score every sentence of several texts for `question`; the scores compare across the texts.

    Args:
        question: In any words.
        texts: The sentences of each text, in order.
        embedder: For meaning beside words.
        contexts: What the embedder reads for each sentence; default: the sentence after the one before it.
    """
    flat = [(row, place) for row, text in enumerate(texts) for place in range(len(text))]
    if not flat:
        return [[] for _ in texts]
    bags = [Counter(terms(texts[row][place].text)) for row, place in flat]
    lexical = _bm25(terms(question), bags)
    dense = [0.0] * len(flat)
    if embedder is not None:
        read = [contexts[row][place] if contexts else _in_context(texts[row], place) for row, place in flat]
        vectors = embedder.embed([question, *read])
        dense = [float(value) for value in vectors[1:] @ vectors[0]]
    weighted = [
        LEXICAL_WEIGHT * bm25 + DENSE_WEIGHT * cosine + POSITION_WEIGHT / (1 + place)
        for bm25, cosine, (_, place) in zip(_z(lexical), _z(dense), flat, strict=True)
    ]
    scored: list[list[Scored]] = [[] for _ in texts]
    for (row, place), score, cosine, bm25 in zip(flat, weighted, dense, lexical, strict=True):
        scored[row].append(Scored(texts[row][place], score, cosine, bm25))
    return scored


def _in_context(text: Sequence[Sentence], place: int) -> str:
    """Return a sentence with the one before it, so that "it" and "she" mean something."""
    before = text[place - 1] if place else None
    if before is None or len(before.text) > 300:
        return text[place].text
    return f"{before.text} {text[place].text}"


def _bm25(query: Sequence[str], bags: Sequence[Counter[str]]) -> list[float]:
    lengths = [sum(bag.values()) for bag in bags]
    mean = (sum(lengths) / len(lengths)) or 1.0
    scores = [0.0] * len(bags)
    for term in dict.fromkeys(query):
        holding = sum(1 for bag in bags if term in bag)
        if not holding:
            continue
        idf = math.log(1 + (len(bags) - holding + 0.5) / (holding + 0.5))
        for index, bag in enumerate(bags):
            frequency = bag[term]
            if frequency:
                norm = _K1 * (1 - _B + _B * lengths[index] / mean)
                scores[index] += idf * frequency * (_K1 + 1) / (frequency + norm)
    return scores


def _z(values: Sequence[float]) -> list[float]:
    """Return how many standard deviations each value lies from the mean; zeros where all are alike."""
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    return [(value - mean) / deviation if deviation > 1e-9 else 0.0 for value in values]


def _render(text: str, pieces: Sequence[Sentence], chosen: set[int]) -> Compressed:
    """Join the chosen sentences in order: what stood together keeps the space between it, gaps get a mark."""
    if not chosen:
        return Compressed("", (), len(pieces))
    parts: list[str] = []
    places = sorted(chosen)
    if places[0] > 0:
        parts.append(f"{GAP} ")
    for previous, place in zip([None, *places], places, strict=False):
        if previous is not None:
            together = place == previous + 1
            parts.append(text[pieces[previous].end : pieces[place].start] if together else f" {GAP} ")
        parts.append(pieces[place].text)
    if places[-1] < len(pieces) - 1:
        parts.append(f" {GAP}")
    return Compressed("".join(parts), tuple(pieces[place] for place in places), len(pieces) - len(places))
