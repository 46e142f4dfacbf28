"""Whether calls of a tool can be bound to its parameters, found out when the tool is registered (pure).

Covered: schemas that refer to nothing, that cannot be read or written, that no value satisfies, that have a part
without an end, or that are too large for either constraint. One tool that cannot be bound would otherwise keep the
engine from calling any of those beside it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

from agentkit.errors import ConfigError
from agentkit.models.automaton import MAX_STATES
from agentkit.models.gbnf import MAX_RULES
from agentkit.models.gbnf_backend import value_rules
from agentkit.models.normalise import MAX_KEPT, normalise
from agentkit.models.satisfiable import Ending


def refusal(parameters: dict[str, Any]) -> str | None:
    """Return why no call with these parameters can be bound, or nothing where it can."""
    try:
        text = json.dumps(parameters, ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError:
        return "the schema holds half a character"
    except (TypeError, ValueError, RecursionError):
        return "the schema is no JSON"
    return _refusal(text)


@functools.lru_cache(maxsize=MAX_KEPT)
def _refusal(parameters: str) -> str | None:
    try:
        form = normalise(json.loads(parameters), close=True).schema
        ending = Ending(form)
        parts = list(_parts(form, ""))
        for name, part in parts:
            if not ending.of(part):
                return "a part of the schema has no end" + (f": {name[:80]!r}" if name else "")
        if sum(_rules(part) for _, part in parts) > MAX_RULES:  # it may be too large: only building it tells
            value_rules(form).text()
    except ConfigError as error:
        return error.message
    return None


def _parts(form: Any, name: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - a schema of the form
    """Yield the schemas in a form that say what a value may hold, each with the property it belongs to."""
    if not isinstance(form, dict):
        return
    inner = [
        (name, form[key]) for key in ("items", "additionalProperties") if form.get(key, False) is not False
    ]
    inner += [(name, each) for key in ("prefixItems", "anyOf") for each in form.get(key, ())]
    inner += [("", each) for each in form.get("$defs", {}).values()]
    for key in ("properties", "patternProperties"):
        inner += [(each, part) for each, part in form.get(key, {}).items() if part is not False]
    for each, part in inner:
        yield each, part
        yield from _parts(part, each)


def _rules(form: Any) -> int:  # noqa: ANN401 - a schema of the form
    """Return about how many rules a form takes beside those of its parts, rather too many than too few."""
    if not isinstance(form, dict):
        return 10
    counted = 10 + 2 * len(form.get("enum", ())) + max(form.get("minItems", 0), form.get("maxItems", 0))
    return int(
        counted + MAX_STATES * (("pattern" in form) + ("multipleOf" in form) + ("patternProperties" in form))
    )
