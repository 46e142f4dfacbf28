"""Bring the answer of a turn into the form its caller asked for: a second pass, bound to a JSON Schema.

Never in one grammar with the tools: a model that has to write JSON stops calling them.
Covered: what comes out is of the schema, all of it, and the caller's own type made of it, or an `OutputError`. Fields
that hold what nobody spoke of are written again, several times, and taken from the try with the fewest such fields.
Not covered: that it is true; it says in another form what was said.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from agentkit import prompt
from agentkit.calling.backing import faults
from agentkit.calling.votes import Votes, tried
from agentkit.context.assemble import Context, Window
from agentkit.errors import ConfigError, OutputError
from agentkit.limits import add_usage
from agentkit.messages import Evidence, Message, ToolCall, ToolSpec, Usage
from agentkit.models.base import Completion, Model, Sampling, finish
from agentkit.models.formats.syntax import dump_json
from agentkit.models.normalise import Normalised, SchemaError, normalise
from agentkit.models.outline import outline
from agentkit.models.schema_check import read_value

TRIES = 2
"""The second time the model is told what was wrong."""


def _unchanged(value: Any) -> Any:  # noqa: ANN401 - any JSON
    return value


@dataclass(frozen=True, slots=True)
class Form:
    """The form an answer has to take."""

    schema: dict[str, Any]
    """JSON Schema. Its objects take no names it does not list."""
    read: Callable[[Any], Any] = _unchanged
    """Makes the caller's own value of a JSON value. Its `ValueError` says what is wrong: to the model, to no log."""

    def __post_init__(self) -> None:
        """Refuse a schema that no value can be bound to.

        Raises:
            ConfigError: It is malformed, nothing satisfies it, or it refers to what is not in it.
        """
        try:
            self.bound()
        except SchemaError as error:
            raise ConfigError(f"the schema of the output cannot be used: {error}") from None

    def bound(self) -> dict[str, Any]:
        """Return the schema a model is bound to."""
        return self._closed().schema

    def _closed(self) -> Normalised:
        return normalise(self.schema, close=bool(self.schema), is_object=_is_object(_root(self.schema)))

    def shown(self) -> str:
        """Return what a model is told of the form: as it is told of a tool's parameters, but without a tool."""
        given, bound = _root(self.schema), _root(self.bound())
        if not _is_object(given):
            return dump_json(normalise(self.schema).schema)
        about = given.get("properties") or {}
        properties = {
            name: {**each, "description": about[name].get("description")}
            if isinstance(each, dict) and isinstance(about.get(name), dict)
            else each
            for name, each in (bound.get("properties") or {}).items()
        }
        name = str(given.get("description") or given.get("title") or "the answer")
        return outline(ToolSpec("JSON", name, {**bound, "properties": properties}))

    def value(self, text: str) -> Any:  # noqa: ANN401 - of the caller's type
        """Return the caller's value of what a model wrote.

        Raises:
            ValueError: It is not JSON, not of the schema, or `read` refuses it.
        """
        value = read_value(text)
        self._closed().check(value)
        return self.read(value)

    def takes(self, text: str) -> bool:
        """Say whether what a model wrote is of this form."""
        try:
            self.value(text)
        except ValueError:
            return False
        return True

    def unspoken(self, text: str, messages: Sequence[Message]) -> frozenset[str]:
        """Return the fields of the JSON in `text` that hold what no message speaks of.

        Yes or no follows from other words, and is not judged.
        """
        schema, value = _root(self.bound()), read_value(text)
        if not (_is_object(schema) and isinstance(value, dict)):
            return frozenset()
        judged = {name: each for name, each in value.items() if not isinstance(each, bool)}
        tool = ToolSpec("", "", {**schema, "required": list(judged)})
        found = faults([ToolCall("", "", judged)], [tool], messages).unspoken
        return frozenset(name.removeprefix(".") for name in found)

    def mended(self, text: str, doubtful: frozenset[str], others: Sequence[str]) -> list[str]:
        """Return the JSON in `text` with the `doubtful` fields as each of `others` of the form has them."""
        value = read_value(text)
        further = map(read_value, filter(self.takes, others))
        merged = (
            {**value, **{name: each for name, each in other.items() if name in doubtful}} for other in further
        )
        return list(filter(self.takes, map(dump_json, merged)))


def _root(schema: dict[str, Any]) -> dict[str, Any]:
    """Return what a schema says of the whole value, also where it says so by a reference, as of recursive types."""
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    found = (schema.get("$defs") or {}).get(name)
    return found if isinstance(found, dict) else schema


def _is_object(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "object" or "properties" in schema


def form_of(output: type | Mapping[str, Any]) -> Form:
    """Return the form of a JSON Schema, or of a type that pydantic can validate: a model, a dataclass, `list[Model]`.

    Raises:
        ConfigError: It is neither, or no schema can be made of it.
    """
    if isinstance(output, Mapping):
        return Form(dict(output))
    import pydantic

    try:
        adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(output)
        schema = adapter.json_schema()
    except pydantic.errors.PydanticUserError as error:
        raise ConfigError(f"no JSON Schema can be made of the output type ({error.code})") from None

    def read(value: Any) -> Any:  # noqa: ANN401 - of the caller's type
        try:
            return adapter.validate_json(json.dumps(value))
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None

    return Form(schema, read)


def shape(
    model: Model,
    context: Context,
    messages: Sequence[Message],
    form: Form,
    *,
    tools: Sequence[ToolSpec] = (),
    evidence: Sequence[Evidence] = (),
    adapter: str | None = None,
    votes: Votes | None = None,
) -> tuple[Any, Usage]:
    """Return the last answer of a conversation in another form, and what it took.

    Args:
        model: Writes it.
        context: Fits the conversation into the window.
        messages: The whole conversation, up to its answer.
        form: The form.
        tools: The pinned ones: they stay where they stood, so that the conversation is not read anew; none is called.
        evidence: The passages the answer rests on.
        adapter: See `Sampling.adapter`.
        votes: How often it is written again where it holds what nobody spoke of; absent means never.

    Raises:
        OutputError: What the model wrote is not of the form, twice.
        ContextOverflowError: The form is too large for the window.
        EngineError: The model's worker failed.
    """
    asked, usage = [*messages, Message.user(prompt.as_json(form.shown()))], Usage()
    sampling = Sampling(max_tokens=context.budget.reply, adapter=adapter)
    for _ in range(TRIES):
        window = context.fit(asked, tools=tools, evidence=evidence)
        completion = finish(
            model.complete(window.messages, tools=window.tools, schema=form.bound(), sampling=sampling)
        )
        usage = add_usage(usage, completion.usage)
        try:
            value = form.value(completion.text)
        except ValueError as error:
            wrong = prompt.as_json_again(str(error))
        else:
            read = _read(window)
            if votes is None or not (doubtful := form.unspoken(completion.text, read)):
                return value, usage
            further = _further(model, window, form, sampling, votes)
            usage = reduce(add_usage, (each.usage for each in further), usage)
            texts = [
                completion.text,
                *form.mended(completion.text, doubtful, [each.text for each in further]),
            ]
            return form.value(min(texts, key=lambda text: len(form.unspoken(text, read)))), usage
        asked += [Message.assistant(completion.text, window.labels), Message.user(wrong)]
    raise OutputError(
        f"the model did not bring its answer into the form asked for, in {TRIES} tries",
        hint="ask for fewer fields, allow more tokens, or take a larger model",
    )


def _read(window: Window) -> list[Message]:
    """Return what was said, without the request for JSON and its description of the fields."""
    *said, last = window.messages
    passages, _ = prompt.unquestioned(last.text)
    return [*said, replace(last, text=passages)]


def _further(model: Model, window: Window, form: Form, sampling: Sampling, votes: Votes) -> list[Completion]:
    """Return what the model writes at a temperature."""

    def again(number: int) -> Completion | None:
        drawn = votes.drawn(sampling, number)
        return tried(model.complete(window.messages, tools=window.tools, schema=form.bound(), sampling=drawn))

    with ThreadPoolExecutor(votes.count or 1) as pool:
        return list(filter(None, pool.map(again, range(1, votes.count + 1))))
