"""Whether any value keeps what a schema says of it: the parts that none keeps are left out of the form (pure).

Covered: texts that no pattern of theirs takes at their lengths, numbers between bounds and steps, recursion without
an end.
Not covered: patterns that take long to follow, which are taken to have texts; the values of an enum, which are checked
where the form is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentkit.models.numerals import some_number
from agentkit_tools.dialect import TYPES
from agentkit_tools.matching import machine
from agentkit_tools.pattern import PatternError

MAX_STEPS = 10_000
"""Steps along the patterns of one schema, about half a second of them."""


class Leaves:
    """Knows of texts and numbers whether there are any."""

    def __init__(self) -> None:
        self._steps = MAX_STEPS
        self._texts: dict[tuple[str, int, int | None], bool] = {}

    def any_of(self, kind: str, form: Mapping[str, Any]) -> bool:
        """Return whether a value of a kind, by its name in a schema, keeps the pattern and bounds in `form`."""
        match kind:
            case "string":
                return self._text(form.get("pattern"), form.get("minLength", 0), form.get("maxLength"))
            case "integer" | "number":
                return some_number(form, whole=kind == "integer")
        return True

    def _text(self, pattern: str | None, least: int, most: int | None) -> bool:
        if pattern is None:
            return True
        key = pattern, least, most
        if key not in self._texts:
            self._texts[key] = self._follow(*key)
        return self._texts[key]

    def _follow(self, pattern: str, least: int, most: int | None) -> bool:
        """Return whether a text of `least` to `most` characters matches."""
        try:
            states = machine(pattern)
        except PatternError:
            return True
        last = least if most is None else most
        seen = {(states.start, 0)}
        todo = list(seen)
        while todo:
            state, length = todo.pop()
            if length >= least and states.accepts(state):
                return True
            if length == most:
                continue
            for ranges, to in states.edges(state):
                self._steps -= 1
                if self._steps < 0:
                    return True
                following = to, min(length + 1, last)
                if ranges and following not in seen:
                    seen.add(following)
                    todo.append(following)
        return False


class Ending:
    """Knows of a form without impossible leaves, and of every part of it, whether a finite value satisfies it."""

    def __init__(self, form: Any) -> None:  # noqa: ANN401 - a schema of the form
        """Find out which of the definitions of `form` can be brought to an end."""
        definitions = form.get("$defs", {}) if isinstance(form, dict) else {}
        self._finite: set[str] = set()
        while more := {name for name in definitions.keys() - self._finite if self.of(definitions[name])}:
            self._finite |= more

    def of(self, form: Any) -> bool:  # noqa: ANN401 - a schema of the form
        """Return whether some value satisfies `form`, which is the whole one or stands in it."""
        if isinstance(form, bool):
            return form
        if "$ref" in form:
            return form["$ref"].removeprefix("#/$defs/") in self._finite
        if "anyOf" in form:
            return any(map(self.of, form["anyOf"]))
        kinds = form.get("type", TYPES)
        return "enum" in form or any(
            self._kind(kind, form) for kind in ([kinds] if isinstance(kinds, str) else kinds)
        )

    def _kind(self, kind: str, form: Mapping[str, Any]) -> bool:
        match kind:
            case "array":
                items = [*form.get("prefixItems", ()), form.get("items", True)]
                return all(map(self.of, items[: form.get("minItems", 0)]))
            case "object":
                properties = form.get("properties", {})
                return all(self.of(properties.get(name, True)) for name in form.get("required", ()))
        return True
