"""Sentences: slices of the text, in order, that tear nothing apart that belongs together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.context.sentences import LIMIT_CHARACTERS, sentences


def cut(text: str) -> list[str]:
    return [each.text for each in sentences(text)]


TEXTS = st.one_of(
    st.text(max_size=400),
    st.text(alphabet="ab .!?\n\t|-#`,:1", max_size=400),
    st.lists(
        st.sampled_from(["A b.", "Dr. X", "3.5", "\n", "\n\n", "- item", "| a | b |", "```", "x" * 900])
    ).map(" ".join),
)


@given(TEXTS)
def test_pieces_are_slices_in_order_and_only_white_space_lies_between(text: str) -> None:
    end = 0
    for piece in sentences(text):
        assert piece.text == text[piece.start : piece.end]
        assert piece.text.strip()
        assert not text[end : piece.start].strip()
        assert piece.start >= end
        end = piece.end
    assert not text[end:].strip()


@given(TEXTS, st.integers(10, 200))
def test_no_piece_is_longer_than_the_limit(text: str, limit: int) -> None:
    assert all(len(piece.text) <= limit for piece in sentences(text, limit=limit))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It rains. Take a coat!", ["It rains.", "Take a coat!"]),
        ("Dr. Sato lives in St. Gallen. She works.", ["Dr. Sato lives in St. Gallen.", "She works."]),
        ("Pi is 3.14 or so. E is 2.7.", ["Pi is 3.14 or so.", "E is 2.7."]),
        ("We met J. R. Smith, e.g. on Monday. Fine.", ["We met J. R. Smith, e.g. on Monday.", "Fine."]),
        ("Quiet from 10 p.m. to 7 a.m. Bicycles stay out.", ["Quiet from 10 p.m. to 7 a.m.", "Bicycles stay out."]),
        ("- 250 g flour\n- 2 eggs", ["- 250 g flour", "- 2 eggs"]),
        ("1. The tank. It holds 20 litres. It leaks.", ["1. The tank. It holds 20 litres.", "It leaks."]),
        ("| a | b |\n| 1. | 2. |", ["| a | b |", "| 1. | 2. |"]),
        ("a: A, b: 3.50, c: May\na: B, b: 1, c: June", ["a: A, b: 3.50, c: May", "a: B, b: 1, c: June"]),
        ("KEEP = 21\nRETRIES = 4", ["KEEP = 21", "RETRIES = 4"]),
        ("Kitchen: green\nHall: blue", ["Kitchen: green", "Hall: blue"]),
        ("```\nx = 1. Y\nz = 2\n```\nDone.", ["```\nx = 1. Y\nz = 2\n```", "Done."]),
        ("雨が降る。傘を持つ。", ["雨が降る。", "傘を持つ。"]),
        ("", []),
        (" \n ", []),
    ],
)  # fmt: skip
def test_borders(text: str, expected: list[str]) -> None:
    assert cut(text) == expected


def test_wrapped_prose_stays_one_sentence() -> None:
    text = (
        "The paper originals are in the blue box on the top shelf of the hallway cupboard, beside\n"
        "the candles. Nobody else has a key to it."
    )
    assert cut(text)[0].endswith("the candles.")


def test_text_without_any_border_is_still_cut() -> None:
    assert {len(piece) for piece in cut("x" * (3 * LIMIT_CHARACTERS))} == {LIMIT_CHARACTERS}
