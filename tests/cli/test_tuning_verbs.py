"""`models tune` and `bench quant` as they are typed: the table, the JSON, the picture, and what is refused."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentkit.models.catalogue import CATALOGUE, DEFAULT_CHAT, ShippedAdapter
from agentkit.models.gguf import read_header
from agentkit.models.levers import Levers
from agentkit.models.profile import Profile, as_tuned, write_profile
from agentkit.models.quant_plot import COLUMNS
from agentkit.models.ram_need import need_with
from agentkit.models.store import ModelStore
from tests.agentkit.models.gguf_writer import tiny_gguf
from tests.agentkit.models.scripted_bench import ScriptedBench, quicker

LEVELS = ("--levels", "F16,Q8_0,Q2_K", "--rounds", "1")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    (tmp_path / "model.gguf").write_bytes(tiny_gguf().file())
    monkeypatch.setenv("AGENTKIT_MODELS", str(tmp_path / "models"))
    store = ModelStore(tmp_path / "models")
    store.import_file(tmp_path / "model.gguf", "tiny", transfer="copy")
    return store


@pytest.fixture
def bench(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> ScriptedBench:
    """Return what measures for the verbs: Q8_0 is quickest, Q2_K predicts too badly."""
    bench = ScriptedBench(quicker, Q2_K=0.2, Q8_0=0.005)
    monkeypatch.setattr("agentkit.spawn.LocalSpawner", lambda: bench)
    return bench


def names(store: ModelStore) -> list[str]:
    return [each.name for each in store.entries()]


def test_tuning_shows_what_it_tried_and_what_it_chose(run: Any, store: ModelStore, bench: Any) -> None:
    ended = run("models", "tune", "tiny", *LEVELS)
    assert ended.code == 0, ended.err
    rows = [line.split("\t") for line in ended.out.splitlines()]
    assert {len(row) for row in rows} == {6}
    (coarse,) = [row for row in rows if row[0] == "Q2_K"]
    assert coarse[1:4] == ["-", "-", "+22.1%"]
    assert "more than 3.0%" in coarse[5]
    assert [row for row in rows if row[5] == "chosen"]
    assert "tiny runs as Q8_0, made here, with" in ended.err
    assert "it reads prompts 3." in ended.err
    assert "`agentkit models tune tiny --forget` undoes it" in ended.err
    assert as_tuned(store, "tiny")[0] == store.get("tiny-q8_0").path
    ended = run("models", "tune", "tiny", "--forget")
    assert (ended.code, ended.out) == (0, "tiny runs as it came\n")
    assert as_tuned(store, "tiny")[0] == store.get("tiny").path


def test_forgetting_says_what_stays(run: Any, store: ModelStore, bench: Any) -> None:
    run("models", "levers", "tiny", "--context", "256", "--batch", "64")
    run("models", "tune", "tiny", *LEVELS)
    ended = run("models", "tune", "tiny", "--forget")
    assert ended.out == "tiny runs as it came\n"
    assert "`agentkit models levers tiny` shows them" in ended.err
    said = json.loads(run("models", "levers", "tiny", "--json").out)
    assert (said["variant"], said["context_tokens"], said["batch_tokens"]) == (None, 256, 512)


@pytest.mark.parametrize(
    ("adapter", "goes_without"),
    [
        (None, False),
        (ShippedAdapter("a.gguf", 1, "0" * 64, levels=("F16",)), True),
        (ShippedAdapter("a.gguf", 1, "0" * 64, levels=("Q8_0",)), False),
    ],
)
def test_tuning_says_when_the_variant_goes_without_the_adapter(
    run: Any,
    store: ModelStore,
    bench: Any,
    monkeypatch: pytest.MonkeyPatch,
    adapter: ShippedAdapter | None,
    goes_without: bool,
) -> None:
    came = CATALOGUE[DEFAULT_CHAT]
    shipped = replace(came, files=(replace(came.files[0], sha256=store.get("tiny").sha256),), adapter=adapter)
    monkeypatch.setattr("agentkit.models.catalogue._ENTRIES", (shipped,))
    ended = run("models", "tune", "tiny", *LEVELS)
    assert ("which runs without it" in ended.err) is goes_without
    assert ("adapters" in as_tuned(store, "tiny")[1]) is (adapter is not None and not goes_without)
    levers = json.loads(run("models", "levers", "tiny", "--json").out)
    assert (levers["adapters"] == {}) is (adapter is None or goes_without)


def test_the_memory_shown_is_that_of_what_runs(run: Any, store: ModelStore, tmp_path: Path) -> None:
    larger = tmp_path / "larger.gguf"
    larger.write_bytes(tiny_gguf().tensor("blk.0.ffn_up.weight", (512, 512), size=4 * 512 * 512).file())
    variant = store.import_file(larger, "larger", transfer="copy")
    levers = Levers(2, context_tokens=256)
    write_profile(
        store, store.get("tiny"), Profile(levers, "larger", variant.sha256, 0.0, (1.0, 1.0), (1.0, 1.0))
    )
    need = need_with(read_header(larger), levers).total_bytes
    assert json.loads(run("models", "levers", "tiny", "--json").out)["memory_bytes"] == need
    assert f"{need / 1e6:.1f} MB: weights, adapter, cache and buffers" in run("models", "levers", "tiny").out


def test_tuning_without_a_gain_leaves_the_file_as_it_came(run: Any, store: ModelStore, bench: Any) -> None:
    ended = run("models", "tune", "tiny", "--levels", "none", "--rounds", "1", "--max-loss", "0")
    assert ended.code == 0, ended.err
    assert "tiny runs from the file as it came, with" in ended.err
    assert names(store) == ["tiny"]


def test_tuning_speaks_json(run: Any, store: ModelStore, bench: Any) -> None:
    ended = run("models", "tune", "tiny", *LEVELS, "--max-loss", "1.5", "--json")
    assert ended.code == 0, ended.err
    said = json.loads(ended.out)
    assert (said["name"], said["max_loss_percent"]) == ("tiny", 1.5)
    assert said["perplexity"] == pytest.approx(math.exp(3), rel=1e-4)
    assert said["chosen"]["level"] == "Q8_0"
    assert said["chosen"]["batch_tokens"] == 128
    assert said["gain"]["as_it_came"]["prefill"] == pytest.approx(3.6)
    assert {"F16", "Q8_0", "Q2_K"} <= {each["level"] for each in said["candidates"]}
    beside = [each for each in said["candidates"] if each["beside_each_other"]]
    assert [each["level"] for each in beside if each["chosen"]] == ["Q8_0"]
    ended = run("models", "tune", "tiny", "--forget", "--json")
    assert json.loads(ended.out) == {"name": "tiny", "tuned": False}


def test_an_interrupted_tuning_says_that_it_goes_on(
    run: Any, store: ModelStore, bench: ScriptedBench
) -> None:
    bench.stop_after = 3
    ended = run("models", "tune", "tiny", *LEVELS, "--json")
    assert (ended.code, ended.out) == (130, "")
    assert "is kept for an hour: the same command goes on from there" in ended.err
    assert names(store) == ["tiny"]
    bench.stop_after = 10**9
    assert json.loads(run("models", "tune", "tiny", *LEVELS, "--json").out)["chosen"]["level"] == "Q8_0"


def test_the_table_has_a_row_for_each_level_and_keeps_nothing(
    run: Any, store: ModelStore, bench: ScriptedBench
) -> None:
    bench.losses["Q2_K"] = math.nan
    ended = run("bench", "quant", "tiny", *LEVELS)
    assert ended.code == 0, ended.err
    rows = [line.split("\t") for line in ended.out.splitlines()]
    assert [row[0] for row in rows] == ["F16 (as it came)", "F16", "Q8_0"]
    assert [row[3:] for row in rows] == [
        ["100", "100", "20.09", "0.0000"],
        ["200", "100", "20.09", "0.0100"],
        ["300", "100", "20.19", "0.0100"],
    ]
    assert "Q2_K is left out: Q2_K.gguf predicts nothing that is a number" in ended.err
    assert names(store) == ["tiny"]
    assert not list((store.folder / ".staging").iterdir())


def test_the_table_is_json_and_a_picture_too(run: Any, bench: Any, tmp_path: Path) -> None:
    picture = tmp_path / "quant.svg"
    ended = run("bench", "quant", "tiny", *LEVELS, "--json", "--svg", str(picture))
    assert ended.code == 0, ended.err
    said = json.loads(ended.out)
    assert said["name"] == "tiny"
    assert [row["quantisation"] for row in said["rows"]] == ["F16", "F16", "Q8_0", "Q2_K"]
    assert [row["is_reference"] for row in said["rows"]] == [True, False, False, False]
    assert f"{picture} shows it" in ended.err
    root = ET.parse(picture).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    bars = root.findall("{http://www.w3.org/2000/svg}rect")
    assert len(bars) == 1 + len(said["rows"]) * len(COLUMNS)
    assert "tiny: what each quantisation costs and brings" in "".join(root.itertext())


def test_an_interrupted_table_leaves_nothing(
    run: Any, store: ModelStore, bench: ScriptedBench, tmp_path: Path
) -> None:
    bench.stop_after = 2
    ended = run("bench", "quant", "tiny", *LEVELS, "--svg", str(tmp_path / "quant.svg"))
    assert (ended.code, ended.out) == (130, "")
    assert not (tmp_path / "quant.svg").exists()
    assert names(store) == ["tiny"]
    assert not list((store.folder / ".staging").iterdir())


@pytest.mark.parametrize("verb", [("models", "tune"), ("bench", "quant")], ids=" ".join)
@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (("tiny", "--levels", "Q8_0,Q99"), "'Q99' is no quantisation level", "choose from F16, BF16"),
        (("huge",), "huge", "agentkit models"),
    ],
    ids=["level", "model"],
)
def test_what_does_not_exist_is_refused_before_anything_is_measured(
    run: Any, bench: ScriptedBench, verb: tuple[str, ...], arguments: tuple[str, ...], error: str, hint: str
) -> None:
    ended = run(*verb, *arguments)
    assert ended.code in (2, 3, 4)
    assert ended.out == ""
    assert error in ended.err
    assert hint in ended.err
    assert "Traceback" not in ended.err
    assert bench.measured == 0


def test_a_picture_without_a_folder_is_refused_before_anything_is_measured(
    run: Any, bench: ScriptedBench, tmp_path: Path
) -> None:
    ended = run("bench", "quant", "tiny", "--svg", str(tmp_path / "none" / "quant.svg"))
    assert ended.code == 2
    assert "no such folder" in ended.err
    assert bench.measured == 0
