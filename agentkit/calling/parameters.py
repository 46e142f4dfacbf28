"""The parameters of a tool one by one, in whatever form its schema is written (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentkit.calling.siblings import Described


def properties(tool: Described) -> dict[str, Mapping[str, Any]]:
    """Return what the schema of a tool says of each parameter; of one that may be anything (`true`), nothing."""
    found = tool.parameters.get("properties")
    return {name: _about(each) for name, each in found.items()} if isinstance(found, Mapping) else {}


def needed(tool: Described) -> tuple[str, ...]:
    """Return the names of the parameters that a call has to give."""
    found = tool.parameters.get("required")
    return tuple(found) if isinstance(found, list) else ()


def items(about: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a schema says of the items of a list, where it says the same of all."""
    return _about(about.get("items"))


def _about(schema: Any) -> Mapping[str, Any]:  # noqa: ANN401 - from JSON
    return schema if isinstance(schema, Mapping) else {}
