"""Fit tools to what a family can write: other names where it cannot write theirs, and back.

Covered: a name is replaced by the same other one always, and no two names by one; what the family can write stays.
Not covered: names within an argument's value; families that cannot write those write the whole value as JSON.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from agentkit.messages import ToolCall, ToolSpec
from agentkit.models.formats.properties import are_plain
from agentkit.models.formats.syntax import ParsedCall
from agentkit.models.formats.tool_format import ToolFormat
from agentkit.models.normalise import normalise

_ALIAS = re.compile(r".*_x[0-9a-f]{16}", re.DOTALL)
_UNSAFE = re.compile(r"[^A-Za-z0-9]+")
_SIMPLE = frozenset(
    ("type", "properties", "required", "additionalProperties", "description", "title", "$schema")
)
_WHOLE = "arguments"
"""Stands for all arguments where they are not a plain list of names."""


def alias(name: str, pattern: str | None) -> str:
    """Return what a family that writes names of `pattern` writes for `name`; `None`: it writes any.

    A name that looks like such a replacement is itself replaced, so that no two names come to the same.
    """
    if pattern is None or (re.fullmatch(pattern, name) and not _ALIAS.fullmatch(name)):
        return name
    slug = _UNSAFE.sub("_", name).strip("_")[:32]
    first = slug if slug[:1].isalpha() else f"n_{slug}".rstrip("_")
    return f"{first}_x{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


class Fitting:
    """Tools as one family shows them, and the way from its calls to theirs."""

    def __init__(self, tool_format: ToolFormat, tools: Sequence[ToolSpec] = ()) -> None:
        """Fit `tools`.

        Raises:
            SchemaError: The family has to know what a schema means, and no grammar can be made of it.
        """
        self._names = tool_format.names
        self._keys = tool_format.keys
        self.shown = tuple(map(self._fit, tools))
        """The tools as the family writes them, in their order."""
        self._meant = {shown.name: tool for shown, tool in zip(self.shown, tools, strict=True)}

    def name(self, name: str) -> str:
        """Return what the family writes for the name of a tool."""
        return alias(name, self._names)

    def show(self, call: ToolCall) -> ToolCall:
        """Return a call as the family writes it; its tool may be one that is no longer there."""
        name = self.name(call.name)
        tool = self._meant.get(name)
        arguments: dict[str, Any] = {alias(key, self._keys): value for key, value in call.arguments.items()}
        if tool is not None and self._whole(tool):
            arguments = {_WHOLE: call.arguments}
        return replace(call, name=name, arguments=arguments)

    def mean(self, call: ParsedCall) -> ParsedCall:
        """Return a call that the model wrote, with the names its tool goes by."""
        tool = self._meant.get(call.name)
        if tool is None:
            return call
        if self._whole(tool):
            whole = call.arguments.get(_WHOLE)
            return ParsedCall(tool.name, whole if isinstance(whole, dict) else call.arguments)
        meant = {alias(key, self._keys): key for key in tool.parameters.get("properties", {})}
        return ParsedCall(tool.name, {meant.get(key, key): value for key, value in call.arguments.items()})

    def _whole(self, tool: ToolSpec) -> bool:
        return self._keys is not None and not are_plain(tool.parameters)

    def _fit(self, tool: ToolSpec) -> ToolSpec:
        name = self.name(tool.name)
        if self._keys is None:
            return tool if name == tool.name else replace(tool, name=name)
        if self._whole(tool):
            return replace(tool, name=name, parameters=_wrapped(tool.parameters))
        return replace(tool, name=name, parameters=self._renamed(tool.parameters))

    def _renamed(self, parameters: dict[str, Any]) -> dict[str, Any]:
        properties: Mapping[str, Any] = parameters.get("properties", {})
        if all(alias(key, self._keys) == key for key in properties):
            return parameters
        if not set(parameters) <= _SIMPLE or '"#/' in json.dumps(parameters):
            parameters = normalise(parameters, close=True).schema  # nothing in it refers to a property
            properties = parameters.get("properties", {})
        renamed = {
            **parameters,
            "properties": {alias(key, self._keys): each for key, each in properties.items()},
        }
        if isinstance(parameters.get("required"), list):
            renamed["required"] = [alias(key, self._keys) for key in parameters["required"]]
        return renamed


def _wrapped(parameters: dict[str, Any]) -> dict[str, Any]:
    form = dict(normalise(parameters, close=True).schema)
    definitions = form.pop("$defs", None)
    return {
        "type": "object",
        "properties": {_WHOLE: form},
        "required": [_WHOLE],
        "additionalProperties": False,
        **({"$defs": definitions} if definitions else {}),
    }
