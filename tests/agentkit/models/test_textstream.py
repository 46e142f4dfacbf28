"""What is shown is whole characters, without stop strings and without markup, however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from agentkit.models.textstream import TextStream

TRIGGER = "<tool_call>"
TEXTS = st.text(alphabet=st.sampled_from(list("ab<tool_call>STOé€😀\n")), max_size=60)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(edges)]


@given(TEXTS, st.lists(st.integers(min_value=0), max_size=12))
def test_cutting_changes_nothing(text: str, cuts: list[int]) -> None:
    stops = ("STOP", "OST", "bb")
    stream = TextStream(stops, TRIGGER)
    shown = []
    for piece in pieces(text.encode(), cuts):
        shown.append(stream.feed(piece))
        if stream.stopped:
            break
    shown.append(stream.finish())
    places = {mark: place for mark in (*stops, TRIGGER) if (place := text.find(mark)) >= 0}
    first = min(places.values(), default=len(text))
    assert "".join(shown) == stream.text == text[:first]
    assert stream.stopped == any(places.get(stop) == first for stop in stops)
    if places.get(TRIGGER) == first:
        assert stream.markup == text[first:]


def test_a_character_in_two_tokens_is_shown_once_it_is_whole() -> None:
    stream = TextStream()
    data = "😀".encode()
    assert [stream.feed(data[:2]), stream.feed(data[2:])] == ["", "😀"]


def test_half_a_character_at_the_end_is_replaced() -> None:
    stream = TextStream()
    assert stream.feed("é".encode()[:1]) == ""
    assert stream.finish() == "\ufffd"


def test_what_could_become_a_stop_string_waits() -> None:
    stream = TextStream(["STOP"])
    assert stream.feed(b"so ST") == "so "
    assert stream.feed(b"ART") == "START"
    assert stream.feed(b" ST") == " "
    assert stream.finish() == "ST"


def test_where_no_call_may_be_made_the_text_ends_at_the_trigger() -> None:
    stream = TextStream((), TRIGGER, calls=False)
    assert stream.feed(b"Sure. <tool_call>[{") == "Sure. "
    assert (stream.finish(), stream.stopped, stream.in_markup, stream.markup) == ("", True, False, "")
    leading = TextStream((), "[{", calls=False, leading=True)
    assert leading.feed(b"It is [{1}]") + leading.finish() == "It is [{1}]"
    assert not leading.stopped


def test_nothing_after_the_trigger_is_shown() -> None:
    stream = TextStream(["["], TRIGGER)
    assert stream.feed(b"Sure. <tool") == "Sure. "
    assert stream.feed(b"_call>[{") == ""
    assert stream.finish() == ""
    assert stream.in_markup
    assert not stream.stopped
    assert stream.markup == TRIGGER + "[{"
