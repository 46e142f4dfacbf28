"""Tuning: quality-neutral levers first, no more perplexity than allowed, and a profile that fits or is not there."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from agentkit.errors import ConfigError
from agentkit.models.gpu import GpuUse
from agentkit.models.levers import Levers
from agentkit.models.profile import (
    PROFILE,
    Profile,
    as_tuned,
    forget_profile,
    read_profile,
    set_levers,
    write_profile,
)
from agentkit.models.quant_table import QuantRow, plot, quant_table
from agentkit.models.store import ModelStore
from agentkit.models.tune import tune
from agentkit.models.variants import make_variant
from agentkit.spawn import LocalSpawner

PLAIN = Profile(Levers(3, flash_attention=False, repack=False), None, None, 0.0, (1.0, 2.0), (3.0, 4.0))


@pytest.fixture
def store(tmp_path: Path, gguf_bytes: bytes) -> ModelStore:
    (tmp_path / "model.gguf").write_bytes(gguf_bytes)
    store = ModelStore(tmp_path / "models")
    store.import_file(tmp_path / "model.gguf", "tiny", transfer="copy")
    return store


def test_a_profile_is_used_until_it_is_forgotten(store: ModelStore) -> None:
    model = store.get("tiny")
    assert as_tuned(store, "tiny") == (model.path, {"sha256": model.sha256})
    write_profile(store, model, PLAIN)
    assert read_profile(store, model) == PLAIN
    assert as_tuned(store, "tiny") == (
        model.path,
        {
            "sha256": model.sha256,
            **{each.name: getattr(PLAIN.levers, each.name) for each in fields(Levers)},
        },
    )
    assert as_tuned(store, "tiny", untuned=True) == (model.path, {"sha256": model.sha256})
    assert store.verify("tiny") == model
    forget_profile(store, model)
    assert as_tuned(store, "tiny") == (model.path, {"sha256": model.sha256})


def test_levers_that_were_set_are_used_from_then_on(store: ModelStore) -> None:
    model = store.get("tiny")
    assert set_levers(store, model).k_type == "f16"
    assert as_tuned(store, "tiny")[1] == {"sha256": model.sha256}
    set_levers(store, model, window="shift", gpu=GpuUse(0, shares=(3.0, 1.0)), batch_tokens=64)
    chosen = as_tuned(store, "tiny")[1]
    assert (chosen["window"], chosen["batch_tokens"]) == ("shift", 64)
    assert chosen["gpu"] == GpuUse(0, shares=(3.0, 1.0))
    for change, problem in (
        ({"k_type": "q8_0"}, "lose a little"),
        ({"threads": 0}, "outside 1 to 1024"),
        ({"context_tokens": 10**6}, "trained for"),
        ({"gpu": GpuUse(-1)}, "outside 0 to"),
    ):
        with pytest.raises(ConfigError, match=problem):
            set_levers(store, model, **change)
    assert as_tuned(store, "tiny")[1] == chosen


def test_a_profile_of_other_weights_or_without_its_variant_is_none(store: ModelStore) -> None:
    model = store.get("tiny")
    write_profile(store, replace(model, sha256="0" * 64), PLAIN)
    assert read_profile(store, model) is None
    write_profile(store, model, replace(PLAIN, variant="tiny-q8_0", variant_sha256="1" * 64))
    assert read_profile(store, model) is None


@pytest.mark.parametrize(
    "damage", ["", "[]", "{", '{"format": 2, "profiles": {}}', '{"format": 1, "profiles": []}']
)
def test_a_damaged_profile_is_none_and_is_replaced(store: ModelStore, damage: str) -> None:
    model = store.get("tiny")
    path = store.folder / "tiny" / PROFILE
    path.write_text(damage)
    assert read_profile(store, model) is None
    write_profile(store, model, PLAIN)
    assert read_profile(store, model) == PLAIN
    said = json.loads(path.read_text())
    (fields,) = said["profiles"].values()
    fields["levers"]["threads"] = 10**9
    path.write_text(json.dumps(said))
    assert read_profile(store, model) is None


def test_the_picture_shows_every_row_and_escapes_names() -> None:
    rows = [
        QuantRow("Q4_1", 98_000_000, 200_000_000, 300.0, 90.0, 25.5, 0.0, is_reference=True),
        QuantRow("<Q8_0>", 145_000_000, 250_000_000, 600.0, 80.0, 25.6, 0.005, is_reference=False),
    ]
    picture = plot(rows, "a & b")
    assert picture.count("<circle") == 2
    assert "&lt;Q8_0&gt;" in picture
    assert "a &amp; b" in picture
    assert plot(rows[:1], "one").count("<circle") == 1


@pytest.fixture
def real(tmp_path: Path, smollm2_path: Path) -> ModelStore:
    store = ModelStore(tmp_path / "models")
    store.import_file(smollm2_path, "parent", transfer="link")
    return store


@pytest.mark.model
@pytest.mark.slow
def test_no_more_perplexity_is_traded_than_allowed(real: ModelStore) -> None:
    """Q2_K is quick and far over the limit; the model as it came stays, and no variant is left behind."""
    found = tune(real, "parent", LocalSpawner(), levels=["Q2_K"], rounds=1, scored_tokens=1100)
    assert found.best.level is None
    (coarse,) = [each for each in found.candidates if each.level == "Q2_K"]
    assert coarse.perplexity_change is not None
    assert coarse.perplexity_change > 0.1
    assert [each.name for each in real.entries()] == ["parent"]
    profile = read_profile(real, real.get("parent"))
    assert profile is not None
    assert profile.variant is None
    assert not list((real.folder / ".staging").iterdir())


@pytest.mark.model
@pytest.mark.slow
def test_the_chosen_variant_is_stored_and_run(real: ModelStore) -> None:
    tune(
        real, "parent", LocalSpawner(), levels=["Q8_0"], rounds=1, scored_tokens=600, max_perplexity_change=1
    )
    profile = read_profile(real, real.get("parent"))
    assert profile is not None
    path, _ = as_tuned(real, "parent")
    names = {each.name for each in real.entries()}
    assert names == ({"parent"} if profile.variant is None else {"parent", "parent-q8_0"})
    made = make_variant(real, "parent", "Q8_0", LocalSpawner())
    assert path in (real.get("parent").path, made.path)


@pytest.mark.model
@pytest.mark.slow
def test_the_table_compares_with_the_file_as_it_came(real: ModelStore) -> None:
    rows = quant_table(real, "parent", LocalSpawner(), levels=["Q8_0"], rounds=1, scored_tokens=600)
    assert [(row.quantisation, row.is_reference) for row in rows] == [("Q4_1", True), ("Q8_0", False)]
    assert rows[0].divergence == 0
    assert 0 < rows[1].divergence < 0.1
    assert rows[1].file_bytes > rows[0].file_bytes
    assert [each.name for each in real.entries()] == ["parent"]
    with pytest.raises(ConfigError):
        quant_table(real, "parent", LocalSpawner(), levels=["Q99"])
