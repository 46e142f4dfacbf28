"""From a function to a tool: what a model is shown, and what is refused while it is still the author's problem."""

from __future__ import annotations

import enum
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from agentkit_tools import Tool, Toolbox, ToolDefinitionError, ToolInputError, ToolOutput, tool
from agentkit_tools.schema import read_docstring

CLOSED = {"type": "object", "properties": {}, "additionalProperties": False}


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Point(BaseModel):
    """A place."""

    x: int
    y: int = 0


@dataclass
class Line:
    start: Point
    end: Point


class Tree(BaseModel):
    branches: list[Tree] = []


@tool
def greet(name: str, times: int = 1) -> str:
    """Greet somebody.

    Politely, and
    in full.

    Args:
        name: Who is greeted; may hold
            spaces.
        times: How often.

    Returns:
        The greeting.
    """
    return f"hello {name}! " * times


@tool(name="paint", capabilities=["write_files"], origin="document", privacy="public", timeout_seconds=5)
def _paint(
    colour: Colour,
    lines: list[Line],
    style: Literal["thick", "thin"] = "thin",
    opacity: Annotated[float, Field(ge=0, le=1)] = 1.0,
    json: dict[str, int] | None = None,
) -> dict[str, Any]:
    """Paint lines."""
    return {"colour": colour.value, "end": lines[0].end.y, "style": style, "json": json}


def test_what_a_parameter_is_may_stand_in_its_annotation() -> None:
    @tool
    def ring(
        at: Annotated[str, Field(description="When, as HH:MM.")],
        times: Annotated[int, Field(description="Hidden.", ge=1)] = 1,
    ) -> str:
        """Ring.

        Args:
            times: How often.
        """
        return at * times

    told = ring.parameters["properties"]
    assert told["at"]["description"] == "When, as HH:MM."
    assert told["times"] == {"type": "integer", "default": 1, "minimum": 1, "description": "How often."}


def test_signature_and_docstring_become_a_closed_schema() -> None:
    assert greet.spec() == (
        "greet",
        "Greet somebody.\n\nPolitely, and in full.",
        {
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": "Who is greeted; may hold spaces."},
                "times": {"type": "integer", "default": 1, "description": "How often."},
            },
            "required": ["name"],
            "additionalProperties": False,
        },
    )
    assert (greet.capabilities, greet.origin, greet.privacy, greet.timeout_seconds) == (
        frozenset(),
        "tool",
        "private",
        30,
    )


def test_nested_types_are_inlined_and_closed() -> None:
    text = json.dumps(_paint.parameters)
    assert "$ref" not in text
    assert "$defs" not in text
    assert "title" not in text
    line = _paint.parameters["properties"]["lines"]["items"]
    assert line["additionalProperties"] is False
    assert line["properties"]["end"]["properties"]["x"] == {"type": "integer"}
    assert line["properties"]["end"]["additionalProperties"] is False
    assert _paint.parameters["properties"]["colour"]["enum"] == ["red", "blue"]


def test_arguments_arrive_as_the_types_the_function_names() -> None:
    assert _paint.check is not None
    made = _paint.run(
        _paint.check(
            {"colour": "red", "lines": [{"start": {"x": 1}, "end": {"x": 2, "y": 3}}], "json": {"a": 1}}
        )
    )
    assert json.loads(made.text) == {"colour": "red", "end": 3, "style": "thin", "json": {"a": 1}}
    assert (made.origin, made.privacy, made.is_error) == ("document", "public", False)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "name"),
        ({"name": "x", "extra": 1}, "extra"),
        ({"name": 3}, "name"),
        ({"name": "x", "times": "often"}, "times"),
    ],
)
def test_arguments_it_cannot_take_are_named_and_never_repeated(arguments: dict[str, Any], named: str) -> None:
    assert greet.check is not None
    with pytest.raises(ToolInputError, match=named) as caught:
        greet.check(arguments)
    assert "often" not in caught.value.message
    assert caught.value.hint == "greet takes name, times"


def test_a_tool_can_be_called_like_its_function() -> None:
    assert greet("Ada", times=2) == "hello Ada! hello Ada! "
    bare = Tool("bare", "x", CLOSED, run=lambda arguments: ToolOutput(str(dict(arguments))))
    assert bare(a=1).text == "{'a': 1}"


def test_outputs_keep_their_labels_and_nothing_becomes_done() -> None:
    @tool
    def labelled() -> ToolOutput:
        """Say something secret."""
        return ToolOutput("x", privacy="secret", sources=("r1",))

    @tool
    def silent() -> None:
        """Do something."""

    assert labelled.run({}) == ToolOutput("x", privacy="secret", sources=("r1",))
    assert silent.run({}).text == "done"
    assert silent.parameters == {"type": "object", "properties": {}, "additionalProperties": False}


def test_what_does_not_say_enough_is_refused_where_it_is_defined() -> None:
    def untyped(a) -> str:  # type: ignore[no-untyped-def]  # noqa: ANN001
        """Do."""
        return ""

    def silent(a: str) -> str:
        return a

    def starred(*names: str) -> str:
        """Do."""
        return ""

    def misdescribed(a: str) -> str:
        """Do.

        Args:
            b: No such parameter.
        """
        return a

    def odd(a: threading.Event) -> str:
        """Do."""
        return ""

    def recursive(tree: Tree) -> str:
        """Do."""
        return ""

    async def waiting(a: str) -> str:
        """Do."""
        return a

    def unfindable(a: Missing) -> str:  # type: ignore[name-defined]  # noqa: F821
        """Do."""
        return ""

    for function, problem in (
        (untyped, "has no type"), (silent, "no docstring"), (starred, "by name"), (misdescribed, "describes b"),
        (odd, "without a schema"), (recursive, "holds itself"), (waiting, "not a plain function"),
        (unfindable, "cannot be found"),
    ):  # fmt: skip
        with pytest.raises(ToolDefinitionError, match=problem):
            tool(function)


@pytest.mark.parametrize(
    "parts",
    [
        {"name": "two words"}, {"name": ""}, {"name": "x" * 65}, {"capabilities": frozenset({"fly"})},
        {"origin": "stranger"}, {"privacy": "hidden"}, {"timeout_seconds": 0},
        {"parameters": {"type": "string"}}, {"parameters": {}},
        {"parameters": {"type": "object", "additionalProperties": True}},
        {"parameters": {"type": "object", "additionalProperties": {}}},
        {"parameters": {"type": "object", "anyOf": [{"properties": {"a": {}}}]}},
    ],
)  # fmt: skip
def test_a_tool_the_policy_could_misread_is_refused(parts: dict[str, Any]) -> None:
    with pytest.raises(ToolDefinitionError):
        Tool(**{"name": "x", "description": "x", "parameters": CLOSED, **parts})


def test_an_object_that_does_not_say_whether_it_is_closed_is() -> None:
    """pydantic, MCP and OpenAI write no `additionalProperties`."""

    class Place(BaseModel):
        city: str

    for parameters in (Place.model_json_schema(), {"type": "object"}):
        made = Tool("it", "x", parameters, run=lambda _: ToolOutput("ran"))
        assert made.parameters == {**parameters, "additionalProperties": False}
        assert Toolbox([made]).call("it", {"city": "Oslo", "more": 1}).is_error
    assert "additionalProperties" not in parameters


def test_docstrings_of_every_shape_are_read() -> None:
    assert read_docstring("") == ("", {})
    assert read_docstring("One.\n\nArgs:\n    a (int): First: with a colon.\n\n        More.\n    b: Second.") == (
        "One.", {"a": "First: with a colon. More.", "b": "Second."},
    )  # fmt: skip


def test_the_example_in_the_readme_works(capsys: pytest.CaptureFixture[str]) -> None:
    readme = (Path(__file__).parents[2] / "tools" / "README.md").read_text(encoding="utf-8")
    module = ModuleType("example")
    exec(readme.split("```python\n")[1].split("```")[0], module.__dict__)
    assert capsys.readouterr().out == "2\n"
