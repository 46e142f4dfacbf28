"""Questions on a text: what the text says, in its own words, or that it does not say it."""

from __future__ import annotations

import functools
import random
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentkit import prompt
from agentkit.messages import Evidence, Message
from training.kinds import Kind, kind
from training.phrases import Phrase, check_slots
from training.tasks import Example

LEFT_OPEN = 0.35
"""How often the text does not hold the answer."""

_OF_THE_SAME = 0.65
"""How often what it leaves open is something else about what it does speak of."""
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Asked:
    """A question on a passage."""

    question: str
    passage: str
    answer: str
    is_said: bool
    """Whether the passage holds the answer."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A row of facts.toml."""

    draws: Mapping[str, Kind]
    says: tuple[Phrase, ...]
    asks: tuple[tuple[Phrase, Phrase], ...]
    missing: tuple[Phrase, ...]
    """Questions about the same thing that none of what it says answers."""


@dataclass(frozen=True, slots=True)
class Told:
    """A fact with its values: a sentence, and how it is asked about."""

    fact: Fact
    values: Mapping[str, str]
    sentence: str


@functools.cache
def facts() -> tuple[Fact, ...]:
    """Return all facts.

    Raises:
        ValueError: One speaks of what it does not draw.
    """
    rows = tomllib.loads(Path(__file__).with_name("facts.toml").read_text(encoding="utf-8"))["fact"]
    read = []
    for row in rows:
        fact = Fact(
            {name: kind(text) for name, text in row["draws"].items()},
            tuple(map(Phrase, row["says"])),
            tuple((Phrase(question), Phrase(answer)) for question, answer in row["asks"].items()),
            tuple(map(Phrase, row["missing"])),
        )
        check_slots((*fact.says, *(each for pair in fact.asks for each in pair), *fact.missing), fact.draws)
        read.append(fact)
    return tuple(read)


def tell(fact: Fact, rng: random.Random) -> Told:
    """Return `fact` with values, no two the same."""
    values: dict[str, str] = {}
    for _ in range(_TRIES):
        values = {name: each.draw(rng).said for name, each in fact.draws.items()}
        if len(set(values.values())) == len(values):
            break
    sentence = rng.choice(fact.says).say(rng).fill(values)
    return Told(fact, values, capital(sentence))


def ask(rng: random.Random) -> Asked:
    """Return a question on a text of one to four sentences, answered there or left open."""
    told = [tell(fact, rng) for fact in rng.sample(facts(), rng.choice((1, 1, 2, 3, 4)))]
    asked = rng.choice(told)
    question, answer = rng.choice(asked.fact.asks)
    words = question.say(rng).fill(asked.values)
    text = capital(answer.say(rng).fill(asked.values))
    is_said = rng.random() >= LEFT_OPEN
    if not is_said:
        words = _unanswerable(asked, told, rng, words)
    if rng.random() < 0.25:  # as people type
        words = words.rstrip("?").lower()
    rng.shuffle(told)
    return Asked(words, " ".join(each.sentence for each in told), text, is_said)


def answer_from_text(rng: random.Random) -> Example:
    """One text holds the answer; or it does not, and that is what is said."""
    return example(ask(rng))


def example(asked: Asked) -> Example:
    """Return the example of a question on a passage."""
    user = Message.user(prompt.grounded(asked.question, [Evidence("", "", "", asked.passage, 1.0)]))
    text = asked.answer if asked.is_said else prompt.NOT_SAID
    return Example("", (Message.system(prompt.GROUNDED), user), (), text=text)


def capital(text: str) -> str:
    """Return `text` as a sentence begins."""
    return text[:1].upper() + text[1:]


def typed(question: str, rng: random.Random) -> str:
    """Return a question as it is typed: half of them as into a search box."""
    if rng.random() < 0.5:
        return question
    question = question.rstrip("?.").replace('"', "").lower()
    return question.replace(" the ", " ", 1) if rng.random() < 0.15 else question


def _unanswerable(asked: Told, told: Sequence[Told], rng: random.Random, words: str) -> str:
    """Return a question like that one, about something none of `told` tells."""
    if rng.random() < _OF_THE_SAME:
        return rng.choice(asked.fact.missing).say(rng).fill(asked.values)
    other = tell(asked.fact, rng)
    missing = [
        value for name, value in asked.values.items() if value in words and other.values[name] != value
    ]
    if missing:  # the same question about somebody or something else
        name = next(name for name, value in asked.values.items() if value == missing[0])
        return words.replace(missing[0], other.values[name])
    known = [each.fact for each in told]
    elsewhere = tell(rng.choice([fact for fact in facts() if fact not in known]), rng)
    question, _ = rng.choice(elsewhere.fact.asks)
    return question.say(rng).fill(elsewhere.values)
