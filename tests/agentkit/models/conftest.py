"""The real engine, started once, and tools to call."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkit.messages import ToolSpec
from agentkit.models.engine import Engine
from agentkit.spawn import LocalSpawner


@pytest.fixture(scope="session")
def engine(smollm2_path: Path) -> Iterator[Engine]:
    """Yield the default model in its worker; tests share it and leave it running."""
    engine = Engine(smollm2_path, LocalSpawner(), name="smollm2-135m", context_tokens=1024)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def tools() -> tuple[ToolSpec, ...]:
    """Return two tools with bounded arguments."""
    city = {"type": "string", "maxLength": 20}
    days = {"type": "integer", "minimum": 1, "maximum": 7}
    weather = {
        "type": "object",
        "properties": {"city": city, "days": days},
        "required": ["city"],
        "additionalProperties": False,
    }
    unit = {
        "type": "object",
        "properties": {"unit": {"enum": ["second", "hour"]}, "exact": {"type": "boolean"}},
        "required": ["unit"],
        "additionalProperties": False,
    }
    return (
        ToolSpec("get_weather", "Get the weather of a city.", weather),
        ToolSpec("clock.read", "Read the clock.", unit),
    )
