"""The demonstration: its search of the disk can find, its steps can fail, and on the real models it passes."""

from __future__ import annotations

import base64
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest

from agentkit.cli.output import Output
from agentkit.client import CoreClient
from agentkit.demo.plaintext import search, spellings
from agentkit.demo.run import ANSWER, METER, NEW_ANSWER, NOTE, UNKNOWN, Demo
from agentkit.demo.stage import find_notes, throw_away_folder
from agentkit.errors import NotFoundError

SECRET = "The harpsichord leaks."


@pytest.mark.parametrize(
    "hidden",
    [
        SECRET.encode(),
        SECRET.encode("utf-16-le"),
        b"x" + SECRET.encode("utf-16-be"),
        SECRET.encode().hex().encode(),
        *(base64.b64encode(b"?" * before + SECRET.encode() + b"more") for before in range(4)),
        base64.urlsafe_b64encode(SECRET.encode()),
    ],
)
def test_the_search_finds_a_text_however_it_is_spelt(hidden: bytes, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"\0before" + hidden + b"after")
    (tmp_path / "other").write_bytes(b"The harpsichord plays.")
    found = search([SECRET, "something else"], tmp_path)
    assert found.found == {"deep/file": 1}
    assert found.files == 2


def test_the_search_finds_a_text_in_a_name_and_leaves_out_what_it_is_told_to(tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "x").write_text(SECRET)
    (tmp_path / "harpsichord.md").touch()
    assert search([SECRET, "harpsichord.md"], tmp_path, leave_out=["workspace"]).found == {
        "harpsichord.md": 1
    }


def test_a_text_that_chance_would_find_is_refused() -> None:
    with pytest.raises(ValueError, match="by chance"):
        spellings("short")


def test_what_is_thrown_away_is_gone_even_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(KeyboardInterrupt), throw_away_folder() as folder:
        (folder / "file").touch()
        assert folder.stat().st_mode & 0o077 == 0
        raise KeyboardInterrupt
    assert not folder.exists()


def test_without_the_notes_the_hint_says_where_to_run_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("agentkit.demo.stage.__file__", str(tmp_path / "a" / "b" / "c.py"))
    with pytest.raises(NotFoundError, match="example notes"):
        find_notes()


def test_the_notes_hold_what_the_demo_asks_for() -> None:
    notes = find_notes()
    assert ANSWER in (notes / NOTE).read_text(encoding="utf-8")
    assert NEW_ANSWER not in (notes / NOTE).read_text(encoding="utf-8")
    assert (notes / METER).is_file()
    everything = " ".join(path.read_text(encoding="utf-8") for path in notes.rglob("*.md"))
    assert "new bicycle" in UNKNOWN
    assert "new bicycle" not in everything


def test_a_step_that_shows_nothing_fails(core: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo is no script of successes: over a core that answers nothing right, it says so."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    core.answers |= {
        "index": {"indexed": 3, "skipped": 0},
        "run": {},
        "probe_egress": {"core": {"TCP": "EACCES"}, "sandbox": {"TCP": "open"}, "tier": "none"},
        "stop": {"stopped": True},
    }
    said = io.StringIO()
    output = Output(as_json=True, stdout=said, stderr=io.StringIO())
    monkeypatch.setattr("agentkit.demo.stage.WATCH_SECONDS", 0.1)
    assert not Demo(output, connect=lambda home: CoreClient.connect(core.home), fetch=False).run()
    steps = json.loads(said.getvalue())["steps"]
    passed = {step["name"] for step in steps if step["passed"]}
    assert passed == {"make a vault", "find nothing readable on the disk"}
    assert len(steps) == 10
    assert not list((tmp_path / "agentkit").iterdir())


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_step_passes_on_the_real_models(run: Any, smollm2_path: Path, minilm_path: Path) -> None:
    began = time.monotonic()
    ended = run("demo", "--json")
    said = json.loads(ended.out)
    assert [step for step in said["steps"] if not step["passed"]] == []
    assert ended.code == 0
    assert len(said["steps"]) == 10
    assert said["receipt"]["self_test"]
    assert time.monotonic() - began < 240  # the promise is 90 s on an idle machine; this only catches a hang
