"""Train an adapter: steps that can be broken off at any time and taken up again."""

from __future__ import annotations

import hashlib
import json
import math
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from training.batches import Batch
from training.export import load
from training.network import Network, loss

SAVE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides an adapter, beside its data."""

    seed: int = 20261121
    examples: int = 18000
    again_examples: int = 2500
    """Further ones for a second, shorter round."""
    rank: int = 32
    alpha: float = 48.0
    learning_rate: float = 1e-3
    again_learning_rate: float = 3e-4
    last_learning_rate: float = 5e-5
    warm_up_steps: int = 40
    batch_tokens: int = 2048
    weight_decay: float = 0.0
    clip_norm: float = 1.0

    def rate(self, step: int, steps: int, again_steps: int = 0) -> float:
        """Return the learning rate of a step: in each round a linear warm-up, then half a cosine down.

        Args:
            step: From 0 on.
            steps: Of the first round.
            again_steps: Of the second.
        """
        highest = self.learning_rate
        if step >= steps:
            step, steps, highest = step - steps, again_steps, self.again_learning_rate
        if step < self.warm_up_steps:
            return highest * (step + 1) / self.warm_up_steps
        done = (step - self.warm_up_steps) / max(1, steps - self.warm_up_steps)
        span = highest - self.last_learning_rate
        return self.last_learning_rate + span * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True, slots=True)
class Progress:
    """How far training is."""

    step: int
    steps: int
    loss: float
    tokens: int
    seconds: float


def fit(
    model: Path,
    batches: Sequence[Batch],
    recipe: Recipe,
    folder: Path,
    *,
    again: Sequence[Batch] = (),
    begin: Path | None = None,
    tell: Callable[[Progress], None] = lambda _: None,
    until_step: int | None = None,
    device: str = "cpu",
    compiled: bool = False,
) -> Network:
    """Train on every batch once, in order; return the network with its adapter.

    Args:
        model: The GGUF file to adapt.
        batches: All of them; the same ones when taken up again.
        recipe: The rest.
        folder: Keeps the state (`state.pt`) and the losses (`loss.jsonl`); training goes on from what it holds.
        again: Those of a second round, likewise.
        begin: The GGUF file of an adapter to go on from; none: a new one.
        tell: Called after every step.
        until_step: Break off there.
        device: Where to compute, as torch calls it.
        compiled: Let torch compile the blocks, which takes a C++ compiler and a minute, and then a third off each step.

    Raises:
        ValueError: The folder holds the state of another recipe, of other data or of another model; or `begin` is of
            another rank or model.
    """
    torch.manual_seed(recipe.seed)
    network = Network(model, rank=recipe.rank, alpha=recipe.alpha).to(device)
    if begin is not None:
        load(network, begin)
    if compiled:
        for block in network.blocks:
            block.compile(dynamic=True)
    optimiser = torch.optim.AdamW(
        network.trained(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=recipe.weight_decay
    )
    every = [*batches, *again]
    identity = {**asdict(recipe), "data": _digest(every), "model": _digest_of_file(model)}
    if begin is not None:
        identity["begin"] = _digest_of_file(begin)
    state, losses = folder / "state.pt", folder / "loss.jsonl"
    first = _take_up(state, identity, network, optimiser)
    _keep_lines(losses, first)
    saved = time.monotonic()
    last = len(every) if until_step is None else min(until_step, len(every))
    with losses.open("a", encoding="utf-8") as log:
        for step in range(first, last):
            begun, batch = time.monotonic(), every[step]
            for group in optimiser.param_groups:
                group["lr"] = recipe.rate(step, len(batches), len(again))
            value = loss(network, batch)
            optimiser.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
            torch.nn.utils.clip_grad_norm_(network.trained(), recipe.clip_norm)
            optimiser.step()
            tokens = batch.length * len(batch.rows)
            progress = Progress(step + 1, len(every), value.item(), tokens, time.monotonic() - begun)
            log.write(json.dumps([progress.step, round(progress.loss, 5)]) + "\n")
            log.flush()
            tell(progress)
            if time.monotonic() - saved > SAVE_SECONDS or step + 1 == last:
                _save(state, step + 1, identity, network, optimiser)
                saved = time.monotonic()
    return network


def _digest(batches: Sequence[Batch]) -> str:
    """Return a hash of all tokens, and of which of them are learnt."""
    whole = hashlib.sha256()
    for batch in batches:
        for row in batch.rows:
            for tokens in (row.shared, *(branch.tokens for branch in row.branches)):
                whole.update(array("i", tokens).tobytes() + b"|")
        whole.update(repr(batch.places()).encode())
    return whole.hexdigest()


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _save(
    path: Path, step: int, identity: dict[str, Any], network: Network, optimiser: torch.optim.Optimizer
) -> None:
    adapter = {name: (down.data, up.data) for name, down, up in network.adapter()}
    fresh = path.with_suffix(".new")
    torch.save(
        {"step": step, "recipe": identity, "adapter": adapter, "optimiser": optimiser.state_dict()}, fresh
    )
    fresh.replace(path)


def _take_up(path: Path, identity: dict[str, Any], network: Network, optimiser: torch.optim.Optimizer) -> int:
    if not path.exists():
        return 0
    kept = torch.load(path, weights_only=True, map_location="cpu")
    if kept["recipe"] != identity:
        raise ValueError(f"{path} is of another recipe, data or model; begin in another folder")
    with torch.no_grad():
        for name, down, up in network.adapter():
            down.copy_(kept["adapter"][name][0])
            up.copy_(kept["adapter"][name][1])
    optimiser.load_state_dict(kept["optimiser"])
    return int(kept["step"])


def _keep_lines(path: Path, count: int) -> None:
    """Cut what was logged after the state was saved."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)[:count]
        path.write_text("".join(lines), encoding="utf-8")
