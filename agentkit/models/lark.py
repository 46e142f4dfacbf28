"""Write the markup of calls as a grammar of llguidance (pure; `agentkit.models.grammar` compiles it).

Covered: what a tool or a schema brought in is quoted or compiled as JSON, never read as grammar; only fixed markup
becomes control tokens.
Source: llguidance, docs/syntax.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agentkit.models.formats.marks import cut
from agentkit.models.formats.message import MessageShape
from agentkit.models.formats.parts import Choice, Json, Mark, Part, Raw, Repeat, Row, Text
from agentkit.models.formats.tool_format import ToolFormat

OPTIONS: dict[str, Any] = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
MAX_COUNTED = 512
"""Characters of a raw text are counted up to here; more of them are counted when the value is whole."""
_ANY = r"(.|\n)"


def message_grammar(shape: MessageShape, special: Mapping[str, int], *, lenient: bool) -> str:
    """Return the grammar of a whole message.

    Args:
        shape: What it may hold.
        special: The model's control tokens, by their spelling.
        lenient: Leave out of the schemas what llguidance does not know.

    Raises:
        SchemaError: No grammar can be made of a tool's parameters.
    """
    writer = _Writer(special, lenient)
    tool_format, envelope = shape.tool_format, shape.envelope
    calls = writer.write(shape.calls)
    bound = calls if tool_format.leading else f"{writer.write(Mark(tool_format.trigger))} {calls}"
    if not shape.free:
        writer.rule("start", bound)
        return writer.text
    if envelope is None:
        writer.said("start", tool_format, calls)
        return writer.text
    opening = writer.write(Mark(envelope.thought_opening))
    thought = writer.write(Raw(envelope.thought_closing, most=None))
    if envelope.answer_opening:
        answer = writer.write(Mark(envelope.answer_opening))
        writer.rule("start", f"({opening} {thought})* ({answer} TEXT | {bound})")
        writer.rule("TEXT", f"/{_ANY}*/")
    else:
        writer.rule("start", f"{thought} said" if shape.thinking else f"said | {opening} {thought} said")
        writer.said("said", tool_format, calls, "" if shape.thinking else envelope.thought_opening)
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

    def said(self, name: str, tool_format: ToolFormat, calls: str, thought: str = "") -> None:
        """Add the rule of a text that may end in calls; it does not begin with `thought`."""
        trigger = tool_format.trigger
        barred = [mark for mark in (thought, trigger if tool_format.leading else "") if self._is_text(mark)]
        text = f"/{_ANY}*/" + "".join(f" & ~/\\s*{_escape(mark)}{_ANY}*/" for mark in barred)
        self.rule("TEXT", text)
        if tool_format.leading:
            self.rule(name, f"TEXT | {calls}")
        elif self._is_text(trigger):
            self.rule(name, f"TEXT | started {calls}")
            self.rule("started[lazy]", f"TEXT {self.write(Mark(trigger))}")
        else:
            self.rule(name, f"TEXT | TEXT {self.write(Mark(trigger))} {calls}")

    def _is_text(self, mark: str) -> bool:
        """Return whether ordinary tokens write all of a mark."""
        return bool(mark) and all(token is None for _, token in cut(mark, self._special))

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

    def _raw(self, stop: str, least: int, most: int | None) -> str:
        """Return text up to a mark and the mark; the text never spells it, whatever tokens it is cut into."""
        pieces = cut(stop, self._special)
        if all(token is None for _, token in pieces):
            end = _escape(stop)
            body = f"/{_ANY}{_times(least, most)}{end}/ & ~/{_ANY}*{end}{_ANY}+/"
            return self._named("raw[lazy]", self._named("RAW", body))
        before = pieces[0][0] if pieces[0][1] is None else ""
        barred = _escape("".join(piece for piece, _ in pieces))
        text = f"/{_ANY}{_times(least, most)}{_escape(before)}/ & ~/{_ANY}*{barred}{_ANY}*/"
        return f"{self._named('RAW', text)} {self.write(Mark(stop[len(before) :]))}"

    def _named(self, kind: str, body: str) -> str:
        """Return the name of the rule with this body."""
        if body not in self._names:
            kind, bracket, mode = kind.partition("[")
            name = f"{kind}_{len(self._names)}"
            self._names[body] = name
            self._rules[name + bracket + mode] = body
        return self._names[body]


def _times(least: int, most: int | None) -> str:
    if most is not None and most > MAX_COUNTED:
        most = None
    return "*" if (least, most) == (0, None) else f"{{{least},{'' if most is None else most}}}"


def _quote(text: str) -> str:
    return json.dumps(text)


def _escape(text: str) -> str:
    """Return `text` as a regular expression between slashes."""
    kept = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}
    return "".join(kept.get(each) or (f"\\{each}" if each in r"\.+*?()|[]{}^$/" else each) for each in text)
