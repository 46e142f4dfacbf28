"""Tuning: quality-neutral levers first, no more perplexity than allowed, and a profile that fits or is not there."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from agentkit.errors import ConfigError, EngineError, LimitError, ModelError
from agentkit.models.gguf import read_header
from agentkit.models.gpu import GpuUse
from agentkit.models.levers import Levers
from agentkit.models.profile import (
    PROFILE,
    Profile,
    as_tuned,
    forget_profile,
    forget_tuning,
    levers_of,
    read_profile,
    set_levers,
    write_profile,
)
from agentkit.models.quant_plot import COLUMNS, plot
from agentkit.models.quant_table import QuantRow, quant_table
from agentkit.models.ram_need import ram_need
from agentkit.models.store import ModelStore
from agentkit.models.threads import default_threads
from agentkit.models.tune import Tuning, tune
from agentkit.models.tuning_notes import MAX_AGE_SECONDS, NOTES, TuningNotes
from agentkit.models.variants import make_variant
from agentkit.spawn import LocalSpawner
from tests.agentkit.models.scripted_bench import ScriptedBench, quicker

LEVERS = tuple(each.name for each in fields(Levers))
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


def test_forgetting_a_tuning_keeps_what_tuning_never_changes(store: ModelStore) -> None:
    model = store.get("tiny")
    elsewhere = replace(model, sha256="0" * 64)  # as another machine or build writes it
    write_profile(store, elsewhere, PLAIN)
    set_levers(store, model, context_tokens=256, window="shift", gpu=GpuUse(0))
    set_levers(store, model, tool_format="hermes", threads=9, batch_tokens=64, repack=False)
    tuned = read_profile(store, model)
    assert tuned is not None
    write_profile(store, model, replace(tuned, variant="gone", variant_sha256="1" * 64))
    forget_tuning(store, model)
    path, options = as_tuned(store, "tiny")
    kept = replace(
        Levers(default_threads()), context_tokens=256, window="shift", gpu=GpuUse(0), tool_format="hermes"
    )
    assert (path, Levers(**{name: options[name] for name in LEVERS})) == (model.path, kept)
    assert len(json.loads((store.folder / "tiny" / PROFILE).read_text())["profiles"]) == 2
    write_profile(store, model, PLAIN)
    forget_tuning(store, model)
    assert as_tuned(store, "tiny") == (model.path, {"sha256": model.sha256})


def test_a_profile_of_other_weights_or_without_its_variant_is_none(store: ModelStore) -> None:
    model = store.get("tiny")
    write_profile(store, replace(model, sha256="0" * 64), PLAIN)
    assert read_profile(store, model) is None
    gone = replace(PLAIN, variant="tiny-q8_0", variant_sha256="1" * 64)
    write_profile(store, model, gone)
    assert read_profile(store, model) is None
    write_profile(store, model, replace(gone, levers=replace(PLAIN.levers, window="shift")))
    assert levers_of(store, model) == Levers(default_threads(), window="shift")  # what the user chose stays


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
    assert picture.count("<rect") == 1 + 2 * len(COLUMNS)
    assert "145" in picture
    assert "&lt;Q8_0&gt;" in picture
    assert "a &amp; b" in picture
    assert ET.fromstring(plot(rows[:1], "one")).tag.endswith("svg")


@pytest.fixture
def real(tmp_path: Path, smollm2_path: Path) -> ModelStore:
    store = ModelStore(tmp_path / "models")
    store.import_file(smollm2_path, "parent", transfer="link")
    return store


def test_notes_are_recalled_within_the_hour_and_up_to_any_damage(tmp_path: Path) -> None:
    notes = TuningNotes(tmp_path, "key", 1000.0)
    notes.note("one", (1.5, 2.5))
    notes.note("two", (3.0,))
    path = tmp_path / NOTES
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text(path.read_text()[:-4])  # as after a crash in the middle of a line
    again = TuningNotes(tmp_path, "key", 1000.0 + MAX_AGE_SECONDS)
    assert again.recall("one") == (1.5, 2.5)
    assert again.recall("two") is None
    again.note("three", (4.0,))
    assert TuningNotes(tmp_path, "key", 1001.0).recall("three") == (4.0,)
    assert TuningNotes(tmp_path, "key", 1001.0 + MAX_AGE_SECONDS).recall("three") is None
    assert TuningNotes(tmp_path, "other", 1001.0).recall("one") is None
    path.write_bytes(b"[" * 100_000)
    TuningNotes(tmp_path, "key", 1.0).forget()
    assert not path.exists()


def script(**changes: Any) -> ScriptedBench:
    return ScriptedBench(quicker, Q2_K=0.2, Q8_0=0.005, **changes)


def search(store: ModelStore, bench: ScriptedBench, **options: Any) -> Tuning:
    chosen: dict[str, Any] = {
        "levels": ["F16", "Q8_0", "Q2_K"],
        "batches": (128, 256),
        "rounds": 2,
        **options,
    }
    return tune(store, "tiny", bench, **chosen)


def test_the_quickest_that_costs_little_is_chosen_and_set_beside_what_was(store: ModelStore) -> None:
    told: list[tuple[int, int, str]] = []
    found = search(store, script(), step=lambda *step: told.append(step))
    assert found.best.level == "Q8_0"
    assert found.best.levers.batch_tokens == 128
    assert found.best.levers.flash_attention
    (coarse,) = [each for each in found.candidates if each.level == "Q2_K"]
    assert coarse.speed is None
    assert "perplexity rises by more than 3.0%" in coarse.why
    assert found.came.speed is not None
    assert found.best.speed is not None
    assert found.best.speed.prefill == pytest.approx(3.6 * found.came.speed.prefill)
    assert found.best.perplexity_change == pytest.approx(math.exp(0.005) - 1, rel=1e-3)
    path, options = as_tuned(store, "tiny")
    assert path == store.get("tiny-q8_0").path
    assert options["batch_tokens"] == 128
    assert [each.name for each in store.entries()] == ["tiny", "tiny-q8_0"]
    assert not list((store.folder / ".staging").iterdir())
    done = [at for at, total, _ in told]
    assert done == sorted(done)
    assert told[-1][0] == told[-1][1]
    again = search(store, script(), levels=[])
    assert again.before.label == "as it ran until now"
    assert again.best.level is None


def test_an_interrupted_tuning_loses_nothing_measured(store: ModelStore) -> None:
    whole = script()
    search(store, whole)
    forget_profile(store, store.get("tiny"))
    store.remove("tiny-q8_0")
    first, second = script(), script()
    first.stop_after = 13
    with pytest.raises(KeyboardInterrupt):
        search(store, first)
    assert [each.name for each in store.entries()] == ["tiny"]
    assert read_profile(store, store.get("tiny")) is None
    found = search(store, second)
    assert first.measured + second.measured == whole.measured
    assert found.best.level == "Q8_0"
    assert not (store.folder / "tiny" / NOTES).exists()


def test_what_does_not_fit_into_memory_is_not_run_and_says_why(store: ModelStore) -> None:
    need = ram_need(read_header(store.get("tiny").path))
    found = search(store, script(), free=lambda: need.total_bytes)
    (skipped,) = [each for each in found.candidates if not each.levers.flash_attention]
    assert skipped.speed is None
    assert "MB are free" in skipped.why
    with pytest.raises(ModelError, match="cannot be run: needs"):
        search(store, script(), free=lambda: 1000)


def test_what_fails_is_one_candidate_less_and_what_gains_little_is_left(store: ModelStore) -> None:
    def fails(level: str | None, levers: Levers) -> float | None:
        return None if level == "Q8_0" or levers.batch_tokens == 256 else 100.0 + (levers.batch_tokens == 128)

    found = search(store, ScriptedBench(fails))
    assert {each.label for each in found.candidates if each.why} == {"Q8_0", "batches of 256"}
    assert found.best == found.came
    assert as_tuned(store, "tiny")[0] == store.get("tiny").path
    with pytest.raises(ModelError, match="cannot be run: it failed"):
        search(store, ScriptedBench(lambda *_: None))


def crashes(level: str | None, levers: Levers) -> float | None:
    """Return how fast a build is that crashes when it rearranges weights."""
    return None if levers.repack else quicker(level, levers)


def test_where_rearranging_weights_crashes_tuning_goes_on_without(store: ModelStore) -> None:
    found = search(store, ScriptedBench(crashes))
    (failed,) = [each for each in found.candidates if each.why]
    assert (failed.label, failed.why) == ("weights rearranged", "it failed")
    assert "weights not rearranged" not in {each.label for each in found.candidates}
    assert {each.levers.repack for each in (found.came, found.before, found.best)} == {False}
    assert found.came.speed is not None
    assert found.before.speed is not None
    assert found.best.level == "Q2_K"
    assert as_tuned(store, "tiny")[1]["repack"] is False


def test_where_rearranging_weights_crashes_the_table_is_made_without(store: ModelStore) -> None:
    left_out: list[tuple[str, str]] = []

    def measure() -> list[str]:
        told = lambda *what: left_out.append(what)  # noqa: E731 - read beside its use
        rows = quant_table(store, "tiny", ScriptedBench(crashes), levels=["Q8_0"], rounds=1, leave_out=told)
        return [row.quantisation for row in rows]

    assert measure() == ["F16", "Q8_0"]
    assert left_out == [("rearranging weights", "it failed")]
    set_levers(store, store.get("tiny"), repack=False)
    assert measure() == ["F16", "Q8_0"]
    assert len(left_out) == 1


def test_the_table_runs_nothing_that_does_not_fit_into_memory(store: ModelStore) -> None:
    left_out: list[tuple[str, str]] = []
    bench = ScriptedBench(quicker)
    with pytest.raises(LimitError, match="MB are free"):
        quant_table(store, "tiny", bench, levels=["Q8_0"], rounds=1, free=lambda: 1000)
    assert bench.measured == 0
    free = iter([1 << 40, 1000, 1 << 40])  # before the file as it came, and before each level
    rows = quant_table(
        store,
        "tiny",
        bench,
        levels=["F16", "Q8_0"],
        rounds=1,
        leave_out=lambda *told: left_out.append(told),
        free=lambda: next(free),
    )
    assert [row.quantisation for row in rows] == ["F16", "Q8_0"]
    assert [(level, "MB are free" in why) for level, why in left_out] == [("F16", True)]


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_chosen_variant_is_stored_and_run(real: ModelStore) -> None:
    tune(
        real,
        "parent",
        LocalSpawner(),
        levels=["Q8_0"],
        batches=(),
        rounds=1,
        scored_tokens=600,
        max_perplexity_change=1,
    )
    profile = read_profile(real, real.get("parent"))
    assert profile is not None
    path, _ = as_tuned(real, "parent")
    names = {each.name for each in real.entries()}
    assert names == ({"parent"} if profile.variant is None else {"parent", "parent-q8_0"})
    made = make_variant(real, "parent", "Q8_0", LocalSpawner())
    assert path in (real.get("parent").path, made.path)


def test_a_level_that_fails_while_its_speed_is_measured_is_left_out_of_the_table(store: ModelStore) -> None:
    left_out: list[tuple[str, str]] = []
    rows = quant_table(
        store,
        "tiny",
        ScriptedBench(lambda level, _: None if level == "Q8_0" else 100.0),
        levels=["F16", "Q8_0", "Q4_0"],
        rounds=2,
        leave_out=lambda *told: left_out.append(told),
    )
    assert [row.quantisation for row in rows if not row.is_reference] == ["F16", "Q4_0"]
    assert left_out == [("Q8_0", "it failed")]
    with pytest.raises(EngineError, match="it failed"):
        quant_table(store, "tiny", ScriptedBench(lambda *_: None), levels=["F16"], rounds=1)


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_table_compares_with_the_file_as_it_came(real: ModelStore) -> None:
    rows = quant_table(real, "parent", LocalSpawner(), levels=["Q8_0"], rounds=1, scored_tokens=600)
    assert [(row.quantisation, row.is_reference) for row in rows] == [("Q4_1", True), ("Q8_0", False)]
    assert rows[0].divergence == 0
    assert 0 < rows[1].divergence < 0.1
    assert rows[1].file_bytes > rows[0].file_bytes
    assert [each.name for each in real.entries()] == ["parent"]
    with pytest.raises(ConfigError):
        quant_table(real, "parent", LocalSpawner(), levels=["Q99"])
