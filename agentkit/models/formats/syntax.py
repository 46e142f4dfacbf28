"""How one call is written: the seam between a family's fixed strings and what stands between them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from agentkit.messages import ToolSpec
from agentkit.models.formats.parts import Part


class Call(Protocol):
    """What is rendered of a call."""

    @property
    def name(self) -> str:
        """The tool."""
        ...

    @property
    def arguments(self) -> dict[str, Any]:
        """Its arguments."""
        ...


@dataclass(frozen=True, slots=True)
class ParsedCall:
    """A call as the model wrote it; not validated."""

    name: str
    arguments: dict[str, Any]


class Syntax(Protocol):
    """How one call is written; what two calls stand between is the family's."""

    @property
    def marks(self) -> tuple[str, ...]:
        """The fixed markup within a call."""
        ...

    def part(self, tool: ToolSpec) -> Part:
        """Return what a call of `tool` may look like.

        Raises:
            SchemaError: No grammar can be made of its parameters.
        """
        ...

    def render(self, call: Call, tool: ToolSpec | None) -> str:
        """Return a call as `part` allows it; `tool`, where it is known, says how its arguments are spelt."""
        ...

    def parse(self, text: str, place: int, tools: Mapping[str, ToolSpec]) -> tuple[ParsedCall, int] | None:
        """Return the call that starts at `place` and where it ends; nothing where there is no whole one."""
        ...


def dump_json(value: object) -> str:
    """Write `value` as JSON the one way models are shown it and bound to: `", "` and `": "`, no escaped letters."""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def read_json(text: str, place: int) -> tuple[Any, int] | None:
    """Return the JSON value that starts at `place` and where it ends."""
    try:
        value, end = _DECODER.raw_decode(text, place)
    except (ValueError, RecursionError):
        return None
    return value, end


def skip(text: str, place: int, literal: str) -> int | None:
    """Return the place behind `literal` in `text`, white space around its parts forgiven; `None` if it is not there."""
    for part in literal.split() or [""]:
        while text[place : place + 1].isspace():
            place += 1
        if not text.startswith(part, place):
            return None
        place += len(part)
    while text[place : place + 1].isspace():
        place += 1
    return place


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
