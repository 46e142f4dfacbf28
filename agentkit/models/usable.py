"""Whether calls of a tool can be bound to its parameters, found out when the tool is registered (pure).

Covered: schemas that refer to nothing, that cannot be read, or that no value satisfies. One tool that cannot be bound
would otherwise keep the engine from calling any of those beside it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

from agentkit.errors import ConfigError
from agentkit.models.gbnf import Rules
from agentkit.models.gbnf_schema import SchemaRules
from agentkit.models.normalise import SchemaError, normalise


def refusal(parameters: dict[str, Any]) -> str | None:
    """Return why no call with these parameters can be bound, or nothing where it can."""
    try:
        return _refusal(json.dumps(parameters))
    except (TypeError, ValueError, RecursionError):
        return "the schema is no JSON"


@functools.lru_cache(maxsize=256)
def _refusal(parameters: str) -> str | None:
    try:
        form = normalise(json.loads(parameters), close=True).schema
    except SchemaError as error:
        return error.message
    definitions = {"$defs": form["$defs"]} if "$defs" in form else {}
    if not _satisfiable(form):
        return "no value can satisfy the schema"
    for name, property_ in _properties(form):
        if isinstance(property_, dict) and not _satisfiable({**property_, **definitions}):
            return f"no value can satisfy the schema of {name[:80]!r}"
    return None


def _satisfiable(form: dict[str, Any]) -> bool:
    rules = Rules()
    try:
        return rules.finish(SchemaRules(rules).whole(form)) is not None
    except ConfigError:
        return True  # too large for these rules, which says nothing of others


def _properties(form: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - any JSON
    """Yield the properties in a form and in its properties, those too that may be left out."""
    if isinstance(form, dict):
        for key, value in form.items():
            if key == "properties" and isinstance(value, dict):
                yield from value.items()
                for each in value.values():
                    yield from _properties(each)
            elif key not in ("enum", "const"):
                yield from _properties(value)
    elif isinstance(form, list):
        for each in form:
            yield from _properties(each)
