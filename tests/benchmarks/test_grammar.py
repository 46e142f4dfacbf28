"""The suite is read from where `AGENTKIT_DATA` says, and what is not there is not measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.grammar import KEYS, main, suite


def test_the_suite_is_read_from_where_the_variable_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for draft in ("draft2020-12", "draft7"):
        folder = tmp_path / "jsonschema-suite" / "tests" / draft
        folder.mkdir(parents=True)
        tests = [{"data": 5, "valid": True}, {"data": "5", "valid": False}]
        cases = [
            {"schema": {"type": "integer"}, "tests": tests},
            {"schema": {"$ref": "#/lost"}, "tests": tests},
        ]
        (folder / "type.json").write_text(json.dumps(cases))
    monkeypatch.setenv("AGENTKIT_DATA", str(tmp_path))
    found = suite()
    assert (found["suite_total"], found["suite_pass"], found["suite_refused"]) == (8, 4, 4)
    assert (found["suite_schemas"], found["suite_schemas_refused"], found["gbnf_suite_schemas_refused"]) == (
        4,
        2,
        2,
    )


def test_without_the_data_every_figure_is_null(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AGENTKIT_DATA", str(tmp_path))
    assert main([]) == 0
    said = capsys.readouterr()
    assert "AGENTKIT_DATA" in said.err
    assert json.loads(said.out.splitlines()[-1]) == dict.fromkeys(KEYS)
