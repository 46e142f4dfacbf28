"""A record may have several vectors: it is as near as its nearest, and they come and go together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from agentkit_memory import EmbeddingMismatchError, Filter, HashEmbedder, NewRecord, Vault, rows
from agentkit_memory.embed import MOST_VECTORS, TURN_PIECES, embed_record, embedding_texts
from tests.memory.conftest import Vaults

AXES: NDArray[np.float32] = np.eye(64, dtype=np.float32)
FILLED = ["A stone lies there.", "The water is cold; nobody swims.\nA bird calls", "and calls again"]


def _vectors_in_index(vault: Vault) -> int:
    return len(vault._finder.vectors._index or ())


def _nearest(vault: Vault, axis: int, **options: object) -> tuple[str, float]:
    (hit,) = vault.search("", AXES[axis], k=1, **options)  # type: ignore[arg-type]
    return hit.record.id, hit.dense


@pytest.mark.parametrize("chroma", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_record_is_as_near_as_its_nearest_vector_and_takes_all_with_it(
    vaults: Vaults, memory_folders: Callable[[], Path], chroma: bool
) -> None:
    vault = vaults.create(index_folder=memory_folders() if chroma else None)
    long, short = vault.add(
        [NewRecord("three turns", kind="round"), NewRecord("a fact")], AXES[:4], counts=[3, 1]
    )
    if chroma:
        vault.warm(wait=True)
    rounds = Filter(kinds=("round",))
    for axis, expected in enumerate([long, long, long, short]):
        found, cosine = _nearest(vault, axis)
        assert found == expected
        assert cosine == pytest.approx(1.0, abs=1e-5)
        assert _nearest(vault, axis, where=rounds)[0] == long
    assert vault.count() == 2
    assert _vectors_in_index(vault) == 4
    vault.close()
    vault = vaults.open(index_folder=memory_folders() if chroma else None)  # from the snapshot
    if chroma:
        vault.warm(wait=True)
    assert _nearest(vault, 2)[0] == long
    assert vault.rewrite(long, "two turns", AXES[[4, 5]])
    assert _vectors_in_index(vault) == 3
    assert _nearest(vault, 5)[0] == long
    assert _nearest(vault, 2)[1] < 0.1
    gone = vault.forget([long])
    assert gone.proven
    assert _vectors_in_index(vault) == 1
    vault.verify()
    vault.close()


def test_many_vectors_of_one_record_do_not_crowd_out_others(vaults: Vaults) -> None:
    vault = vaults.create()
    crowd = np.tile(AXES[0], (300, 1))
    other = (AXES[0] + 0.1 * AXES[1:6]).astype(np.float32)
    vault.add(
        [NewRecord("long"), *(NewRecord(f"other {n}") for n in range(5))],
        np.concatenate([crowd, other]),
        counts=[300, 1, 1, 1, 1, 1],
    )
    hits = vault.search("", AXES[0], k=6)
    assert hits[0].record.text == "long"
    assert len({hit.record.id for hit in hits}) == 6


@pytest.mark.parametrize("counts", [[1], [2, 0], [1, 1, 1], [2, 2]])
def test_vectors_that_belong_to_no_record_are_refused(vaults: Vaults, counts: list[int]) -> None:
    vault = vaults.create()
    with pytest.raises(EmbeddingMismatchError):
        vault.add([NewRecord("a"), NewRecord("b")], AXES[:2], counts=counts)
    assert vault.count() == 0


def test_every_word_of_a_long_turn_is_embedded_under_its_title() -> None:
    embedder = HashEmbedder(64)
    asked, answered = " ".join(FILLED * 20), " ".join(FILLED * 30)
    texts = embedding_texts(embedder, "round", "2026-11-20", f"user: {asked}\nassistant: {answered}")
    assert all(text.startswith("2026-11-20\n") for text in texts)
    said = " ".join(text.removeprefix("2026-11-20\n") for text in texts)
    assert said.split() == f"user: {asked} assistant: {answered}".split()
    assert max(map(embedder.count_pieces, texts)) <= TURN_PIECES + 3
    assert [text.startswith("2026-11-20\nassistant: ") for text in texts].count(True) == 1
    assert embedding_texts(embedder, "document", "", answered) == [answered]
    assert embedding_texts(embedder, "round", "", "no speaker") == ["no speaker"]
    assert embedding_texts(embedder, "memory", "", "") == [""]
    assert len(embedding_texts(embedder, "memory", "", "word " * 50_000)) == MOST_VECTORS
    assert "".join(embedding_texts(embedder, "memory", "", "語。" * 10)) == "語。" * 10


def test_reembedding_gives_every_turn_its_vector(vaults: Vaults) -> None:
    vault = vaults.create()
    text = f"user: {' '.join(FILLED)}\nassistant: {' '.join(FILLED * 20)}"
    record_id, *_ = vault.add([NewRecord(text, kind="round"), NewRecord("a fact")], AXES[:2])
    other = HashEmbedder(96)
    list(vault.reembed(other))
    with vault._access.reading() as database:
        stored = rows.vectors_of(database, [record_id], 96)[record_id]
    expected = embed_record(other, "round", "", text)
    assert len(expected) > 2
    assert stored == pytest.approx(expected, abs=1e-6)
    (hit,) = vault.search("", expected[-1], k=1)
    assert hit.record.id == record_id
    assert hit.dense == pytest.approx(1.0, abs=1e-5)
    vault.verify()
