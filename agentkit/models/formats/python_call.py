"""Calls as Python writes them, `N(key="text", other=1)`, as LFM2 does.

A text is written as JSON writes it, which Python reads, too; so are lists and objects. `True`, `False` and `None`
stand for themselves at the top.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentkit.messages import ToolSpec
from agentkit.models.formats.parts import Choice, Json, Mark, Part, Text, fields, row
from agentkit.models.formats.properties import properties_of
from agentkit.models.formats.syntax import Call, ParsedCall, dump_json, read_json

_WORDS = {"True": True, "False": False, "None": None}
_NAME = re.compile(r"([^\W\d][\w.]*)\(")
_PLAIN = re.compile(r"'([^'\\\n]*)'")
"""A text as templates write it; models are bound to double quotes."""
_KEY = re.compile(r"([^\W\d]\w*)=")


@dataclass(frozen=True, slots=True)
class PythonCall:
    """A call with keyword arguments."""

    @property
    def marks(self) -> tuple[str, ...]:
        """The fixed markup within a call."""
        return ()

    def part(self, tool: ToolSpec) -> Part:
        """Return what a call of `tool` may look like."""
        items = [
            (row(Text(each.name), Mark("="), _value(each.schema)), each.required)
            for each in properties_of(tool)
        ]
        return row(Text(tool.name), Mark("("), fields(items, ", "), Mark(")"))

    def render(self, call: Call, tool: ToolSpec | None) -> str:  # noqa: ARG002 - Python says of itself what is what
        """Return a call."""
        return f"{call.name}({', '.join(f'{key}={_write(value)}' for key, value in call.arguments.items())})"

    def parse(self, text: str, place: int, tools: Mapping[str, ToolSpec]) -> tuple[ParsedCall, int] | None:  # noqa: ARG002
        """Return the call at `place`."""
        name = _NAME.match(text, place)
        if name is None:
            return None
        place, arguments = name.end(), dict[str, Any]()
        while not text.startswith(")", place):
            if arguments:
                if not text.startswith(", ", place):
                    return None
                place += 2
            key = _KEY.match(text, place)
            read = None if key is None else _read(text, key.end())
            if key is None or read is None:
                return None
            arguments[key[1]], place = read
        return ParsedCall(name[1], arguments), place + 1


def _write(value: object) -> str:
    words = [word for word, meant in _WORDS.items() if value is meant]
    return words[0] if words else dump_json(value)


def _read(text: str, place: int) -> tuple[Any, int] | None:
    for word, value in _WORDS.items():
        if text.startswith(word, place):
            return value, place + len(word)
    if plain := _PLAIN.match(text, place):
        return plain[1], plain.end()
    return read_json(text, place)


def _value(schema: dict[str, Any]) -> Part:
    """Return a value; what can only be one of Python's three words is one of them."""
    if "enum" in schema:
        return Choice(tuple(Text(_write(value)) for value in schema["enum"]))
    if "anyOf" in schema:
        shared = {key: each for key, each in schema.items() if key == "$defs"}
        return Choice(tuple(_value({**each, **shared}) for each in schema["anyOf"]))
    kinds = schema.get("type", ())
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    words = [
        word for word, kind in (("True", "boolean"), ("False", "boolean"), ("None", "null")) if kind in kinds
    ]
    rest = [kind for kind in kinds if kind not in ("boolean", "null")]
    made: list[Part] = list(map(Text, words))
    if rest or not kinds:
        made.append(Json({**schema, "type": rest} if rest else schema))
    return made[0] if len(made) == 1 else Choice(tuple(made))
