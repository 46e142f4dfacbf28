"""One request for several calls of one tool: the ways in which people say what changes from call to call (pure)."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

from training.joining import closed
from training.kinds import spoken_list
from training.phrases import Said, Slot

_LINK = re.compile(r"\b(in|for|of|from|with|to|at|on|by|about|between|the \w+ of) $")
"""What may be said again before each value: "in Rome and in Oslo"."""
_AGAIN = (
    "Do the same for {}.",
    "Then do that for {}, too.",
    "Repeat it for {}.",
    "I need the same for {}.",
    "And for {}?",
    "What about {}?",
    "Also for {}, please.",
)


_JOINED = re.compile(r"[\s,;&+x*/\u00d7-]*(and|or|by|times|plus|minus)?[\s(\[]*")
"""What stands between two values that belong together: who lists more behind it says something else."""
_QUOTED = re.compile(r"[`\"'“\u2018(\[]$")
_SENTENCE_END = re.compile(r"[.?!:]\s")


def say_repeated(
    said: Said,
    rows: Sequence[Mapping[str, str]],
    varied: Sequence[str],
    rng: random.Random,
    *,
    alone: bool = True,
) -> str | None:
    """Return one request for all of `rows`; `None` where what it would say is not clear.

    Args:
        said: The request for one of them.
        rows: What is said for each parameter, one mapping for each call.
        varied: The parameters in which the calls differ.
        rng: Decides on the form.
        alone: A value by itself says which parameter it is for.
    """
    places = [at for at, piece in enumerate(said.pieces) if isinstance(piece, Slot) and piece.name in varied]
    first, last = places[0], places[-1]
    form = rng.random()
    if len(varied) == 1 and alone and form < 0.2:
        others = spoken_list([row[varied[0]] for row in rows[1:]], rng)
        return f"{closed(said.fill(rows[0]))} {rng.choice(_AGAIN).format(others)}"
    if form < (0.35 if len(varied) == 1 else 0.6):
        between = Said(said.pieces[first : last + 1]).fill(dict.fromkeys(rows[0], ""))
        is_clear = _opens(said, first) and _closes(said, last) and not _SENTENCE_END.search(between)
        return _clauses(said, rows, first, last, rng) if is_clear else None
    if not all(_opens(said, at) and _closes(said, at) for at in places):
        return None
    spoken = {**rows[0], **{name: spoken_list([row[name] for row in rows], rng) for name in varied}}
    text = said.fill(spoken)
    if len(varied) > 1 and rng.random() < 0.7:
        return before_end(text, rng.choice((" respectively", ", respectively")))
    return text


def before_end(text: str, words: str) -> str:
    """Return `text` with `words` before the mark that ends it."""
    body = text.rstrip(".?!")
    return body + words + text[len(body) :]


def _opens(said: Said, at: int) -> bool:
    """Return whether a list may begin at a slot: not in quotes, nor as the second of two that belong together."""
    before = said.pieces[at - 1] if at else ""
    if isinstance(before, Slot):
        return False
    return not (_QUOTED.search(before) or (at > 1 and _JOINED.fullmatch(before)))


def _closes(said: Said, at: int) -> bool:
    """Return whether a list may end at a slot: it is not the first of two that belong together."""
    after = said.pieces[at + 1] if at + 1 < len(said.pieces) else ""
    if isinstance(after, Slot):
        return False
    return not (at + 2 < len(said.pieces) and _JOINED.fullmatch(after))


def _clauses(said: Said, rows: Sequence[Mapping[str, str]], first: int, last: int, rng: random.Random) -> str:
    """Return the request with its pieces from `first` to `last` said once for each call."""
    before, middle, after = said.pieces[:first], said.pieces[first : last + 1], said.pieces[last + 1 :]
    if before and isinstance(before[-1], str) and (link := _LINK.search(before[-1])) and rng.random() < 0.6:
        before, middle = [*before[:-1], before[-1][: link.start()]], [link[0], *middle]
    clauses = [Said(middle).fill(row) for row in rows]
    if last > first and len(clauses) > 2 and rng.random() < 0.5:
        told = "; ".join(clauses)
    elif rng.random() < 0.3:
        told = f"{', '.join(clauses[:-1])}, and {rng.choice(('then', 'also', 'finally'))} {clauses[-1]}"
    else:
        told = spoken_list(clauses, rng)
    return Said(before).fill(rows[0]) + told + Said(after).fill(rows[0])
