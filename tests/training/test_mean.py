"""The mean of adapters is the mean of what they do, as near as its rank allows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest

pytest.importorskip("gguf", reason="training is an extra: pip install -e '.[training]'")

import torch

from training.mean import take_mean


@dataclass
class Small:
    """As much of a network as a mean needs."""

    down: Any
    up: Any

    @property
    def rank(self) -> int:
        return int(self.down.shape[0])

    @property
    def does(self) -> Any:
        return self.up @ self.down

    def adapter(self) -> Iterator[tuple[str, Any, Any]]:
        yield "weight", self.down, self.up


def small(seed: int, rank: int = 4) -> Small:
    made = torch.Generator().manual_seed(seed)
    return Small(torch.randn(rank, 12, generator=made), torch.randn(10, rank, generator=made))


def mean(*networks: Small) -> Small:
    return cast("Small", take_mean(cast("Any", networks)))


def test_the_mean_of_one_is_itself() -> None:
    before = small(1).does
    torch.testing.assert_close(mean(small(1)).does, before, rtol=1e-4, atol=1e-5)


def test_a_mean_that_fits_the_rank_is_exact() -> None:
    one, two = small(1), small(1)
    two.up.mul_(3)
    wanted = 2 * one.does
    torch.testing.assert_close(mean(one, two).does, wanted, rtol=1e-4, atol=1e-5)


def test_a_mean_that_does_not_fit_is_the_nearest_of_its_rank() -> None:
    whole = (small(1).does + small(2).does + small(3).does) / 3
    u, strength, v = torch.linalg.svd(whole)
    nearest = (u[:, :4] * strength[:4]) @ v[:4]
    torch.testing.assert_close(mean(small(1), small(2), small(3)).does, nearest, rtol=1e-4, atol=1e-5)
    assert (nearest - whole).norm() > 0.1


def test_networks_that_are_not_alike_are_refused() -> None:
    other = small(2)
    with pytest.raises(RuntimeError):
        mean(small(1), Small(other.down[:, :5], other.up))
