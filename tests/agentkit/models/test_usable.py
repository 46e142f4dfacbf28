"""A tool that no grammar can be made of is found out before it stands beside one that works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentkit.errors import ConfigError
from agentkit.messages import ToolSpec
from agentkit.models.base import AUTO, CONSTRAINTS
from agentkit.models.formats.families import SMOLLM2
from agentkit.models.grammar import backend_for, bind_tools
from agentkit.models.llama import LlamaModel, Settings
from agentkit.models.usable import refusal
from agentkit.models.vocabulary import Vocabulary

NEVER: tuple[dict[str, Any], ...] = (
    {"type": "integer", "minimum": 5, "maximum": 3},
    {"type": "integer", "minimum": 1, "maximum": 4, "multipleOf": 5},
    {"type": "string", "pattern": "^a$", "minLength": 2},
    {"enum": ["\ud800"]},
    {"type": "array", "minItems": 2, "maxItems": 1, "items": {"type": "null"}},
    {"enum": []},
)
"""What nothing satisfies."""


def taking(schema: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": schema}, "required": ["a"] if required else []}


@pytest.mark.parametrize("schema", NEVER, ids=str)
def test_what_nothing_satisfies_is_refused(schema: dict[str, Any]) -> None:
    assert refusal(taking(schema)) is not None
    assert refusal(taking({"type": "integer"})) is None


def test_what_is_no_json_is_refused() -> None:
    assert refusal({"type": "object", "properties": {"a": {"enum": [object()]}}}) == "the schema is no JSON"


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_what_is_not_refused_can_be_bound(smollm2_path: Path, name: str) -> None:
    model = LlamaModel(smollm2_path, Settings(repack=False))
    backend = backend_for(Vocabulary(model), name)
    for schema in (*(taking(each, required=False) for each in NEVER), *map(taking, NEVER), taking({})):
        tool = ToolSpec("tool", "Do something.", schema)
        if refusal(schema) is None:
            bind_tools(backend, SMOLLM2, [tool], AUTO)
        else:
            with pytest.raises(ConfigError):
                bind_tools(backend, SMOLLM2, [tool], AUTO)
    model.close()
