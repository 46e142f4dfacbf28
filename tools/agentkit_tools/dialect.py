"""The dialects of JSON Schema that tools come in, in the words of the standard (pure).

Covered: OpenAI, pydantic, MCP and BFCL (`dict`, `float`, `tuple`, `any`, `nullable`, `required` beside a property),
draft 4's bounds; what a call is checked against is what it was bound to.
Not covered: whether what is no word of the standard means anything.
Source: JSON Schema core and validation, drafts 4, 7 and 2020-12; OpenAPI 3.0 for `nullable`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")
MAX_DEPTH = 100
WORDS = {
    "dict": "object", "map": "object", "hashmap": "object", "struct": "object",
    "list": "array", "tuple": "array", "set": "array", "arraylist": "array",
    "float": "number", "double": "number", "decimal": "number",
    "int": "integer", "long": "integer", "short": "integer", "byte": "integer", "bigint": "integer",
    "str": "string", "char": "string", "text": "string",
    "bool": "boolean", "none": "null", "nonetype": "null",
}  # fmt: skip
"""What types are called elsewhere, in small letters."""
IN_PLACE = (
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "dependentSchemas",
    "$ref",
    "$dynamicRef",
)
"""Keywords whose schemas speak of the very same value."""
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAPS = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions", "dependencies")
_SINGLE = (
    "not", "if", "then", "else", "items", "additionalItems", "additionalProperties", "contains", "propertyNames",
    "unevaluatedItems", "unevaluatedProperties",
)  # fmt: skip


_HELD = ("properties", "patternProperties", "additionalProperties", "items", "additionalItems", "prefixItems")


class DialectError(ValueError):
    """A schema is malformed, or names a type that does not exist."""


def standard(schema: Any, *, close: bool = False, is_object: bool | None = None) -> Any:  # noqa: ANN401 - any JSON
    """Return a schema in the words of the standard; what is not a schema in it stays as it is.

    Args:
        schema: An object or a boolean.
        close: Its objects require no names they do not list.
        is_object: It is an object's, as that of a tool's parameters, whether it says so or not. Default: as `close`.

    Raises:
        DialectError: It is malformed.
    """
    made = _standard(schema, 0, close=close)
    if (close if is_object is None else is_object) and isinstance(made, dict):
        made["type"] = "object"
        made.setdefault("properties", {})
    return made


def closed(parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the parameters of a tool as an object that takes no further names; nothing where they say otherwise.

    pydantic, MCP and OpenAI leave `additionalProperties` out, and mean the listed ones.
    """
    kind = parameters.get("type")
    if not isinstance(kind, str) or WORDS.get(kind.lower(), kind.lower()) != "object":
        return None
    if "additionalProperties" in parameters:
        return dict(parameters) if parameters["additionalProperties"] is False else None
    if any(keyword in parameters for keyword in IN_PLACE):
        return None  # those may list names, too, and the keyword would not see them
    return {**parameters, "additionalProperties": False}


def _standard(node: Any, depth: int, *, close: bool) -> Any:  # noqa: ANN401 - any JSON
    if depth > MAX_DEPTH:
        raise DialectError(f"the schema is nested more than {MAX_DEPTH} deep")
    if isinstance(node, bool):
        return node
    if not isinstance(node, dict):
        raise DialectError(f"a {type(node).__name__} stands where a schema should stand")
    made: dict[str, Any] = {}
    for key, value in node.items():
        inside = close and key in _HELD  # other keywords may speak of an object that lists more elsewhere
        if key in _LISTS or (key == "items" and isinstance(value, list)):
            if not isinstance(value, list):
                raise DialectError(f"{key} is not a list")
            made[key] = [_standard(each, depth + 1, close=inside) for each in value]
        elif key in _MAPS:
            if not isinstance(value, dict):
                raise DialectError(f"{key} is not an object")
            made[key] = {
                name: each if isinstance(each, list) else _standard(each, depth + 1, close=inside)
                for name, each in value.items()
            }
        elif key in _SINGLE:
            made[key] = _standard(value, depth + 1, close=inside)
        elif key == "required" and not isinstance(value, list):
            continue  # draft 3 wrote it beside each property
        elif key != "x-guidance":  # would change our options from inside a schema
            made[key] = value
    _standard_type(made)
    for bound, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(made.get(bound), bool):  # draft 4
            exclusive = made.pop(bound)
            if exclusive and limit in made:
                made[bound] = made.pop(limit)
    if close and made.get("properties") and made.get("required") and _says_all(made):
        made["required"] = [each for each in made["required"] if each in made["properties"]]
    return made


def _says_all(node: Mapping[str, Any]) -> bool:
    """Return whether an object that is to be closed has the listed properties and no others."""
    return "additionalProperties" not in node and not any(keyword in node for keyword in IN_PLACE)


def _standard_type(node: dict[str, Any]) -> None:
    if "type" in node:
        given = node["type"]
        kinds = []
        for kind in given if isinstance(given, list) else [given]:
            if not isinstance(kind, str):
                raise DialectError("a type is not a word")
            word = kind if kind in TYPES else WORDS.get(kind.lower(), kind.lower())
            if word == "any":
                kinds = list(TYPES)
                break
            if word not in TYPES:
                raise DialectError(f"there is no type {kind[:40]!r}")
            kinds.append(word)
        node["type"] = kinds if isinstance(given, list) or len(kinds) > 1 else kinds[0]
    if node.pop("nullable", None) is True:
        if "type" in node:
            kinds = node["type"] if isinstance(node["type"], list) else [node["type"]]
            node["type"] = [*kinds, *(["null"] if "null" not in kinds else [])]
        if isinstance(node.get("enum"), list) and None not in node["enum"]:
            node["enum"] = [*node["enum"], None]
