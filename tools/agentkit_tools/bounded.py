"""JSON Schema validators that end in bounded time and fetch nothing.

Patterns are matched by states and not by backtracking, and a reference that leaves the schema is an error.
Source: JSON Schema validation, as `jsonschema` implements it; patterns by ECMA-262.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agentkit_tools.matching import found_in


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

    rules = {"pattern": pattern, "patternProperties": names, "additionalProperties": others}
    return extend(kind, rules)(schema, registry=referencing.Registry())
