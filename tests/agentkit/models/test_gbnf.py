"""The grammars written for llama.cpp say what the schema says, and llama.cpp reads them as they are meant."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.errors import ConfigError
from agentkit.messages import Message, ToolSpec
from agentkit.models.automaton import (
    Automaton,
    TooLargeError,
    complement,
    intersection,
    of_lengths,
    of_others,
    of_pattern,
)
from agentkit.models.base import REQUIRED, Sampling
from agentkit.models.engine import Engine
from agentkit.models.gbnf import MAX_RULES, Gbnf, Rules, Token
from agentkit.models.gbnf_backend import GbnfBackend, decoded, value_rules
from agentkit.models.gbnf_matcher import Matcher, only_character
from agentkit.models.gbnf_message import up_to
from agentkit.models.llama import LlamaModel, Settings
from agentkit.models.normalise import InvalidError, normalise
from agentkit.models.numerals import of_numbers, some_number
from agentkit.models.vocabulary import Vocabulary
from agentkit.spawn import LocalSpawner
from agentkit_tools.matching import found_in

WORDS = st.lists(st.text("ab<é", max_size=4), max_size=5)
TEXT = st.text('ab<é"\\', max_size=6)
PATTERNS = ("^a+b?$", "b", "^(ab|<)*$", "^[^a]{2,3}$", "é$", "^$")


@given(words=WORDS, text=TEXT)
def test_all_texts_but_these_words(words: list[str], text: str) -> None:
    assert of_others(words).accepts(text) is (text not in words)


@given(pattern=st.sampled_from(PATTERNS), text=TEXT, least=st.integers(0, 4), more=st.integers(0, 4))
def test_automata_follow_patterns_and_lengths(pattern: str, text: str, least: int, more: int) -> None:
    found, lengths = of_pattern(pattern), of_lengths(least, least + more)
    assert found.accepts(text) is found_in(pattern, text)
    assert complement(found).accepts(text) is not found_in(pattern, text)
    assert lengths.accepts(text) is (least <= len(text) <= least + more)
    assert intersection(found, lengths).accepts(text) is (found.accepts(text) and lengths.accepts(text))


@given(word=st.text("ab", min_size=1, max_size=5), text=st.text("abc", max_size=12))
def test_up_to_a_word_ends_where_it_is_first_read(word: str, text: str) -> None:
    assert up_to(word).accepts(text) is (text.find(word) == len(text) - len(word) and word in text)


BOUNDS = st.integers(-120, 120) | st.decimals(-9, 9, places=2).map(float)
FORMS = st.fixed_dictionaries(
    {},
    optional={
        "minimum": BOUNDS,
        "exclusiveMinimum": BOUNDS,
        "maximum": BOUNDS,
        "exclusiveMaximum": BOUNDS,
        "multipleOf": st.sampled_from([2, 3, 0.5, 0.01, 25]),
    },
)
_TESTS: dict[str, Any] = {
    "minimum": lambda value, bound: value >= bound,
    "exclusiveMinimum": lambda value, bound: value > bound,
    "maximum": lambda value, bound: value <= bound,
    "exclusiveMaximum": lambda value, bound: value < bound,
    "multipleOf": lambda value, bound: value % bound == 0,
}


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(form=FORMS, numbers=st.lists(st.integers(-130, 130) | st.decimals(-10, 10, places=2), max_size=12))
def test_numbers_keep_their_bounds_to_the_digit(form: dict[str, Any], numbers: list[int | Decimal]) -> None:
    whole, any_number = of_numbers(form, whole=True), of_numbers(form, whole=False)
    for number in numbers:
        value = Decimal(number).normalize() + 0  # no -0
        good = all(_TESTS[key](value, Decimal(str(bound))) for key, bound in form.items())
        text = format(value, "f")
        assert any_number.accepts(text) is good
        assert whole.accepts(text) is (good and value == value.to_integral_value())


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(form=FORMS, whole=st.booleans())
def test_bounds_that_no_number_keeps_are_known_without_looking_for_one(
    form: dict[str, Any], whole: bool
) -> None:
    assert some_number(form, whole=whole) is not of_numbers(form, whole=whole).empty


def test_what_has_no_end_is_no_grammar_and_leads_nowhere() -> None:
    rules = Rules()
    endless = rules.reserve()
    rules.define(endless, ("a", endless))
    start = rules.add((endless,), ("b",))
    grammar = rules.finish(start)
    assert grammar is not None
    assert grammar.text().count("::=") == 2
    assert only_character(Matcher(grammar).start) == "b"
    assert Rules.finish(rules, endless) is None


def test_words_that_begin_alike_are_one_place_to_be() -> None:
    rules = Rules()
    grammar = rules.finish(rules.words((word, ()) for word in ("get_a", "get_b", "get", "got", "")))
    assert grammar is not None
    matcher = Matcher(grammar)
    assert len(matcher.read(matcher.start, "g")) == 2
    assert {w for w in ("get_a", "get_b", "get", "got", "", "g", "get_") if None in matcher.read(matcher.start, w)} == {
        "get_a", "get_b", "get", "got", ""}  # fmt: skip


def test_a_grammar_that_grows_without_end_is_refused() -> None:
    rules = Rules()
    with pytest.raises(ConfigError, match=f"more than {MAX_RULES} rules"):
        for _ in range(MAX_RULES + 1):
            rules.reserve()
    with pytest.raises(TooLargeError):
        of_lengths(0, 100_000)


def test_names_quotes_and_controls_are_written_so_that_llama_cpp_reads_them() -> None:
    alternative = ('a"]\\^-\x00\n\x7fé🦊', ((0x41, 0x5A), (0x5D, 0x5D)), Token(7))
    assert Gbnf(((alternative,),), 0).text() == (
        "root ::= r0\n"
        r'r0 ::= "a\x22\x5D\x5C\x5E\x2D\x00\x0A\x7F\xE9\U0001F98A" [A-Z\x5D] <[7]>' + "\n"
    )


@pytest.mark.parametrize(
    ("pending", "piece", "read"),
    [
        (b"", b"ab", ("ab", b"")),
        (b"", b"a\xc3", ("a", b"\xc3")),
        (b"\xc3", b"\xa9b", ("éb", b"")),
        (b"", b"\xa9", None),
        (b"\xe0", b"\x82", None),
        (b"", b"\xc0", None),
    ],
)
def test_bytes_become_characters_or_are_refused(pending: bytes, piece: bytes, read: object) -> None:
    assert decoded(pending, piece) == read


# --- beside llama.cpp -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(smollm2_path: Path) -> Iterator[LlamaModel]:
    model = LlamaModel(smollm2_path, Settings(context_tokens=256))
    yield model
    model.close()


SCHEMAS: list[Any] = [
    {"type": "object", "properties": {"a": {"type": "string", "maxLength": 70}, "b": {"type": "number", "minimum": 2}}},
    {"type": "string", "pattern": "^[a-z]{2,5}(é|b)+$"},
    {"type": "array", "items": {"enum": ["x", "xy", 5, None, ["é"]]}, "maxItems": 3},
    {},
    {"type": "object", "patternProperties": {"^x_": {"type": "integer"}}, "additionalProperties": {"type": "null"}},
    {"anyOf": [{"type": "integer", "multipleOf": 7}, {"type": "boolean"}, {"const": {"k": "v\n"}}]},
]  # fmt: skip


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize("schema", SCHEMAS)
def test_llama_cpp_and_our_matcher_agree_on_every_token(model: LlamaModel, schema: Any) -> None:
    vocabulary = Vocabulary(model)
    normalised = normalise(schema)
    matcher = Matcher(value_rules(normalised.schema))
    constraint = GbnfBackend(vocabulary).value(normalised.schema)
    chance = random.Random(5)
    text, state, pending = b"", matcher.start, b""
    for _ in range(25):
        mask = constraint.mask()
        allowed: list[int] = mask.nonzero()[0].tolist()
        drawn = chance.sample(allowed, min(20, len(allowed)))
        for token in [*chance.sample(range(vocabulary.size), 60), *drawn]:
            read = None if token in vocabulary.specials else decoded(pending, vocabulary.pieces[token])
            ours = (
                read is not None and bool(matcher.read(state, read[0])) and (bool(read[0]) or bool(read[1]))
            )
            if read is not None and read[1]:
                continue  # a character that is not whole: llama.cpp looks whether any can come of it
            ours = None in state and not pending if model.ends(token) else ours
            assert mask[token] == constraint.allowed(token) == ours, vocabulary.pieces[token]
        token = chance.choice(allowed)
        if model.ends(token):
            break
        constraint.commit(token)
        read = decoded(pending, vocabulary.pieces[token])
        assert read is not None
        text, pending, state = text + vocabulary.pieces[token], read[1], matcher.read(state, read[0])
    if None in state and not pending:
        normalised.check(json.loads(text))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(value=VALUES)
def test_any_value_is_one_of_the_empty_schema_and_of_its_own_enum(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    for schema in ({}, {"enum": [value]}, {"const": value}):
        matcher = Matcher(value_rules(normalise(schema).schema))
        assert None in matcher.read(matcher.start, text)
    with pytest.raises(InvalidError):
        normalise({"enum": [value]}).check([value, value])


@pytest.mark.model
@pytest.mark.slow
def test_an_engine_binds_with_it_where_it_is_asked_to(
    smollm2_path: Path, tools: tuple[ToolSpec, ...]
) -> None:
    engine = Engine(smollm2_path, LocalSpawner(), context_tokens=1024, constraint="gbnf")
    try:
        assert engine.describe()["constraint"] == "gbnf"
        question = [Message.user("What will the weather be in Oslo for 3 days?")]
        for sampling in (
            Sampling(max_tokens=96),
            Sampling(temperature=1.5, seed=2, top_p=0.9, max_tokens=96),
        ):
            stream = engine.complete(question, tools=tools, choice=REQUIRED, sampling=sampling)
            with pytest.raises(StopIteration) as ended:
                while True:
                    next(stream)
            completion = ended.value.value
            assert completion.refused is None
            assert {call.name for call in completion.calls} <= {tool.name for tool in tools}
    finally:
        engine.close()
    with pytest.raises(ConfigError, match="there is no constraint 'outlines'"):
        Engine(smollm2_path, LocalSpawner(), constraint="outlines")


def test_an_automaton_of_nothing_is_empty() -> None:
    nothing = intersection(of_lengths(2, 2), of_lengths(3, 3))
    assert nothing.empty
    assert isinstance(nothing, Automaton)
