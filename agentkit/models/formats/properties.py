"""What the parameters of a tool are, one by one, for families that write each in its own way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agentkit.messages import ToolSpec
from agentkit.models.normalise import MAX_STRING, normalise


@dataclass(frozen=True, slots=True)
class Property:
    """One parameter."""

    name: str
    schema: dict[str, Any]
    """In the form of `normalise`, with the `$defs` it needs."""
    required: bool

    @property
    def is_text(self) -> bool:
        """Whether nothing but a text can be its value."""
        choices = self.choices
        if choices is not None:
            return all(isinstance(each, str) for each in choices)
        return self.schema.get("type") == "string"

    @property
    def choices(self) -> list[Any] | None:
        """Its values, where they are listed."""
        listed: list[Any] | None = self.schema.get("enum")
        return listed

    @property
    def least(self) -> int:
        """Characters of a text."""
        return int(self.schema.get("minLength", 0))

    @property
    def most(self) -> int:
        """Characters of a text."""
        return int(self.schema.get("maxLength", MAX_STRING))


def properties_of(tool: ToolSpec) -> tuple[Property, ...]:
    """Return the parameters of a tool, in the order of its schema.

    Raises:
        SchemaError: No grammar can be made of them.
    """
    form = normalise(tool.parameters, close=True).schema
    definitions = form.get("$defs")
    required = form.get("required", ())
    return tuple(
        Property(name, {**each, "$defs": definitions} if definitions else each, name in required)
        for name, each in form.get("properties", {}).items()
    )


def are_plain(parameters: dict[str, Any]) -> bool:
    """Return whether parameters are just a list of names, each with a schema of its own.

    Raises:
        SchemaError: No grammar can be made of them.
    """
    form = normalise(parameters, close=True).schema
    known = {"type", "properties", "required", "additionalProperties", "$defs"}
    return form.get("type") == "object" and form.get("additionalProperties") is False and set(form) <= known
