"""Questions on somebody's notes: lists, tables, logs and labels, asked about in other words than they are written in.

A passage is a run of the lines of a jotting, in order and all written one way; or a single line under its heading,
as an agent shows it. Where a question is left open, its line is missing, it asks about another thing of the same
kind, or it asks what such notes do not hold.
"""

from __future__ import annotations

import functools
import random
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.draws import Draw, draw_of, draw_values, stands_in
from training.grounded import Asked, capital, example, typed
from training.phrases import Phrase, Said, articles, check_slots
from training.tasks import Example

LEFT_OPEN = 0.18
"""How often the passage does not hold the answer."""
ALONE = 0.4
"""How often it is a single line."""

_TRIES = 200
"""How often a passage is made anew where chance made one that is not clear."""
_LONGEST = 8
_BEGUN = 0.1
_BEGINNINGS = ("Tell me: ", "Remind me: ", "I forgot: ", "Quick question: ", "For the form I need this: ")
_A_CODE = re.compile(r"\S*(?:[\d@_/]|\w[.-]\w)")
"""What a first word is that keeps its small letter."""

Write = Callable[[str, int], str]
"""Writes a line that has this number in its list."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a note: its wordings, the tersest first; its cells in a table; what can be asked about it."""

    says: tuple[Phrase, ...]
    row: tuple[Phrase, ...]
    asks: tuple[tuple[Phrase, Phrase], ...]


@dataclass(frozen=True, slots=True)
class Jotting:
    """A row of jottings.toml."""

    title: tuple[Phrase, ...]
    draws: Mapping[str, Draw]
    columns: tuple[str, ...]
    """The head of the table of `row`s, where there is one."""
    lines: tuple[Line, ...]
    missing: tuple[Phrase, ...]
    """Questions that none of the lines answers."""


@functools.cache
def jottings() -> tuple[Jotting, ...]:
    """Return all jottings.

    Raises:
        ValueError: One speaks of what it does not draw, or has a row of another width than its table.
    """
    rows = tomllib.loads(Path(__file__).with_name("jottings.toml").read_text(encoding="utf-8"))["jotting"]
    return tuple(map(_read, rows))


def ask(rng: random.Random) -> Asked:
    """Return a question on a passage, answered there or left open."""
    is_said = rng.random() >= LEFT_OPEN
    for _ in range(_TRIES):
        asked = (_answered if is_said else _open)(rng.choice(jottings()), rng)
        if asked is None or stands_in(asked.answer, asked.question):
            continue
        if stands_in(asked.answer, asked.passage) is is_said:
            return asked
    raise ValueError("no jotting makes a clear question")


def answer_from_jotting(rng: random.Random) -> Example:
    """A few lines of a note hold the answer; or they do not, and that is what is said."""
    return example(ask(rng))


def write(jotting: Jotting, lines: Sequence[Line], values: Mapping[str, str], rng: random.Random) -> str:
    """Return `lines` as one person writes them, mostly with their heading."""
    title = rng.choice(jotting.title).say(rng).fill(values)
    if len(lines) == 1:
        text = _bare(lines[0], values, rng)
        return articles(f"{title}: {text}" if rng.random() < 0.85 else text)
    if all(line.row for line in lines) and rng.random() < 0.5:
        text = _table(
            jotting.columns, [[cell.say(rng).fill(values) for cell in line.row] for line in lines], rng
        )
    else:
        text = _list(lines, values, rng)
    if rng.random() < 0.75:
        text = rng.choice(_HEADINGS)(title) + text
    return articles(text)


_HEADINGS: tuple[Callable[[str], str], ...] = (
    lambda title: f"# {title}\n\n",
    lambda title: f"## {title}\n",
    lambda title: f"{title}:\n",
    lambda title: f"{title}\n\n",
    lambda title: f"**{title}**\n",
    lambda title: f"{title.upper()}\n",
    lambda title: f"{title}\n{'-' * len(title)}\n",
)
_BULLETS: tuple[Write, ...] = (
    lambda text, _: f"- {text}",
    lambda text, _: f"- {text}",
    lambda text, _: f"* {text}",
    lambda text, number: f"{number}. {text}",
    lambda text, number: f"{number}) {text}",
    lambda text, _: text,
    lambda text, _: text,
)


def _list(lines: Sequence[Line], values: Mapping[str, str], rng: random.Random) -> str:
    """Return the lines below one another, or one after the other."""
    terse = rng.random() < 0.5
    said = [(line.says[0] if terse else rng.choice(line.says)).say(rng).fill(values) for line in lines]
    match rng.randrange(6):
        case 0:
            return " ".join(f"{capital(text).rstrip('.')}." for text in said)
        case 1 if terse:
            return "; ".join(said)
        case _:
            bullet = rng.choice(_BULLETS)
            texts = map(capital, said) if rng.random() < 0.7 else said
            return "\n".join(bullet(text, number) for number, text in enumerate(texts, 1))


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], rng: random.Random) -> str:
    """Return a table of Markdown, or comma-separated values."""
    if rng.random() < 0.6:
        rule = ["---"] * len(columns)
        return "\n".join(f"| {' | '.join(row)} |" for row in (columns, rule, *rows))
    return "\n".join(map(_separated, (columns, *rows)))


def _separated(row: Sequence[str]) -> str:
    return ",".join(f'"{cell}"' if "," in cell else cell for cell in row)


def _bare(line: Line, values: Mapping[str, str], rng: random.Random) -> str:
    """Return a line without its bullet."""
    if not line.row or rng.random() < 0.6:
        return rng.choice(line.says).say(rng).fill(values)
    row = [cell.say(rng).fill(values) for cell in line.row]
    return f"| {' | '.join(row)} |" if rng.random() < 0.6 else _separated(row)


def _answered(jotting: Jotting, rng: random.Random) -> Asked:
    values = draw_values(jotting.draws, rng)
    line = rng.choice(jotting.lines)
    question, answer = rng.choice(line.asks)
    passage = write(jotting, _run(jotting.lines, rng, line), values, rng)
    return _asked(question.say(rng), answer, values, passage, rng, is_said=True)


def _open(jotting: Jotting, rng: random.Random) -> Asked | None:
    """Return a question that the passage leaves open, or nothing where chance made one that it answers."""
    values = draw_values(jotting.draws, rng)
    if jotting.missing and rng.random() < 0.35:
        passage = write(jotting, _run(jotting.lines, rng), values, rng)
        return _asked(rng.choice(jotting.missing).say(rng), Phrase(""), values, passage, rng, is_said=False)
    line = rng.choice(jotting.lines)
    form, answer = rng.choice(line.asks)
    question = form.say(rng)
    if not question.slots() or rng.random() < 0.4:
        others = [each for each in jotting.lines if each is not line]
        passage = write(jotting, _run(others, rng), values, rng)
        return _asked(question, answer, values, passage, rng, is_said=False)
    passage = write(jotting, _run(jotting.lines, rng, line), values, rng)
    other = draw_values(jotting.draws, rng, tuple(values.values()))
    if any(stands_in(other[name], passage) for name in question.slots()):
        return None
    if not any(values[name] in passage for name in question.slots()):  # what it is about is understood
        return None
    return _asked(question, answer, other, passage, rng, is_said=False)


def _run(lines: Sequence[Line], rng: random.Random, about: Line | None = None) -> Sequence[Line]:
    """Return some lines in a row, `about` among them."""
    about = about or rng.choice(lines)
    at = lines.index(about)
    if rng.random() < ALONE:
        return [about]
    count = rng.randint(2, min(_LONGEST, len(lines)))
    first = rng.randint(max(0, at - count + 1), min(at, len(lines) - count))
    return lines[first : first + count]


def _asked(
    question: Said,
    answer: Phrase,
    values: Mapping[str, str],
    passage: str,
    rng: random.Random,
    *,
    is_said: bool,
) -> Asked:
    """Return the question as it is typed, and the fullest form of the answer that the passage has."""
    words = articles(capital(question.fill(values)))
    if words.endswith("?") and rng.random() < _BEGUN:
        words = rng.choice(_BEGINNINGS) + words
    forms = [articles(answer.say(rng, share=share).fill(values)) for share in (1, 0)]
    text = next((form for form in forms if form.lower() in passage.lower()), forms[-1])
    return Asked(typed(words, rng), passage, _sentence(text), is_said)


def _sentence(text: str) -> str:
    """Return a short answer with a capital, unless it is a code, and a full stop."""
    if not text:
        return ""
    text = text if _A_CODE.match(text) else capital(text)
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _read(row: Mapping[str, Any]) -> Jotting:
    lines = [each for line in row["lines"] for each in _repeated(line)]
    times = max((line.get("times", 1) for line in row["lines"]), default=1)
    jotting = Jotting(
        tuple(map(Phrase, row["title"])),
        {
            each: draw_of(text)
            for name, text in row["draws"].items()
            for each in ([f"{name[:-1]}{n}" for n in range(1, times + 1)] if name.endswith("_n") else [name])
        },
        tuple(row.get("columns", ())),
        tuple(lines),
        tuple(map(Phrase, row.get("missing", ()))),
    )
    phrases = [*jotting.title, *jotting.missing]
    for line in lines:
        phrases += [*line.says, *line.row, *(phrase for pair in line.asks for phrase in pair)]
        if line.row and len(line.row) != len(jotting.columns):
            raise ValueError(f"the row of {line.says[0].text!r} is not as wide as its table")
    check_slots(phrases, jotting.draws)
    return jotting


def _repeated(line: Mapping[str, Any]) -> Iterable[Line]:
    """Return the lines that `line` stands for: each of its `times` speaks of the values of its own number."""
    for number in range(1, line.get("times", 1) + 1):

        def phrase(text: str, number: int = number) -> Phrase:
            return Phrase(text.replace("_n}", f"_{number}}}"))

        yield Line(
            tuple(map(phrase, line["says"])),
            tuple(map(phrase, line.get("row", ()))),
            tuple((phrase(question), phrase(answer)) for question, answer in line["asks"].items()),
        )
