"""Show a tool in few tokens: a line for the tool, a line for each parameter (pure).

    reserve_room: Reserve a hotel room in a city.
    - city (string): City of the hotel
    - size ("single" | "double", optional): Size of the room

About half the tokens of the same tool as JSON Schema, which is half the time before a small model on a small machine
begins to answer. What the lines leave out (bounds, patterns) the grammar enforces all the same.
Covered: a description cannot begin a line of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from agentkit.messages import ToolSpec

_DEEPEST = 3


def outlines(tools: Sequence[ToolSpec]) -> str:
    """Return several tools, one behind the other."""
    return "\n".join(map(outline, tools))


def outline(tool: ToolSpec) -> str:
    """Return `tool` as the lines above."""
    given = tool.parameters.get("required")
    required = (
        set(map(str, given)) if isinstance(given, list) else set()
    )  # else it stands beside each property
    lines = [f"{tool.name}: {_flat(tool.description)}"]
    properties = tool.parameters.get("properties") or {}
    lines += [_parameter(name, schema, name in required) for name, schema in properties.items()]
    return "\n".join(lines)


def _parameter(name: str, schema: Any, required: bool) -> str:  # noqa: ANN401 - a schema may be `true`
    known: Mapping[str, Any] = schema if isinstance(schema, Mapping) else {}
    about = _flat(str(known.get("description") or ""))
    facts = _type(known, _DEEPEST)
    if not required:
        facts += ", optional"
    if known.get("default") is not None and "default" not in about.lower():
        facts += f", default {_json(known['default'])}"
    return f"- {name} ({facts}): {about}" if about else f"- {name} ({facts})"


def _type(schema: Any, depth: int) -> str:  # noqa: ANN401 - as above
    if not isinstance(schema, Mapping) or depth == 0:
        return "any"
    if "const" in schema:
        return _json(schema["const"])
    if isinstance(schema.get("enum"), list):
        return " | ".join(map(_json, schema["enum"]))
    for word in ("anyOf", "oneOf"):
        if isinstance(schema.get(word), list):
            return " | ".join(dict.fromkeys(_type(each, depth - 1) for each in schema[word]))
    match schema.get("type"):
        case list(several):
            return " | ".join(map(str, several))
        case "array" | "tuple":
            return f"array of {_type(schema['items'], depth - 1)}" if schema.get("items") else "array"
        case "object" | "dict" if schema.get("properties"):
            inner = (f"{name}: {_type(each, depth - 1)}" for name, each in schema["properties"].items())
            return "{" + ", ".join(inner) + "}"
        case str(name):
            return f"{name}, {schema['format']}" if isinstance(schema.get("format"), str) else name
    return "any"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _flat(text: str) -> str:
    return " ".join(text.split())
