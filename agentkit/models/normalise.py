"""Bring any JSON Schema into the one small form that grammars are made of, and check values against the rest.

The form holds `anyOf`, `enum`, `$ref` to `$defs`, and plain objects, arrays, strings and numbers: references are
followed, `allOf`, `oneOf`, `if` and `not` are merged or loosened. It never forbids what the schema allows (but for
the bounds named here, and unknown names where objects are to be closed), and what it cannot say is listed in
`after_checks` and checked once the value is whole.
Covered: OpenAI, pydantic, MCP and BFCL dialects (`dict`, `float`, `tuple`, `any`, `nullable`), draft 7 and 2020-12,
recursion; any input ends within a bounded number of steps, as a schema or as a `SchemaError`.
Not covered: references that leave the schema; nothing is ever fetched.
Source: JSON Schema core and validation, drafts 7 and 2020-12.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

from agentkit.models.schema_check import InvalidError as InvalidError
from agentkit.models.schema_check import check_value
from agentkit.models.schema_form import build_form
from agentkit.models.schema_shapes import MAX_DEPTH, TYPES
from agentkit.models.schema_shapes import MAX_STRING as MAX_STRING
from agentkit.models.schema_shapes import SchemaError as SchemaError

MAX_CHARACTERS = 1_000_000
_DIALECT = {
    "dict": "object", "map": "object", "hashmap": "object", "struct": "object",
    "list": "array", "tuple": "array", "set": "array", "arraylist": "array",
    "float": "number", "double": "number", "decimal": "number",
    "int": "integer", "long": "integer", "short": "integer", "byte": "integer", "bigint": "integer",
    "str": "string", "char": "string", "text": "string",
    "bool": "boolean", "none": "null", "nonetype": "null",
}  # fmt: skip
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAPS = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions", "dependencies")
_SINGLE = (
    "not", "if", "then", "else", "items", "additionalItems", "additionalProperties", "contains", "propertyNames",
    "unevaluatedItems", "unevaluatedProperties",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Normalised:
    """A schema in the form that grammars are made of."""

    schema: dict[str, Any]
    """In the form; as JSON Schema 2020-12, the looser half of `check`."""
    source: Any
    """As given, in standard words; the stricter half of `check`."""
    after_checks: tuple[str, ...] = ()
    """What only `check` holds, as words: `uniqueItems at #/properties/tags`."""

    def check(self, value: object) -> None:
        """Check a whole value against everything the schema says.

        Raises:
            InvalidError: The value is not of the schema.
        """
        for schema in (self.source, self.schema):
            check_value(value, schema)


def normalise(
    schema: Any,  # noqa: ANN401 - any JSON
    *,
    close: bool = False,
    formats: bool | None = None,
    is_object: bool | None = None,
) -> Normalised:
    """Return `schema` in the form that grammars are made of.

    Args:
        schema: An object or a boolean.
        close: Objects take no names their schema does not list: for the parameters of tools, where a mistyped
            name would otherwise pass as an additional one.
        formats: Bind `format`, too; JSON Schema itself takes it for a remark. Default: as `close`.
        is_object: It is an object's, as that of a tool's parameters, whether it says so or not. Default: as `close`.

    Raises:
        SchemaError: No value satisfies it, it is malformed or too large, or it refers to what is not in it.
    """
    try:
        text = json.dumps(schema, allow_nan=False)
        if len(text) > MAX_CHARACTERS:
            raise SchemaError(f"the schema is longer than {MAX_CHARACTERS} characters")
        return _normalised(
            text, close, close if formats is None else formats, close if is_object is None else is_object
        )
    except (RecursionError, ValueError, TypeError, OverflowError, AttributeError, KeyError) as error:
        raise SchemaError(f"the schema is malformed ({type(error).__name__})") from None


@functools.lru_cache(maxsize=512)
def _normalised(text: str, close: bool, formats: bool, is_object: bool) -> Normalised:
    """Do the work of `normalise`; the text of a schema is its key, since values cannot be hashed."""
    try:
        source = _standard(json.loads(text), 0, root=is_object)
        form, notes = build_form(source, close=close, formats=formats)
        return Normalised(form, source, notes)
    except (RecursionError, ValueError, TypeError, OverflowError, AttributeError, KeyError) as error:
        raise SchemaError(f"the schema is malformed ({type(error).__name__})") from None


def _standard(node: Any, depth: int, *, root: bool = False) -> Any:  # noqa: ANN401 - any JSON
    """Return a schema in the words of the standard; what is not a schema in it stays as it is."""
    if depth > MAX_DEPTH:
        raise SchemaError(f"the schema is nested more than {MAX_DEPTH} deep")
    if isinstance(node, bool):
        return node
    if not isinstance(node, dict):
        raise SchemaError(f"a {type(node).__name__} stands where a schema should stand")
    made: dict[str, Any] = {}
    for key, value in node.items():
        if key in _LISTS or (key == "items" and isinstance(value, list)):
            if not isinstance(value, list):
                raise SchemaError(f"{key} is not a list")
            made[key] = [_standard(each, depth + 1) for each in value]
        elif key in _MAPS:
            if not isinstance(value, dict):
                raise SchemaError(f"{key} is not an object")
            made[key] = {
                name: each if isinstance(each, list) else _standard(each, depth + 1)
                for name, each in value.items()
            }
        elif key in _SINGLE:
            made[key] = _standard(value, depth + 1)
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
    if root:
        made["type"] = "object"
        made.setdefault("properties", {})
    return made


def _standard_type(node: dict[str, Any]) -> None:
    if "type" in node:
        given = node["type"]
        kinds = []
        for kind in given if isinstance(given, list) else [given]:
            if not isinstance(kind, str):
                raise SchemaError("a type is not a word")
            word = kind if kind in TYPES else _DIALECT.get(kind.lower(), kind.lower())
            if word in ("any", "object") and kind.lower() == "any":
                kinds = list(TYPES)
                break
            if word not in TYPES:
                raise SchemaError(f"there is no type {kind[:40]!r}")
            kinds.append(word)
        node["type"] = kinds if isinstance(given, list) or len(kinds) > 1 else kinds[0]
    if node.pop("nullable", None) is True:
        if "type" in node:
            kinds = node["type"] if isinstance(node["type"], list) else [node["type"]]
            node["type"] = [*kinds, *(["null"] if "null" not in kinds else [])]
        if isinstance(node.get("enum"), list) and None not in node["enum"]:
            node["enum"] = [*node["enum"], None]
