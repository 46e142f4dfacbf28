"""A family's way to write tools, calls and results, as data.

Covered: parse(render(calls)) is calls, for any names and arguments that JSON can hold, as long as the family can
write the name (see `agentkit.models.formats.fitting`).
Not covered: whether a call is one of a tool that exists, with arguments it takes; the worker validates that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentkit.messages import ToolSpec
from agentkit.models.formats.listing import one_a_line
from agentkit.models.formats.parts import Choice, Mark, Part, Repeat, Row, Text, optional, row
from agentkit.models.formats.syntax import Call, ParsedCall, Syntax, skip


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a generated message says and asks for."""

    text: str
    """Before the calls."""
    calls: tuple[ParsedCall, ...]
    """Those that are whole."""
    complete: bool
    """False where the markup breaks off or is malformed."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a family writes around everything: thoughts first, in blocks of their own, and then the answer."""

    thought_opening: str
    thought_closing: str
    answer_opening: str = ""
    """Stands before an answer, where a call starts with the family's trigger instead."""

    @property
    def marks(self) -> tuple[str, ...]:
        """Every stretch of it."""
        return (self.thought_opening, self.thought_closing, self.answer_opening)


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
    names: str | None = None
    """What names of tools the family can write, as a pattern for the whole name; `None`: any."""
    keys: str | None = None
    """The same for arguments, where they are not the keys of a JSON object; `None`: any."""
    leading: bool = False
    """Calls have no marker: `trigger` is how the first one begins, and it counts only where a message begins."""
    template_trigger: str | None = None
    """How a template of the family starts a call, where that is not how its models do."""
    envelope: Envelope | None = None
    """What stands around all that a model of the family says."""
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

    @property
    def marks(self) -> tuple[str, ...]:
        """Every stretch of fixed markup: what of it is a control token of a model means something there."""
        strings = (self.trigger, self.opening, self.between, self.closing, self.instructions)
        return (*strings, self.result_opening, self.result_closing, *self.stop, *self.syntax.marks)

    def reads(self, text: str, call: ParsedCall, tool: ToolSpec, header: str = "") -> bool:
        """Return whether the first call in what a template wrote is `call`, written as this family does.

        Args:
            text: What the template wrote between a question and the result of the call.
            call: What it was to write.
            tool: Of the call.
            header: What it writes between a question and a plain answer.
        """
        trigger = self.template_trigger or self.trigger
        found = text.find(trigger)
        if found < 0 or (self.leading and text[:found].strip() != header.strip()):
            return False
        opening = "" if self.template_trigger else self.opening
        place = skip(text, found if self.leading else found + len(trigger), opening)
        read = None if place is None else self.syntax.parse(text, place, {tool.name: tool})
        return read is not None and read[0] == call and skip(text, read[1], self.closing) is not None

    def calls_part(self, tools: Sequence[ToolSpec], most: int) -> Part:
        """Return what may follow the trigger, and with `leading` the trigger, too: 1 to `most` calls of `tools`.

        Raises:
            SchemaError: No grammar can be made of the parameters of one.
        """
        parts = tuple(self.syntax.part(tool) for tool in tools)
        call = Choice(parts)
        most = min(most, self.max_calls or most)
        if self.leading:  # one stretch of text up to where a call differs from any other text
            first = Choice(tuple(_behind(self.opening, part) for part in parts))
            more = Repeat(row(Mark(self.between), call), 0, most - 1) if most > 1 else Row(())
            return row(first, more, Mark(self.closing))
        stop = [optional(Choice(tuple(map(Mark, self.stop))))] if self.stop else []
        calls = Repeat(call, 1, most, Mark(self.between))
        return row(Mark(self.opening), calls, Mark(self.closing), *stop)

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


def _behind(opening: str, part: Part) -> Part:
    """Return a part with `opening` before its first characters, as one stretch."""
    match part:
        case Row((Text(text), *rest)):
            return Row((Text(opening + text), *rest))
    return row(Mark(opening), part)
