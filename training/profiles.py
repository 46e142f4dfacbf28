"""Questions on a passage about one subject: what one of its sentences says, or that it is left out.

A passage is an introduction and a few of the other parts of a profile, in order; some begin later, and some go on
about something else. Where a question is left open, the passage lacks just the part it asks about, or speaks of
another subject of the same kind.
"""

from __future__ import annotations

import functools
import random
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.draws import Draw, draw_of, draw_values, stands_in
from training.grounded import Asked, capital, example, typed
from training.phrases import Phrase, Said, Slot, articles, check_slots
from training.tasks import Example

LEFT_OPEN = 0.2
"""How often the passage does not hold the answer."""
NAMES = ("name", "it", "its", "him")
"""Slots for the subject: its name always; its name first, and then a pronoun or a shorter name."""

_TRIES = 200
"""How often a passage is made anew where chance made one that is not clear."""


@dataclass(frozen=True, slots=True)
class Part:
    """One sentence or two, and what can be asked about them."""

    says: tuple[Phrase, ...]
    asks: tuple[tuple[Phrase, Phrase], ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """A row of profiles.toml."""

    name: Phrase
    short: tuple[Phrase, ...]
    pronouns: tuple[str, str, str]
    """As in `it moves`, `its place`, `move it`."""
    draws: Mapping[str, Draw]
    parts: tuple[Part, ...]
    """The introduction, and the others in their order."""


@functools.cache
def profiles() -> tuple[Profile, ...]:
    """Return all profiles.

    Raises:
        ValueError: One speaks of what it does not draw.
    """
    rows = tomllib.loads(Path(__file__).with_name("profiles.toml").read_text(encoding="utf-8"))["profile"]
    return tuple(map(_read, rows))


def draw(profile: Profile, rng: random.Random, taken: Collection[str] = ()) -> dict[str, str]:
    """Return values for `profile`, no two alike; if there are enough, none like one `taken`, its name never."""
    for _ in range(_TRIES):
        values = draw_values(profile.draws, rng, taken)
        values["name"] = profile.name.say(rng).fill(values)
        if values["name"] not in taken:
            return values
    raise ValueError(f"{profile.name.text!r} has too few names")


def tell(
    profile: Profile, parts: Iterable[Part], values: Mapping[str, str], rng: random.Random, *, named: bool
) -> str:
    """Return the sentences of `parts`; `named` says that the name of the subject is known before."""
    said = []
    for part in parts:
        text, named = _refer(profile, rng.choice(part.says).say(rng), values, rng, named=named)
        said.append(text)
    return re.sub(r"(?:^|(?<=[.!?] ))[a-z]", lambda first: first[0].upper(), articles(" ".join(said)))


def ask(rng: random.Random) -> Asked:
    """Return a question on a passage, answered there or left open."""
    for _ in range(_TRIES):
        asked = _ask(rng.choice(profiles()), rng)
        if asked and not stands_in(asked.answer, asked.question):
            return asked
    raise ValueError("no profile makes a clear question")


def answer_from_profile(rng: random.Random) -> Example:
    """One passage about one subject holds the answer; or it does not, and that is what is said."""
    return example(ask(rng))


def _read(row: Mapping[str, Any]) -> Profile:
    subject, possessive, object_ = row.get("pronouns", "it its it").split()
    profile = Profile(
        Phrase(row["name"]),
        tuple(map(Phrase, row["short"])),
        (subject, possessive, object_),
        {name: draw_of(text) for name, text in row["draws"].items()},
        tuple(
            Part(
                tuple(map(Phrase, part["says"])),
                tuple((Phrase(question), Phrase(answer)) for question, answer in part["asks"].items()),
            )
            for part in row["parts"]
        ),
    )
    phrases = [profile.name, *profile.short]
    for part in profile.parts:
        phrases += [*part.says, *(phrase for pair in part.asks for phrase in pair)]
    check_slots(phrases, (*profile.draws, *NAMES))
    return profile


def _ask(profile: Profile, rng: random.Random) -> Asked | None:
    """Return a question on a passage, or nothing where chance made one that is not clear."""
    values = draw(profile, rng)
    about = rng.choice(profile.parts)
    form, answer = rng.choice(about.asks)
    question, is_said = form.say(rng), rng.random() >= LEFT_OPEN
    of_another = not is_said and "name" in question.slots() and rng.random() < 0.35
    subject = draw(profile, rng, tuple(values.values())) if of_another else values

    shown = _shown(profile, about if is_said else None, rng)
    if not is_said and not of_another:
        shown = [part for part in shown if part is not about]
    nameless = profile.parts[0] not in shown and not of_another and rng.random() < 0.5
    passage = tell(profile, shown, values, rng, named=nameless)
    if "name" in question.slots() and rng.random() < 0.5:  # else it could be meant of the other subject
        alike = not nameless and rng.random() < 0.3
        of = profile if alike else _another(profile, rng)
        passage += " " + _aside(of, (*values.values(), *subject.values()), rng)

    words, text = question.fill(subject), articles(answer.say(rng).fill(subject))
    text = capital(text)
    if stands_in(text, passage) is not is_said:
        return None
    return Asked(typed(capital(words), rng), passage, text, is_said)


def _shown(profile: Profile, about: Part | None, rng: random.Random) -> list[Part]:
    """Return the parts of a passage, `about` among them."""
    introduction, *later = profile.parts
    few = rng.random() < 0.35
    chosen = rng.sample(later, rng.randint(1, 2) if few else rng.randint(3, min(8, len(later))))
    if about in later and about not in chosen:
        chosen[0] = about
    begins = about is introduction or rng.random() < 0.8
    return [part for part in profile.parts if part in chosen or (begins and part is introduction)]


def _aside(profile: Profile, taken: Collection[str], rng: random.Random) -> str:
    """Return a sentence or two about something else, and say what."""
    for _ in range(_TRIES):
        values = draw(profile, rng, taken)
        at = rng.randrange(len(profile.parts) - 1)
        text = tell(profile, profile.parts[at : at + 1], values, rng, named=False)
        if values["name"].lower() in text.lower():
            break
    else:
        raise ValueError(f"{profile.name.text!r} is never named")
    more = profile.parts[at + 1 : at + 1 + rng.randrange(2)]
    return " ".join((text, *([tell(profile, more, values, rng, named=True)] if more else [])))


def _another(profile: Profile, rng: random.Random) -> Profile:
    return rng.choice([each for each in profiles() if each is not profile])


def _refer(
    profile: Profile, said: Said, values: Mapping[str, str], rng: random.Random, *, named: bool
) -> tuple[str, bool]:
    """Return the text, the subject called as it is in running text, and whether it has been named by now."""
    pieces, again = [], False
    for piece in said.pieces:
        if not isinstance(piece, Slot):
            pieces.append(piece)
            continue
        if piece.name not in NAMES:
            pieces.append(values[piece.name])
            continue
        if piece.name == "name" or not named:
            text = values["name"] + ("'s" if piece.name == "its" else "")
        elif again or rng.random() < 0.6:
            text = profile.pronouns[NAMES.index(piece.name) - 1]
        else:
            text = rng.choice(profile.short).say(rng).fill(values) + ("'s" if piece.name == "its" else "")
        pieces.append(text)
        named = again = True
    return "".join(pieces), named
