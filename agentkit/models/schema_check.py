"""Check a value against JSON Schema in bounded time, with nothing fetched and nothing quoted.

A message says where a value is not of its schema, and by which keyword.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agentkit_tools.bounded import bounded_validator
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
        for error in bounded_validator(schema).iter_errors(value):
            raise InvalidError(f"{error.validator} fails at {error.json_path}")
    except (jsonschema.exceptions.SchemaError, referencing.exceptions.Unresolvable, RecursionError) as error:
        raise InvalidError("the schema cannot be used") from error
    except (PatternError, TypeError, AttributeError, KeyError) as error:
        raise InvalidError(f"the schema cannot be used: {type(error).__name__}") from error
    except jsonschema.exceptions.UnknownType:
        raise InvalidError("the schema names a type that does not exist") from None


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
