"""Check a value against JSON Schema in bounded time, with nothing fetched and nothing quoted.

Covered: patterns are matched by states, not by backtracking; a reference that leaves the schema is an error.
Source: JSON Schema validation, as `jsonschema` implements it; patterns by ECMA-262.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from agentkit_tools.matching import found_in
from agentkit_tools.pattern import PatternError


class InvalidError(ValueError):
    """A value is not of its schema. Says where, never what."""


def check_value(value: object, schema: Any) -> None:  # noqa: ANN401 - any JSON
    """Check `value` against a JSON Schema; patterns are matched in bounded time, nothing is fetched.

    Raises:
        InvalidError: The value is not of the schema, or the schema cannot be used. Says where, never what.
    """
    import jsonschema
    import referencing

    try:
        validator = _validator(schema)(schema, registry=referencing.Registry())
        for error in validator.iter_errors(value):
            raise InvalidError(f"{error.validator} fails at {error.json_path}")
    except (jsonschema.exceptions.SchemaError, referencing.exceptions.Unresolvable, RecursionError) as error:
        raise InvalidError("the schema cannot be used") from error
    except (PatternError, TypeError, AttributeError, KeyError) as error:
        raise InvalidError(f"the schema cannot be used: {type(error).__name__}") from error
    except jsonschema.exceptions.UnknownType:
        raise InvalidError("the schema names a type that does not exist") from None


def _validator(schema: Any) -> Any:  # noqa: ANN401 - jsonschema has no types
    import jsonschema
    from jsonschema.validators import extend, validator_for

    kind = validator_for(schema, default=jsonschema.Draft202012Validator)

    def pattern(_validator: Any, wanted: str, value: object, _schema: Any) -> Iterator[Any]:  # noqa: ANN401
        if isinstance(value, str) and not found_in(wanted, value):
            yield jsonschema.ValidationError("does not match")

    def names(validator: Any, patterns: Any, value: Any, _schema: Any) -> Iterator[Any]:  # noqa: ANN401
        for wanted, inner in patterns.items() if isinstance(value, dict) else ():
            for name in filter(lambda name: found_in(wanted, name), value):
                yield from validator.descend(value[name], inner, path=name, schema_path=wanted)

    def others(validator: Any, inner: Any, value: Any, schema: Any) -> Iterator[Any]:  # noqa: ANN401
        known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
        for name in value if isinstance(value, dict) else ():
            if name not in known and not any(found_in(each, name) for each in patterns):
                yield from validator.descend(value[name], inner, path=name)

    rules = {"pattern": pattern, "patternProperties": names, "additionalProperties": others}
    return extend(kind, rules)


def same(one: object, other: object) -> bool:
    """Return whether two JSON values are equal: `1` is `1.0`, and neither is `true`."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    return one == other


def within(value: object, values: Iterable[object]) -> bool:
    """Return whether `value` equals one of `values`."""
    return any(same(value, each) for each in values)
