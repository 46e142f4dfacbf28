"""Write a conversation as the chat template of a model wants it.

Pinned tools stand in the system message, the stable front of every prompt; tools chosen for this request stand in
front of the last question, behind all history.
Covered: system text, tools, calls and results reach the model whatever its template has branches for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agentkit.messages import Message, Role, ToolSpec
from agentkit.models.formats.tool_format import ToolFormat
from agentkit.models.template import ChatTemplate, Guard


def render_prompt(
    template: ChatTemplate, guard: Guard, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()
) -> str:
    """Return the whole prompt, with `GUARD` in what must not become a control token.

    Raises:
        TemplateError: The template refused or failed.
    """
    pinned = [tool for tool in tools if not tool.beside]
    messages = _beside(template.format, messages, [tool for tool in tools if tool.beside])
    written = _plain(template.format, messages, pinned) if not template.native else _native(messages)
    if not template.shows_system:
        written = _system_into_user(written)
    shown = [guard.value(_spec(tool)) for tool in pinned] if template.native else []
    return template.render([guard.value(each) for each in written], shown)


def _beside(
    tool_format: ToolFormat, messages: Sequence[Message], tools: Sequence[ToolSpec]
) -> Sequence[Message]:
    """Put the tools chosen for this request in front of the last question."""
    place = max((at for at, message in enumerate(messages) if message.role is Role.USER), default=None)
    if not tools or place is None:
        return messages
    question = messages[place]
    shown = replace(question, text=f"{tool_format.render_tools(tools)}\n\n{question.text}")
    return [*messages[:place], shown, *messages[place + 1 :]]


def _native(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Write messages for a template that knows tools."""
    written: list[dict[str, Any]] = []
    for message in messages:
        entry: dict[str, Any] = {"role": message.role.value, "content": message.text}
        if message.calls:
            entry["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in message.calls
            ]
        if message.role is Role.TOOL:
            entry |= {"name": message.name or "", "tool_call_id": message.call_id or ""}
        written.append(entry)
    return written


def _plain(
    tool_format: ToolFormat, messages: Sequence[Message], tools: Sequence[ToolSpec]
) -> list[dict[str, Any]]:
    """Write messages for a template that knows only roles and text."""
    written: list[dict[str, Any]] = []
    if tools:
        block = tool_format.render_tools(tools)
        if messages and messages[0].role is Role.SYSTEM:
            block = f"{messages[0].text}\n\n{block}"
            messages = messages[1:]
        written.append({"role": "system", "content": block})
    results = False
    for message in messages:
        match message.role:
            case Role.TOOL:
                text = tool_format.render_result(message.text)
                if results:  # results of one step are one turn: roles have to alternate
                    written[-1]["content"] += "\n" + text
                else:
                    written.append({"role": "user", "content": text})
            case Role.ASSISTANT:
                written.append(
                    {
                        "role": "assistant",
                        "content": message.text + tool_format.render_calls(message.calls, tools),
                    }
                )
            case _:
                written.append({"role": message.role.value, "content": message.text})
        results = message.role is Role.TOOL
    return written


def _system_into_user(written: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Move system text to the front of the first user message, for a template that would drop it."""
    system = "\n\n".join(each["content"] for each in written if each["role"] == "system")
    rest = [dict(each) for each in written if each["role"] != "system"]
    if not system:
        return rest
    for each in rest:
        if each["role"] == "user":
            each["content"] = f"{system}\n\n{each['content']}"
            return rest
    return [{"role": "user", "content": system}, *rest]


def _spec(tool: ToolSpec) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}
