"""A tool of the caller's that cannot be used is left out with its reason; the others work."""

from __future__ import annotations

from typing import Any

from agentkit.core.asked import callers_tools

CLOSED = {"type": "object", "properties": {}, "additionalProperties": False}


def spec(name: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "description": "Do it.", "parameters": CLOSED, **changes}


def test_bad_tools_are_left_out_and_named_with_their_reason() -> None:
    specs: list[Any] = [
        spec("good"),
        spec("not a name"),
        spec("open", parameters={"type": "object"}),
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
