"""Calls whose arguments are one JSON object, with the name inside that object's neighbour or in front of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from agentkit.messages import ToolSpec
from agentkit.models.formats.parts import Json, Mark, Part, Text, row
from agentkit.models.formats.syntax import Call, ParsedCall, dump_json, read_json
from agentkit.models.normalise import normalise


@dataclass(frozen=True, slots=True)
class JsonCall:
    """`{"name": "N", "arguments": {…}}`."""

    name_key: str = "name"
    arguments_key: str = "arguments"
    ignored: frozenset[str] = frozenset()
    """Further keys that templates of the family write, and that mean nothing here."""

    @property
    def marks(self) -> tuple[str, ...]:
        """The fixed markup within a call."""
        return ()

    def part(self, tool: ToolSpec) -> Part:
        """Return what a call of `tool` may look like."""
        start = f"{{{dump_json(self.name_key)}: {dump_json(tool.name)}, {dump_json(self.arguments_key)}: "
        return row(Text(start), Json(normalise(tool.parameters, close=True).schema), Text("}"))

    def render(self, call: Call, tool: ToolSpec | None) -> str:  # noqa: ARG002 - JSON says of itself what is what
        """Return a call."""
        return dump_json({self.name_key: call.name, self.arguments_key: call.arguments})

    def parse(self, text: str, place: int, tools: Mapping[str, ToolSpec]) -> tuple[ParsedCall, int] | None:  # noqa: ARG002
        """Return the call at `place`."""
        read = read_json(text, place)
        if read is None or not isinstance(read[0], dict):
            return None
        value = {key: each for key, each in read[0].items() if key not in self.ignored}
        match value:
            case {self.name_key: str(name), self.arguments_key: dict(arguments)} if len(value) == 2:
                return ParsedCall(name, arguments), read[1]
        return None


@dataclass(frozen=True, slots=True)
class NamedJson:
    """`N<separator>{…}`, as in `N[ARGS]{…}`."""

    separators: tuple[str, ...]
    """What may stand between name and arguments; the first is the one that models write."""
    noise: str | None = None
    """A pattern of what templates write behind the name, and that means nothing here."""

    @property
    def marks(self) -> tuple[str, ...]:
        """The fixed markup within a call."""
        return self.separators

    def part(self, tool: ToolSpec) -> Part:
        """Return what a call of `tool` may look like."""
        arguments = Json(normalise(tool.parameters, close=True).schema)
        return row(Text(tool.name), Mark(self.separators[0]), arguments)

    def render(self, call: Call, tool: ToolSpec | None) -> str:  # noqa: ARG002 - JSON says of itself what is what
        """Return a call."""
        return call.name + self.separators[0] + dump_json(call.arguments)

    def parse(self, text: str, place: int, tools: Mapping[str, ToolSpec]) -> tuple[ParsedCall, int] | None:  # noqa: ARG002
        """Return the call at `place`."""
        found = [(at, each) for each in self.separators if (at := text.find(each, place)) >= 0]
        if not found:
            return None
        at, separator = min(found, key=lambda each: (each[0], -len(each[1])))
        read = read_json(text, at + len(separator))
        if read is None or not isinstance(read[0], dict):
            return None
        name = text[place:at]
        return ParsedCall(re.sub(self.noise + r"\Z", "", name) if self.noise else name, read[0]), read[1]
