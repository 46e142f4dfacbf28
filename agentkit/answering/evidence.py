"""Which sentences of the found passages answer a question, and whether any does.

A sentence is judged by four things a person can check: how near its meaning is (cosine), how many of the question's
content words it holds together with its headings (coverage), whether it holds the kind of thing asked for
(`agentkit.answering.expected`), and where its passage ranked. No model is asked: a small one says yes to anything.
The weights and thresholds were set by hand on 120 questions about two sets of notes (one is `examples/notes`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from agentkit.answering.expected import Kind, counted, expected
from agentkit.context.compress import Embeds, rank
from agentkit.context.sentences import Sentence, sentences
from agentkit.context.words import alike, terms
from agentkit.messages import Evidence
from agentkit.request.asking import is_yes_or_no, owned

FOUND_STRENGTH = 0.73
"""Strength from which the documents are taken to hold the answer."""
POSSIBLE_STRENGTH = 0.55
"""Strength from which they may hold it: to be believed where a model that can say no finds it there as well."""
SURE_STRENGTH = 0.95
"""Strength from which they hold it almost always."""
COVERAGE_WEIGHT = 0.45
MISFIT = 0.45
"""What a sentence loses that does not hold the kind of thing asked for."""
SAID_WEIGHT = 0.7
"""For the share of the question's words a sentence holds itself."""
HEADED_WEIGHT = 1.0
"""For the share it holds together with its headings."""
LABELLED = 0.5
"""For a line "label: value" whose label is asked for."""
FITTING = 0.9
"""For holding, or against lacking, the kind of thing asked for."""
NEAR_THE_BEST = 1.0
"""How far under the best score a sentence may stay and still be quoted beside it."""

_GENERIC = frozenset(
    terms(
        "much many long old high tall far big large often time date day number name amount take need use get go"
        " make happen start begin place kind type possible money"
    )
)
"""Content words that carry no meaning in a question: its kind already says what they say."""
_HEADING = re.compile(r"(?:\d+[.)]?\s+)?[^\W\d][^.:!?|=]{0,70}")
_BULLET = re.compile(r"^\s*(?:[-*+\u2022]|\(?\d{1,3}[.)])\s+(?:\[[ xX]\]\s+)?")
_CODE = re.compile(r"\b[A-Z]{1,5}-?(\d{3,})\b")
"""The digits of a code (`TRK915`, `MH370`): what does not have them is about another parcel, or flight."""
_POINTS_BACK = re.compile(
    r"(?:it|they|this|that|these|those|he|she|his|her|its|their|both|all|each)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence that may answer the question."""

    passage: int
    """Index of its passage."""
    place: int
    """Index of the sentence in its passage."""
    text: str
    score: float
    """For ordering the candidates of one question."""
    strength: float
    """For deciding whether it answers at all; compares across questions."""
    coverage: float
    """Share of the question's content words it and its headings hold, 0 to 1."""
    fits: bool
    """Whether it holds the kind of thing asked for."""


@dataclass(frozen=True, slots=True)
class Lead:
    """A sentence a model is asked about."""

    text: str
    """For a model to read: with its heading and what it points back to, without bullets."""
    evidence: Evidence
    """The sentence as it stands, and where."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the passages have to say to a question."""

    quotes: tuple[Evidence, ...]
    """The best sentences as they stand, grouped by passage, best passage first."""
    leads: tuple[Lead, ...]
    """The best sentences one by one, best first; behind the first only those that hold the kind of thing asked for."""
    strength: float
    found: bool
    reason: str


def find(
    question: str,
    passages: Sequence[Evidence],
    *,
    about: str = "",
    embedder: Embeds | None = None,
    quotes: int = 3,
) -> Finding:
    """Judge the sentences of `passages` and return the best.

    Args:
        question: In the user's words.
        passages: From a search, best first.
        about: Words for what the question only points to.
        embedder: The one of the search; without it strength rests on words alone.
        quotes: Sentences to quote at most.
    """
    if codes := _CODE.findall(question):
        passages = [each for each in passages if any(code in f"{each.source} {each.quote}" for code in codes)]
    texts = [sentences(each.quote) for each in passages]
    headings = [_headings(each, text) for each, text in zip(passages, texts, strict=True)]
    kind = expected(question)
    candidates = sorted(
        _candidates(question, about, kind, passages, texts, headings, embedder),
        key=lambda each: (-each.score, each.passage, each.place),
    )
    if not candidates:
        return Finding((), (), 0.0, found=False, reason="no document is near the question")
    best = candidates[0]
    chosen = [
        each
        for each in candidates[:quotes]
        if each.score >= best.score - NEAR_THE_BEST and (each is best or each.strength >= FOUND_STRENGTH)
    ]
    strength = max(each.strength for each in chosen)
    found = strength >= FOUND_STRENGTH
    return Finding(
        _quotes(chosen, passages, texts),
        tuple(
            _lead(each, passages[each.passage], texts[each.passage], headings[each.passage])
            for each in candidates[:quotes]
            if each is best or each.fits
        ),
        strength,
        found=found,
        reason=_reason(best, kind, found=found),
    )


def _candidates(
    question: str,
    about: str,
    kind: Kind | None,
    passages: Sequence[Evidence],
    texts: Sequence[Sequence[Sentence]],
    headings: Sequence[Sequence[str]],
    embedder: Embeds | None,
) -> list[Candidate]:
    sought = f"{question} {about}".strip()
    asked = list(dict.fromkeys(terms(sought)))
    core = [term for term in asked if term not in _GENERIC] or asked
    yes_or_no = is_yes_or_no(question)
    things = [term for term in terms(counted(question)) if term not in _GENERIC]
    own_things = [term for term in terms(owned(question)) if term not in _GENERIC]
    contexts = [
        [_context(text, place, heads[place]) for place in range(len(text))]
        for text, heads in zip(texts, headings, strict=True)
    ]
    made: list[Candidate] = []
    for passage, row in enumerate(rank(sought, texts, embedder=embedder, contexts=contexts)):
        named = title(passages[passage])
        for place, scored in enumerate(row):
            text = scored.sentence.text
            own = set(terms(text))
            around = own | set(terms(f"{named} {texts[passage][0].text} {contexts[passage][place]}"))
            said = _share(core, own)
            coverage = _share(core, around)
            fits = (kind is None or bool(kind.answer.search(text))) and _share(things, around) in (None, 1.0)
            fits = fits and _share(own_things, around) != 0.0
            new = any(not any(alike(term, other) for other in asked) for term in own)
            dense = scored.dense if embedder is not None else 0.35 * ((said or 0.0) + (coverage or 0.0))
            empty = not (new or yes_or_no) or headings[passage][place] == text or text.endswith("?")
            made.append(
                Candidate(
                    passage,
                    place,
                    text,
                    score=scored.score
                    + SAID_WEIGHT * (said or 0.0)
                    + HEADED_WEIGHT * (coverage or 0.0)
                    + (LABELLED if _is_labelled(text, asked) else 0.0)
                    + (FITTING if kind is not None and fits else 0.0)
                    - (0.0 if fits else FITTING)
                    - 0.05 * passage
                    - (4.0 if empty else 0.0),
                    strength=dense + COVERAGE_WEIGHT * (coverage or 0.0) - (0.0 if fits else MISFIT),
                    coverage=coverage or 0.0,
                    fits=fits,
                )
            )
    return made


def _is_labelled(text: str, asked: Sequence[str]) -> bool:
    """Say whether a line is "label: value" and the question asks for the label."""
    label, colon, value = text.partition(":")
    own = terms(label)
    return bool(colon and value.strip() and own) and len(own) <= 3 and _share(own, set(asked)) == 1.0


def _share(wanted: Sequence[str], held: set[str]) -> float | None:
    """Return how many of the wanted words are held, 0 to 1; `None` where nothing is wanted."""
    if not wanted:
        return None
    return sum(1 for term in wanted if any(alike(term, other) for other in held)) / len(wanted)


def _headings(passage: Evidence, text: Sequence[Sentence]) -> list[str]:
    """Return, for each sentence, the heading it stands under; a heading stands under itself."""
    heading = ""
    found: list[str] = []
    for number, each in enumerate(text):
        following = text[number + 1].start if number + 1 < len(text) else each.end
        if _is_heading(each.text, passage.quote[each.end : following]):
            heading = each.text
        found.append(heading)
    return found


def _is_heading(text: str, gap: str) -> bool:
    if "\n" not in gap or len(text.split()) > 10 or text.startswith(("-", "*", ">", '"', "|")):
        return False
    alone = gap.count("\n") >= 2 and text[-1] not in ".!?;,|"
    return alone or text.startswith("#") or bool(_HEADING.fullmatch(text))


def _context(text: Sequence[Sentence], place: int, heading: str) -> str:
    """Return what a sentence is read with: its heading, and the sentence before it in the same paragraph."""
    own = text[place].text
    beside = place and (text[place - 1].block == text[place].block or _POINTS_BACK.match(own))
    before = text[place - 1].text if beside else ""
    return " ".join(part for part in (heading if heading not in (own, before) else "", before, own) if part)


def _lead(candidate: Candidate, passage: Evidence, text: Sequence[Sentence], headings: Sequence[str]) -> Lead:
    place, heading = candidate.place, headings[candidate.place].strip("# ")
    quote, own = candidate.text, _without_bullet(candidate.text)
    if place and _POINTS_BACK.match(own):
        own = f"{_without_bullet(text[place - 1].text)} {own}"
        quote = f"{text[place - 1].text} {quote}"
    return Lead(own if not heading or heading in own else f"{heading}: {own}", replace(passage, quote=quote))


def _without_bullet(text: str) -> str:
    """Leave out what only numbers a list; a small model takes the number for the answer."""
    return _BULLET.sub("", text)


def title(passage: Evidence) -> str:
    """Return what the file of a passage is called, in words."""
    name = passage.source.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return re.sub(r"[_-]+", " ", name)


def _quotes(
    chosen: Sequence[Candidate], passages: Sequence[Evidence], texts: Sequence[Sequence[Sentence]]
) -> tuple[Evidence, ...]:
    """Return one quote per passage, its sentences in order, each with the one it points back to."""
    made: list[Evidence] = []
    for passage in dict.fromkeys(each.passage for each in chosen):
        places = {each.place for each in chosen if each.passage == passage}
        text = texts[passage]
        places |= {p - 1 for p in places if p and _POINTS_BACK.match(text[p].text)}
        ordered = sorted(places)
        quote = text[ordered[0]].text
        for previous, place in pairwise(ordered):
            quote += (" " if place == previous + 1 else " [...] ") + text[place].text
        made.append(replace(passages[passage], quote=quote))
    return tuple(made)


def _reason(best: Candidate, kind: Kind | None, *, found: bool) -> str:
    if not best.fits and kind is not None:
        return f"the nearest sentence does not hold {kind.name}"
    words = f"the nearest sentence holds {best.coverage:.0%} of the question's words"
    return words if found else f"{words}, which is too little"
