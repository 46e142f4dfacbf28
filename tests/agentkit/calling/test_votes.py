"""A doubtful call is asked for again, and what speaks least against counts."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from agentkit import prompt
from agentkit.calling.selection import Chosen
from agentkit.calling.votes import Settled, Votes, doubt, settle
from agentkit.errors import AgentkitError, BusyError, Cancelled, WorkerLostError
from agentkit.messages import Message, ToolCall, ToolSpec, Usage
from agentkit.models.base import (
    AUTO,
    REQUIRED,
    Completion,
    Refusal,
    Sampling,
    StopReason,
    Stream,
    TokenSignal,
    ToolChoice,
)

TOOL = ToolSpec("add", "Add.", {"type": "object", "properties": {"n": {"type": "integer"}}})
ASKED = ([Message.user("Add one, two, three, four or five.")], (TOOL,), AUTO, Sampling(seed=7))


def said(*numbers: int, sure: float = -0.1) -> Completion:
    calls = tuple(ToolCall(f"call_{n}", "add", {"n": n}) for n in numbers)
    signals = (TokenSignal(1, "a", -0.01, 0.1), TokenSignal(2, "b", sure, 0.5))
    return Completion("" if calls else "No.", calls, StopReason.END, Usage(10, 5), signals=signals)


def finished(completion: Completion) -> Stream:
    yield ""
    return completion


class Voices:
    """A model with one completion for each seed."""

    name, context_tokens = "voices", 2048

    def __init__(self, *completions: Completion) -> None:
        self._completions = completions
        self._lock = threading.Lock()
        self.asked: list[Sampling] = []

    def complete(self, messages: Sequence[Message], *, sampling: Sampling, **_: Any) -> Stream:
        with self._lock:
            self.asked.append(sampling)
        yield ""
        return self._completions[sampling.seed - 8]


def test_a_call_of_one_of_several_tools_alike_is_asked_back_for() -> None:
    voices: Any = Voices()
    request = "Add one, two, three, four or five."
    alike = Chosen((TOOL,), {}, undecided={"add": ("apples", "pears", "plums")})
    settled = settle(voices, *ASKED, said(1), Votes(0), request=request, chosen=alike)
    assert not settled.completion.calls
    assert settled.completion.text == "I still need to know: which one (apples, pears, plums)."
    wanted = (*ASKED[:2], REQUIRED, ASKED[3])
    assert settle(voices, *wanted, said(1), Votes(0), request=request, chosen=alike).completion.calls
    once_more = settle(
        voices, *ASKED, said(1), Votes(0), chosen=alike
    )  # one was made for the request already
    assert once_more.completion.calls


READY = Chosen((TOOL,), {}, ready="add")


@pytest.mark.parametrize(
    ("chosen", "request_", "second", "calls"),
    [
        (READY, "Add them.", said(1), 1),
        (Chosen((TOOL,), {}), "Add them.", said(1), 0),
        (READY, "", said(1), 0),  # some call was made for it already
        (READY, "Add them.", said(26), 0),  # nobody spoke of that, and the tool demands it
        (READY, "Add them.", said(), 0),
    ],
)
def test_where_the_nearest_tool_needs_nothing_it_is_called_and_nothing_asked(
    chosen: Chosen, request_: str, second: Completion, calls: int
) -> None:
    voices: Any = Voices(said(), second)
    voices.complete = lambda *_, choice, **__: finished(second if choice.name == "add" else said())
    needs = replace(TOOL, parameters={**TOOL.parameters, "required": ["n"]})
    asked = (ASKED[0], (needs,), AUTO, ASKED[3])
    back = replace(said(), text="Please tell me: what to add.")
    settled = settle(voices, *asked, back, Votes(0), request=request_, chosen=chosen)
    assert len(settled.completion.calls) == calls
    assert calls or settled.completion.text == back.text


@pytest.mark.parametrize("text", [prompt.UNABLE, "Please tell me: what to add."])
def test_where_the_request_names_what_a_tool_reads_it_is_read_and_not_declined(text: str) -> None:
    voices: Any = Voices()
    voices.complete = lambda *_, choice, **__: finished(said(1) if choice.name == "add" else said())
    helpless, reads = replace(said(), text=text), Chosen((TOOL,), {}, reads="add")
    settled = settle(voices, *ASKED, helpless, Votes(0), request="What is in 1.txt?", chosen=reads)
    assert len(settled.completion.calls) == 1
    pays = ToolSpec("pay", "Pay.", {"type": "object", "properties": {"amount": {"type": "string"}}})
    misled = replace(said(), text="", calls=(ToolCall("call_9", "pay", {"amount": "1.txt"}),))
    asked = (ASKED[0], (TOOL, pays), *ASKED[2:])
    read = settle(
        voices, *asked, misled, Votes(0), request="How much does it cost, says 1.txt?", chosen=reads
    )
    assert [call.name for call in read.completion.calls] == ["add"]
    other = replace(helpless, text="It is green.")
    assert settle(voices, *ASKED, other, Votes(0), request="What is in it?", chosen=reads).completion == other


@pytest.mark.parametrize(
    ("first", "others", "wins"),
    [
        (said(1, sure=-2.0), (said(2), said(2), said(3), said(2)), [2]),
        (said(1, sure=-2.0), (said(2), said(3), said(4), said(5)), [1]),
        (said(1, sure=-2.0), (said(2), said(2), said(1), said(4)), [1]),
        (said(1, sure=-2.0), (said(1, 2), said(1, 2), said(3), said(4)), [1, 2]),
        (said(1, sure=-2.0), (said(), said(), said(), said(4)), [1]),
    ],
)
def test_what_most_say_stands_and_the_first_wins_a_tie(
    first: Completion, others: Sequence[Completion], wins: list[int]
) -> None:
    voices: Any = Voices(*others)
    settled = settle(voices, *ASKED, first, Votes())
    assert [call.arguments["n"] for call in settled.completion.calls] == wins
    assert settled.voices == 5
    assert (settled.completion.usage.prompt_tokens, settled.completion.usage.completion_tokens) == (50, 25)
    assert sorted(each.seed for each in voices.asked) == [8, 9, 10, 11]
    assert {each.temperature for each in voices.asked} == {0.7}


@pytest.mark.parametrize("first", [said(1), said(sure=-3.0)])
def test_what_is_sure_or_no_call_is_not_asked_for_again(first: Completion) -> None:
    voices: Any = Voices()
    assert settle(voices, *ASKED, first, Votes()) == Settled(first)
    assert not voices.asked


def test_fewer_faults_count_before_more_voices() -> None:
    voices: Any = Voices(said(1, 4), said(1, 4), said(1, 2), said(1, 4))
    asked = "Add 1 and 2."
    settled = settle(voices, [Message.user(asked)], *ASKED[1:], said(1, 4), Votes(), request=asked)
    assert [call.arguments["n"] for call in settled.completion.calls] == [1, 2]


def test_a_request_for_several_things_is_also_asked_one_by_one() -> None:
    class Parts(Voices):
        def complete(self, messages: Sequence[Message], *, sampling: Sampling, **rest: Any) -> Stream:
            if sampling.temperature:
                return super().complete(messages, sampling=sampling, **rest)
            return one_number(messages[-1].text.split("Question: ")[1])

    def one_number(text: str) -> Stream:
        yield ""
        return said(26 if "26" in text else 23)

    asked = "Add the number 26 to it. Also add the number 23."
    voices: Any = Parts(said(26), said(26), said(26), said(26))
    framed = [Message.user(f"Passages: 7\n\nQuestion: {asked}")]
    settled = settle(voices, framed, *ASKED[1:], said(26), Votes(), request=asked)
    assert [call.arguments["n"] for call in settled.completion.calls] == [26, 23]
    assert (settled.voices, settled.completion.usage.completion_tokens) == (6, 35)


def test_what_cannot_be_read_is_asked_for_again_and_stays_refused_where_nothing_better_comes() -> None:
    broken = replace(said(), refused=Refusal("cut off", ()))
    better: Any = Voices(broken, broken, said(3), broken)
    assert settle(better, *ASKED, broken, Votes()).completion.calls == said(3).calls
    no_better: Any = Voices(broken, broken, broken, broken)
    settled = settle(no_better, *ASKED, broken, Votes())
    assert (settled.completion.refused, settled.voices) == (broken.refused, 5)


def test_what_nobody_said_is_left_out_without_asking_where_the_rest_of_the_calls_is_the_same() -> None:
    optional = ToolSpec(
        "add", "Add.", {"type": "object", "properties": {"n": {}, "m": {}}, "required": ["n"]}
    )
    call = ToolCall("call_1", "add", {"n": 1, "m": 9})
    first = replace(said(1), calls=(call, replace(call, id="call_2")))
    voices: Any = Voices(first, first, first, first)
    settled = settle(voices, [Message.user("Add 1.")], (optional,), AUTO, Sampling(seed=7), first, Votes())
    assert [each.arguments for each in settled.completion.calls] == [{"n": 1}]
    assert settled.dropped == ("add.m", "add.m", "add")


def test_without_a_further_draw_what_nobody_said_is_left_out_all_the_same() -> None:
    optional = replace(
        TOOL, parameters={**TOOL.parameters, "properties": {"n": {}, "m": {"type": "integer"}}}
    )
    first = replace(said(1), calls=(ToolCall("c", "add", {"n": 1, "m": 9}),))
    voices: Any = Voices()
    settled = settle(voices, [Message.user("Add 1.")], (optional,), AUTO, Sampling(seed=7), first, Votes(0))
    assert [each.arguments for each in settled.completion.calls] == [{"n": 1}]
    assert (settled.voices, voices.asked) == (1, [])


@pytest.mark.parametrize("choice", [AUTO, REQUIRED, ToolChoice.named("add")])
@pytest.mark.parametrize("count", [0, 4])
def test_a_call_without_what_it_needs_is_a_question_unless_a_call_is_demanded(
    choice: ToolChoice, count: int
) -> None:
    needed = {"n": {"type": "integer", "description": "First number."}, "m": {"type": "integer"}}
    tool = replace(TOOL, parameters={"type": "object", "properties": needed, "required": ["n", "m"]})
    first = replace(said(1), calls=(ToolCall("c", "add", {"n": 1, "m": 9}),))
    asked = "Add 1."
    voices: Any = Voices(*[first] * count)
    given = (voices, [Message.user(asked)], (tool,), choice, Sampling(seed=7), first, Votes(count))
    settled = settle(*given, request=asked)
    if choice == AUTO:
        assert (settled.completion.text, settled.completion.calls) == (prompt.still_needed(["m"]), ())
    else:
        assert settled.completion.calls == first.calls
    assert settle(*given, harmless=frozenset({"add"})).completion.calls == first.calls
    assert settled.voices == count + 1


def test_doubt_is_the_least_likely_token() -> None:
    assert doubt(said(1, sure=-2.5)) == -2.5
    assert doubt(Completion("", (), StopReason.END)) == 0.0


@pytest.mark.parametrize("votes", [{"count": -1}, {"count": 17}, {"temperature": 0.0}])
def test_votes_that_ask_for_nothing_or_for_too_much_are_refused(votes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="votes need"):
        Votes(**votes)


@pytest.mark.parametrize(
    ("asked", "text", "wanted", "calls"),
    [
        ("Add 5.", "I still need to know: number.", 5, True),
        ("Add 5.", "I still need to know: number.", 6, False),  # nobody said that
        ("Add something.", "I still need to know: number.", 5, False),  # there is nothing to go by
        ("Add 5.", prompt.UNABLE, 5, False),  # it is believed
    ],
)
def test_a_model_that_asks_for_what_it_was_told_is_asked_for_the_call(
    asked: str, text: str, wanted: int, *, calls: bool
) -> None:
    class Insisted:
        def complete(self, _: Sequence[Message], *, choice: ToolChoice, **__: Any) -> Stream:
            assert choice == REQUIRED
            yield ""
            return said(wanted)

    model: Any = Insisted()
    first = replace(said(), text=text)
    settled = settle(model, [Message.user(asked)], *ASKED[1:], first, Votes(), request=asked)
    assert [call.arguments for call in settled.completion.calls] == ([{"n": wanted}] if calls else [])
    assert settled.completion.text == ("" if calls else text)


class Failing(Voices):
    """A model that fails at some seeds, as one that is busy or whose worker is lost."""

    def __init__(self, error: AgentkitError, seeds: Sequence[int], *completions: Completion) -> None:
        super().__init__(*completions)
        self._error, self._seeds = error, seeds

    def complete(self, messages: Sequence[Message], *, sampling: Sampling, **_: Any) -> Stream:
        if sampling.seed in self._seeds:
            raise self._error
        return (yield from super().complete(messages, sampling=sampling))


@pytest.mark.parametrize("error", [BusyError("busy"), WorkerLostError("lost")])
def test_a_try_that_fails_counts_as_none(error: AgentkitError) -> None:
    others = said(2), said(2), said(2), said(2)
    model: Any = Failing(error, [8, 10], *others)
    settled = settle(model, *ASKED, said(1, sure=-2.0), Votes())
    assert ([call.arguments["n"] for call in settled.completion.calls], settled.voices) == ([2], 3)
    model = Failing(error, range(8, 12))
    assert settle(model, *ASKED, said(1, sure=-2.0), Votes()).completion.calls == said(1).calls


def test_who_wants_no_more_is_heard_while_it_is_asked_again() -> None:
    model: Any = Failing(Cancelled("stopped"), [9], *[said(2)] * 4)
    with pytest.raises(Cancelled):
        settle(model, *ASKED, said(1, sure=-2.0), Votes())
