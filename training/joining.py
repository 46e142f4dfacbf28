"""Several requests as one, and what people say around a request (pure)."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from agentkit.context.words import lower
from training.phrases import Said, Slot


@dataclass(frozen=True, slots=True)
class Request:
    """A request by itself, and as it stands within a sentence: what was drawn keeps its capital there."""

    text: str
    inside: str


def request(said: Said, text: str) -> Request:
    """Return `text`, which was made of `said`, as a request."""
    begins_drawn = bool(said.pieces) and isinstance(said.pieces[0], Slot)
    return Request(text, text if begins_drawn else lower(text))


def decorated(asked: Request, rng: random.Random) -> str:
    """Return a request with what people say around it, or as it is."""
    if rng.random() < 0.6 or "\n" in asked.text:
        return asked.text
    first, last = rng.choice(_BEFORE), rng.choice(_AFTER)
    text = asked.inside if first.endswith((", ", ": ")) else asked.text
    return first + (closed(text) if last else text) + last


def joined(asked: Sequence[Request], rng: random.Random) -> Request:
    """Return several requests as one."""
    first, *rest = asked
    if not rest:
        return first
    match rng.randrange(9):
        case 0:
            lines = [f"{number}. {each.text}" for number, each in enumerate(asked, 1)]
            return _same(rng.choice(_LISTED) + "\n".join(lines))
        case 1:
            return _same(rng.choice(_LISTED[1:]) + "\n".join(f"- {each.text}" for each in asked))
        case 2:
            later = [closed(each.text) for each in rest]
            return Request(" ".join((closed(first.text), *later)), " ".join((closed(first.inside), *later)))
        case 3:
            words = ("First, ", *("Second, ", "Third, ") * (len(asked) > 2), "Then, ", "Next, ")[
                : len(asked) - 1
            ]
            text = " ".join(
                word + closed(each.inside) for word, each in zip((*words, "Finally, "), asked, strict=True)
            )
            return Request(text, lower(text))
        case 4:
            head = rng.choice(_COUNTS).format(_NUMBERS[len(asked)])
            text = head + _series(asked, rng, first.inside)
            return Request(text, lower(text))
        case 5:
            return Request(_series(asked, rng, first.text), _series(asked, rng, first.inside))
        case 6 if len(asked) == 2:
            word = rng.choice(("then ", "also ", "", "after that "))
            return Request(
                *(f"{open_end(each)} and {word}{rest[0].inside}" for each in (first.text, first.inside))
            )
        case _:
            words = rng.choice(_LINKS)
            later = [rng.choice(words) + closed(each.inside) for each in rest]
            return Request(" ".join((closed(first.text), *later)), " ".join((closed(first.inside), *later)))


def open_end(text: str) -> str:
    """Return a request without the mark that ends it, so that more can follow."""
    return re.sub(r"(, (please|thanks))?[.?!]*$", "", text)


def closed(text: str) -> str:
    """Return a request with a mark that ends it."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _series(asked: Sequence[Request], rng: random.Random, first: str) -> str:
    """Return the requests one after the other in one sentence, `first` in place of the first."""
    between = rng.choice(("; ", ", ", "; "))
    last = rng.choice((" and ", " and also ", "; and ", ", and finally ")[: 3 + (len(asked) > 2)])
    *middle, end = (each.inside for each in asked[1:])
    return between.join(map(open_end, (first, *middle))) + last + end


def _same(text: str) -> Request:
    return Request(text, text)


_BEFORE = (
    "", "", "Hi! ", "Hello, ", "Hey, ", "Quick question: ", "I'm curious, ", "For my homework, ", "OK, ",
    "For a project at work, ", "I'm getting ready for a trip. ", "My friend asked me this. ", "I was wondering, ",
    "If you don't mind, ", "I have to finish a report today. ", "I'm new to this. ", "One more thing: ",
    "A little help, please: ", "Good morning. ", "Not sure whom to ask: ", "Can you help me? ",
)  # fmt: skip
_AFTER = ("", "", "", " Thanks!", " Thank you.", " Please be quick.", " That would be great.")
_LISTED = ("", "", "Please do this for me:\n", "To do:\n", "A few things:\n", "I need these:\n")
_COUNTS = ("I need {} things: ", "Please do {} things: ", "Help me with {} things: ", "I have {} requests: ")
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
_LINKS = (
    ("Also, ",), ("Then ", "After that, "), ("Also ", "And "), ("I also need this: ",), ("Besides, ", "Plus, "),
    ("On top of that, ",), ("While you are at it, ",), ("Another thing: ", "And one more: "), ("In addition, ",),
    ("Once that is done, ", "When you have that, "), ("At the same time, ",),
)  # fmt: skip
