"""What is trained in torch is what llama.cpp runs: the same logits, with an adapter and without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("gguf", reason="training is an extra: pip install -e '.[training]'")
import torch

from agentkit.models.adapters import Applied
from agentkit.models.decoder import Decoder, Piece
from agentkit.models.llama import LlamaModel, Settings
from training.export import export
from training.network import Network

pytestmark = [pytest.mark.slow, pytest.mark.model]
TEXT = "The quick brown fox jumps over the lazy dog. The capital of France is"


@pytest.fixture(scope="module")
def network(smollm2_path: Path) -> Iterator[Network]:
    """Return the default model with an adapter of random numbers, strong enough to be seen."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    made = Network(smollm2_path, rank=32, alpha=32.0, dtype=torch.float32)
    with torch.no_grad():
        for _, _, up in made.adapter():
            up.normal_(0, 0.06)
    yield made
    torch.set_num_threads(2)


def test_both_say_the_same(network: Network, smollm2_path: Path, tmp_path: Path) -> None:
    model = LlamaModel(smollm2_path, Settings(repack=False))
    tokens = model.tokenise(TEXT)
    export(network, tmp_path / "f16.gguf", name="test")
    export(network, tmp_path / "q8.gguf", name="test", quantised=True)
    theirs: dict[str, NDArray[np.float32]] = {}
    for name in ("", "f16", "q8"):
        if name:
            model.load_adapter(name, tmp_path / f"{name}.gguf")
        decoder = Decoder(model, Settings(context_tokens=256, streams=1))
        decoder.adapt(Applied(name, 1.0, "") if name else None)
        decoder.decode([Piece(0, tokens, logits=True)], None)
        theirs[name] = decoder.logits(0).copy()
        decoder.close()
    with torch.no_grad():
        adapted = network.logits(network(torch.tensor([tokens])))[0, -1].numpy()
        for _, _, up in network.adapter():
            up.zero_()
        bare = network.logits(network(torch.tensor([tokens])))[0, -1].numpy()
    assert _alike(theirs[""], bare) > 0.995  # llama.cpp rounds what goes through a quantised layer
    for name in ("f16", "q8"):
        assert _alike(theirs[name], adapted) > 0.99
        assert _alike(theirs[name] - theirs[""], adapted - bare) > 0.95
    assert _alike(adapted, bare) < 0.995


def _alike(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    return float(np.corrcoef(ours, theirs)[0, 1])
