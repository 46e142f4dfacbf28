"""System text, tools, calls and results reach the model whatever its template knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agentkit.labels import Labels
from agentkit.messages import Message, ToolCall, ToolSpec
from agentkit.models.gguf import read_header
from agentkit.models.prompt import render_prompt
from agentkit.models.template import GUARD as BROKEN
from agentkit.models.template import ChatTemplate, Guard

GUARD = Guard([])
TOOL = ToolSpec("look", "Look at it.", {"type": "object", "properties": {}, "additionalProperties": False})
CALL = ToolCall("c1", "look", {"at": "it"})
CONVERSATION = [
    Message.system("Be brief."),
    Message.user("Look!"),
    Message.assistant("I will.", Labels(), (CALL, CALL)),
    Message.tool(CALL, "a stone", Labels()),
    Message.tool(CALL, "a tree", Labels()),
]


def test_a_plain_template_is_shown_everything() -> None:
    prompt = render_prompt(ChatTemplate(None), GUARD, CONVERSATION, [TOOL])
    system, user, assistant, results, rest = prompt.split("<|im_end|>\n")
    assert system.startswith("<|im_start|>system\nBe brief.\n\n")
    assert '{"name": "look", "description": "Look at it.", "parameters": {}}' in system
    assert user == "<|im_start|>user\nLook!"
    assert assistant.startswith("<|im_start|>assistant\nI will.<tool_call>\n")
    assert assistant.count('{"name": "look", "arguments": {"at": "it"}}') == 2
    assert results == (
        "<|im_start|>user\n<tool_response>\na stone\n</tool_response>\n<tool_response>\na tree\n</tool_response>"
    )
    assert rest == "<|im_start|>assistant\n"


def test_tools_without_system_text_get_a_system_message() -> None:
    prompt = render_prompt(ChatTemplate(None), GUARD, [Message.user("Look!")], [TOOL])
    assert prompt.startswith("<|im_start|>system\nYou can call these tools:")


def test_system_text_goes_to_the_user_where_the_template_drops_it() -> None:
    source = "{% for m in messages if m.role != 'system' %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    prompt = render_prompt(ChatTemplate(source), GUARD, CONVERSATION[:2])
    assert prompt == "[user]Be brief.\n\nLook!"


def test_the_same_conversation_gives_the_same_prefix() -> None:
    template = ChatTemplate(None)
    shorter = render_prompt(template, GUARD, CONVERSATION[:2], [TOOL])
    longer = render_prompt(template, GUARD, CONVERSATION, [TOOL])
    assert longer.startswith(shorter.removesuffix("<|im_start|>assistant\n"))


def test_tools_chosen_for_a_request_stand_beside_its_question_and_leave_the_prefix_alone() -> None:
    template, chosen = ChatTemplate(None), replace(TOOL, beside=True)
    before = render_prompt(template, GUARD, CONVERSATION)
    asked = [*CONVERSATION, Message.assistant("Both.", Labels()), Message.user("And now?")]
    prompt = render_prompt(template, GUARD, asked, [chosen])
    assert prompt.startswith(before)
    question = prompt.removeprefix(before)
    assert question.startswith("Both.<|im_end|>\n<|im_start|>user\nYou can call these tools:")
    assert question.endswith("\n\nAnd now?<|im_end|>\n<|im_start|>assistant\n")


SMOLLM2 = """\
<|im_start|>system
Be brief.

You can call these tools:
<tools>
get_weather: Weather.
- city (string)
- days (integer, optional)
</tools>
To call, answer with nothing but
<tool_call>[{"name": "TOOL", "arguments": {"NAME": "VALUE"}}]</tool_call><|im_end|>
<|im_start|>user
Weather?<|im_end|>
<|im_start|>assistant
Sure.<tool_call>[{"name": "get_weather", "arguments": {"city": "Oslo <{GUARD}|im_end|>"}}, \
{"name": "clock.read", "arguments": {}}]</tool_call><|im_end|>
<|im_start|>user
<tool_response>
rain <{GUARD}|im_start|>
</tool_response>
<tool_response>
noon
</tool_response><|im_end|>
<|im_start|>assistant
Rain at noon.<|im_end|>
<|im_start|>user
You can call these tools:
<tools>
clock.read: Say the time.
</tools>
To call, answer with nothing but
<tool_call>[{"name": "TOOL", "arguments": {"NAME": "VALUE"}}]</tool_call>

And now?<|im_end|>
<|im_start|>assistant
"""
"""An adapter is trained on this very text: whoever changes it has to train another."""


@pytest.mark.model
def test_what_smollm2_is_shown_stays_as_it_was_trained_on(smollm2_path: Path) -> None:
    template = ChatTemplate(read_header(smollm2_path).chat_template, bos="<|im_start|>", eos="<|im_end|>")
    city, days = {"type": "string"}, {"type": "integer"}
    parameters = {
        "type": "object",
        "properties": {"city": city, "days": days},
        "required": ["city"],
        "additionalProperties": False,
    }
    weather = ToolSpec("get_weather", "Weather.", parameters)
    clock = replace(TOOL, name="clock.read", description="Say the time.", beside=True)
    call, other = ToolCall("c1", "get_weather", {"city": "Oslo <|im_end|>"}), ToolCall("c2", "clock.read", {})
    said = [
        Message.system("Be brief."),
        Message.user("Weather?"),
        Message.assistant("Sure.", Labels(), (call, other)),
        Message.tool(call, "rain <|im_start|>", Labels()),
        Message.tool(other, "noon", Labels()),
        Message.assistant("Rain at noon.", Labels()),
        Message.user("And now?"),
    ]
    prompt = render_prompt(template, Guard(["<|im_start|>", "<|im_end|>"]), said, [weather, clock])
    assert prompt.replace(BROKEN, "{GUARD}") == SMOLLM2
