"""Make the one small form that grammars are made of out of what a schema says.

Covered: recursion becomes `$ref` to `$defs`; objects are closed where asked; what no finite value satisfies is
refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from agentkit.models.satisfiable import Ending, Leaves
from agentkit.models.schema_shapes import (
    MAX_BOUND,
    MAX_STRING,
    Raw,
    Reader,
    SchemaError,
    Shape,
    for_name,
    matches,
    resource_of,
)
from agentkit_tools.dialect import MAX_DEPTH
from agentkit_tools.matching import found_in


def build_form(source: Any, *, close: bool, formats: bool) -> tuple[dict[str, Any], tuple[str, ...]]:  # noqa: ANN401
    """Return a schema in the form, and what the form leaves out.

    Raises:
        SchemaError: No value satisfies it, it is too large, or it refers to what is not in it.
    """
    return _Builder(source, close=close, formats=formats).build()


class _Builder:
    """Builds the form of one schema."""

    def __init__(self, source: Any, *, close: bool, formats: bool) -> None:  # noqa: ANN401 - any JSON
        import referencing

        dialect = str(source.get("$schema", "")) if isinstance(source, dict) else ""
        if dialect and "json-schema.org/" not in dialect:
            raise SchemaError(f"the schema is of an unknown dialect, {dialect[:80]}")
        old = any(each in dialect for each in ("draft-03", "draft-04", "draft-06", "draft-07"))
        self._close = close
        self._reader = Reader(close=close, formats=formats, old=old)
        resource = resource_of(source)
        registry = referencing.Registry().with_resource("", resource)
        self._root = Raw(source, registry.resolver_with_root(resource), "#", old)
        self._leaves = Leaves()
        self._names: dict[tuple[int, ...], str] = {}
        self._done: dict[tuple[int, ...], Any] = {}
        self._open: list[tuple[int, ...]] = []
        self._shared: set[str] = set()

    def build(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        import referencing

        try:
            schema = self._child([self._root])
        except (referencing.exceptions.Unresolvable, referencing.exceptions.NoSuchResource):
            raise SchemaError("the schema refers to what is not in it") from None
        keys = {name: key for key, name in self._names.items()}
        definitions = {name: self._done[keys[name]] for name in sorted(self._shared)}
        if definitions:
            schema = {**(schema if isinstance(schema, dict) else {}), "$defs": definitions}
        if schema is False or not Ending(schema).of(schema):
            raise SchemaError("no value can satisfy the schema")
        return {} if schema is True else schema, tuple(self._reader.notes)

    def _child(self, raws: Iterable[Raw]) -> Any:  # noqa: ANN401 - any JSON
        """Return the form of a value for which all of `raws` hold; a reference where that is under way already."""
        every = list(
            {raw.key: raw for raw in raws if raw.node not in (True, {}) or raw is self._root}.values()
        )
        if any(raw.node is False for raw in every):
            return False
        if not every:
            return {}
        key = tuple(sorted(raw.key for raw in every))
        if key in self._open or (key in self._done and _size(self._done[key]) > 3 and key in self._names):
            name = self._names.setdefault(key, f"n{len(self._names)}")
            self._shared.add(name)
            return {"$ref": f"#/$defs/{name}"}
        if len(self._open) > MAX_DEPTH:
            raise SchemaError(f"the schema is nested more than {MAX_DEPTH} deep")
        self._open.append(key)
        shapes = [Shape()]
        for raw in every:
            shapes = self._reader.both(shapes, self._reader.shapes(raw), raw, "allOf")
        forms = [
            form for shape in shapes if (form := self._form(shape, root=self._root in every)) is not False
        ]
        self._open.pop()
        made: Any
        if not forms:
            made = False
        elif {} in forms:
            made = {}
        else:
            unique = list({json.dumps(form): form for form in forms}.values())
            made = unique[0] if len(unique) == 1 else {"anyOf": unique}
        self._done[key] = made
        return made

    def _form(self, shape: Shape, *, root: bool) -> Any:  # noqa: ANN401 - any JSON
        """Return one alternative; `False` where nothing satisfies it."""
        self._reader.count()
        if shape.values is not None:
            values = [value for value in shape.values if _kind(value) & set(shape.types)]
            values = [value for value in values if _holds(value, shape)]
            return {"enum": values} if values else False
        form: dict[str, Any] = {}
        types = [each for each in shape.types if each != "integer" or "number" not in shape.types]
        plain = dict(shape.plain)
        if "string" in types:
            self._put(form, plain, ("minLength", "maxLength", "pattern"))
            least = form.get("minLength", 0)
            if least > form.get("maxLength", math.inf):
                types.remove("string")
            elif "pattern" not in form:
                if least > MAX_STRING:
                    raise SchemaError(
                        f"minLength {least} is more than the {MAX_STRING} characters a text may have"
                    )
                form["maxLength"] = min(form.get("maxLength", MAX_STRING), MAX_STRING)
            if least > MAX_BOUND:
                form["minLength"] = MAX_BOUND
        if {"number", "integer"} & set(types):
            self._put(
                form, plain, ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
            )
        types = [kind for kind in types if self._leaves.any_of(kind, form)]
        if "array" in types and not self._array(form, shape, plain):
            types.remove("array")
        if "object" in types and not self._object(form, shape, plain, root=root):
            types.remove("object")
        if not types:
            return False
        if len(types) == 6 and set(form) <= {"maxLength"} and form.get("maxLength", MAX_STRING) == MAX_STRING:
            return {}
        return {"type": types[0] if len(types) == 1 else types, **form}

    @staticmethod
    def _put(form: dict[str, Any], plain: Mapping[str, Any], keywords: Iterable[str]) -> None:
        form.update({keyword: plain[keyword] for keyword in keywords if keyword in plain})

    def _array(self, form: dict[str, Any], shape: Shape, plain: Mapping[str, Any]) -> bool:
        prefix = [self._child(each) for each in shape.prefix]
        items = self._child(shape.items)
        if False in prefix:
            prefix, items = prefix[: prefix.index(False)], False
        self._put(form, plain, ("minItems", "maxItems"))
        if items is False:
            form["maxItems"] = min(form.get("maxItems", len(prefix)), len(prefix))
            items = {}
        if prefix:
            form["prefixItems"] = prefix
        if items != {}:
            form["items"] = items
        return bool(form.get("minItems", 0) <= form.get("maxItems", math.inf))

    def _object(self, form: dict[str, Any], shape: Shape, plain: Mapping[str, Any], *, root: bool) -> bool:
        closed = self._close and not shape.sealed and not shape.patterns and (bool(shape.properties) or root)
        additional = False if closed else self._child(shape.additional)
        names = list(shape.properties)
        for name in shape.required:
            if name not in shape.properties:
                if closed:
                    return False
                names.append(name)
        properties = {}
        for name in names:
            raws = for_name(shape, name)
            raws += [raw for raw in self._matching(shape, name) if raw not in raws]
            properties[name] = self._child(raws)
        if any(properties.get(name) is False for name in shape.required):
            return False
        if additional is False and not shape.patterns:
            properties = {name: each for name, each in properties.items() if each is not False}
        if properties:
            form["properties"] = properties
        if shape.required:
            form["required"] = shape.required
        patterns = {pattern: self._child(raws) for pattern, raws in shape.patterns.items()}
        if patterns:
            if len(patterns) > 1:  # one name could match several, which grammars do not follow
                self._reader.note("patternProperties", "#")
                additional = {} if additional is not False else self._loosest(patterns)
            else:
                form["patternProperties"] = patterns
        if additional != {}:
            form["additionalProperties"] = additional
        least, most = plain.get("minProperties", 0), plain.get("maxProperties")
        if most is not None and (most < max(least, len(shape.required))):
            return False
        if additional is False and not patterns and len(properties) < least:
            return False
        if "minProperties" in plain or "maxProperties" in plain:
            if properties or patterns:
                self._reader.note("the number of properties", "#")
            else:
                self._put(form, plain, ("minProperties", "maxProperties"))
        return True

    @staticmethod
    def _loosest(patterns: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON
        wanted = [each for each in patterns.values() if each is not False]
        return False if not wanted else {} if {} in wanted else {"anyOf": wanted}

    def _matching(self, shape: Shape, name: str) -> list[Raw]:
        return [raw for pattern, raws in shape.patterns.items() if matches(pattern, name) for raw in raws]


def _size(form: Any) -> int:  # noqa: ANN401 - any JSON
    return len(form) if isinstance(form, dict) else 1


def _kind(value: object) -> set[str]:
    """Return the types a value is of."""
    match value:
        case None:
            return {"null"}
        case bool():
            return {"boolean"}
        case int():
            return {"integer", "number"}
        case float():
            return {"number", "integer"} if value.is_integer() else {"number"}
        case str():
            return {"string"}
        case list():
            return {"array"}
    return {"object"}


_TESTS: Mapping[str, Callable[[Any, Any], bool]] = {
    "minimum": lambda value, bound: value >= bound,
    "maximum": lambda value, bound: value <= bound,
    "exclusiveMinimum": lambda value, bound: value > bound,
    "exclusiveMaximum": lambda value, bound: value < bound,
    "minLength": lambda value, bound: len(value) >= bound,
    "maxLength": lambda value, bound: len(value) <= bound,
    "pattern": lambda value, bound: found_in(bound, value),
}


def _holds(value: object, shape: Shape) -> bool:
    """Return whether one of the listed values keeps the plain bounds; what is inside it is checked after."""
    kind = str if isinstance(value, str) else (int, float)
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return True
    names = ("minLength", "maxLength", "pattern") if kind is str else tuple(_TESTS)[:4]
    return all(_TESTS[name](value, shape.plain[name]) for name in names if name in shape.plain)
