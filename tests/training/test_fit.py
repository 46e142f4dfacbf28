"""A broken-off training goes on as if nothing had happened, and learns."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gguf", reason="training is an extra: pip install -e '.[training]'")
import gguf
import torch

from training.batches import Batch, batches
from training.encode import Branch, Row
from training.export import export
from training.fit import Recipe, fit
from training.network import LINEAR, Adapted, Network, loss

WIDTH, HEADS, LAYERS, VOCABULARY = 32, 4, 2, 64
torch.set_num_threads(1)  # on so little work, more only wait for each other
RECIPE = Recipe(seed=1, rank=4, alpha=8.0, learning_rate=2e-2, warm_up_steps=2, batch_tokens=64)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a GGUF file with the shape of a llama and a few thousand random weights."""
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    writer, rng = gguf.GGUFWriter(path, "llama"), np.random.default_rng(1)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS // 2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    shapes = {"attn_q": WIDTH, "attn_k": WIDTH // 2, "attn_v": WIDTH // 2, "attn_output": WIDTH}

    def add(name: str, *shape: int) -> None:
        values = rng.normal(0, 0.2, shape) if len(shape) > 1 else np.ones(shape)
        writer.add_tensor(f"{name}.weight", values.astype(np.float32))

    add("token_embd", VOCABULARY, WIDTH)
    add("output_norm", WIDTH)
    for layer in range(LAYERS):
        for name in LINEAR:
            outputs = shapes.get(name, 2 * WIDTH)
            add(
                f"blk.{layer}.{name}",
                WIDTH if name == "ffn_down" else outputs,
                2 * WIDTH if name == "ffn_down" else WIDTH,
            )
        add(f"blk.{layer}.attn_norm", WIDTH)
        add(f"blk.{layer}.ffn_norm", WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def made(count: int = 240) -> list[Batch]:
    """Return batches in which a token is followed by the next number, always."""
    rows = [
        Row((), (Branch(tuple((start + step) % VOCABULARY for step in range(9)), 3),))
        for start in range(count)
    ]
    return list(batches(rows, RECIPE.batch_tokens, seed=1))


def losses(folder: Path) -> list[float]:
    return [json.loads(line)[1] for line in (folder / "loss.jsonl").read_text(encoding="utf-8").splitlines()]


def test_taken_up_again_it_learns_the_same(tiny: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    fit(tiny, made(), RECIPE, whole)
    fit(tiny, made(), RECIPE, broken, until_step=3)
    with (broken / "loss.jsonl").open("a") as log:
        log.write("[4, 9.9]\n")  # was logged, but not saved
    fit(tiny, made(), RECIPE, broken)
    assert losses(broken) == losses(whole)
    assert losses(whole)[-1] < 0.8 * losses(whole)[0]


def test_a_second_round_is_broken_off_and_taken_up_like_the_first(tiny: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    first, again = made(), made(60)
    fit(tiny, first, RECIPE, whole, again=again)
    fit(tiny, first, RECIPE, broken, again=again, until_step=len(first) + 1)
    fit(tiny, first, RECIPE, broken, again=again)
    assert losses(broken) == losses(whole)
    assert len(losses(whole)) == len(first) + len(again)


def test_the_rate_rises_twice_and_less_high_the_second_time() -> None:
    rates = [Recipe().rate(step, 1000, 200) for step in range(1200)]
    assert max(rates) == rates[39] == Recipe().learning_rate
    assert max(rates[1000:]) == rates[1039] == Recipe().again_learning_rate
    lowest = pytest.approx(Recipe().last_learning_rate, rel=0.05)
    assert rates[999] == lowest
    assert rates[1199] == lowest


def test_the_state_of_another_recipe_is_refused(tiny: Path, tmp_path: Path) -> None:
    fit(tiny, made(), RECIPE, tmp_path, until_step=1)
    with pytest.raises(ValueError, match="another recipe"):
        fit(tiny, made(), Recipe(seed=2, rank=4), tmp_path)


def test_the_state_of_other_data_or_of_another_model_is_refused(tiny: Path, tmp_path: Path) -> None:
    fit(tiny, made(), RECIPE, tmp_path, until_step=1)
    others = made()
    rows = others[0].rows
    others[0] = Batch((Row((), (Branch(rows[0].branches[0].tokens[::-1], 3),)), *rows[1:]))
    with pytest.raises(ValueError, match="data or model"):
        fit(tiny, others, RECIPE, tmp_path)
    other = tmp_path / "other.gguf"
    content = bytearray(tiny.read_bytes())
    content[-1] ^= 1
    other.write_bytes(content)
    with pytest.raises(ValueError, match="data or model"):
        fit(other, made(), RECIPE, tmp_path)


def test_a_fresh_adapter_changes_nothing(tiny: Path) -> None:
    tokens = torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad():
        bare = Network(tiny, dtype=torch.float32)(tokens)
        fresh = Network(tiny, rank=4, alpha=8.0, dtype=torch.float32)(tokens)
    assert torch.equal(bare, fresh)


def test_an_adapted_layer_and_its_gradients_are_those_of_the_layer_and_the_adapter_side_by_side() -> None:
    torch.manual_seed(1)
    layer = Adapted(torch.randn(6, 5, dtype=torch.float64), rank=2, alpha=3.0).double()
    assert layer.down is not None
    torch.nn.init.normal_(layer.up)
    x = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    wanted = [x, layer.down, layer.up]
    apart = x @ layer.weight.T + layer.scale * (x @ layer.down.T) @ layer.up.T
    assert torch.allclose(layer(x), apart)
    weights = torch.randn_like(apart)
    found = torch.autograd.grad((layer(x) * weights).sum(), wanted)
    for each, other in zip(found, torch.autograd.grad((apart * weights).sum(), wanted), strict=True):
        assert torch.allclose(each, other)


def test_padding_on_the_right_changes_nothing(tiny: Path) -> None:
    network = Network(tiny, dtype=torch.float32)
    with torch.no_grad():
        short = network(torch.tensor([[1, 2, 3]]))
        padded = network(torch.tensor([[1, 2, 3, 0, 0]]))
    assert torch.allclose(short, padded[:, :3], atol=1e-6)


def test_what_examples_share_is_as_if_each_had_it_for_itself(tiny: Path) -> None:
    shared, first, second = (5, 6, 7, 8), (9, 10, 11), (20, 21)
    batch = Batch((Row(shared, (Branch(first, 1), Branch(second, 1))), Row((), (Branch((3,) * 12, 1),))))
    network = Network(tiny, dtype=torch.float32)
    with torch.no_grad():
        together = network(*map(torch.tensor, (batch.tokens(), batch.positions(), batch.groups())))[0]
        one, other = (network(torch.tensor([shared + branch]))[0] for branch in (first, second))
        alone = loss(network, Batch((Row((), (Branch(shared + first, 5), Branch(shared + second, 5))),)))
    assert torch.allclose(together[:7], one, atol=1e-5)
    assert torch.allclose(together[7:9], other[4:], atol=1e-5)
    assert batch.places() == [(0, 5, 7), (0, 8, 9), (1, 1, 12)]
    shortened = Batch(batch.rows[:1])
    with torch.no_grad():
        assert torch.allclose(loss(network, shortened), alone, atol=1e-5)


@pytest.mark.parametrize("quantised", [False, True])
def test_what_is_exported_is_what_was_learnt(tiny: Path, tmp_path: Path, quantised: bool) -> None:
    network = fit(tiny, made(), RECIPE, tmp_path)
    export(network, tmp_path / "adapter.gguf", name="test", quantised=quantised)
    reader = gguf.GGUFReader(tmp_path / "adapter.gguf")
    assert reader.fields["adapter.type"].contents() == "lora"
    assert reader.fields["adapter.lora.alpha"].contents() == RECIPE.alpha
    written = {
        tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors
    }
    for name, down, up in network.adapter():
        for suffix, matrix in (("lora_a", down), ("lora_b", up)):
            values = matrix.detach().numpy()
            assert np.allclose(written[f"{name}.{suffix}"], values, atol=0.02 * np.abs(values).max())


def test_from_what_was_exported_it_goes_on_and_a_short_round_is_enough(tiny: Path, tmp_path: Path) -> None:
    adapter, again = tmp_path / "adapter.gguf", made(24)
    for name in ("on", "anew", "other"):
        (tmp_path / name).mkdir()
    export(fit(tiny, made(), RECIPE, tmp_path), adapter, name="test")
    fit(tiny, [], RECIPE, tmp_path / "on", again=again, begin=adapter)
    fit(tiny, [], RECIPE, tmp_path / "anew", again=again)
    assert losses(tmp_path / "on")[0] < 0.7 * losses(tmp_path / "anew")[0]
    with pytest.raises(ValueError, match="of another recipe"):
        fit(tiny, [], RECIPE, tmp_path / "on", again=again)
    with pytest.raises(ValueError, match="holds no"):
        fit(tiny, [], replace(RECIPE, rank=RECIPE.rank * 2), tmp_path / "other", again=again, begin=adapter)


def test_every_row_is_in_one_batch_and_no_batch_is_too_large() -> None:
    lengths = (5, 60, 7, 30, 30, 8, 200, 12) * 9
    rows = [Row((), (Branch(tuple(range(length)), 1),)) for length in lengths]
    all_of_them = list(batches(rows, 128, seed=3))
    assert sorted(row.length for batch in all_of_them for row in batch.rows) == sorted(lengths)
    assert all(batch.length * len(batch.rows) <= 128 or len(batch.rows) == 1 for batch in all_of_them)
    assert all_of_them == list(batches(rows, 128, seed=3))
