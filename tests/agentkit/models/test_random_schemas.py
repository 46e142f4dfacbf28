"""Whatever the schema and however wildly the model is sampled, a call is valid or a typed refusal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from llguidance import LLTokenizer

from agentkit.errors import AgentkitError, ConfigError
from agentkit.messages import Message, ToolSpec
from agentkit.models.base import CONSTRAINTS, REQUIRED, Sampling, StopReason
from agentkit.models.formats.families import FORMATS
from agentkit.models.formats.fitting import Fitting
from agentkit.models.formats.message import MessageShape
from agentkit.models.gbnf_message import message_rules
from agentkit.models.guidance import Guidance
from agentkit.models.llama import Settings
from agentkit.models.scheduler import Job
from agentkit.models.session import Request, Session
from agentkit.models.usable import refusal

pytestmark = [pytest.mark.model, pytest.mark.slow]
STREAMS = 8
NAMES = st.sampled_from(["city", "days", "a.b", "größe", 'q"uote', "back\\slash", "x y", "名前"]) | st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs"), max_codepoint=0x1FFFF),
    min_size=1,
    max_size=12,
)
TEXTS = st.text(st.characters(codec="utf-8", max_codepoint=0x1FFFF), max_size=8)
SMALL = st.integers(0, 12)
NUMBERS = st.integers(-1000, 1000) | st.decimals(-50, 50, places=2).map(float)
VALUES = TEXTS | st.integers(-99, 99) | st.booleans() | st.none() | st.lists(st.integers(0, 9), max_size=2)
PATTERNS = st.sampled_from(
    [r"^\d{4}-\d\d$", "^[a-z]+$", "b", r"^(yes|no|maybe)$", r"^\w+@\w+\.(com|org)$", "^[^\"]{2,5}$", "^é*$", r"^\s"]
)  # fmt: skip


def keywords(kind: str, **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"type": st.just(kind)}, optional=optional)


LEAVES = st.one_of(
    keywords("string", maxLength=SMALL, minLength=st.integers(0, 4)),
    keywords("string", pattern=PATTERNS, maxLength=SMALL),
    keywords("string", format=st.sampled_from(["date", "time", "uuid", "ipv4", "email", "unknown"])),
    keywords("integer", minimum=st.integers(-40, 40), maximum=st.integers(20, 1000), multipleOf=st.integers(1, 7)),
    keywords("number", minimum=NUMBERS, exclusiveMaximum=NUMBERS, multipleOf=st.sampled_from([0.5, 0.01, 3])),
    keywords("boolean"),
    keywords("null"),
    st.fixed_dictionaries({"enum": st.lists(VALUES, min_size=1, max_size=5)}),
    st.fixed_dictionaries({"const": VALUES}),
    st.sampled_from([{"type": ["string", "null"], "maxLength": 5}, {"$ref": "#/$defs/shared"}, {"type": "float"}]),
)  # fmt: skip


def objects(inner: st.SearchStrategy[Any], least: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    @st.composite
    def draw(choose: st.DrawFn) -> dict[str, Any]:
        properties = choose(st.dictionaries(NAMES, inner, min_size=least, max_size=4))
        required = [name for name in properties if choose(st.booleans())]
        closing = choose(st.sampled_from([{}, {"additionalProperties": False}]))
        return {"type": "object", "properties": properties, "required": required, **closing}

    return draw()


def combined(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        keywords("array", items=inner, minItems=st.integers(0, 2), maxItems=st.integers(1, 4),
                 uniqueItems=st.booleans()),
        st.fixed_dictionaries({"type": st.just("array"), "prefixItems": lists, "items": st.just(False)}),
        objects(inner),
        st.fixed_dictionaries({"anyOf": lists}),
        st.fixed_dictionaries({"oneOf": lists}),
        st.fixed_dictionaries({"allOf": st.lists(inner, min_size=1, max_size=2)}),
    )  # fmt: skip


SHARED = {"shared": {"type": "string", "enum": ["north", "south"]}}
PARAMETERS = objects(st.recursive(LEAVES, combined, max_leaves=4), least=1).map(
    lambda it: {**it, "$defs": SHARED}
)


def divides(_: Any, step: float, value: Any, __: Any) -> Iterator[jsonschema.ValidationError]:
    """Say whether a number is a multiple of another as both are written: to floats, 1.12 is no multiple of 0.01."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and Fraction(repr(value)) % Fraction(repr(step)):
        yield jsonschema.ValidationError(f"{value} is not a multiple of {step}")


Exact = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"multipleOf": divides})


@pytest.fixture(scope="module", params=CONSTRAINTS)
def session(smollm2_path: Path, request: pytest.FixtureRequest) -> Session:
    settings = Settings(context_tokens=1024, cache_tokens=8192, streams=STREAMS, constraint=request.param)
    return Session(smollm2_path, settings, adapters={}, beat=lambda: None)


def sample(session: Session, schemas: list[dict[str, Any]], seed: int) -> Counter[str]:
    """Let the model call a tool of each schema, all at once; return how often what came of it."""
    counts: Counter[str] = Counter()
    started: list[tuple[Request, ToolSpec]] = []
    failed: list[AgentkitError] = []
    for index, schema in enumerate(schemas):
        tool = ToolSpec(f"tool.{index}", "Do something.", schema)
        sampling = Sampling(temperature=(0.8, 1.5, 3.0)[index % 3], seed=seed + index, max_tokens=96)
        try:
            request = session.prepare(
                [Message.user("Call the tool with something.")],
                tools=[tool], choice=REQUIRED, sampling=sampling, schema=None, show=lambda _: None,
            )  # fmt: skip
        except ConfigError:
            counts["refused at once"] += 1
            assert refusal(schema) is not None
            continue
        assert refusal(schema) is None
        session.scheduler.submit(
            Job(request.generation, lambda error: failed.append(error) if error else None)
        )
        started.append((request, tool))
    while session.scheduler.busy:
        session.scheduler.step(lambda: False)
    assert not failed
    for request, tool in started:
        outcome = session.conclude(request)
        if outcome.refused is not None:
            cut = outcome.stop is StopReason.LENGTH
            counts["cut off" if cut else "refused after"] += 1
            continue
        assert outcome.calls
        for call in outcome.calls:
            assert call.name == tool.name
            assert set(call.arguments) <= set(tool.parameters["properties"])
            standard = {**tool.parameters, "properties": {
                name: {"type": "number"} if each == {"type": "float"} else each
                for name, each in tool.parameters["properties"].items()}}  # fmt: skip
            if '"float"' not in repr(standard) and "'float'" not in repr(standard):
                Exact(standard).validate(call.arguments)
        counts["valid"] += 1
    return counts


def run(session: Session, batches: int, capsys: pytest.CaptureFixture[str]) -> None:
    counts: Counter[str] = Counter()

    @settings(
        max_examples=batches,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(schemas=st.lists(PARAMETERS, min_size=STREAMS, max_size=STREAMS), seed=st.integers(0, 2**31))
    def sampled(schemas: list[dict[str, Any]], seed: int) -> None:
        counts.update(sample(session, schemas, seed))

    sampled()
    with capsys.disabled():
        kind = session.describe()["constraint"]
        print(
            f"\n{kind}: {counts.total()} schemas: {', '.join(f'{n} {what}' for what, n in counts.most_common())}"
        )
    assert counts["valid"] > counts.total() / 2
    assert counts["refused after"] <= counts.total() / 10


@pytest.mark.parametrize("name", ["smollm2", "qwen-coder", "functiongemma", "lfm2"])
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(schema=PARAMETERS)
def test_what_is_not_refused_can_be_bound_by_either_constraint(name: str, schema: dict[str, Any]) -> None:
    """One family of each syntax that writes values in its own way; no model takes part."""
    if refusal(schema) is not None:
        return
    tools = Fitting(FORMATS[name], [ToolSpec("tool", "Do something.", schema)]).shown
    shape = MessageShape(FORMATS[name], tools, most=1, free=False)
    Guidance(LLTokenizer("byte"), 256, {}).message(shape)
    message_rules(shape, {})


@pytest.mark.timeout(900)
def test_random_schemas_give_valid_calls(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    run(session, 3, capsys)


@pytest.mark.long
@pytest.mark.timeout(3 * 3600)
def test_two_thousand_random_schemas_give_valid_calls(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    run(session, 2000 // STREAMS, capsys)
