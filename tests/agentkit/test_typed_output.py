"""An answer comes out in the form asked for, as a value of the caller's own type, or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel, Field, field_validator

from agentkit.calling.selection import Selection
from agentkit.calling.votes import Votes
from agentkit.context.assemble import Context
from agentkit.errors import ConfigError, OutputError
from agentkit.events import Ending, Finished, TextDelta
from agentkit.labels import Labels
from agentkit.loop import Loop
from agentkit.messages import Evidence, Message
from agentkit.models.base import Sampling, Stream
from agentkit.models.scripted import Script, ScriptedModel
from agentkit.typed_output import Form, form_of, shape
from agentkit_tools import Policy, Tool, Toolbox


class Place(BaseModel):
    """A place on a map."""

    name: str = Field(description="What it is called")
    height: int = Field(ge=0)
    near: list[Place] = []

    @field_validator("name")
    @classmethod
    def is_a_name(cls, value: str) -> str:
        if value != value.title():
            raise ValueError("a name begins with a capital")
        return value


SAID = [Message.user("How high is Oslo?"), Message.assistant("Oslo lies at 23 m.", Labels())]
RIGHT = '{"name": "Oslo", "height": 23}'


def shaped(
    *replies: Script,
    form: Form,
    said: Sequence[Message] = SAID,
    evidence: Sequence[Evidence] = (),
    votes: Votes | None = None,
) -> tuple[Any, ScriptedModel]:
    model = ScriptedModel(replies)
    value, _ = shape(model, Context(model), said, form, evidence=evidence, votes=votes)
    return value, model


def test_a_pydantic_model_comes_out_as_an_instance() -> None:
    value, model = shaped(RIGHT, form=form_of(Place))
    assert value == Place(name="Oslo", height=23)
    assert [message.text for message in model.prompts[0][1:3]] == [message.text for message in SAID]


def test_the_model_is_told_the_fields() -> None:
    _, model = shaped(RIGHT, form=form_of(Place))
    asked = model.prompts[0][-1].text
    assert "JSON: A place on a map." in asked
    assert "- name (string): What it is called" in asked
    assert "- height (integer)" in asked


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (Place, '{"name": "Oslo", "height": 23, "more": 1}'),
        (Place, '{"name": "Oslo", "height": 23, "near": [{"name": "Ski", "height": 1, "more": 1}]}'),
        (list[Place], '[{"name": "Oslo", "height": 23, "more": 1}]'),
        (Place | None, '{"name": "Oslo", "height": 23, "more": 1}'),
        (dict[str, Place], '{"a": {"name": "Oslo", "height": 23, "more": 1}}'),
        ({"type": "array", "items": {"properties": {"a": {"type": "integer"}}}}, '[{"b": 1}]'),
    ],
)
def test_objects_take_no_names_their_type_does_not_have(output: Any, text: str) -> None:
    form = form_of(output)
    with pytest.raises(ValueError, match=r"(additionalProperties|anyOf) fails at"):
        form.value(text)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(text), form.bound())
    assert form.value(text.replace(', "more": 1', "").replace('"b"', '"a"')) is not None


@pytest.mark.parametrize("output", [Any, {}, dict, dict[str, Any] | None, list[dict[str, int]]])
def test_objects_whose_names_are_left_open_stay_open(output: Any) -> None:
    text = '[{"a": 1}]' if "list" in str(output) else '{"a": 1}'
    form = form_of(output)
    jsonschema.validate(form.value(text), form.bound())


@pytest.mark.parametrize(
    ("output", "text", "value"),
    [
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, '{"a": 1}', {"a": 1}),
        (list[int], "[1, 2]", [1, 2]),
        (bool, "true", True),
    ],
)
def test_a_schema_or_any_type_pydantic_knows_will_do(output: Any, text: str, value: object) -> None:
    assert shaped(text, form=form_of(output))[0] == value


def test_a_dataclass_comes_out_as_an_instance() -> None:
    @dataclass
    class Size:
        metres: float

    assert shaped('{"metres": 2.5}', form=form_of(Size))[0] == Size(2.5)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ('{"name": "Oslo"', "breaks off"),
        ('{"name": "Oslo", "height": -1}', "minimum fails at $.height"),
        ('{"name": "Oslo", "height": 1e999}', "a number too large to be read"),
        ('{"name": "Oslo", "height": NaN}', "NaN is not JSON"),
        ('{"name": "oslo", "height": 23}', "name: Value error, a name begins with a capital"),
    ],
)
def test_what_is_wrong_goes_back_once_with_the_reason(wrong: str, reason: str) -> None:
    value, model = shaped(wrong, RIGHT, form=form_of(Place))
    assert value.name == "Oslo"
    assert model.prompts[1][-2].text == wrong
    assert reason in model.prompts[1][-1].text


@dataclass
class Lamp:
    name: str
    pieces: int
    price: float
    dimmed: bool = False


STOCK = [
    Message.user("How many Aurora lamps are there, and at what price?"),
    Message.assistant("There are 42 pieces of Aurora, 17.50 euros each.", Labels()),
]
WRONG = '{"name": "Aurora", "pieces": 17, "price": 1.5, "dimmed": true}'


def test_what_nobody_spoke_of_is_asked_for_again_and_nothing_else_is_changed() -> None:
    tries = (
        WRONG,
        '{"name": "lamps", "pieces": 17, "price": 42}',
        '{"name": "lamps", "pieces": 42, "price": 17.5}',
    )
    value, model = shaped(*tries, form=form_of(Lamp), said=STOCK, votes=Votes(2))
    assert value == Lamp("Aurora", 42, 17.5, dimmed=True)
    assert len(model.prompts) == 3


def test_a_further_try_that_is_not_of_the_form_counts_as_none() -> None:
    value, _ = shaped(WRONG, '{"name": "Aurora", "pie', form=form_of(Lamp), said=STOCK, votes=Votes(1))
    assert value == Lamp("Aurora", 17, 1.5, dimmed=True)


def test_an_answer_that_was_said_is_not_asked_for_again() -> None:
    right = '{"name": "Aurora", "pieces": 42, "price": 17.50, "dimmed": true}'
    value, _ = shaped(right, form=form_of(Lamp), said=STOCK, votes=Votes(4))
    assert value == Lamp("Aurora", 42, 17.5, dimmed=True)


def test_what_the_passages_say_was_said() -> None:
    passage = Evidence("1", "shelf.md", "", "Aurora: 42 pieces, 17.50 euros.", 1.0)
    right = '{"name": "Aurora", "pieces": 42, "price": 17.5}'
    said = [Message.user("How many Aurora?"), Message.assistant("See there.", Labels())]
    assert shaped(right, form=form_of(Lamp), said=said, evidence=[passage], votes=Votes(4))[0].pieces == 42


@pytest.mark.parametrize(
    ("output", "text"), [(list[int], "[7]"), (Lamp | None, "null"), (dict[str, int], '{"a": 7}'), (int, "7")]
)
def test_a_form_without_fields_of_its_own_is_not_doubted(output: Any, text: str) -> None:
    shaped(text, form=form_of(output), said=STOCK, votes=Votes(1))


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity"])
def test_what_is_no_number_never_comes_out_as_one(number: str) -> None:
    with pytest.raises(ValueError, match=r"too large|is not JSON"):
        form_of(list[float]).value(f"[{number}]")


def test_twice_wrong_is_an_error_that_quotes_nothing() -> None:
    with pytest.raises(OutputError) as caught:
        shaped('{"name": "secret", "height": 1}', '{"name": "secret", "height": 1}', form=form_of(Place))
    assert "secret" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    "output",
    [{"type": "no such type"}, {"$ref": "https://example.org/x"}, {"enum": []}, type(iter([]))],
)
def test_a_form_that_cannot_be_is_refused_before_anything_runs(output: Any) -> None:
    with pytest.raises(ConfigError):
        form_of(output)


def run(model: ScriptedModel, **options: Any) -> tuple[list[Any], Loop]:
    loop = Loop(model, Toolbox([]), policy=Policy.default())
    return list(loop.run("How high is Oslo?", **options)), loop


def test_the_answer_streams_and_is_kept_as_it_is_and_the_value_comes_at_the_end() -> None:
    events, loop = run(ScriptedModel(["Oslo lies at 23 m.", RIGHT]), form=form_of(Place))
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "Oslo lies at 23 m."
    done = events[-1]
    assert isinstance(done, Finished)
    assert (done.text, done.output) == ("Oslo lies at 23 m.", Place(name="Oslo", height=23))
    assert [message.text for message in loop.transcript] == ["How high is Oslo?", "Oslo lies at 23 m."]


def test_the_pinned_tools_stay_in_front_while_the_value_is_written() -> None:
    shown: list[tuple[tuple[str, ...], str]] = []

    class Watched(ScriptedModel):
        def complete(self, messages: Sequence[Message], **rest: Any) -> Stream:
            shown.append((tuple(tool.name for tool in rest["tools"]), rest["sampling"].adapter))
            return super().complete(messages, **rest)

    def tool(name: str) -> Tool:
        parameters = {"type": "object", "properties": {}, "additionalProperties": False}
        return Tool(name, "Tell how high a place is.", parameters)

    loop = Loop(
        Watched(["Oslo lies at 23 m.", RIGHT]),
        Toolbox([tool("map"), tool("atlas")]),
        policy=Policy.default(),
        selection=Selection(pins=["map"]),
        calling=Sampling(adapter="agent"),
    )
    done = list(loop.run("How high is the place Oslo?", form=form_of(Place)))[-1]
    assert isinstance(done, Finished)
    assert done.output == Place(name="Oslo", height=23)
    assert shown == [(("atlas", "map"), "agent"), (("map",), "agent")]


def test_without_an_answer_there_is_no_value() -> None:
    from agentkit.limits import Limits

    loop = Loop(ScriptedModel(["yes " * 20]), Toolbox([]), policy=Policy.default(), limits=Limits(tokens=2))
    done = list(loop.run("How high is Oslo?", form=form_of(Place)))[-1]
    assert isinstance(done, Finished)
    assert (done.ending, done.output) == (Ending.TOKEN_LIMIT, None)
