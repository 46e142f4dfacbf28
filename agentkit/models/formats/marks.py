"""Which stretches of a family's markup are control tokens of a model (pure)."""

from __future__ import annotations

from collections.abc import Mapping


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
