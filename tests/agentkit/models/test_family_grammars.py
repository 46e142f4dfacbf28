"""Each family's grammar takes what the family writes and nothing else, its marks spelt out or tokens of their own."""

from __future__ import annotations

import copy
import random
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import pytest

from agentkit.messages import ToolCall, ToolSpec
from agentkit.models.base import AUTO, CONSTRAINTS, REQUIRED, Refusal, ToolChoice
from agentkit.models.formats.families import FORMATS
from agentkit.models.formats.fitting import Fitting
from agentkit.models.formats.marks import cut
from agentkit.models.formats.tool_format import Envelope, ToolFormat
from agentkit.models.grammar import MAX_CALLS, Backend, Constraint, backend_for, bind_tools
from agentkit.models.llama import LlamaModel, Settings
from agentkit.models.validate import read_calls
from agentkit.models.vocabulary import Vocabulary

pytestmark = [pytest.mark.model, pytest.mark.slow]
EVERY = pytest.mark.parametrize("tool_format", FORMATS.values(), ids=FORMATS)
SPELT = pytest.mark.parametrize("spelt", [True, False], ids=["spelt out", "tokens"])
MARK = re.compile(r"<\|?[^<>\n=]+\|?>|\[/?[A-Z_]+\]")
ODD = ToolSpec(
    'say "hi"\\ to · é.é',
    "Of every kind.",
    {
        "type": "object",
        "properties": {
            "text": {"type": "string", "maxLength": 30},
            "of two": {"enum": ["a\n</parameter>", "<escape>", "it's"]},
            "flag": {"type": ["boolean", "null"]},
            "either": {"anyOf": [{"type": "string", "maxLength": 5}, {"type": "integer"}]},
            "list": {"type": "array", "items": {"type": "number"}, "maxItems": 3},
            "deep": {
                "type": "object",
                "properties": {"b": {"type": "string", "maxLength": 9}, "a": {"type": "boolean"}},
                "required": ["a"],
                "additionalProperties": False,
            },
            "tree": {"$ref": "#/$defs/tree"},
            "any": {},
        },
        "required": ["text", "of two", "tree"],
        "additionalProperties": False,
        "$defs": {
            "tree": {
                "type": "object",
                "properties": {"next": {"$ref": "#/$defs/tree"}},
                "additionalProperties": False,
            }
        },
    },
)
ODD_CALL = ToolCall(
    "",
    ODD.name,
    {
        "text": " two\nlines <b> ",
        "of two": "a\n</parameter>",
        "flag": None,
        "either": "3",
        "list": [1, -2.5],
        "deep": {"b": 'q"\\', "a": True},
        "tree": {"next": {}},
        "any": [True, {"x": None}],
    },
)
LOOSE = ToolSpec(
    "loose",
    "Takes one thing or another.",
    {
        "type": "object",
        "anyOf": [
            {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"properties": {"b": {"type": "string"}}, "required": ["b"]},
        ],
    },
)


@pytest.fixture(scope="module")
def model(smollm2_path: Path) -> Iterator[LlamaModel]:
    model = LlamaModel(smollm2_path, Settings(context_tokens=256))
    yield model
    model.close()


@pytest.fixture(scope="module")
def plain(model: LlamaModel) -> Vocabulary:
    return Vocabulary(model)


@pytest.fixture(scope="module")
def guided(plain: Vocabulary) -> Backend:
    return backend_for(plain)


@pytest.fixture(scope="module", params=CONSTRAINTS)
def backend(plain: Vocabulary, request: pytest.FixtureRequest) -> Backend:
    return backend_for(plain, request.param)


class Words:
    """A vocabulary in which a family's marks are spelt out, or spare control tokens stand for them."""

    def __init__(self, plain: Vocabulary, backend: Backend, marks: Sequence[str] = ()) -> None:
        spare = [token for token in plain.special.values() if token not in plain.ends]
        found = {mark: None for text in marks for mark in MARK.findall(text)}
        self.special = dict(zip(found, spare, strict=False)) if marks else {}
        self.spelling = {token: mark for mark, token in self.special.items()}
        self.model = plain.model
        self.backend = copy.copy(backend)
        vars(self.backend).update(
            _special=self.special, _kept=OrderedDict()
        )  # as in a model that is not here

    def tokens(self, text: str) -> list[int]:
        made: list[int] = []
        for piece, token in cut(text, self.special):
            made += self.model.tokenise(piece) if token is None else [token]
        return made

    def text(self, tokens: Sequence[int]) -> str:
        return b"".join(
            self.spelling[token].encode() if token in self.spelling else self.model.piece(token)
            for token in tokens
        ).decode()


def words_of(plain: Vocabulary, backend: Backend, tool_format: ToolFormat, spelt: bool) -> Words:
    if spelt:
        return Words(plain, backend)
    thoughts = tool_format.envelope.marks if tool_format.envelope else ()
    return Words(plain, backend, (*tool_format.marks, *thoughts))


def accepts(constraint: Constraint, tokens: Sequence[int]) -> bool:
    for token in tokens:
        if not constraint.allowed(token):
            return False
        constraint.commit(token)
    return True


def whole(model: LlamaModel, constraint: Constraint, tokens: Sequence[int]) -> bool:
    return accepts(constraint, tokens) and (constraint.done or constraint.allowed(model.eos))


def wander(
    model: LlamaModel, constraint: Constraint, chance: random.Random, limit: int = 300
) -> list[int] | None:
    """Take random tokens the grammar allows; return them once the text is whole."""
    taken: list[int] = []
    for _ in range(limit):
        taken += constraint.forced()
        if constraint.done:
            return taken
        allowed = constraint.mask().nonzero()[0]
        token = int(chance.choice(allowed))
        if model.ends(token):
            return taken
        constraint.commit(token)
        taken.append(token)
    return None


@SPELT
@EVERY
def test_random_tokens_make_valid_calls(
    model: LlamaModel,
    plain: Vocabulary,
    guided: Backend,
    tool_format: ToolFormat,
    tools: tuple[ToolSpec, ...],
    spelt: bool,
) -> None:
    words = words_of(plain, guided, tool_format, spelt)
    offered = (*tools, ODD, LOOSE)
    calls = 0
    for seed in range(8):
        constraint = bind_tools(words.backend, tool_format, offered, REQUIRED)
        taken = wander(model, constraint, random.Random(seed))
        if taken is None:
            continue
        read = read_calls(tool_format, words.text(taken), offered, b"")
        assert not isinstance(read, Refusal), (read, words.text(taken))
        assert 1 <= len(read) <= MAX_CALLS
        calls += len(read)
    assert calls >= 3


def messages(tool_format: ToolFormat, tools: Sequence[ToolSpec]) -> Iterator[tuple[list[ToolCall], str]]:
    """Yield calls of `tools`, and how a message with them is written."""
    weather = ToolCall("", "get_weather", {"city": "São Paulo", "days": 3})
    clock = ToolCall("", "clock.read", {"unit": "hour"})
    loose = ToolCall("", "loose", {"b": "x"})
    fitting = Fitting(tool_format, tools)
    for calls in ([weather], [clock], [ODD_CALL], [loose], [weather, clock, ODD_CALL, clock]):
        if len(calls) <= (tool_format.max_calls or MAX_CALLS):
            yield calls, tool_format.render_calls([fitting.show(call) for call in calls], fitting.shown)


@SPELT
@EVERY
def test_what_render_writes_is_accepted_and_read(
    model: LlamaModel,
    plain: Vocabulary,
    backend: Backend,
    tool_format: ToolFormat,
    tools: tuple[ToolSpec, ...],
    spelt: bool,
) -> None:
    words = words_of(plain, backend, tool_format, spelt)
    offered = (*tools, ODD, LOOSE)
    for calls, text in messages(tool_format, offered):
        if any(mark in call.arguments.get("of two", "") for mark in words.special for call in calls):
            continue
        tokens = words.tokens(text)
        assert whole(model, bind_tools(words.backend, tool_format, offered, REQUIRED), tokens), text
        assert whole(model, bind_tools(words.backend, tool_format, offered, AUTO), tokens), text
        read = read_calls(tool_format, text, offered, b"")
        assert not isinstance(read, Refusal)
        assert [(call.name, call.arguments) for call in read] == [
            (call.name, call.arguments) for call in calls
        ]


@EVERY
def test_mutations_are_refused_or_are_valid_calls(
    model: LlamaModel,
    plain: Vocabulary,
    guided: Backend,
    tool_format: ToolFormat,
    tools: tuple[ToolSpec, ...],
) -> None:
    words = words_of(plain, guided, tool_format, spelt=True)
    chance = random.Random(7)
    refused = 0
    for _, text in islice(messages(tool_format, tools), 2):
        for _ in range(40):
            at, length = chance.randrange(len(text)), chance.randrange(3)
            changed = (
                text[:at] + chance.choice(["", "x", '"', "}", "\n", " ", "<", "]"]) + text[at + length :]
            )
            constraint = bind_tools(words.backend, tool_format, tools, REQUIRED)
            if whole(model, constraint, words.tokens(changed)):
                assert not isinstance(read_calls(tool_format, changed, tools, b""), Refusal), changed
            else:
                refused += 1
    assert refused >= 20


@SPELT
@EVERY
def test_text_may_stand_before_calls_or_instead_of_them(
    model: LlamaModel,
    plain: Vocabulary,
    backend: Backend,
    tool_format: ToolFormat,
    tools: tuple[ToolSpec, ...],
    spelt: bool,
) -> None:
    words = words_of(plain, backend, tool_format, spelt)
    framed = tool_format.envelope
    answer = (framed.answer_opening if framed else "") + 'It is <b>5 €</b>, {"no": "call"} 😀'
    thought = f"{framed.thought_opening}Hm.{framed.thought_closing}" if framed else ""
    _, text = next(messages(tool_format, tools))

    def bound() -> Constraint:
        return bind_tools(words.backend, tool_format, tools, AUTO, envelope=framed)

    assert whole(model, bound(), words.tokens(answer))
    assert whole(model, bound(), words.tokens(thought + answer))
    assert whole(model, bound(), words.tokens(thought + text))
    if not tool_format.leading and not framed:
        assert whole(model, bound(), words.tokens("Sure. " + text))
        assert not accepts(bound(), words.tokens(text + " and more"))
    assert not whole(model, bound(), words.tokens(text[: len(tool_format.trigger) + 4]))


@EVERY
@pytest.mark.parametrize("spelt", [True, False], ids=["spelt out", "tokens"])
def test_thoughts_hold_no_calls(
    model: LlamaModel,
    plain: Vocabulary,
    backend: Backend,
    tool_format: ToolFormat,
    tools: tuple[ToolSpec, ...],
    spelt: bool,
) -> None:
    if tool_format.envelope is not None:
        pytest.skip("thinks in its own way")
    think = Envelope("<think>", "</think>")
    words = Words(plain, backend, () if spelt else (*tool_format.marks, *think.marks))
    _, text = next(messages(tool_format, tools))
    for thinking, start in ((False, "<think>Hm. "), (True, "Hm. ")):
        for inside, behind, fits in (
            ("", "An answer.", True),
            ("", text, True),
            (tool_format.trigger if spelt else "", "", True),
        ):
            constraint = bind_tools(
                words.backend, tool_format, tools, AUTO, envelope=think, thinking=thinking
            )
            assert whole(model, constraint, words.tokens(f"{start}{inside}</think>{behind}")) is fits
        constraint = bind_tools(words.backend, tool_format, tools, AUTO, envelope=think, thinking=thinking)
        assert not whole(model, constraint, words.tokens(start + "half a thought"))


@EVERY
def test_the_letters_of_a_mark_are_text_where_it_is_a_token(
    model: LlamaModel,
    plain: Vocabulary,
    backend: Backend,
    tool_format: ToolFormat,
    tools: tuple[ToolSpec, ...],
) -> None:
    words = words_of(plain, backend, tool_format, spelt=False)
    if not any(mark in tool_format.trigger for mark in words.special) or tool_format.envelope:
        pytest.skip("its trigger is no token")
    constraint = bind_tools(words.backend, tool_format, tools, AUTO)
    assert whole(model, constraint, model.tokenise(f"Write {tool_format.trigger} and then JSON."))


@EVERY
def test_one_named_tool_is_called_once_by_whatever_name_it_goes(
    model: LlamaModel,
    plain: Vocabulary,
    guided: Backend,
    tool_format: ToolFormat,
    tools: tuple[ToolSpec, ...],
) -> None:
    offered = (*tools, ODD)
    constraint = bind_tools(guided, tool_format, offered, ToolChoice.named(ODD.name))
    taken = wander(model, constraint, random.Random(3))
    if taken is not None:
        read = read_calls(tool_format, b"".join(map(model.piece, taken)).decode(), offered, b"")
        assert not isinstance(read, Refusal)
        assert [call.name for call in read] == [ODD.name]


def test_the_letters_that_end_a_text_cannot_stand_in_it(
    model: LlamaModel, plain: Vocabulary, backend: Backend
) -> None:
    tool = ToolSpec("f", "", {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]})
    tool_format = FORMATS["qwen-coder"]
    start, end = "<tool_call>\n<function=f>\n<parameter=a>\n", "\n</parameter>\n</function>\n</tool_call>"
    for inside, fits in (
        ("x", True),
        ("", True),
        ("\n", True),
        ("</parameter>", True),
        ("\n</parameter>\n", False),
    ):
        constraint = bind_tools(backend, tool_format, [tool], REQUIRED)
        assert accepts(constraint, model.tokenise(start + inside + end)) is fits
