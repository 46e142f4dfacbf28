"""The lexical arm: terms of texts, and an index that agrees with the definition of BM25 after any history."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit_memory import NewRecord
from agentkit_memory.catalogue import Entry
from agentkit_memory.postings import K1, B, LexicalIndex
from agentkit_memory.terms import TERM_LIMIT, _term, of_question, pack, unpack
from tests.memory.conftest import EMBEDDER

if TYPE_CHECKING:
    from tests.memory.conftest import Vaults


def _terms(text: str) -> set[int]:
    return {int(entry) >> 8 for entry in unpack(pack(text))}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The boilers are leaking", "boiler leaked"),
        ("Crème brûlée", "creme brulee"),
        ("studies", "study"),
        ("classes", "class"),
        ("planning", "planned"),
        ("RÉSUMÉ", "résumé"),
        ("snake_case", "snake case"),
        ("東京大学", "東京"),
        ("กรุงเทพ", "กรุง"),
    ],
)
def test_what_a_person_takes_for_one_word_is_one_term(one: str, other: str) -> None:
    assert set(of_question(other)) <= _terms(one)


def test_different_words_stay_apart() -> None:
    assert not _terms("bus gas boss 2024") & _terms("bu ga bos 202")
    assert not _terms("123456") & _terms("12345")


def test_stop_words_go_unless_nothing_else_is_there() -> None:
    assert of_question("What is the capital of France?") == of_question("capital France")
    assert len(of_question("to be or not to be")) == 4
    assert of_question(" ?! ") == []
    assert len(of_question(" ".join(f"w{number}" for number in range(500)))) == TERM_LIMIT


@given(st.text(max_size=300))
def test_any_text_packs_and_is_found_by_itself(text: str) -> None:
    entries = unpack(pack(text))
    assert list(entries) == sorted(set(entries))
    assert set(of_question(text)) <= _terms(text) or len(of_question(text)) == TERM_LIMIT


def _bm25(texts: dict[str, str], question: str) -> dict[str, float]:
    """BM25 as the definition says it."""
    bags = {
        identity: Counter({int(entry) >> 8: int(entry) & 255 for entry in unpack(pack(text))})
        for identity, text in texts.items()
    }
    average = sum(bag.total() for bag in bags.values()) / len(bags)
    found: dict[str, float] = {}
    for term in of_question(question):
        holding = sum(term in bag for bag in bags.values())
        idf = math.log(1 + (len(bags) - holding + 0.5) / (holding + 0.5))
        for identity, bag in bags.items():
            if term in bag:
                norm = K1 * (1 - B + B * bag.total() / average)
                found[identity] = found.get(identity, 0.0) + idf * bag[term] * (K1 + 1) / (bag[term] + norm)
    return found


words = st.sampled_from(
    ["boiler", "valve", "attic", "roof", "rain", "lena", "school", "tyre", "winter", "the"]
)
texts = st.lists(words, max_size=12).map(" ".join)
histories = st.lists(
    st.one_of(st.lists(texts, max_size=6), st.integers(0, 30), st.just("purge")), max_size=12
)


@settings(max_examples=60, deadline=None)
@given(history=histories, question=texts)
def test_after_any_history_the_index_agrees_with_the_definition(
    history: list[list[str] | int | str], question: str
) -> None:
    index, kept, number = LexicalIndex(), dict[str, str](), 0
    for change in history:
        match change:
            case list():
                fresh = {f"{number + each:032x}": text for each, text in enumerate(change)}
                number += len(fresh)
                entries = [Entry(each, 0, "memory", "user", "private", "", 0.0) for each in fresh]
                index.put(entries, [pack(text) for text in fresh.values()])
                index.put(entries, [pack(text) for text in fresh.values()])  # known: nothing happens
                kept |= fresh
            case int():
                index.delete([f"{change:032x}"])
                kept.pop(f"{change:032x}", None)
            case _:
                index.purge()
                assert index.purge() == 0
    scores = index.scores(of_question(question))
    ids = index.catalogue.ids
    got = {ids[place]: float(scores[place]) for place in np.flatnonzero(scores)}
    assert got == pytest.approx(_bm25(kept, question) if kept else {}, rel=1e-4)


def test_scores_stay_the_same_when_the_vault_is_opened_again(vaults: Vaults) -> None:
    """Filled while adding, by the first search, or in the background: one index, one score."""
    vault = vaults.create()
    vaults.search(vault, "boiler")
    ids = vaults.add(vault, [f"boiler {number} {'valve ' * (number % 4)}" for number in range(50)])
    vault.delete(ids[::7])
    vaults.add(vault, ["another boiler", "no such thing"])
    before = {hit.record.id: hit.lexical for hit in vault.search("boiler valve", None, k=60)}
    assert len(before) == 43
    vault.close()
    for warm in (False, True):
        vault = vaults.open()
        if warm:
            vault.warm()
        after = {hit.record.id: hit.lexical for hit in vault.search("boiler valve", None, k=60)}
        assert after == pytest.approx(before, rel=1e-5)
        vault.close()


def test_what_is_changed_while_the_index_fills_is_neither_lost_nor_doubled(vaults: Vaults) -> None:
    vault = vaults.create()
    ids = vaults.add(vault, [f"boiler {number}" for number in range(20)])
    vault.close()
    vault = vaults.open()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agentkit_memory.rows.TERM_PAGE", 7)
        vault._finder._fill_page()
        vault.delete([ids[0], ids[19]])
        vault.add([NewRecord("boiler 19 anew")], EMBEDDER.embed(["boiler 19 anew"]))  # takes the freed row
        found = vaults.search(vault, "boiler", k=50)
    assert sorted(found) == sorted([*(f"boiler {number}" for number in range(1, 19)), "boiler 19 anew"])


def test_deleted_words_leave_the_memory_too(vaults: Vaults) -> None:
    vault = vaults.create()
    ids = vaults.add(vault, ["the zinnia pot", "the kitchen"])
    vaults.search(vault, "zinnia")
    (term,) = of_question("zinnia")
    segments = vault._finder._words._segments
    assert any(term >> 16 in segment.terms for segment in segments)
    vault.forget(ids[:1])
    assert not any(term >> 16 in segment.terms for segment in segments)
    assert _term.cache_info().currsize == 0
    vaults.search(vault, "kitchen")
    vault.close()
    assert _term.cache_info().currsize == 0


def test_more_postings_than_are_sorted_at_once_are_put_in_parts() -> None:
    texts = [" ".join(f"w{number}x{word}" for word in range(20)) for number in range(9)]
    entries = [Entry(f"{number:032x}", number, "memory", "user", "private", "", 0.0) for number in range(9)]
    whole, parts = LexicalIndex(), LexicalIndex()
    whole.put(entries, [pack(text) for text in texts])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agentkit_memory.postings.MOST_SORTED", 31)
        patch.setattr("agentkit_memory.postings.LARGE", 31)
        parts.put(entries, [pack(text) for text in texts])
    for text in texts:
        assert list(parts.scores(of_question(text))) == pytest.approx(list(whole.scores(of_question(text))))
