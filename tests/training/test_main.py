"""One command makes the adapter, and makes the same one again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("gguf", reason="training is an extra: pip install -e '.[training]'")

from agentkit.models.llama import LlamaModel, Settings
from training.__main__ import main
from training.plot import plot

TINY = [
    "--examples",
    "5",
    "--again-examples",
    "3",
    "--rank",
    "32",
    "--batch-tokens",
    "700",
    "--threads",
    "1",
    "--device",
    "cpu",
    "--no-compile",
]


@pytest.mark.slow
@pytest.mark.model
def test_one_command_makes_an_adapter_and_broken_off_goes_on_to_the_same(
    smollm2_path: Path, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    command = [*TINY, "--model", str(smollm2_path)]
    assert main([*command, "--folder", str(whole)]) == 0
    assert main([*command, "--folder", str(broken), "--until-step", "1"]) == 0
    assert not (broken / "adapter.gguf").exists()
    assert main([*command, "--folder", str(broken)]) == 0
    assert (broken / "adapter.gguf").read_bytes() == (whole / "adapter.gguf").read_bytes()

    one, two = (whole / member / "loss.jsonl" for member in "12")
    assert one.read_bytes() != two.read_bytes(), "each training has examples of its own"
    losses = one.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)[0] for line in losses] == list(range(1, len(losses) + 1))
    assert (whole / "1" / "loss.svg").read_text(encoding="utf-8").startswith("<svg")
    assert json.loads((whole / "recipe.json").read_text(encoding="utf-8"))["examples"] == 5
    made = [str(folder / "adapter.gguf") for folder in (whole, broken)]
    mean = [
        "--model",
        str(smollm2_path),
        "--rank",
        "32",
        "--members",
        "0",
        "--folder",
        str(tmp_path / "mean"),
    ]
    assert main(mean) == 2, "of nothing there is no mean"
    assert main([*mean, "--beside", *made]) == 0
    model = LlamaModel(smollm2_path, Settings(repack=False))
    for folder in (whole, tmp_path / "mean"):
        model.load_adapter(folder.name, folder / "adapter.gguf")
    model.close()


def test_the_plot_shows_every_loss_and_their_running_mean() -> None:
    picture = plot([3.0, 1.0, 0.5, 0.2])
    assert picture.count("<polyline") == 2
    assert picture.count(",") >= 8
    assert "step, of 4" in picture
    with pytest.raises(ValueError, match="nothing"):
        plot([])
