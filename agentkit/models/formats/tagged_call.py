r"""Calls with a tag for each argument, as Qwen3-Coder writes them.

`<function=N>\n<parameter=K>\nV\n</parameter>\n</function>`: a value that its schema takes for a text stands there as
it is, every other one as JSON. A text that holds the closing tag gets a backslash into it, and one that holds it with
backslashes one more, so that every text can be written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentkit.messages import ToolSpec
from agentkit.models.formats.parts import Choice, Json, Mark, Part, Raw, Text, optional, row
from agentkit.models.formats.properties import Property, properties_of
from agentkit.models.formats.raw_text import break_up, join_up
from agentkit.models.formats.syntax import Call, ParsedCall, dump_json, read_json

_OPEN, _END = "<function=", "</function>"
_KEY, _CLOSE = "<parameter=", "\n</parameter>"


@dataclass(frozen=True, slots=True)
class TaggedCall:
    """A tag for the name, and one for each argument."""

    @property
    def marks(self) -> tuple[str, ...]:
        """The fixed markup within a call."""
        return (_OPEN, _END, _KEY, _CLOSE)

    def part(self, tool: ToolSpec) -> Part:
        """Return what a call of `tool` may look like."""
        made: list[Part] = [Mark(_OPEN), Text(tool.name), Mark(">\n")]
        for each in properties_of(tool):
            argument = row(Mark(_KEY), Text(each.name), Mark(">\n"), _value(each), Mark("\n"))
            made.append(argument if each.required else optional(argument))
        return row(*made, Mark(_END))

    def render(self, call: Call, tool: ToolSpec | None) -> str:
        """Return a call."""
        texts = _texts(tool)
        made = [f"{_OPEN}{call.name}>\n"]
        for name, value in call.arguments.items():
            raw = isinstance(value, str) and name in texts
            made.append(f"{_KEY}{name}>\n{break_up(value, _CLOSE) if raw else dump_json(value)}{_CLOSE}\n")
        return "".join([*made, _END])

    def parse(self, text: str, place: int, tools: Mapping[str, ToolSpec]) -> tuple[ParsedCall, int] | None:
        """Return the call at `place`."""
        end = text.find(">\n", place)
        if not text.startswith(_OPEN, place) or end < 0:
            return None
        name, place = text[place + len(_OPEN) : end], end + 2
        texts = _texts(tools.get(name))
        arguments: dict[str, Any] = {}
        while text.startswith(_KEY, place):
            end = text.find(">\n", place)
            if end < 0:
                return None
            key, place = text[place + len(_KEY) : end], end + 2
            if key in texts:
                end = text.find(_CLOSE, place)
                arguments[key] = join_up(text[place:end], _CLOSE)
            else:
                read = read_json(text, place)
                if read is None:
                    return None
                arguments[key], end = read
            if not text.startswith(_CLOSE + "\n", end):
                return None
            place = end + len(_CLOSE) + 1
        if not text.startswith(_END, place):
            return None
        return ParsedCall(name, arguments), place + len(_END)


def _value(each: Property) -> Part:
    if each.choices is not None and each.is_text:
        return row(Choice(tuple(Text(break_up(value, _CLOSE)) for value in each.choices)), Mark(_CLOSE))
    if each.is_text:
        return Raw(_CLOSE, each.least, each.most)
    return row(Json(each.schema), Mark(_CLOSE))


def _texts(tool: ToolSpec | None) -> set[str]:
    return set() if tool is None else {each.name for each in properties_of(tool) if each.is_text}
