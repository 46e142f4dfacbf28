"""The engine's benchmark names every figure, and its exit status says whether one misses its target."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.engine import __main__ as benchmark

WELL: dict[str, Any] = {"shift_ppl_ratio": 1.006, "shift_rss_growth": 1.0, "shift_time_growth": 1.1}


def run(
    found: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, dict[str, Any]]:
    """Return the exit status, the table and the object, where the one part asked for finds this."""
    model = tmp_path / "model.gguf"
    model.touch()
    monkeypatch.setattr(benchmark, "model_path", lambda: model)
    part = SimpleNamespace(measure=lambda *, quick: found)
    monkeypatch.setitem(sys.modules, "benchmarks.engine.window", part)
    status = benchmark.main(["--quick", "--only", "window"])
    *table, last = capsys.readouterr().out.splitlines()
    return status, "\n".join(table), json.loads(last)


def test_what_meets_its_target_or_is_not_measured_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {**WELL, "tuned_prefill_ratio": None, "window_skipped": "no book"}
    status, table, said = run(found, tmp_path, monkeypatch, capsys)
    assert status == 0
    assert "MISS" not in table
    assert said == {**dict.fromkeys((*benchmark.AT_LEAST, *benchmark.AT_MOST)), **found}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("shift_time_growth", 1.101),
        ("shift_ppl_ratio", 1.021),
        ("prefill_ratio", 0.96),
        ("replay_identical", False),
    ],
)
def test_a_miss_is_said_and_exits_with_1(
    name: str,
    value: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, table, said = run({**WELL, name: value}, tmp_path, monkeypatch, capsys)
    assert status == 1
    assert [line.split()[0] for line in table.splitlines() if "MISS" in line] == [name]
    assert said[name] == value
