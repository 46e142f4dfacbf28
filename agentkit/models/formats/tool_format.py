"""A family's way to write tools, calls and results, as data.

Covered: parse(render(calls)) is calls, for any names and arguments that JSON can hold, as long as the family can
write the name (see `agentkit.models.formats.fitting`).
Not covered: whether a call is one of a tool that exists, with arguments it takes; the worker validates that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentkit.messages import ToolSpec
from agentkit.models.formats.parts import Choice, Mark, Part, Repeat, row
from agentkit.models.formats.syntax import Call, ParsedCall, Syntax, dump_json, skip


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a generated message says and asks for."""

    text: str
    """Before the calls."""
    calls: tuple[ParsedCall, ...]
    """Those that are whole."""
    complete: bool
    """False where the markup breaks off or is malformed."""


def one_a_line(tools: Sequence[ToolSpec]) -> str:
    """Return tools as short lines of JSON: what a small model needs, without what a validator needs."""
    return "\n".join(map(tool_line, tools))


def tool_line(tool: ToolSpec) -> str:
    """Return a tool as one short line of JSON."""
    properties: Mapping[str, Any] = tool.parameters.get("properties", {})
    line: dict[str, Any] = {"name": tool.name, "description": tool.description, "parameters": properties}
    required = tool.parameters.get("required")
    if required:
        line["required"] = required
    return dump_json(line)


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """One family: fixed strings, and the syntax of what stands between them."""

    name: str
    syntax: Syntax
    trigger: str
    """Starts the markup; free text never contains it."""
    opening: str
    """Between the trigger and the first call."""
    between: str
    """Between two calls."""
    closing: str
    """After the last call."""
    instructions: str
    """How to call, said to a model whose template does not say it; `{tools}` becomes the listing."""
    listing: Callable[[Sequence[ToolSpec]], str] = one_a_line
    """How tools are shown in `instructions`."""
    result_opening: str = "<tool_response>\n"
    result_closing: str = "\n</tool_response>"
    leading: bool = False
    """Calls have no marker: `trigger` is how the first one begins, and it counts only where a message begins."""
    max_calls: int | None = None
    """How many calls the family's models write in one message; `None`: any number."""
    stop: tuple[str, ...] = ()
    """Control tokens that end a message of this family, beside its end tokens."""

    def render_tools(self, tools: Sequence[ToolSpec]) -> str:
        """Return the text that shows `tools` to a model, and says how to call them."""
        return self.instructions.replace("{tools}", self.listing(tools), 1)

    def render_calls(self, calls: Sequence[Call], tools: Sequence[ToolSpec] = ()) -> str:
        """Return the markup of `calls`; the empty string for none."""
        if not calls:
            return ""
        known = {tool.name: tool for tool in tools}
        written = self.between.join(self.syntax.render(call, known.get(call.name)) for call in calls)
        return ("" if self.leading else self.trigger) + self.opening + written + self.closing

    def render_result(self, text: str) -> str:
        """Return what the model is shown of a result."""
        return self.result_opening + text + self.result_closing

    def calls_part(self, tools: Sequence[ToolSpec], most: int) -> Part:
        """Return what may follow the trigger, and with `leading` the trigger, too: 1 to `most` calls of `tools`.

        Raises:
            SchemaError: No grammar can be made of the parameters of one.
        """
        call = Choice(tuple(self.syntax.part(tool) for tool in tools))
        most = min(most, self.max_calls or most)
        return row(Mark(self.opening), Repeat(call, 1, most, Mark(self.between)), Mark(self.closing))

    def parse(self, text: str, tools: Sequence[ToolSpec] = ()) -> Parsed:
        """Split what a model wrote into its text and its calls.

        White space between the parts is forgiven; anything else that is not in the format ends the reading.
        """
        found = text.find(self.trigger)
        if found < 0 or (self.leading and text[:found].strip()):
            return Parsed(text, (), complete=True)
        spoken, markup = text[:found], text[found if self.leading else found + len(self.trigger) :]
        known = {tool.name: tool for tool in tools}
        calls: list[ParsedCall] = []
        place = skip(markup, 0, self.opening)
        read = None if place is None else self.syntax.parse(markup, place, known)
        while read is not None:
            call, place = read
            calls.append(call)
            following = skip(markup, place, self.between)
            # `closing` may be a prefix of `between` (one block a call), so another call goes first
            read = None if following is None else self.syntax.parse(markup, following, known)
            if read is None:
                end = skip(markup, place, self.closing)
                complete = end is not None and markup[end:].strip() in ("", *self.stop)
                return Parsed(spoken, tuple(calls), complete)
        return Parsed(spoken, tuple(calls), complete=False)
