"""What a JSON Schema says of one value, as alternatives of plain keywords that all hold together.

References are followed, `allOf` is merged, `anyOf`, `oneOf` and `if` become alternatives. What cannot be said so is
left out and noted: the alternatives never forbid what the schema allows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from agentkit.errors import ConfigError
from agentkit.models.schema_check import within
from agentkit_tools.dialect import IN_PLACE, MAX_DEPTH, TYPES
from agentkit_tools.matching import found_in
from agentkit_tools.pattern import PatternError, parse

MAX_STRING = 4096
"""Characters in a string whose schema sets no bound."""
MAX_BOUND = 1000
"""The largest `minLength`, `minItems` and `maxItems` a grammar is given; what is over it is checked after."""
MAX_NODES = 20_000
MAX_ALTERNATIVES = 64
MAX_NUMBER = 2**53

_UNBOUND = (
    "uniqueItems", "contains", "minContains", "maxContains", "propertyNames", "dependentRequired", "dependentSchemas",
    "dependencies", "unevaluatedItems", "unevaluatedProperties", "$dynamicRef", "$recursiveRef", "contentEncoding",
)  # fmt: skip
"""Keywords no grammar is made of."""
_DATE = r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
_TIME = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)"
_BYTE = r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
FORMATS = {
    "date": f"^{_DATE}$",
    "time": f"^{_TIME}$",
    "date-time": f"^{_DATE}T{_TIME}$",
    "uuid": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
    "ipv4": rf"^{_BYTE}(\.{_BYTE}){{3}}$",
    "email": r"^[A-Za-z0-9_+-]+(\.[A-Za-z0-9_+-]+)*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$",
    "hostname": r"^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$",
    "uri": r"^[a-z][a-z0-9+.-]*:[^\s\x22<>\\^`{|}]+$",
}
"""What a string of a format looks like, as a pattern."""


class SchemaError(ConfigError):
    """No grammar can be made of a schema; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Raw:
    """A schema as given, with what its references mean."""

    node: Any
    resolver: Any
    place: str
    old: bool = False
    """Draft 7 or before: nothing counts beside `$ref`."""

    @property
    def key(self) -> int:
        """Name of this very place."""
        return id(self.node)

    def inner(self, node: Any, *place: str) -> Raw:  # noqa: ANN401 - any JSON
        """Return a schema inside this one."""
        resolver = self.resolver
        if isinstance(node, dict) and isinstance(node.get("$id"), str) and not (self.old and "$ref" in node):
            resolver = resolver.in_subresource(resource_of(node))
        return Raw(node, resolver, "/".join((self.place, *place)), self.old)


def resource_of(node: Any) -> Any:  # noqa: ANN401 - as referencing takes it
    """Return a schema as `referencing` takes it, by its own dialect or else 2020-12."""
    from referencing.jsonschema import DRAFT202012, specification_with

    dialect = node.get("$schema") if isinstance(node, dict) else None
    specification = (
        specification_with(dialect, default=DRAFT202012) if isinstance(dialect, str) else DRAFT202012
    )
    return specification.create_resource(node)


@dataclass(slots=True)
class Shape:
    """One alternative: keywords that all hold together. Inner schemas are lists of those that all hold."""

    types: tuple[str, ...] = TYPES
    values: list[Any] | None = None
    plain: dict[str, Any] = field(default_factory=dict)
    """Bounds and the pattern."""
    properties: dict[str, list[Raw]] = field(default_factory=dict)
    patterns: dict[str, list[Raw]] = field(default_factory=dict)
    additional: list[Raw] = field(default_factory=list)
    required: list[str] = field(default_factory=list)
    prefix: list[list[Raw]] = field(default_factory=list)
    items: list[Raw] = field(default_factory=list)
    sealed: bool = False
    """What stands in `additional` was said by the schema, so it is not closed on top."""


_LOWER = ("minLength", "minItems", "minProperties", "minimum", "exclusiveMinimum")
_UPPER = ("maxLength", "maxItems", "maxProperties", "maximum", "exclusiveMaximum")


class Reader:
    """Reads schemas, and keeps what was left out."""

    def __init__(self, *, close: bool, formats: bool, old: bool) -> None:
        self._close = close
        self._formats = formats
        self._old = old
        self.notes: dict[str, None] = {}
        self._nodes = 0

    def note(self, what: str, place: str) -> None:
        """Keep that something is checked after."""
        self.notes.setdefault(f"{what} at {place}")

    def count(self) -> None:
        """Count one part.

        Raises:
            SchemaError: There are too many.
        """
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise SchemaError(f"the schema has more than {MAX_NODES} parts once its references are followed")

    def shapes(self, raw: Raw, inside: tuple[int, ...] = ()) -> list[Shape]:
        """Return the alternatives of one schema; none where nothing satisfies it."""
        self.count()
        node = raw.node
        if isinstance(node, bool):
            return [Shape()] if node else []
        if raw.key in inside:
            raise SchemaError(f"the schema at {raw.place[:80]} refers to itself and says nothing")
        if len(inside) > MAX_DEPTH:
            raise SchemaError(f"the schema is nested more than {MAX_DEPTH} deep")
        inside = (*inside, raw.key)
        found: list[Shape] = []
        if "$ref" in node:
            resolved = raw.resolver.lookup(node["$ref"])
            target = Raw(resolved.contents, resolved.resolver, raw.place, raw.old)
            found = self.shapes(target, inside)
            if self._old:
                return found  # in old drafts nothing counts beside it
        else:
            found = [Shape()]
        found = self.both([self._own(raw)], found, raw, "$ref")
        for index, each in enumerate(node.get("allOf", ())):
            found = self.both(found, self.shapes(raw.inner(each, "allOf", str(index)), inside), raw, "allOf")
        for keyword in ("anyOf", "oneOf"):
            if keyword in node:
                if keyword == "oneOf":
                    self.note("exactly one of oneOf", raw.place)
                either = [
                    shape
                    for index, each in enumerate(node[keyword])
                    for shape in self.shapes(raw.inner(each, keyword, str(index)), inside)
                ]
                found = self.both(found, either, raw, keyword)
        if "if" in node:
            found = self.both(found, self._conditional(raw, inside), raw, "if")
        if "not" in node:
            found = self._without(found, node["not"], raw)
        return found

    def _conditional(self, raw: Raw, inside: tuple[int, ...]) -> list[Shape]:
        self.note("if", raw.place)
        node = raw.node
        met = self.shapes(raw.inner(node["if"], "if"), inside)
        if "then" in node:
            met = self.both(met, self.shapes(raw.inner(node["then"], "then"), inside), raw, "then")
        return met + (self.shapes(raw.inner(node["else"], "else"), inside) if "else" in node else [Shape()])

    def _without(self, found: list[Shape], unwanted: Any, raw: Raw) -> list[Shape]:  # noqa: ANN401
        if unwanted is True or unwanted == {}:
            return []
        if isinstance(unwanted, dict) and set(unwanted) == {"type"}:
            kinds = unwanted["type"] if isinstance(unwanted["type"], list) else [unwanted["type"]]
            if "integer" not in kinds or "number" in kinds:
                gone = {*kinds, *(("integer",) if "number" in kinds else ())}
                for shape in found:
                    shape.types = tuple(each for each in shape.types if each not in gone)
                return [shape for shape in found if shape.types]
        if unwanted is not False:
            self.note("not", raw.place)
        return found

    def both(self, these: list[Shape], those: list[Shape], raw: Raw, keyword: str) -> list[Shape]:
        """Return the alternatives in which one of each side holds."""
        if len(these) * len(those) > MAX_ALTERNATIVES and len(these) > 1 and len(those) > 1:
            self.note(f"the combination of {keyword}", raw.place)
            return these if len(these) >= len(those) else those
        made = []
        for one, other in product(these, those):
            self.count()
            merged = self._merge(one, other)
            if merged is not None:
                made.append(merged)
        return made

    def _own(self, raw: Raw) -> Shape:
        """Return what a schema says itself, but for references and combinations."""
        node, shape = raw.node, Shape()
        if "type" in node:
            kinds = node["type"] if isinstance(node["type"], list) else [node["type"]]
            shape.types = tuple(each for each in TYPES if each in kinds)
        for keyword in ("enum", "const"):
            if keyword in node:
                values = [node["const"]] if keyword == "const" else node["enum"]
                if not isinstance(values, list):
                    raise SchemaError("enum is not a list")
                shape.values = (
                    values if shape.values is None else [v for v in shape.values if within(v, values)]
                )
        for keyword in (*_LOWER, *_UPPER, "multipleOf"):
            if keyword in node:
                self._bound(shape, keyword, raw)
        self._text(shape, raw)
        for name, each in node.get("properties", {}).items():
            shape.properties[name] = [raw.inner(each, "properties", name)]
        for pattern, each in node.get("patternProperties", {}).items():
            matches(pattern, "")
            shape.patterns[pattern] = [raw.inner(each, "patternProperties", pattern)]
        if "additionalProperties" in node:
            shape.additional = [raw.inner(node["additionalProperties"], "additionalProperties")]
            shape.sealed = True
        required = node.get("required", [])
        if not all(isinstance(each, str) for each in required):
            raise SchemaError("required holds what is not a name")
        shape.required = list(dict.fromkeys(required))
        if self._close and shape.properties and not shape.sealed and not any(key in node for key in IN_PLACE):
            shape.required = [each for each in shape.required if each in shape.properties]
        items = node.get("items", True)
        first, rest = (items, node.get("additionalItems", True)) if isinstance(items, list) else ([], items)
        first = node.get("prefixItems", first)
        shape.prefix = [[raw.inner(each, "prefixItems", str(index))] for index, each in enumerate(first)]
        shape.items = [raw.inner(rest, "items")] if rest is not True else []
        if (
            node.get("contains") is not None
            and shape.plain.get("minItems", 0) < 1
            and node.get("minContains", 1)
        ):
            shape.plain["minItems"] = 1
        for keyword in _UNBOUND:
            if node.get(keyword) not in (None, False, True, {}, 0) or (keyword[0] == "u" and keyword in node):
                self.note(keyword, raw.place)
        return shape

    def _bound(self, shape: Shape, keyword: str, raw: Raw) -> None:
        value = raw.node[keyword]
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise SchemaError(f"{keyword} is not a number")
        counts = keyword.endswith(("Length", "Items", "Properties"))
        most = MAX_STRING if keyword == "maxLength" else MAX_BOUND if counts else MAX_NUMBER
        if keyword == "multipleOf" and not (1e-4 <= value <= MAX_BOUND**2 and value == round(value, 4)):
            self.note(f"multipleOf {value:g}", raw.place)
        elif abs(value) > most or (not counts and 0 < abs(value) < 1e-12):
            self.note(f"{keyword} {value:g}", raw.place)
            if keyword == "minLength":
                shape.plain[keyword] = math.ceil(value)
            elif counts and keyword.startswith("min"):
                shape.plain[keyword] = most
        else:
            shape.plain[keyword] = int(value) if value == int(value) else value

    def _text(self, shape: Shape, raw: Raw) -> None:
        pattern = raw.node.get("pattern")
        form = raw.node.get("format")
        if self._formats and pattern is None and isinstance(form, str):
            pattern = FORMATS.get(form)
            if pattern is None:
                self.note(f"format {form[:40]!r} is not bound,", raw.place)
        if pattern is None:
            return
        if not isinstance(pattern, str):
            raise SchemaError("a pattern is not a text")
        try:
            parse(pattern)
        except PatternError as error:
            raise SchemaError(f"the pattern at {raw.place[:80]} cannot be used: {error}") from None
        shape.plain["pattern"] = pattern

    def _merge(self, one: Shape, other: Shape) -> Shape | None:
        """Return what both say; `None` where they contradict each other on the face of it."""
        merged = Shape(tuple(each for each in one.types if each in other.types))
        if "number" in one.types and "number" not in other.types and "integer" in other.types:
            merged.types = tuple(each for each in TYPES if each in {*merged.types, "integer"})
        if "number" in other.types and "number" not in one.types and "integer" in one.types:
            merged.types = tuple(each for each in TYPES if each in {*merged.types, "integer"})
        merged.values = one.values if other.values is None else other.values
        if one.values is not None and other.values is not None:
            merged.values = [value for value in one.values if within(value, other.values)]
        if not merged.types or merged.values == []:
            return None
        merged.plain = {**one.plain, **other.plain}
        for keywords, choose in ((_LOWER, max), (_UPPER, min)):
            for keyword in keywords:
                if keyword in one.plain and keyword in other.plain:
                    merged.plain[keyword] = choose(one.plain[keyword], other.plain[keyword])
        for keyword in ("multipleOf", "pattern"):
            if keyword in one.plain and keyword in other.plain and one.plain[keyword] != other.plain[keyword]:
                merged.plain[keyword] = one.plain[keyword]
                self.note(f"a second {keyword}", "#")
        for name in (*one.properties, *(each for each in other.properties if each not in one.properties)):
            merged.properties[name] = [*for_name(one, name), *for_name(other, name)]
        for shape in (one, other):
            for pattern, raws in shape.patterns.items():
                merged.patterns[pattern] = [*merged.patterns.get(pattern, ()), *raws]
        merged.additional = [*one.additional, *other.additional]
        merged.sealed = one.sealed or other.sealed
        merged.required = list(dict.fromkeys([*one.required, *other.required]))
        for index in range(max(len(one.prefix), len(other.prefix))):
            merged.prefix.append([*_at(one, index), *_at(other, index)])
        merged.items = [*one.items, *other.items]
        return merged


def matches(pattern: str, name: str) -> bool:
    """Return whether a pattern of property names finds `name`.

    Raises:
        SchemaError: The pattern cannot be used.
    """
    try:
        return found_in(pattern, name)
    except PatternError as error:
        raise SchemaError(f"a pattern of property names cannot be used: {error}") from None


def for_name(shape: Shape, name: str) -> list[Raw]:
    """Return what a shape says of the property `name`."""
    if name in shape.properties:
        return list(shape.properties[name])
    matching = [raw for pattern, raws in shape.patterns.items() if matches(pattern, name) for raw in raws]
    return matching or list(shape.additional)


def _at(shape: Shape, index: int) -> list[Raw]:
    return shape.prefix[index] if index < len(shape.prefix) else shape.items
