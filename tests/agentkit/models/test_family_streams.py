"""What a model says in each family, token by token: the user sees the answer, calls are read, thoughts are neither."""

from __future__ import annotations

import copy
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from agentkit.messages import ToolCall, ToolSpec
from agentkit.models.base import AUTO, NONE, REQUIRED, Refusal, Sampling, StopReason, ToolChoice
from agentkit.models.formats.families import FORMATS
from agentkit.models.formats.fitting import Fitting
from agentkit.models.formats.marks import cut
from agentkit.models.formats.tool_format import ToolFormat
from agentkit.models.generate import Generation
from agentkit.models.grammar import Backend, backend_for, bind_tools
from agentkit.models.llama import LlamaModel, Settings
from agentkit.models.markup import Markup
from agentkit.models.signals import Reader
from agentkit.models.template import CHATML, ChatTemplate
from agentkit.models.validate import read_calls
from agentkit.models.vocabulary import Vocabulary

pytestmark = [pytest.mark.model, pytest.mark.slow]
EVERY = pytest.mark.parametrize("tool_format", FORMATS.values(), ids=FORMATS)
SPELT = pytest.mark.parametrize("spelt", [True, False], ids=["spelt out", "tokens"])
MARK = re.compile(r"<\|?[^<>\n=]+\|?>|\[/?[A-Z_]+\]")
CALL = ToolCall("", "get_weather", {"city": "Oslo", "days": 3})


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


class Speaker:
    """A model of some family, whose every word is scripted."""

    def __init__(
        self,
        plain: Vocabulary,
        guided: Backend,
        tool_format: ToolFormat,
        *,
        spelt: bool,
        thinks: bool = False,
    ) -> None:
        source = CHATML + ("{# <think> #}" if thinks else "")
        self.template = ChatTemplate(source, tool_format=tool_format.name)
        self.model = plain.model
        around = self.template.envelope
        marks = (*tool_format.marks, *(around.marks if around else ()))
        spare = [token for token in plain.special.values() if token not in plain.ends]
        found = dict.fromkeys(mark for text in marks for mark in MARK.findall(text))
        vocabulary = copy.copy(plain)
        vocabulary.special = {} if spelt else dict(zip(found, spare, strict=False))
        self.special = vocabulary.special
        self.spelling = {token: mark for mark, token in self.special.items()}
        self.markup = Markup(self.template, vocabulary)
        self.backend = copy.copy(guided)
        vars(self.backend).update(_special=self.special, _kept=OrderedDict())

    def say(
        self,
        text: str,
        tools: Sequence[ToolSpec] = (),
        choice: ToolChoice = AUTO,
        *,
        thinking: bool = False,
        literal: str = "",
        forbidden: bool = False,
    ) -> Speaker:
        """Generate `text`, then end.

        Args:
            text: In the words of the family.
            tools: Offered.
            choice: Whether they are called.
            thinking: The prompt opened the thoughts.
            literal: Written with ordinary tokens, whatever it spells.
            forbidden: Tools were shown, and none may be called.
        """
        constraint = None
        if tools:
            constraint = bind_tools(
                self.backend,
                self.template.format,
                tools,
                choice,
                envelope=self.template.envelope,
                thinking=thinking,
            )
        self.stream = self.markup.stream(
            (),
            tools=bool(tools) or forbidden,
            calls=not forbidden,
            results=bool(tools) or forbidden,
            thoughts=choice is AUTO,
            thinking=thinking,
        )
        self.shown: list[str] = []
        generation = Generation(
            self.model,
            [0],
            Sampling(max_tokens=900),
            constraint=constraint,
            stream=self.stream,
            show=self.shown.append,
            reader=Reader(self.model.vocabulary_size),
            marks=self.markup.tokens,
        )
        generation.start(0)
        script = self._script(text, literal)
        while generation.stop is None:
            said = generation.tokens[1:]
            written = b"".join(self._bytes(token) for token in said)
            place, token = 0, self.model.eos
            for each in script:
                if place >= len(written):
                    token = each
                    break
                place += len(self._bytes(each))
            logits = np.full(self.model.vocabulary_size, -50, np.float32)
            logits[token] = 50
            generation.advance(logits)
        self.outcome = generation.finish()
        return self

    def _script(self, text: str, literal: str) -> list[int]:
        made: list[int] = []
        for index, stretch in enumerate(text.split(literal) if literal else [text]):
            if index:
                made += self.model.tokenise(literal)
            for piece, token in cut(stretch, self.special):
                made += self.model.tokenise(piece) if token is None else [token]
        return made

    def _bytes(self, token: int) -> bytes:
        return self.spelling[token].encode() if token in self.spelling else self.model.piece(token)


def answer(tool_format: ToolFormat, text: str) -> str:
    return (tool_format.envelope.answer_opening if tool_format.envelope else "") + text


def markup_of(tool_format: ToolFormat, tools: Sequence[ToolSpec]) -> str:
    fitting = Fitting(tool_format, tools)
    return tool_format.render_calls([fitting.show(CALL)], fitting.shown)


def calls_of(speaker: Speaker, tools: Sequence[ToolSpec]) -> list[tuple[str, dict[str, object]]]:
    read = read_calls(speaker.template.format, speaker.stream.markup, tools, b"")
    assert not isinstance(read, Refusal)
    return [(call.name, call.arguments) for call in read]


@SPELT
@EVERY
def test_calls_are_read_and_never_shown(
    plain: Vocabulary, guided: Backend, tool_format: ToolFormat, tools: tuple[ToolSpec, ...], spelt: bool
) -> None:
    speaker = Speaker(plain, guided, tool_format, spelt=spelt)
    free = not tool_format.leading and tool_format.envelope is None
    for choice, before in ((AUTO, "Let me see. " if free else ""), (REQUIRED, "")):
        speaker.say(before + markup_of(tool_format, tools), tools, choice)
        assert "".join(speaker.shown) == speaker.stream.text == before
        assert speaker.outcome.stop is StopReason.END
        assert calls_of(speaker, tools) == [(CALL.name, CALL.arguments)]


@SPELT
@EVERY
def test_where_no_call_may_be_made_the_text_ends_where_one_begins(
    plain: Vocabulary, guided: Backend, tool_format: ToolFormat, tools: tuple[ToolSpec, ...], spelt: bool
) -> None:
    speaker = Speaker(plain, guided, tool_format, spelt=spelt)
    before = "Let me see. " if not tool_format.leading and tool_format.envelope is None else ""
    speaker.say(before + markup_of(tool_format, tools), forbidden=True)
    assert "".join(speaker.shown) == speaker.stream.text == before
    assert (speaker.outcome.stop, speaker.stream.in_markup) == (StopReason.STOP, False)
    text = 'It is {"name": 5} [1] <b>, all day.'
    speaker.say(answer(tool_format, text), forbidden=True)
    assert "".join(speaker.shown) == text


@SPELT
@EVERY
def test_a_text_ends_where_a_result_of_the_models_own_begins_or_ends(
    plain: Vocabulary, guided: Backend, tool_format: ToolFormat, tools: tuple[ToolSpec, ...], spelt: bool
) -> None:
    speaker = Speaker(plain, guided, tool_format, spelt=spelt)
    for mark in filter(None, (tool_format.result_opening.strip(), tool_format.result_closing.strip())):
        speaker.say(answer(tool_format, f"It rains.\n{mark} And it rains."), tools)
        assert "".join(speaker.shown).strip() == "It rains."


@SPELT
@EVERY
def test_answers_are_shown_whole(
    plain: Vocabulary, guided: Backend, tool_format: ToolFormat, tools: tuple[ToolSpec, ...], spelt: bool
) -> None:
    text = 'It is {"name": 5} [1] <b>😀</b>, all day.'
    for offered in (tools, ()):
        speaker = Speaker(plain, guided, tool_format, spelt=spelt).say(
            answer(tool_format, text), offered, AUTO if offered else NONE
        )
        if offered or tool_format.envelope is None:
            assert "".join(speaker.shown) == text
        assert not speaker.stream.in_markup


@SPELT
@EVERY
def test_thoughts_are_not_shown_and_call_nothing(
    plain: Vocabulary, guided: Backend, tool_format: ToolFormat, tools: tuple[ToolSpec, ...], spelt: bool
) -> None:
    speaker = Speaker(plain, guided, tool_format, spelt=spelt, thinks=True)
    around = speaker.template.envelope
    assert around is not None
    call = markup_of(tool_format, tools)
    inside = call if spelt and not tool_format.envelope else "I might call."
    thought = f"{around.thought_opening}{inside}{around.thought_closing}"
    speaker.say(thought + answer(tool_format, "No need."), tools)
    assert ("".join(speaker.shown), speaker.stream.in_markup) == ("No need.", False)
    speaker.say(thought + call, tools)
    assert speaker.stream.text == ""
    assert calls_of(speaker, tools) == [(CALL.name, CALL.arguments)]
    if not around.answer_opening:
        speaker.say(f"{inside}{around.thought_closing}\n\nNo need.", tools, thinking=True)
        assert ("".join(speaker.shown), speaker.stream.in_markup) == ("No need.", False)
        speaker.say(f"{around.thought_opening}{inside}", tools)  # the script ends, and the model may not
        assert not speaker.stream.in_markup


@EVERY
def test_letters_that_spell_a_token_are_only_letters(
    plain: Vocabulary, guided: Backend, tool_format: ToolFormat, tools: tuple[ToolSpec, ...]
) -> None:
    speaker = Speaker(plain, guided, tool_format, spelt=False)
    if not any(mark in tool_format.trigger for mark in speaker.special):
        pytest.skip("its trigger is no token")
    call = markup_of(tool_format, tools)
    speaker.say(answer(tool_format, f"Write {call}"), tools, literal=call)
    assert not speaker.stream.in_markup
    assert speaker.stream.text == f"Write {call}"
