"""The layout of a prompt, word for word: adapters are trained on it, so that a change here spoils them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentkit import prompt
from agentkit.calling.intents import Intent
from agentkit.calling.selection import Chosen, Selection
from agentkit.context.assemble import Context
from agentkit.labels import Labels
from agentkit.messages import Evidence, Message, ToolCall, ToolSpec
from agentkit.models.base import AUTO, NONE, Completion, Sampling, ToolChoice, finish
from agentkit.models.engine import Engine
from agentkit.models.gguf import read_header
from agentkit.models.prompt import render_prompt
from agentkit.models.scripted import ScriptedModel
from agentkit.models.template import ChatTemplate, Guard

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ZONE = {"type": "object", "properties": {"zone": {"type": "string", "description": "Its name."}}}
TOOLS = [
    ToolSpec("weather", "Tell the weather of a city.", CITY),
    ToolSpec("clock", "Tell the time in a zone.", ZONE),
    ToolSpec("stones", "Count the stones in the garden.", {"type": "object", "properties": {}}),
]
CALL = ToolCall("a1b2c3d4e", "weather", {"city": "Oslo"})
HISTORY = [
    Message.user("How is Oslo?"),
    Message.assistant("", Labels(), (CALL,)),
    Message.tool(CALL, "It rains.", Labels()),
    Message.assistant("It rains in Oslo.", Labels()),
]
PASSAGE = Evidence("r1", "notes/garden.md", "line 3", "There are nine stones.", 0.8)

GOLDEN = """\
<|im_start|>system
You are a helpful assistant. Answer in one or two short sentences.

You can call these tools:
<tools>
clock: Tell the time in a zone.
- zone (string, optional): Its name.
</tools>
To call, answer with nothing but
<tool_call>[{"name": "TOOL", "arguments": {"NAME": "VALUE"}}]</tool_call><|im_end|>
<|im_start|>user
How is Oslo?<|im_end|>
<|im_start|>assistant
<tool_call>[{"name": "weather", "arguments": {"city": "Oslo"}}]</tool_call><|im_end|>
<|im_start|>user
<tool_response>
It rains.
</tool_response><|im_end|>
<|im_start|>assistant
It rains in Oslo.<|im_end|>
<|im_start|>user
You can call these tools:
<tools>
stones: Count the stones in the garden.
</tools>
To call, answer with nothing but
<tool_call>[{"name": "TOOL", "arguments": {"NAME": "VALUE"}}]</tool_call>

Passages from my documents:

[1] garden.md, line 3
There are nine stones.

Question: How many stones are in the garden?<|im_end|>
<|im_start|>assistant
"""


@pytest.mark.model
def test_pinned_tools_history_chosen_tools_passages_and_the_question_stand_in_this_order(
    smollm2_path: Path,
) -> None:
    template = ChatTemplate(read_header(smollm2_path).chat_template, bos="<|im_start|>", eos="<|im_end|>")
    question = "How many stones are in the garden?"
    chosen = Selection(pins=["clock"]).choose(question, TOOLS)
    context = Context(ScriptedModel([]))
    window = context.fit([*HISTORY, Message.user(question)], tools=chosen.tools, evidence=[PASSAGE])
    assert render_prompt(template, Guard([]), window.messages, window.tools) == GOLDEN


@pytest.mark.model
@pytest.mark.slow
def test_choosing_other_tools_keeps_the_conversation_computed(engine: Engine) -> None:
    selection, context = Selection(pins=["clock"]), Context(engine)

    def ask(messages: list[Message]) -> Completion:
        chosen = selection.choose(messages[-1].text, TOOLS)
        window = context.fit(messages, tools=chosen.tools)
        assert window.ledger.tools > 0
        assert window.ledger.prompt == engine.count(window.messages, window.tools)
        sampling = Sampling(max_tokens=4)
        return finish(engine.complete(window.messages, tools=window.tools, choice=AUTO, sampling=sampling))

    first = [*HISTORY, Message.user("How many stones are in the garden?")]
    ask(first)
    before_question = engine.count(
        [Message.system(prompt.ASSISTANT), *HISTORY], selection.choose("", TOOLS).tools
    )
    second = ask([*HISTORY, Message.user("Tell the weather of the city Bergen.")])
    assert [each.name for each in selection.choose("Tell the weather of the city Bergen.", TOOLS).tools] == [
        "clock",
        "weather",
    ]
    # what follows the history in `before_question` is the generation prompt, a few tokens
    assert second.usage.reused_tokens >= before_question - 8


@pytest.mark.model
@pytest.mark.slow
def test_whatever_is_asked_the_pinned_tools_keep_the_conversation_computed(engine: Engine) -> None:
    selection, context = Selection(pins=["weather"]), Context(engine)
    named = Intent("weather", "the request names it", {"city": "Bergen"})

    def ask(chosen: Chosen, choice: ToolChoice, schema: dict[str, Any] | None = None) -> Completion:
        window = context.fit([*HISTORY, Message.user("And Bergen?")], tools=chosen.tools)
        sampling = Sampling(max_tokens=30)
        stream = engine.complete(
            window.messages, tools=window.tools, choice=choice, sampling=sampling, schema=schema
        )
        return finish(stream)

    whole = ask(selection.choose("And Bergen?", TOOLS), AUTO).usage.prompt_tokens
    forced = ask(selection.choose("", TOOLS, forced=named), ToolChoice.named("weather"))
    assert [call.arguments for call in forced.calls] == [{"city": "Bergen"}]
    spoken = ask(selection.pinned(TOOLS), NONE)
    assert not spoken.calls
    written = ask(selection.pinned(TOOLS), NONE, {"type": "boolean"})
    assert written.text in ("true", "false")
    for completion in (forced, spoken, written):
        assert completion.usage.prompt_tokens == whole
        assert completion.usage.reused_tokens == whole - 1
