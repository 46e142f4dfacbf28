"""The levers of one request: ranges are held, the chain takes every one, and what was promised to repeat repeats."""

from __future__ import annotations

import math
import threading
from dataclasses import fields, replace
from typing import Any

import pytest

from agentkit.messages import Message, ToolSpec
from agentkit.models.base import REQUIRED, Sampling, StopReason, finish
from agentkit.models.engine import Engine
from agentkit.models.engine_wire import read_sampling, write_sampling

QUESTION = [Message.user("Tell me about a fox.")]
WHOLE = [each.name for each in fields(Sampling) if type(each.default) is int]
DRAWN = Sampling(temperature=0.9, seed=11, max_tokens=12)


@pytest.mark.parametrize(
    ("lever", "value"),
    [
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("top_p", 0.0),
        ("typical_p", 1.1),
        ("xtc_probability", 2.0),
        ("xtc_threshold", 0.6),
        ("frequency_penalty", -2.1),
        ("presence_penalty", 3.0),
        ("dry_multiplier", -1.0),
        ("dry_base", 0.5),
        ("dry_allowed_length", 0),
        ("mirostat", 3),
        ("mirostat", 1.5),
        ("mirostat_eta", 0.0),
        ("top_k", 2.5),
        ("penalty_tokens", -1),
        ("alternatives", 21),
        ("logit_bias", ((3, 101.0),)),
        ("logit_bias", ((-1, 1.0),)),
        ("logit_bias", ((1, 1.0),) * 1025),
        ("logit_bias", ((1.5, 1.0),)),
        ("logit_bias", ((1.0, 1.0),)),
        ("temperature", "warm"),
        ("temperature", True),
        *((lever, value) for lever in WHOLE for value in (40.0, 1.0, True, "1")),
        ("stop", "abc"),
        ("stop", (5,)),
        ("reproducible", "no"),
        ("grammar", 1),
    ],
)
def test_a_value_out_of_its_range_is_refused_by_name(lever: str, value: Any) -> None:
    with pytest.raises(ValueError, match=lever):
        Sampling(**{lever: value})


def test_every_lever_crosses_to_the_worker() -> None:
    given = Sampling(temperature=1, logit_bias=((5, -2.0),), stop=("x",), mirostat=2, reproducible=True)
    assert read_sampling(write_sampling(given)) == given
    assert read_sampling({"seed": 3}, Sampling(repeat_penalty=1.1)) == Sampling(repeat_penalty=1.1, seed=3)
    with pytest.raises(TypeError):
        read_sampling({"warmth": 1})
    with pytest.raises(ValueError, match="logit_bias"):
        read_sampling({"logit_bias": [[1.5, 1.0]]})
    assert len(WHOLE) == 8


LEVERS: list[dict[str, Any]] = [
    {"top_k": 5},
    {"top_p": 0.5},
    {"min_p": 0.2},
    {"typical_p": 0.5},
    {"xtc_probability": 1.0, "xtc_threshold": 0.05},
    {"repeat_penalty": 1.5},
    {"frequency_penalty": 2.0, "presence_penalty": 2.0},
    {"dry_multiplier": 2.0},
    {"mirostat": 1},
    {"mirostat": 2, "mirostat_tau": 2.0},
]


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize("lever", LEVERS, ids=lambda lever: next(iter(lever)))
def test_a_lever_goes_with_an_answer_bound_or_free(
    engine: Engine, tools: tuple[ToolSpec, ...], lever: dict[str, Any]
) -> None:
    free = finish(engine.complete(QUESTION, sampling=replace(DRAWN, **lever)))
    assert free.text
    assert free.stop in (StopReason.LENGTH, StopReason.END)
    bound = replace(DRAWN, max_tokens=60, **lever)
    assert finish(engine.complete(QUESTION, tools=tools, choice=REQUIRED, sampling=bound)).stop is not None


@pytest.mark.model
@pytest.mark.slow
def test_a_bias_forbids_and_forces(engine: Engine) -> None:
    plain = finish(engine.complete(QUESTION, sampling=Sampling(max_tokens=6, alternatives=2)))
    first = plain.signals[0].token
    banned = finish(engine.complete(QUESTION, sampling=Sampling(max_tokens=6, logit_bias=((first, -100.0),))))
    assert first not in {signal.token for signal in banned.signals}
    forced = finish(engine.complete(QUESTION, sampling=Sampling(max_tokens=3, logit_bias=((first, 100.0),))))
    assert [signal.token for signal in forced.signals] == [first] * 3


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize(
    "lever", [{"frequency_penalty": 2.0}, {"dry_multiplier": 5.0}], ids=["penalty", "dry"]
)
def test_what_was_written_counts_against_writing_it_again(engine: Engine, lever: dict[str, Any]) -> None:
    first = finish(engine.complete(QUESTION, sampling=Sampling(max_tokens=1))).signals[0].token
    biased = Sampling(max_tokens=30, logit_bias=((first, 30.0),))
    plain = finish(engine.complete(QUESTION, sampling=biased))
    assert {signal.token for signal in plain.signals} == {first}
    held = finish(engine.complete(QUESTION, sampling=replace(biased, **lever)))
    assert held.signals[0].token == first
    assert len({signal.token for signal in held.signals}) > 1


@pytest.mark.model
@pytest.mark.slow
def test_signals_say_what_the_model_thought(engine: Engine, tools: tuple[ToolSpec, ...]) -> None:
    free = finish(engine.complete(QUESTION, sampling=Sampling(max_tokens=8, alternatives=3)))
    assert len(free.signals) == free.usage.completion_tokens
    assert "".join(signal.text for signal in free.signals) == free.text
    for signal in free.signals:
        text, log_probability = signal.alternatives[0]
        assert text == signal.text
        assert log_probability == pytest.approx(signal.log_probability, abs=1e-4)
        assert len(signal.alternatives) == 3
        assert signal.removed == 0
        assert 0 < signal.entropy < math.log(49152)
    bound = finish(engine.complete(QUESTION, tools=tools, choice=REQUIRED, sampling=Sampling(max_tokens=80)))
    assert 0 < len(bound.signals) < bound.usage.completion_tokens  # what is forced has no choice to tell of
    removed = [signal.removed for signal in bound.signals if signal.removed is not None]
    assert removed
    assert all(0 <= each <= 1 for each in removed)


@pytest.mark.model
@pytest.mark.slow
def test_a_reproducible_answer_repeats_bit_for_bit_whatever_else_goes_on(engine: Engine) -> None:
    asked = Sampling(temperature=0.8, seed=3, max_tokens=16, alternatives=2, reproducible=True)
    alone = finish(engine.complete(QUESTION, sampling=asked))
    other = engine.complete([Message.user("Write a long story.")], sampling=Sampling(max_tokens=30))
    thread = threading.Thread(target=lambda: finish(other))
    thread.start()
    beside = finish(engine.complete(QUESTION, sampling=asked))
    thread.join()
    again = finish(engine.complete(QUESTION, sampling=asked))
    assert alone.usage.reused_tokens == beside.usage.reused_tokens == again.usage.reused_tokens == 0
    assert alone.text == beside.text == again.text
    assert alone.signals == beside.signals == again.signals  # to the last bit of every probability


@pytest.mark.model
@pytest.mark.slow
def test_a_reproducible_answer_can_be_cancelled(engine: Engine) -> None:
    stream = engine.complete(QUESTION, sampling=Sampling(max_tokens=300, reproducible=True))
    next(stream)
    stream.cancel()
    assert finish(stream).stop is StopReason.CANCELLED
    assert finish(engine.complete(QUESTION, sampling=Sampling(max_tokens=2))).text


def test_every_lever_has_a_range_or_is_a_switch() -> None:
    free = {"stop", "reproducible", "logit_bias", "grammar", "adapter"}
    for each in fields(Sampling):
        if each.name not in free:
            with pytest.raises(ValueError, match=each.name):
                Sampling(**{each.name: -5})  # type: ignore[arg-type]
