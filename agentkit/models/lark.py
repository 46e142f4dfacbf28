"""Write the markup of calls as a grammar of llguidance (pure; `agentkit.models.grammar` compiles it).

Covered: what a tool or a schema brought in is quoted or compiled as JSON, never read as grammar; only fixed markup
becomes control tokens.
Source: llguidance, docs/syntax.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from agentkit.messages import ToolSpec
from agentkit.models.formats.marks import cut
from agentkit.models.formats.parts import Choice, Json, Mark, Part, Raw, Repeat, Row, Text
from agentkit.models.formats.tool_format import ToolFormat

OPTIONS: dict[str, Any] = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_ANY = r"(.|\n)"


def message_grammar(
    tool_format: ToolFormat,
    tools: Sequence[ToolSpec],
    special: Mapping[str, int],
    *,
    most: int,
    free: bool,
    lenient: bool,
) -> str:
    """Return the grammar of a whole message with 1 to `most` calls of `tools`.

    Args:
        tool_format: How they are written.
        tools: At least one.
        special: The model's control tokens, by their spelling.
        most: Calls in one message.
        free: Text may come before the calls, or instead of them.
        lenient: Leave out of the schemas what llguidance does not know.

    Raises:
        SchemaError: No grammar can be made of a tool's parameters.
    """
    writer = _Writer(special, lenient)
    calls = writer.write(tool_format.calls_part(tools, most))
    trigger = writer.write(Mark(tool_format.trigger))
    if tool_format.leading:
        writer.rule("start", f"TEXT | {calls}" if free else calls)
        writer.rule("TEXT", f"/{_ANY}*/ & ~/\\s*{_escape(tool_format.trigger)}{_ANY}*/")
    elif not free:
        writer.rule("start", f"{trigger} {calls}")
    elif any(token is not None for _, token in cut(tool_format.trigger, special)):
        writer.rule("start", f"TEXT | TEXT {trigger} {calls}")
        writer.rule("TEXT", f"/{_ANY}*/")
    else:
        writer.rule("start", f"TEXT | started {calls}")
        writer.rule("started[lazy]", f"TEXT {trigger}")
        writer.rule("TEXT", f"/{_ANY}*/")
    return writer.text


class _Writer:
    """Writes parts as rules, each no more than once."""

    def __init__(self, special: Mapping[str, int], lenient: bool) -> None:
        self._special = special
        self._lenient = lenient
        self._rules: dict[str, str] = {}
        self._names: dict[str, str] = {}

    @property
    def text(self) -> str:
        """The grammar."""
        return "%llguidance {}\n" + "".join(f"{name}: {body}\n" for name, body in self._rules.items())

    def rule(self, name: str, body: str) -> None:
        """Add a rule of this name."""
        self._rules[name] = body

    def write(self, part: Part) -> str:
        """Return an expression for `part`."""
        match part:
            case Mark(text):
                pieces = cut(text, self._special)
                written = [_quote(piece) if token is None else f"<[{token}]>" for piece, token in pieces]
                return " ".join(written) or '""'
            case Text(text):
                return _quote(text)
            case Json(schema):
                bound = {**schema, "x-guidance": {**OPTIONS, "lenient": self._lenient}}
                return self._named("json", f"%json {json.dumps(bound)}")
            case Row(parts):
                return " ".join(map(self.write, parts)) or '""'
            case Choice(parts):
                return self._named("one", " | ".join(map(self.write, parts)))
            case Repeat(inner, least, most, between):
                return self._repeat(self.write(inner), least, most, between)
            case Raw(stop, least, most):
                return self._raw(stop, least, most)

    def _repeat(self, one: str, least: int, most: int | None, between: Part | None) -> str:
        if between is None or most == 1:
            return f"({one}){_times(least, most)}"
        more = f"({self.write(between)} {one}){_times(max(0, least - 1), None if most is None else most - 1)}"
        return f"({one} {more}){_times(min(least, 1), 1)}"

    def _raw(self, stop: str, least: int, most: int) -> str:
        """Return text up to a mark and the mark; the text never spells it, whatever tokens it is cut into."""
        end = _escape(stop)
        if any(token is not None for _, token in cut(stop, self._special)):
            text = self._named("RAW", f"/{_ANY}{_times(least, most)}/ & ~/{_ANY}*{end}{_ANY}*/")
            return f"{text} {self.write(Mark(stop))}"
        body = self._named("RAW", f"/{_ANY}{_times(least, most)}{end}/ & ~/{_ANY}*{end}{_ANY}+/")
        return self._named("raw[lazy]", body)

    def _named(self, kind: str, body: str) -> str:
        """Return the name of the rule with this body."""
        if body not in self._names:
            kind, bracket, mode = kind.partition("[")
            name = f"{kind}_{len(self._names)}"
            self._names[body] = name
            self._rules[name + bracket + mode] = body
        return self._names[body]


def _times(least: int, most: int | None) -> str:
    return "*" if (least, most) == (0, None) else f"{{{least},{'' if most is None else most}}}"


def _quote(text: str) -> str:
    return json.dumps(text)


def _escape(text: str) -> str:
    """Return `text` as a regular expression between slashes."""
    kept = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}
    return "".join(kept.get(each) or (f"\\{each}" if each in r"\.+*?()|[]{}^$/" else each) for each in text)
