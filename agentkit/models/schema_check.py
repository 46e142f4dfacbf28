"""Check a value against JSON Schema in bounded time, with nothing fetched and nothing quoted.

A message says where a value is not of its schema, and by which keyword.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from agentkit_tools.bounded import UnusableSchemaError, first_problem


class InvalidError(ValueError):
    """A value is not of its schema. Says where, never what."""


def check_value(value: object, schema: Any) -> None:  # noqa: ANN401 - any JSON
    """Check `value` against a JSON Schema; patterns are matched in bounded time, nothing is fetched.

    Raises:
        InvalidError: The value is not of the schema, or the schema cannot be used. Says where, never what.
    """
    try:
        error = first_problem(value, schema)
    except UnusableSchemaError as unusable:
        raise InvalidError(str(unusable)) from unusable
    if error is not None:
        raise InvalidError(f"{error.validator} fails at {error.json_path}")


def read_value(text: str) -> Any:  # noqa: ANN401 - any JSON
    """Return the JSON value that `text` is.

    Raises:
        InvalidError: It is not JSON, breaks off, or holds a number that becomes infinite.
    """
    try:
        return _DECODER.decode(text)
    except InvalidError:
        raise
    except (ValueError, RecursionError):
        raise InvalidError("it is not JSON, or breaks off") from None


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise InvalidError("it holds a number too large to be read")
    return value


def _refuse_constant(name: str) -> float:
    raise InvalidError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse_constant)


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
