"""Fusion and the lexical query, and what search finds with the real embedding model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit_memory import FileState, Filter, MiniLMEmbedder, NewRecord, Vault
from agentkit_memory.fusion import fuse
from tests.memory.conftest import EMBEDDER

if TYPE_CHECKING:
    from tests.memory.conftest import Vaults

scores = st.dictionaries(
    st.sampled_from("abcdefgh"), st.integers(-10, 300).map(lambda tenths: tenths / 10), max_size=8
)


@given(dense=scores, lexical=scores, weight=st.floats(0, 1))
def test_fusion_orders_exactly_the_pool(
    dense: dict[str, float], lexical: dict[str, float], weight: float
) -> None:
    pool = [*dense, *lexical]
    fused = fuse(dense, lexical, pool, weight)
    assert sorted(each for each, _ in fused) == sorted(set(pool))
    assert [score for _, score in fused] == sorted((score for _, score in fused), reverse=True)


@given(dense=scores)
def test_one_arm_alone_keeps_its_own_order(dense: dict[str, float]) -> None:
    order = [each for each, _ in fuse(dense, {}, dense, 0.0)]
    assert [dense[each] for each in order] == sorted(dense.values(), reverse=True)


def test_what_both_arms_know_wins_over_what_one_knows() -> None:
    dense = {"both": 0.6, "near": 0.7, "far": 0.0, "none": 0.1}
    lexical = {"both": 8.0, "said": 9.0}
    assert fuse(dense, lexical, ["near", "both", "said", "far", "none"])[0][0] == "both"
    assert fuse({}, {}, []) == []


FACTS = [
    "The boiler in the cellar was last serviced on 3 March and the next check is due in spring.",
    "Aunt Margarethe is allergic to hazelnuts and shellfish.",
    "Invoice 2024-117 from the carpenter was 1,940 euros, paid in two instalments.",
    "The car's winter tyres are stored at the garage on Lindenstrasse.",
    "My doctor said to take 20 mg of the blood pressure tablets every morning.",
    "The wifi router in the attic restarts itself when it gets too warm.",
    "Our flight to Lisbon leaves at 6:40 from terminal 2.",
    "Lena starts school in September and needs a satchel.",
]
QUESTIONS = [
    ("when must the heating be looked at again?", 0),
    ("which foods can my aunt not eat?", 1),
    ("2024-117", 2),
    ("where are the tyres?", 3),
    ("how much medicine do I take?", 4),
    ("why does the internet drop out?", 5),
    ("what time is our plane?", 6),
    ("who needs a school bag?", 7),
]


@pytest.fixture(scope="module")
def minilm(minilm_path: Path) -> MiniLMEmbedder:
    return MiniLMEmbedder(minilm_path)


@pytest.fixture
def remembered(vaults: Vaults, minilm: MiniLMEmbedder) -> Iterator[Vault]:
    with vaults.create(embedder=minilm.name, dimensions=minilm.dimensions) as vault:
        vault.add([NewRecord(fact) for fact in FACTS], minilm.embed(FACTS))
        yield vault


@pytest.mark.model
@pytest.mark.slow
def test_paraphrased_questions_find_their_fact(remembered: Vault, minilm: MiniLMEmbedder) -> None:
    vectors = minilm.embed([question for question, _ in QUESTIONS])
    first = [
        remembered.search(question, vector, k=1)[0].record.text
        for (question, _), vector in zip(QUESTIONS, vectors, strict=True)
    ]
    right = [text == FACTS[fact] for text, (_, fact) in zip(first, QUESTIONS, strict=True)]
    assert sum(right) >= 7, right


@pytest.mark.model
@pytest.mark.slow
def test_the_lexical_arm_finds_what_the_dense_one_cannot(remembered: Vault, minilm: MiniLMEmbedder) -> None:
    hit = remembered.search("2024-117", minilm.embed(["2024-117"])[0], k=1)[0]
    assert hit.lexical > 0
    assert "carpenter" in hit.record.text
    assert (
        remembered.search("Lindenstrasse", None, where=Filter(kinds=("memory",)))[0].record.text == FACTS[3]
    )


def test_diversity_puts_another_text_before_a_second_copy(vaults: Vaults) -> None:
    vault = vaults.create()
    vaults.add(
        vault, ["the boiler needs a new valve", "the boiler needs a new valve", "the boiler is in the cellar"]
    )
    assert len(set(vaults.search(vault, "boiler valve", k=2))) == 1
    assert len(set(vaults.search(vault, "boiler valve", k=2, diversity=0.9))) == 2


def test_search_is_restricted_by_privacy(vaults: Vaults) -> None:
    vault = vaults.create()
    vaults.add(vault, ["boiler code"], privacy="secret")
    vaults.add(vault, ["boiler colour"], privacy="public")
    assert vaults.search(vault, "boiler", where=Filter(privacies=("public",))) == ["boiler colour"]


@pytest.mark.slow
def test_filters_hold_for_both_arms_whatever_the_index_and_however_few_pass(vaults: Vaults) -> None:
    """Few that pass are compared one by one; many are sought wide in the index. Both give what the definition gives."""
    from agentkit_memory import search

    vault = vaults.create()
    for kind, origin, count in (("document", "document", 240), ("memory", "user", 60), ("round", "model", 9)):
        texts = [f"{kind} boiler {number} {'spring' if number % 2 else 'autumn'}" for number in range(count)]
        vaults.add(
            vault, texts, kind=kind, origin=origin, source=f"/{kind}/{origin}.txt", created=float(count)
        )
    wanted = [
        (Filter(kinds=("memory",)), 60),
        (Filter(kinds=("memory", "round")), 69),
        (Filter(origins=("model",)), 9),
        (Filter(under="/document"), 240),
        (Filter(under="/doc"), 0),
        (Filter(source="/memory/user.txt"), 60),
        (Filter(source="/memory/user"), 0),
        (Filter(since=60.0, until=240.0), 60),
        (Filter(kinds=("document",), since=241.0), 0),
        (Filter(kinds=("nothing",)), 0),
    ]
    with pytest.MonkeyPatch.context() as patch:
        for few in (search.FEW, 20):
            patch.setattr(search, "FEW", few)
            for loaded in (False, True):
                if loaded:
                    vault.warm(wait=True)
                for where, count in wanted:
                    for vector in (EMBEDDER.embed(["boiler spring"])[0], None):
                        hits = vault.search("boiler", vector, k=300, where=where)
                        assert len(hits) == count == vault.count(where)
                        assert {hit.record.id for hit in hits} == {
                            each.id for each in vault.records(where, limit=300)
                        }


def test_a_renamed_file_is_found_under_its_new_name_only(vaults: Vaults) -> None:
    vault = vaults.create()
    for path in ("/old.txt", "/other.txt"):
        record = NewRecord(f"boiler in {path}", source=path, kind="document")
        vault.replace_file(FileState(path, 1, 1, "d", 1), [record], EMBEDDER.embed([record.text]))
    assert len(vaults.search(vault, "boiler")) == 2
    vault.rename_file("/old.txt", "/new.txt")
    assert vaults.search(vault, "boiler", where=Filter(under="/old.txt")) == []
    assert vaults.search(vault, "boiler", where=Filter(under="/new.txt")) == ["boiler in /old.txt"]
    vault.rename_file("/new.txt", "/other.txt")  # over another one
    assert vaults.search(vault, "boiler", where=Filter(under="/other.txt")) == ["boiler in /old.txt"]
