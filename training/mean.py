"""The mean of several adapters, at the rank of one of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from training.network import Network


def take_mean(networks: Sequence[Network]) -> Network:
    """Return the first network, with what is nearest to the mean of all their adapters at its rank (least squares).

    Networks that were trained from one beginning on examples of their own differ in what each learnt by chance; their
    mean does better than any of them ("model soups", Wortsman et al., 2022).

    Args:
        networks: Of the same model, rank and alpha. The first one is changed.
    """
    first, *others = networks
    with torch.no_grad():
        for (_, down, up), *rest in zip(first.adapter(), *(each.adapter() for each in others), strict=True):
            downs = torch.cat([down, *(other for _, other, _ in rest)])
            ups = torch.cat([up, *(other for _, _, other in rest)], dim=1) / len(networks)
            left, high = torch.linalg.qr(ups)
            right, low = torch.linalg.qr(downs.t())
            u, strength, v = torch.linalg.svd(high @ low.t())
            root = strength[: first.rank].sqrt()
            up.copy_(left @ u[:, : first.rank] * root)
            down.copy_(root[:, None] * (right @ v[: first.rank].t()).t())
    return first
