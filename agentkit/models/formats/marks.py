"""Which stretches of a family's markup are control tokens of a model, and how they stand in a text (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping

BEFORE, BEHIND = "\ufdd1", "\ufdd2"
"""Code points that are no characters (Unicode 3.4): around the spelling of a control token."""
_TOKEN = re.compile(f"{BEFORE}[^{BEHIND}]*{BEHIND}")


def cut(text: str, special: Mapping[str, int]) -> list[tuple[str, int | None]]:
    """Cut markup into stretches, each with its token where it is one.

    Args:
        text: Markup of a family.
        special: The model's control tokens, by their spelling; of two that fit the longer one is meant.
    """
    pieces: list[tuple[str, int | None]] = []
    while text:
        found = [(place, -len(token), token) for token in special if (place := text.find(token)) >= 0]
        if not found:
            pieces.append((text, None))
            break
        place, _, token = min(found)
        if place:
            pieces.append((text[:place], None))
        pieces.append((token, special[token]))
        text = text[place + len(token) :]
    return pieces


def as_token(spelling: str) -> str:
    """Return how a control token stands in a text that ordinary tokens wrote: so that none of them can spell it."""
    return BEFORE + spelling + BEHIND


def with_tokens(text: str, special: Mapping[str, int]) -> str:
    """Return markup with its control tokens as `as_token` writes them."""
    return "".join(piece if token is None else as_token(piece) for piece, token in cut(text, special))


def without_tokens(text: str) -> str:
    """Return a text without the control tokens in it."""
    return _TOKEN.sub("", text)


def spelt_out(text: str) -> str:
    """Return a text with its control tokens spelt like any other word."""
    return text.replace(BEFORE, "").replace(BEHIND, "")


def plain(text: str) -> str:
    """Return what ordinary tokens wrote, in which nothing can stand for a control token."""
    return text.replace(BEFORE, "\ufffd").replace(BEHIND, "\ufffd")
