"""Calls as FunctionGemma writes them: `call:N{key:<escape>text<escape>,other:1,list:[true]}`.

Names stand in the order of the alphabet and without quotes. What cannot be written so (recursion, names that are not
known beforehand, values of any kind) stands as JSON where a text would stand; the schema tells which is which.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from agentkit.messages import ToolSpec
from agentkit.models.formats.parts import Choice, Json, Mark, Part, Raw, Repeat, Text, fields, row
from agentkit.models.formats.properties import Property, properties_of
from agentkit.models.formats.raw_text import break_up, join_up
from agentkit.models.formats.syntax import Call, ParsedCall, dump_json, read_json
from agentkit.models.normalise import MAX_STRING

KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_CALL, _QUOTE = "call:", "<escape>"
_PLAIN = frozenset(
    ("type", "enum", "anyOf", "properties", "required", "additionalProperties", "items", "minItems")
)
_BOUNDS = frozenset(
    ("maxItems", "minLength", "maxLength", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
     "multipleOf", "$defs")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class GemmaCall:
    """A call with bare names and texts between marks."""

    @property
    def marks(self) -> tuple[str, ...]:
        """The fixed markup within a call."""
        return (_QUOTE,)

    def part(self, tool: ToolSpec) -> Part:
        """Return what a call of `tool` may look like."""
        items = [(row(Text(each.name), Mark(":"), _argument(each)), each.required) for each in _sorted(tool)]
        return row(Mark(_CALL), Text(tool.name), Mark("{"), fields(items, ","), Mark("}"))

    def render(self, call: Call, tool: ToolSpec | None) -> str:
        """Return a call."""
        loose = _loose(tool)
        written = [
            f"{key}:{_QUOTE + dump_json(value) + _QUOTE if key in loose else write_value(value)}"
            for key, value in sorted(call.arguments.items(), key=_order)
        ]
        return f"{_CALL}{call.name}{{{','.join(written)}}}"

    def parse(self, text: str, place: int, tools: Mapping[str, ToolSpec]) -> tuple[ParsedCall, int] | None:
        """Return the call at `place`."""
        name = KEY.match(text, place + len(_CALL))
        if name is None or not text.startswith(_CALL, place) or not text.startswith("{", name.end()):
            return None
        try:
            arguments, end = _read_object(text, name.end(), _loose(tools.get(name[0])))
        except (ValueError, RecursionError):
            return None
        return ParsedCall(name[0], arguments), end


def _order(item: tuple[str, Any]) -> str:
    return item[0].lower()


def _sorted(tool: ToolSpec) -> list[Property]:
    return sorted(properties_of(tool), key=lambda each: each.name.lower())


def _loose(tool: ToolSpec | None) -> set[str]:
    """Return the names of the parameters that stand as JSON."""
    return (
        set() if tool is None else {each.name for each in properties_of(tool) if not _is_plain(each.schema)}
    )


def _is_plain(schema: Any) -> bool:  # noqa: ANN401 - a schema of the form
    """Return whether values of a schema of the form can be written in the family's own way."""
    if not isinstance(schema, dict) or not set(schema) <= _PLAIN | _BOUNDS:
        return False
    if "enum" in schema:
        return all(not isinstance(each, list | dict) for each in schema["enum"])
    if "anyOf" in schema:
        return all(map(_is_plain, schema["anyOf"]))
    kinds = schema.get("type")
    if kinds is None:
        return False
    if "array" in kinds and not _is_plain(schema.get("items")):
        return False
    if "object" in kinds:
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or not all(map(KEY.fullmatch, properties)):
            return False
        return all(map(_is_plain, properties.values()))
    return True


def _argument(each: Property) -> Part:
    if _is_plain(each.schema):
        return _value(each.schema)
    return row(Mark(_QUOTE), Json(each.schema), Mark(_QUOTE))


def _value(schema: dict[str, Any]) -> Part:
    """Return a value of a schema that is plain."""
    if "enum" in schema:
        return Choice(tuple(row(*_literal(value)) for value in schema["enum"]))
    if "anyOf" in schema:
        return Choice(tuple(map(_value, schema["anyOf"])))
    kinds = [schema["type"]] if isinstance(schema["type"], str) else list(schema["type"])
    made: list[Part] = []
    if "string" in kinds:
        text = Raw(_QUOTE, schema.get("minLength", 0), schema.get("maxLength", MAX_STRING))
        made.append(row(Mark(_QUOTE), text))
    if "array" in kinds:
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        made.append(row(Mark("["), Repeat(_value(schema["items"]), least, most, Text(",")), Mark("]")))
    if "object" in kinds:
        needed = schema.get("required", ())
        named = sorted(schema.get("properties", {}).items(), key=_order)
        items = [(row(Text(key), Mark(":"), _value(each)), key in needed) for key, each in named]
        made.append(row(Mark("{"), fields(items, ","), Mark("}")))
    rest = [kind for kind in kinds if kind not in ("string", "array", "object")]
    if rest:
        bounds = {key: each for key, each in schema.items() if key in _BOUNDS and "Length" not in key}
        made.append(Json({**bounds, "type": rest}))
    return made[0] if len(made) == 1 else Choice(tuple(made))


def _literal(value: object) -> tuple[Part, ...]:
    if isinstance(value, str):
        return Mark(_QUOTE), Text(break_up(value, _QUOTE)), Mark(_QUOTE)
    return (Text(dump_json(value)),)


def _quote(text: str) -> str:
    return _QUOTE + break_up(text, _QUOTE) + _QUOTE


def write_value(value: object) -> str:
    """Return a JSON value as the family writes it."""
    match value:
        case str():
            return _quote(value)
        case list():
            return f"[{','.join(map(write_value, value))}]"
        case dict():
            return (
                "{"
                + ",".join(f"{key}:{write_value(each)}" for key, each in sorted(value.items(), key=_order))
                + "}"
            )
    return dump_json(value)


def _read(text: str, place: int) -> tuple[Any, int]:
    """Return the value at `place` and where it ends.

    Raises:
        ValueError: There is none.
    """
    if text.startswith(_QUOTE, place):
        start = place + len(_QUOTE)
        end = text.index(_QUOTE, start)
        return join_up(text[start:end], _QUOTE), end + len(_QUOTE)
    if text.startswith("{", place):
        return _read_object(text, place)
    if not text.startswith("[", place):
        read = read_json(text, place)
        if read is None or isinstance(read[0], str | list | dict):
            raise ValueError("no value")
        return read
    made: list[Any] = []
    place += 1
    while not text.startswith("]", place):
        value, place = _read(text, _comma(text, place, first=not made))
        made.append(value)
    return made, place + 1


def _read_object(text: str, place: int, loose: Collection[str] = ()) -> tuple[dict[str, Any], int]:
    made: dict[str, Any] = {}
    place += 1
    while not text.startswith("}", place):
        key = KEY.match(text, _comma(text, place, first=not made))
        if key is None or not text.startswith(":", key.end()):
            raise ValueError("no name")
        made[key[0]], place = (_read_loose if key[0] in loose else _read)(text, key.end() + 1)
    return made, place + 1


def _read_loose(text: str, place: int) -> tuple[Any, int]:
    read = read_json(text, place + len(_QUOTE))
    if read is None or not text.startswith(_QUOTE, place) or not text.startswith(_QUOTE, read[1]):
        raise ValueError("no value")
    return read[0], read[1] + len(_QUOTE)


def _comma(text: str, place: int, *, first: bool) -> int:
    if not first and not text.startswith(",", place):
        raise ValueError("no comma")
    return place if first else place + 1
