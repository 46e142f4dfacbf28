"""What a turn needs is lent to it as long as it lasts, and what of it cannot be used is left out with its reason."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agentkit.core.asked import callers_tools
from agentkit.core.runs import RunOps
from agentkit.errors import BusyError
from agentkit.models.engine import Engine
from agentkit.models.store import ModelStore
from agentkit.paths import Home
from tests.agentkit.models.gguf_writer import tiny_gguf

CLOSED = {"type": "object", "properties": {}, "additionalProperties": False}


def spec(name: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "description": "Do it.", "parameters": CLOSED, **changes}


def test_bad_tools_are_left_out_and_named_with_their_reason() -> None:
    specs: list[Any] = [
        spec("good"),
        spec("not a name"),
        spec("open", parameters={"type": "object", "additionalProperties": True}),
        spec("strange", capabilities=["fly"]),
        spec("late", timeout_seconds="soon"),
        {"name": "half"},
        spec("twice"),
        spec("twice"),
        "nonsense",
        spec("fine"),
    ]
    tools, refused = callers_tools(specs, None)  # type: ignore[arg-type]
    assert list(tools) == ["good", "fine"]
    assert list(refused) == ["not a name", "open", "strange", "late", "half", "twice", "tool 9"]
    assert "closed object" in refused["open"]
    assert refused["strange"] == "tool strange has the unknown capability 'fly'"
    assert refused["half"] == "its definition is malformed (KeyError)"
    assert refused["twice"] == "there are two tools of this name"


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    """Return the engines that were closed."""
    closed: list[Engine] = []
    monkeypatch.setattr(Engine, "close", lambda engine: closed.append(engine))
    return closed


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: list[Engine]) -> RunOps:
    """Return what runs turns in a home with two models; no worker can be started."""
    monkeypatch.delenv("AGENTKIT_MODELS", raising=False)
    home = Home(tmp_path / "home")
    for seed, name in enumerate(("one", "two")):
        (tmp_path / "model.gguf").write_bytes(tiny_gguf(seed=seed).file())
        ModelStore(home.models).import_file(tmp_path / "model.gguf", name, transfer="copy")
    service: Any = SimpleNamespace(home=home, launcher=None, states=None)
    return RunOps(service)


def refused(lent: AbstractContextManager[Engine]) -> BusyError:
    with pytest.raises(BusyError) as caught, lent:
        pass
    return caught.value


def test_another_model_does_not_end_a_turn_that_goes_on(runs: RunOps, closed: list[Engine]) -> None:
    with runs.using("one") as first:
        with runs.using("one") as again:
            assert again is first
        error = refused(runs.using("two"))
        assert error.message == "one is answering, and one model is kept loaded at a time"
        assert error.hint
        refused(runs.using("one", untuned=True))
        assert not closed
    with runs.using("two") as second:
        assert second is not first
        assert closed == [first]
        assert refused(runs.using("one")).message.startswith("two is")


def test_what_a_turn_begins_anew_after_something_was_forgotten_ends_with_it(
    runs: RunOps, closed: list[Engine]
) -> None:
    with runs.using("one") as before:
        runs.forget_prompts()
        with runs.using("one") as after:
            assert after is not before
            closed.clear()
            runs.close()
            assert set(closed) == {before, after}
        closed.clear()
    assert closed == [before]


def test_the_status_of_an_engine_starts_none_and_waits_for_none(runs: RunOps) -> None:
    assert runs.describe() is None
    with runs.using("one") as engine:
        engine._path.unlink()  # so that it could not be loaded
        with runs._starting, engine._starting:
            said = runs.describe()
    assert said is not None
    assert (said["one"]["name"], said["one"]["worker_pid"]) == ("one", None)
