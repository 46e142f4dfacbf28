"""A run that was stopped goes on where it was, and its figures are of what was asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks._bfcl import NO_CALL
from benchmarks.tool_calling import Kept, Result, figures, main, table

SETTINGS = {"model": "m.gguf", "selection": False}


def result(number: int, way: str = "auto", category: str = "multiple", wrong: str | None = None) -> Result:
    return Result(way, f"{category}_{number}", category, wrong, 1, 10, 0.5)


def test_what_was_finished_is_kept_though_the_last_line_was_cut(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    kept = Kept(file, SETTINGS)
    kept.add(result(1))
    kept.add(result(2, wrong="no call"))
    file.write_text(file.read_text()[:-20])
    again = Kept(file, SETTINGS)
    assert again.results == {("auto", "multiple_1"): result(1)}
    again.add(result(3))
    assert len(Kept(file, SETTINGS).results) == 2


def test_results_of_other_settings_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    Kept(file, SETTINGS)
    with pytest.raises(SystemExit, match="other settings"):
        Kept(file, {**SETTINGS, "selection": True})


def test_the_figures_are_shares_in_percent_and_irrelevance_is_asked_once() -> None:
    kept = Kept(None, SETTINGS)
    for each in (result(1), result(2, wrong="no call"), result(3, category=NO_CALL)):
        kept.add(each)
    found = figures(kept, ["required", "auto"])
    assert found["bfcl_auto_multiple"] == 50.0
    assert found["bfcl_auto_multiple_wrong"] == {"no call": 1}
    assert found["bfcl_required_irrelevance"] == found["bfcl_auto_irrelevance"] == 100.0
    assert "bfcl_required_multiple" not in found
    assert "50.0" in table(found, ["required", "auto"])


def test_without_the_data_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AGENTKIT_DATA", str(tmp_path))
    assert main([]) == 0
    assert "AGENTKIT_DATA" in capsys.readouterr().err
