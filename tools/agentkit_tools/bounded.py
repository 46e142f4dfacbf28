"""JSON Schema validators that end in bounded time and fetch nothing.

Patterns are matched by states and not by backtracking, a reference that leaves the schema is an error, and 19.99 is a
multiple of 0.01, as it is written and not as it is kept.
Source: JSON Schema validation, as `jsonschema` implements it; patterns by ECMA-262.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from agentkit_tools.matching import found_in
from agentkit_tools.pattern import PatternError


class UnusableSchemaError(ValueError):
    """Nothing can be checked against a schema. Says why, never what was to be checked."""


def first_problem(value: object, schema: Any) -> Any | None:  # noqa: ANN401 - jsonschema has no types
    """Return the first error of `value` as `jsonschema` tells it, or nothing where it is of the schema.

    Raises:
        UnusableSchemaError: The schema is malformed, or refers to what is not in it.
    """
    import jsonschema
    import referencing

    try:
        return next(bounded_validator(schema).iter_errors(value), None)
    except (jsonschema.exceptions.SchemaError, referencing.exceptions.Unresolvable, RecursionError) as error:
        raise UnusableSchemaError("the schema cannot be used") from error
    except PatternError as error:
        raise UnusableSchemaError(f"a pattern of the schema cannot be matched: {error}") from error
    except (TypeError, AttributeError, KeyError, ValueError, ArithmeticError) as error:
        raise UnusableSchemaError(f"the schema cannot be used: {type(error).__name__}") from error
    except jsonschema.exceptions.UnknownType:
        raise UnusableSchemaError("the schema names a type that does not exist") from None


def bounded_validator(schema: Any) -> Any:  # noqa: ANN401 - jsonschema has no types
    """Return a validator of `schema`, by its own dialect or else 2020-12.

    Its methods raise `PatternError` for a pattern that is not regular, and what `jsonschema` and `referencing` raise.
    """
    import jsonschema
    import referencing
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
            if name in known or any(found_in(each, name) for each in patterns):
                continue
            if inner is False:  # said of the object, so that the error names the keyword
                yield jsonschema.ValidationError("has an unknown property")
            else:
                yield from validator.descend(value[name], inner, path=name)

    def steps(_validator: Any, step: float, value: object, _schema: Any) -> Iterator[Any]:  # noqa: ANN401
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and Fraction(str(value)) % Fraction(str(step))
        ):
            yield jsonschema.ValidationError("is no multiple")

    rules = {
        "pattern": pattern,
        "patternProperties": names,
        "additionalProperties": others,
        "multipleOf": steps,
    }
    return extend(kind, rules)(schema, registry=referencing.Registry())
