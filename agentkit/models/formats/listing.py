"""How families list tools: the text between the fixed strings of their instructions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentkit.messages import ToolSpec
from agentkit.models.formats.gemma_call import write_value
from agentkit.models.formats.syntax import dump_json


def one_a_line(tools: Sequence[ToolSpec]) -> str:
    """Return tools as short lines of JSON: what a small model needs, without what a validator needs."""
    lines = []
    for tool in tools:
        properties: Mapping[str, Any] = tool.parameters.get("properties", {})
        line: dict[str, Any] = {"name": tool.name, "description": tool.description, "parameters": properties}
        required = tool.parameters.get("required")
        if required:
            line["required"] = required
        lines.append(dump_json(line))
    return "\n".join(lines)


def spec(tool: ToolSpec) -> dict[str, Any]:
    """Return a tool as chat templates take it."""
    parameters = {"type": "object", "properties": {}, **tool.parameters}
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}


def specs_a_line(tools: Sequence[ToolSpec]) -> str:
    """Return tools as chat templates take them, one a line."""
    return "\n".join(dump_json(spec(tool)) for tool in tools)


def specs_in_a_list(tools: Sequence[ToolSpec]) -> str:
    """Return tools as chat templates take them, in one JSON list."""
    return dump_json([spec(tool) for tool in tools])


def functions_in_a_list(tools: Sequence[ToolSpec]) -> str:
    """Return the functions of tools in one JSON list."""
    return dump_json([spec(tool)["function"] for tool in tools])


def under_headings(tools: Sequence[ToolSpec]) -> str:
    """Return tools with a heading each."""
    return "\n\n".join(
        f"### {tool.name}\nDescription: {tool.description}\n\nParameters: {dump_json(tool.parameters)}"
        for tool in tools
    )


def as_types(tools: Sequence[ToolSpec]) -> str:
    """Return tools as declarations of types."""
    lines = []
    for tool in tools:
        properties = tool.parameters.get("properties", {})
        given = f"_: {dump_json(properties)}" if properties else ""
        lines.append(f"// {tool.description}\ntype {tool.name} = ({given}) => any;")
    return "\n\n".join(lines)


def as_declarations(tools: Sequence[ToolSpec]) -> str:
    """Return tools as FunctionGemma declares them."""
    declared = []
    for tool in tools:
        said = {"description": tool.description, "parameters": _upper(spec(tool)["function"]["parameters"])}
        declared.append(
            f"<start_function_declaration>declaration:{tool.name}{write_value(said)}<end_function_declaration>"
        )
    return "".join(declared)


def _upper(schema: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return a schema with its types in capitals, and without what the family does not write."""
    if isinstance(schema, list):
        return [_upper(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _upper(each) for key, each in schema.items() if key != "additionalProperties"}
    return {**made, "type": made["type"].upper()} if isinstance(made.get("type"), str) else made
