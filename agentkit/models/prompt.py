"""Write a conversation as the chat template of a model wants it.

Pinned tools stand in the system message, the stable front of every prompt; tools chosen for this request stand in
front of the last question, behind all history.
Covered: system text, tools, calls and results reach the model whatever its template has branches for; nothing that a
message or a tool says becomes a control token, while what a family writes around them does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agentkit.messages import Message, Role, ToolCall, ToolSpec
from agentkit.models.formats.choose import Chosen
from agentkit.models.formats.fitting import Fitting
from agentkit.models.formats.listing import spec
from agentkit.models.formats.tool_format import ToolFormat
from agentkit.models.template import ChatTemplate, Guard


def render_prompt(
    template: ChatTemplate, guard: Guard, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()
) -> str:
    """Return the whole prompt, with `GUARD` in what must not become a control token.

    Raises:
        SchemaError: The family writes arguments by their schema, and one is none.
        TemplateError: The template refused or failed.
    """
    chosen = template.chosen
    fitting = Fitting(chosen.format, tools)
    shown = [_guarded_tool(guard, tool) for tool in fitting.shown]
    pinned = [tool for tool in shown if not tool.beside]
    said = [_guarded(guard, fitting, message) for message in messages]
    said = _beside(chosen.format, said, [tool for tool in shown if tool.beside])
    if chosen.format.max_calls == 1:
        said = _one_by_one(said)
    written = _written(chosen, said, shown, pinned)
    if not template.shows_system:
        written = _system_into_user(written)
    return template.render(written, [spec(tool) for tool in pinned] if chosen.tools else [])


def _guarded(guard: Guard, fitting: Fitting, message: Message) -> Message:
    """Return a message whose texts cannot become control tokens, its calls named as the family names them."""
    calls = []
    for call in message.calls:
        shown = fitting.show(call)
        calls.append(replace(shown, name=guard.text(shown.name), arguments=guard.value(shown.arguments)))
    name = None if message.name is None else guard.text(fitting.name(message.name))
    return replace(message, text=guard.text(message.text), calls=tuple(calls), name=name)


def _guarded_tool(guard: Guard, tool: ToolSpec) -> ToolSpec:
    name, description = guard.text(tool.name), guard.text(tool.description)
    return replace(tool, name=name, description=description, parameters=guard.value(tool.parameters))


def _beside(tool_format: ToolFormat, messages: list[Message], tools: Sequence[ToolSpec]) -> list[Message]:
    """Put the tools chosen for this request in front of the last question."""
    place = max((at for at, message in enumerate(messages) if message.role is Role.USER), default=None)
    if not tools or place is None:
        return messages
    question = messages[place]
    shown = replace(question, text=f"{tool_format.render_tools(tools)}\n\n{question.text}")
    return [*messages[:place], shown, *messages[place + 1 :]]


def _one_by_one(messages: Sequence[Message]) -> list[Message]:
    """Give each call a message of its own, its result behind it: some families write no more than one."""
    made: list[Message] = []
    waiting: dict[str | None, int] = {}
    for message in messages:
        if message.role is Role.TOOL and message.call_id in waiting:
            made.insert(waiting.pop(message.call_id), message)
            waiting = {call: place + 1 for call, place in waiting.items()}
            continue
        waiting = {}
        if len(message.calls) < 2:
            made.append(message)
            continue
        for number, call in enumerate(message.calls):
            made.append(replace(message, text="" if number else message.text, calls=(call,)))
            waiting[call.id] = len(made)
    return made


def _written(
    chosen: Chosen, messages: Sequence[Message], tools: Sequence[ToolSpec], pinned: Sequence[ToolSpec]
) -> list[dict[str, Any]]:
    """Return the messages as the template takes them; what it has no branch for becomes text."""
    written: list[dict[str, Any]] = []
    if pinned and not chosen.tools:
        block = chosen.format.render_tools(pinned)
        if messages and messages[0].role is Role.SYSTEM:
            block = f"{messages[0].text}\n\n{block}"
            messages = messages[1:]
        written.append({"role": "system", "content": block})
    results = False
    for message in messages:
        entry: dict[str, Any] = {"role": message.role.value, "content": message.text}
        match message.role:
            case Role.TOOL if chosen.results:
                written.append({**entry, "name": message.name or "", "tool_call_id": message.call_id or ""})
            case Role.TOOL:
                text = chosen.format.render_result(message.text)
                if results:  # results of one step are one turn: roles have to alternate
                    written[-1]["content"] += "\n" + text
                else:
                    written.append({"role": "user", "content": text})
            case Role.ASSISTANT if message.calls and chosen.calls:
                written.append({**entry, "tool_calls": list(map(_tool_call, message.calls))})
            case Role.ASSISTANT:
                markup = chosen.format.render_calls(message.calls, tools)
                written.append({**entry, "content": message.text + markup})
            case _:
                written.append(entry)
        results = message.role is Role.TOOL
    return written


def _tool_call(call: ToolCall) -> dict[str, Any]:
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


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
