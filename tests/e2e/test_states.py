"""The sealed state of a conversation in a real core: it outlives the core, and nothing it came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.model, pytest.mark.slow]
NAME = "our talk about the lighthouse"
TEXT = "The spare key of the lighthouse lies under the periwinkle pot. " * 16 + "What did I tell you?"


def turn(client: Any, text: str) -> dict[str, Any]:
    """Say something in the conversation and return how the turn ended."""
    sampling = {"max_tokens": 8}
    events = list(client.stream("run", text=text, mode="chat", conversation=NAME, sampling=sampling))
    return next(event for event in events if event["type"] == "Finished")


def written(client: Any) -> int:
    """Return how many states there are once all is written; that is what locking waits for."""
    client.request("lock")
    client.request("unlock", passphrase=b"four unrelated quiet words")
    return int(client.request("status")["states"]["states"])


def test_a_state_outlives_the_core_and_nothing_it_came_from(core: Any) -> None:
    client = core.unlocked()
    assert turn(client, TEXT)["usage"]["cache"] == "cold"
    assert written(client) == 1
    core.kill()

    (state,) = (core.home.root / "states").iterdir()
    data = state.read_bytes()
    assert b"periwinkle" not in data
    assert b"lighthouse" not in data + bytes(Path(state.name))

    client = core.unlocked()
    finished = turn(client, "And the pot?")
    assert finished["usage"]["cache"] == "restored"
    assert finished["usage"]["reused_tokens"] > 200

    client.request("remember", text="The tide is high at noon.")
    (record,) = client.request("records", kinds=["memory"])["records"]
    client.request("forget", ids=[record["id"]])
    assert client.request("status")["states"]["states"] == 0
    assert turn(client, "And now?")["usage"]["cache"] == "cold"
    assert written(client) == 1
    client.request("forget_conversation", id=NAME)
    assert client.request("status")["states"]["states"] == 0


def test_what_a_removed_file_said_leaves_the_states_too(core: Any, tmp_path: Path) -> None:
    client = core.unlocked()
    for name in ("tide.md", "moon.md"):
        (tmp_path / name).write_text(f"The {name} says little.\n")
    client.request("index", path=str(tmp_path))
    turn(client, TEXT)
    assert written(client) == 1
    client.request("index", path=str(tmp_path))
    assert client.request("status")["states"]["states"] == 1
    (tmp_path / "tide.md").unlink()
    client.request("index", path=str(tmp_path))
    assert client.request("status")["states"]["states"] == 0
