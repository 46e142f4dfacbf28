"""Graphics cards: what is asked for reaches llama.cpp, and what this machine cannot do is refused in words."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import llama_cpp  # noqa: TID251 - what reaches it is the point here
import pytest
from typer.testing import CliRunner

from agentkit.cli.app import app
from agentkit.errors import ConfigError
from agentkit.models.build import build
from agentkit.models.engine import Engine
from agentkit.models.gpu import GpuUse, check_cards, check_gpu, read_gpu
from agentkit.models.llama import place
from agentkit.spawn import LocalSpawner


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (GpuUse(-1), "outside 0 to 10000"),
        (GpuUse(2.5), "outside 0 to 10000"),  # type: ignore[arg-type]
        (GpuUse(split="diagonal"), "no way to split 'diagonal'"),
        (GpuUse(main=16), "card 16 is outside"),
        (GpuUse(shares=(1.0,) * 17), "up to 16 numbers"),
        (GpuUse(shares=(-1.0,)), "up to 16 numbers"),
        (GpuUse(shares=(float("nan"),)), "up to 16 numbers"),
        (GpuUse(shares=(0.0, 0.0)), "no card has a share"),
        (GpuUse(shares=(1.0,), split="none"), "not split"),
    ],
)
def test_what_no_machine_could_follow_is_refused(asked: GpuUse, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=problem):
        check_gpu(asked)
    with pytest.raises(ConfigError, match=problem):
        Engine(tmp_path / "never-opened.gguf", LocalSpawner(), gpu=asked)


@pytest.mark.parametrize(
    ("asked", "cards", "offloads", "problem"),
    [
        (GpuUse(4), [], False, "uses no graphics card, and 4 layers were"),
        (GpuUse(main=1), [], False, "uses no graphics card"),
        (GpuUse(4), [], True, "sees no graphics card here"),
        (GpuUse(4, main=1), ["one"], True, "no card 1: llama.cpp sees 1"),
        (GpuUse(shares=(1.0, 1.0)), ["one"], True, "2 shares for 1 graphics cards"),
    ],
)
def test_what_this_machine_cannot_do_is_refused(
    asked: GpuUse, cards: list[str], offloads: bool, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        check_cards(asked, cards, offloads=offloads)
    assert caught.value.hint


def test_the_default_and_0_layers_are_fine_everywhere() -> None:
    for cards, offloads in ((["one"], True), ([], True), ([], False)):
        check_cards(GpuUse(), cards, offloads=offloads)
        check_cards(GpuUse(0), cards, offloads=offloads)


def test_it_crosses_to_the_worker_and_back_from_a_profile() -> None:
    asked = GpuUse(7, split="row", shares=(3.0, 1.0), main=1)
    value: dict[str, Any] = {**asdict(asked), "shares": [3.0, 1.0]}
    assert read_gpu(value) == asked
    assert read_gpu({}) == GpuUse()
    with pytest.raises(ConfigError):
        read_gpu({"layers": -5})


def test_it_reaches_the_parameters_of_llama_cpp(monkeypatch: pytest.MonkeyPatch) -> None:
    here = build()
    assert any(device.kind == "processor" for device in here.devices)
    assert here.version == llama_cpp.__version__
    params = llama_cpp.llama_model_default_params()
    assert place(params, GpuUse(0, split="none")) == 0
    assert (params.n_gpu_layers, params.split_mode) == (0, llama_cpp.LLAMA_SPLIT_MODE_NONE)
    monkeypatch.setattr("agentkit.models.llama.check_cards", lambda *_, **__: None)
    assert place(params, GpuUse(7, split="row", shares=(3.0, 1.0), main=1)) == 7
    assert (params.n_gpu_layers, params.main_gpu) == (7, 1)
    assert params.split_mode == llama_cpp.LLAMA_SPLIT_MODE_ROW
    assert [params.tensor_split[card] for card in range(3)] == [3.0, 1.0, 0.0]


@pytest.mark.model
@pytest.mark.slow
def test_it_is_refused_already_when_it_is_typed(smollm2_path: Path) -> None:
    if build().cards:
        pytest.skip("there is a graphics card here, and llama.cpp uses it")
    typed = CliRunner().invoke(app, ["models", "levers", smollm2_path.parent.name, "--gpu-layers", "4"])
    assert isinstance(typed.exception, ConfigError)
    assert "no graphics card" in typed.exception.message


@pytest.mark.model
@pytest.mark.slow
def test_layers_for_a_card_that_is_not_there_are_refused_with_what_to_do(smollm2_path: Path) -> None:
    if build().cards:
        pytest.skip("there is a graphics card here, and llama.cpp uses it")
    engine = Engine(smollm2_path, LocalSpawner(), gpu=GpuUse(4))
    with pytest.raises(ConfigError, match="no graphics card") as caught:
        engine.describe()
    assert "llama-cpp-python" in (caught.value.hint or "")
    engine.close()
    plain = Engine(smollm2_path, LocalSpawner(), batch_tokens=64, streams=2, context_tokens=512)
    assert plain.describe()["gpu_layers"] == 0
    assert plain.describe()["batch_tokens"] == 64
    plain.close()
