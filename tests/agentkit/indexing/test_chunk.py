"""Chunks fit the embedder, lose nothing, and know their place and their headings."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.indexing.chunk import chunks
from agentkit.indexing.document import Block, Document, merge_places, parse_place, place_at
from agentkit.indexing.readers import read_document
from agentkit_memory.embed import approximate_pieces


def words(text: str) -> int:
    """Count words: a stand-in for word pieces that can be checked by eye."""
    return len(text.split())


def test_a_chunk_ends_at_a_sentence_and_names_its_lines() -> None:
    text = "\n".join(f"Sentence {number} has exactly seven words here." for number in range(1, 9))
    made = chunks(read_document(text.encode(), "a.txt"), words, target_pieces=20, limit_pieces=25)
    assert [(chunk.place, words(chunk.text)) for chunk in made] == [
        ("lines 1-3", 21),
        ("lines 4-6", 21),
        ("lines 7-8", 14),
    ]
    assert made[1].text.startswith("Sentence 4")
    assert made[1].text.endswith("here.")


def test_a_heading_goes_with_what_follows_it_and_stands_above_what_comes_later() -> None:
    source = "# House\n\n" + "One two three. " * 9 + "\n\n## Boiler\n\n" + "Four five six. " * 16
    made = chunks(read_document(source.encode(), "a.md"), words, target_pieces=30, limit_pieces=40)
    assert [(chunk.text.split("\n")[0], chunk.heading, words(chunk.text)) for chunk in made] == [
        ("House", "", 28),
        ("Boiler", "House", 28),
        ("Four five six. " * 6 + "Four five six.", "House > Boiler", 21),
    ]


def test_a_chunk_never_spans_two_pages() -> None:
    document = Document(
        "t", (Block("Short.", "page 1"), Block("Also short.", "page 2"), Block("More.", "page 2"))
    )
    assert [(chunk.text, chunk.place) for chunk in chunks(document, words)] == [
        ("Short.", "page 1"),
        ("Also short.\n\nMore.", "page 2"),
    ]


def test_table_rows_stay_whole() -> None:
    rows = "\n".join(["name,value", *(f"row{number},v w x y z" for number in range(40))])
    made = chunks(read_document(rows.encode(), "a.csv"), words, target_pieces=20, limit_pieces=30)
    lines = [line for chunk in made for line in chunk.text.split("\n")]
    assert lines == ["name | value", *(f"name: row{number}, value: v w x y z" for number in range(40))]
    assert made[0].place == "rows 1-3"


def test_abbreviations_and_numbers_end_no_sentence() -> None:
    text = "Dr. Okpara paid 3.50 euros, e.g. for No. 7. He left. " * 3
    made = chunks(read_document(text.encode(), "a.txt"), words, target_pieces=9, limit_pieces=12)
    assert {chunk.text.split()[0] for chunk in made} <= {"Dr.", "He"}


def test_the_number_of_an_item_stays_with_it() -> None:
    made = chunks(
        Document("t", (Block("1. First thing.\n2. Second thing.\n3. Third.", "page 1"),)),
        words,
        target_pieces=3,
    )
    assert [chunk.text for chunk in made] == ["1. First thing.", "2. Second thing.", "3. Third."]


def test_what_has_no_sentence_end_is_cut_at_words_and_at_last_within_one() -> None:
    made = chunks(read_document(b"word " * 100, "a.txt"), words, target_pieces=20, limit_pieces=25)
    assert all(words(chunk.text) <= 25 for chunk in made)
    assert " ".join(chunk.text for chunk in made).split() == ["word"] * 100
    long = chunks(read_document(b"x" * 1000, "a.txt"), len, target_pieces=100, limit_pieces=150)
    assert "".join(chunk.text for chunk in long) == "x" * 1000
    assert max(len(chunk.text) for chunk in long) <= 150


KINDS = st.sampled_from(["paragraph", "heading", "code", "table", "list"])
TEXT = st.text(alphabet="abC .!?\n。é|-\t", min_size=0, max_size=300)
BLOCKS = st.lists(
    st.builds(
        lambda kind, text, number: Block(text, place_at("line", number), kind, 2 if kind == "heading" else 0),
        KINDS, TEXT, st.integers(1, 50),
    ),
    max_size=25,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(BLOCKS, st.integers(3, 40))
def test_nothing_is_lost_and_nothing_is_over_the_limit(blocks: list[Block], limit: int) -> None:
    made = chunks(
        Document("t", tuple(blocks)), words, target_pieces=max(2, limit * 3 // 4), limit_pieces=limit
    )
    source = "".join(re.sub(r"\s", "", block.text) for block in blocks)
    assert "".join(re.sub(r"\s", "", chunk.text) for chunk in made) == source
    assert [chunk.position for chunk in made] == list(range(len(made)))
    assert all(chunk.text.strip() and words(chunk.text) <= limit for chunk in made)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="ab .\n!?C", max_size=600))
def test_the_lines_of_a_chunk_are_where_its_text_stands(text: str) -> None:
    lines = text.split("\n")
    for chunk in chunks(read_document(text.encode(), "a.txt"), words, target_pieces=6, limit_pieces=8):
        place = parse_place(chunk.place)
        assert place is not None
        at = "".join("".join(lines[place[1] - 1 : place[2]]).split())
        assert "".join(chunk.text.split()) in at


def test_long_files_take_time_in_proportion() -> None:
    text = ("A. B. Some words without much of an end " * 12_000).encode()
    made = chunks(read_document(text, "a.txt"), approximate_pieces)  # quadratic: minutes
    assert len(made) > 500


def test_places_join_to_the_span_they_cover() -> None:
    assert merge_places("lines 3-5", "line 9") == "lines 3-9"
    assert merge_places("page 2", "page 2") == "page 2"
    assert merge_places("row 1", "rows 2-4") == "rows 1-4"
    assert merge_places("", "line 2") == "line 2"
    assert parse_place("somewhere") is None


def test_approximate_pieces_errs_on_the_safe_side() -> None:
    assert approximate_pieces("The boiler was inspected, finally.") >= 7
    assert approximate_pieces("") == 0
