"""A phrase with many forms: choices, optional parts and slots for values.

    (Book|Reserve) a[ {room}] room in {city}[breakfast? with breakfast][ for {nights} nights]

`(a|b|)` is one of its parts; `{name}` is the value of a parameter; `[...]` is said or left out, and with it go the
parameters in it; `[name? ...]` and `[name! ...]` say that the flag `name` is true, or false. A backslash takes the
next character as it is.
Covered: a phrase that cannot be read is an error that names the place.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

_FLAG = re.compile(r"([a-z][a-z0-9_]*)([?!])")
_SLOT = re.compile(r"\{([a-z][a-z0-9_]*)\}")


_VOWEL = r"[aio](?!ne\b)|e(?!u)|hour|SUV|E(?![A-Zu\d. ])|[AIO](?![A-Z\d. ])|8|1[18]\b"
"""What begins with a vowel when it is said: `an hour`, but `a one-way ticket`."""
_AN = re.compile(_VOWEL)
_ARTICLE = re.compile(r"\b[Aa] $")


class PhraseError(ValueError):
    """A phrase is malformed."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for the value of a parameter."""

    name: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several parts."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Maybe:
    """A part that is said or left out."""

    part: Part
    flag: str | None = None
    means: bool = True
    """What saying it makes of the flag."""


Part = tuple["str | Slot | Choice | Maybe", ...]


@dataclass(slots=True)
class Said:
    """One form of a phrase, with its slots still open."""

    pieces: list[str | Slot] = field(default_factory=list)
    flags: dict[str, bool] = field(default_factory=dict)

    def slots(self) -> list[str]:
        """Return the parameters it speaks of, each once."""
        return list(dict.fromkeys(piece.name for piece in self.pieces if isinstance(piece, Slot)))

    def fill(self, values: Mapping[str, str]) -> str:
        """Return the text with `values` in its slots, and `an` where one of them asks for it."""
        text = ""
        for piece in self.pieces:
            part = values[piece.name] if isinstance(piece, Slot) else piece
            if isinstance(piece, Slot) and _AN.match(part) and _ARTICLE.search(text):
                text = f"{text[:-1]}n "
            text += part
        return text


class Phrase:
    """A parsed phrase."""

    def __init__(self, text: str) -> None:
        """Parse `text`.

        Raises:
            PhraseError: It is malformed.
        """
        self.text = text
        self._part, end = _parse(text, 0, "")
        if end != len(text):
            raise PhraseError(f"{text!r}: nothing opens the {text[end]!r} at {end}")

    def say(self, rng: random.Random, *, share: float = 0.5) -> Said:
        """Return one form; an optional part is said with probability `share`."""
        said = Said()
        _say(self._part, said, rng, share)
        return said

    @property
    def required(self) -> set[str]:
        """The parameters that every form speaks of."""
        return set(_slots(self._part, optional=False))

    @property
    def mentioned(self) -> set[str]:
        """The parameters and flags that some form speaks of."""
        return set(_slots(self._part, optional=True))


def _parse(text: str, at: int, until: str) -> tuple[Part, int]:
    items: list[str | Slot | Choice | Maybe] = []
    plain: list[str] = []

    def flush() -> None:
        if plain:
            items.append("".join(plain))
            plain.clear()

    while at < len(text) and text[at] not in until:
        match text[at]:
            case "\\":
                plain.append(text[at + 1 : at + 2])
                at += 2
            case "{":
                slot = _SLOT.match(text, at)
                if slot is None:
                    raise PhraseError(f"{text!r}: no parameter at {at}")
                flush()
                items.append(Slot(slot[1]))
                at = slot.end()
            case "(":
                flush()
                parts = []
                while True:
                    part, at = _parse(text, at + 1, "|)")
                    parts.append(part)
                    if at >= len(text):
                        raise PhraseError(f"{text!r}: a choice is not closed")
                    if text[at] == ")":
                        break
                if len(parts) == 1:
                    raise PhraseError(f"{text!r}: a choice of one; write \\( for a bracket")
                items.append(Choice(tuple(parts)))
                at += 1
            case "[":
                flush()
                flag = _FLAG.match(text, at + 1)
                part, end = _parse(text, flag.end() if flag else at + 1, "]")
                if end >= len(text):
                    raise PhraseError(f"{text!r}: an optional part is not closed")
                items.append(Maybe(part, flag[1] if flag else None, not flag or flag[2] == "?"))
                at = end + 1
            case ")" | "]" | "}":
                break
            case other:
                plain.append(other)
                at += 1
    flush()
    return tuple(items), at


def _say(part: Part, said: Said, rng: random.Random, share: float) -> None:
    for item in part:
        match item:
            case Choice(parts):
                _say(rng.choice(parts), said, rng, share)
            case Maybe(inner, flag, means):
                if rng.random() < share and flag not in said.flags:
                    if flag is not None:
                        said.flags[flag] = means
                    _say(inner, said, rng, share)
            case _:
                said.pieces.append(item)


def _slots(part: Part, *, optional: bool) -> Iterator[str]:
    for item in part:
        match item:
            case Slot(name):
                yield name
            case Choice(parts):
                sets = [set(_slots(each, optional=optional)) for each in parts]
                yield from set.union(*sets) if optional else set.intersection(*sets)
            case Maybe(inner, flag, _) if optional:
                if flag is not None:
                    yield flag
                yield from _slots(inner, optional=optional)


def articles(text: str) -> str:
    """Return `text` with `an` where a drawn word asks for it."""
    return re.sub(r"\b([Aa]) (?=[aio](?!ne\b)|e(?!u)|hour|SUV)", r"\1n ", text)


def check_slots(phrases: Iterable[Phrase], known: Collection[str]) -> None:
    """Refuse phrases that speak of what is not known.

    Raises:
        PhraseError: One does; it names which, and of what.
    """
    for phrase in phrases:
        if unknown := phrase.mentioned - set(known):
            raise PhraseError(f"{phrase.text!r} speaks of {', '.join(sorted(unknown))}")
