"""What is packed comes back as it was; only what shrinks is deflated."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit_memory.packing import pack, unpack


def _back(parts: list[tuple[int, bytes]]) -> bytes:
    return b"".join(bytes(block) for block in unpack([(size, memoryview(kept)) for size, kept in parts]))


@given(st.binary(max_size=300), st.integers(0, 70_000), st.booleans())
def test_whatever_is_packed_comes_back(data: bytes, more: int, floats: bool) -> None:
    data += bytes(more)
    assert _back(pack(data, floats=floats)) == data


@pytest.mark.parametrize("odd", range(4))
def test_of_floats_only_what_shrinks_is_deflated(odd: int) -> None:
    vectors = np.random.default_rng(1).normal(size=100_000).astype("<f4").tobytes() + b"\xff" * odd
    parts = pack(vectors, floats=True)
    assert [len(kept) == size for size, kept in parts] == [True, True, True, False]
    assert sum(len(kept) for _, kept in parts) < 0.86 * len(vectors)
    assert _back(parts) == vectors


def test_noise_is_kept_as_it_is() -> None:
    noise = os.urandom(100_000)
    assert pack(noise, floats=False) == [(len(noise), noise)]


@pytest.mark.parametrize("kept", [b"not deflated", b""])
def test_what_pack_did_not_make_is_refused(kept: bytes) -> None:
    with pytest.raises(ValueError, match="not deflated"):
        list(unpack([(100, memoryview(kept))]))
