"""How model families write tool calls, as data: one object a family.

Every family here writes a call as one JSON object with a name and arguments, between fixed strings. What a family
does not say (how tools are listed, how a result is shown) is what its chat template does itself, where it has a
branch for tools; where it has none, the strings below are used.
Covered: parse(render(calls)) is calls, for any names and arguments that JSON can hold.
Not covered: whether a call is one of a tool that exists, with arguments it takes; the worker validates that.
Source: the chat templates of Qwen2.5, Hermes 3 and SmolLM2-1.7B-Instruct.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agentkit.messages import ToolSpec


class Call(Protocol):
    """What is rendered of a call."""

    @property
    def name(self) -> str:
        """The tool."""
        ...

    @property
    def arguments(self) -> dict[str, Any]:
        """Its arguments."""
        ...


@dataclass(frozen=True, slots=True)
class ParsedCall:
    """A call as the model wrote it; not validated."""

    name: str
    arguments: dict[str, Any]


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
class ToolFormat:
    """One family's way to write tools, calls and results."""

    name: str
    trigger: str
    """Starts the markup; free text never contains it."""
    opening: str
    """Between the trigger and the first call."""
    between: str
    """Between two calls."""
    closing: str
    """After the last call."""
    instructions: str
    """How to call, said to a model whose template does not say it; `{tools}` becomes one JSON line a tool."""
    result_opening: str = "<tool_response>\n"
    result_closing: str = "\n</tool_response>"
    name_key: str = "name"
    arguments_key: str = "arguments"
    stop: tuple[str, ...] = ()
    """Strings that end a message of this family, beside its end tokens."""
    native: bool = False
    """The chat template has a branch for tools that writes exactly this."""

    def render_tools(self, tools: Sequence[ToolSpec]) -> str:
        """Return the text for the system message that shows `tools`."""
        return self.instructions.format(tools="\n".join(tool_line(tool) for tool in tools))

    def render_calls(self, calls: Sequence[Call]) -> str:
        """Return the markup of `calls`; the empty string for none."""
        if not calls:
            return ""
        return self.trigger + self.opening + self.between.join(map(self.render_call, calls)) + self.closing

    def render_call(self, call: Call) -> str:
        """Return one call, without what stands around it."""
        return dump_json({self.name_key: call.name, self.arguments_key: call.arguments})

    def render_result(self, text: str) -> str:
        """Return what the model is shown of a result."""
        return self.result_opening + text + self.result_closing

    def call_start(self, name: str) -> str:
        """Return what stands before the arguments in a call of `name`; `}` stands behind them."""
        return f"{{{dump_json(self.name_key)}: {dump_json(name)}, {dump_json(self.arguments_key)}: "

    def parse(self, text: str) -> Parsed:
        """Split what a model wrote into its text and its calls.

        White space between the parts is forgiven; anything else that is not in the format ends the reading.
        """
        spoken, trigger, markup = text.partition(self.trigger)
        if not trigger:
            return Parsed(text, (), complete=True)
        calls: list[ParsedCall] = []
        place = _skip(markup, 0, self.opening)
        while place is not None:
            call, place = self._parse_call(markup, place)
            if call is None or place is None:
                break
            calls.append(call)
            end = _skip(markup, place, self.closing)
            following = _skip(markup, place, self.between)
            # `closing` may be a prefix of `between` (one block a call), so the longer match goes first
            if following is not None and markup[following : following + 1] == "{":
                place = following
                continue
            complete = end is not None and not markup[end:].strip()
            return Parsed(spoken, tuple(calls), complete)
        return Parsed(spoken, tuple(calls), complete=False)

    def _parse_call(self, markup: str, place: int) -> tuple[ParsedCall | None, int | None]:
        try:
            value, end = _DECODER.raw_decode(markup, place)
        except (ValueError, RecursionError):
            return None, None
        match value:
            case {self.name_key: str(name), self.arguments_key: dict(arguments)} if len(value) == 2:
                return ParsedCall(name, arguments), end
        return None, None


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _skip(text: str, place: int, literal: str) -> int | None:
    """Return the place behind `literal` in `text`, white space around its parts forgiven; `None` if it is not there."""
    for part in literal.split() or [""]:
        while text[place : place + 1].isspace():
            place += 1
        if not text.startswith(part, place):
            return None
        place += len(part)
    while text[place : place + 1].isspace():
        place += 1
    return place


def dump_json(value: object) -> str:
    """Write `value` as JSON the one way models are shown it and bound to: `", "` and `": "`, no escaped letters."""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def tool_line(tool: ToolSpec) -> str:
    """Return a tool as one short line of JSON: what a small model needs, without what a validator needs."""
    properties: Mapping[str, Any] = tool.parameters.get("properties", {})
    line: dict[str, Any] = {"name": tool.name, "description": tool.description, "parameters": properties}
    required = tool.parameters.get("required")
    if required:
        line["required"] = required
    return dump_json(line)


_TOOLS = "You can call these tools:\n<tools>\n{tools}\n</tools>\n"
_CALL = '{{"name": "TOOL", "arguments": {{"NAME": "VALUE"}}}}'

SMOLLM2 = ToolFormat(
    name="smollm2",
    trigger="<tool_call>",
    opening="[",
    between=", ",
    closing="]</tool_call>",
    instructions=_TOOLS + "To call, answer with nothing but\n<tool_call>[" + _CALL + "]</tool_call>",
)
HERMES = ToolFormat(
    name="hermes",
    trigger="<tool_call>",
    opening="\n",
    between="\n</tool_call>\n<tool_call>\n",
    closing="\n</tool_call>",
    instructions=_TOOLS + "To call, answer with nothing but\n<tool_call>\n" + _CALL + "\n</tool_call>",
    native=True,
)
GENERIC = ToolFormat(
    name="generic",
    trigger=HERMES.trigger,
    opening=HERMES.opening,
    between=HERMES.between,
    closing=HERMES.closing,
    instructions=HERMES.instructions,
)
FORMATS = {each.name: each for each in (SMOLLM2, HERMES, GENERIC)}

_BY_FINGERPRINT = {
    "872be49dbb638044": SMOLLM2,  # SmolLM2-{135M,360M}-Instruct
}


def fingerprint(template: str) -> str:
    """Return the name under which a chat template is known: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(template.encode("utf-8", "replace")).hexdigest()[:16]


def choose_format(template: str, *, shows_tools: bool) -> ToolFormat:
    """Return the format for a chat template.

    Args:
        template: The source of the template.
        shows_tools: Rendering it with a tool shows that tool.
    """
    known = _BY_FINGERPRINT.get(fingerprint(template))
    if known is not None:
        return known
    if shows_tools and HERMES.trigger in template and '"arguments"' in template:
        return HERMES
    return GENERIC
