"""The contract of a vector index, on the exact one and on Chroma, alone and with its files in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from agentkit_memory import ExactIndex, VectorIndex
from agentkit_memory.chroma import ChromaIndex

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIMENSIONS = 32


@pytest.fixture(params=["exact", "chroma in process", "chroma in a folder"])
def index(request: pytest.FixtureRequest, memory_folders: Callable[[], Path]) -> Iterator[VectorIndex]:
    made: VectorIndex
    if request.param == "exact":
        made = ExactIndex(DIMENSIONS)
    else:
        made = ChromaIndex(DIMENSIONS, memory_folders() if request.param == "chroma in a folder" else None)
    yield made
    made.close()
    made.close()


def _vectors(count: int, seed: int = 0) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSIONS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _ids(count: int, start: int = 0) -> list[str]:
    return [f"{number:032x}" for number in range(start, start + count)]


def _fill(index: VectorIndex, count: int) -> NDArray[np.float32]:
    vectors = _vectors(count)
    index.put(_ids(count), vectors)
    return vectors


def test_an_empty_index_finds_nothing(index: VectorIndex) -> None:
    assert index.search(_vectors(1)[0], 5) == []
    assert len(index) == 0
    index.delete(_ids(2))


def test_the_nearest_come_first_with_their_cosines(index: VectorIndex) -> None:
    vectors = _fill(index, 300)
    question = _vectors(1, seed=9)[0]
    exact = vectors @ question
    found = index.search(question, 10)
    assert len(found) == 10
    assert [cosine for _, cosine in found] == sorted((cosine for _, cosine in found), reverse=True)
    for identity, cosine in found:
        assert cosine == pytest.approx(float(exact[int(identity, 16)]), abs=1e-4)
    best = {f"{number:032x}" for number in np.argsort(-exact)[:10]}
    assert len(best & {identity for identity, _ in found}) >= 9


def test_more_may_be_asked_than_there_is(index: VectorIndex) -> None:
    _fill(index, 3)
    assert {identity for identity, _ in index.search(_vectors(1)[0], 50)} == set(_ids(3))


def test_what_is_deleted_is_not_found(index: VectorIndex) -> None:
    vectors = _fill(index, 40)
    index.delete([*_ids(20), *_ids(1, start=500)])
    assert len(index) == 20
    for number in (0, 10, 19):
        assert f"{number:032x}" not in dict(index.search(vectors[number], 40))
    assert index.search(vectors[39], 1)[0][0] == f"{39:032x}"
    index.delete(_ids(40))
    assert len(index) == 0
    assert index.search(vectors[0], 5) == []


def test_putting_a_known_id_replaces_it(index: VectorIndex) -> None:
    vectors = _fill(index, 20)
    index.put(_ids(1), -vectors[:1])
    assert len(index) == 20
    assert dict(index.search(vectors[0], 20))[f"{0:032x}"] == pytest.approx(-1.0, abs=1e-4)


@pytest.mark.slow
def test_thousands_are_put_at_once(index: VectorIndex) -> None:
    _fill(index, 5000)
    assert len(index) == 5000
    assert len(index.search(_vectors(1)[0], 10)) == 10


def test_two_indexes_do_not_see_each_other(memory_folders: Callable[[], Path]) -> None:
    first, second = ChromaIndex(DIMENSIONS), ChromaIndex(DIMENSIONS)
    _fill(first, 3)
    assert len(second) == 0
    first.close()
    _fill(second, 2)
    assert len(second) == 2
    second.close()
