"""Read the calls a model wrote, each checked against its tool's schema, whatever the grammar promised."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Sequence

from agentkit.messages import ToolCall, ToolSpec
from agentkit.models.base import Refusal
from agentkit.models.formats.fitting import Fitting
from agentkit.models.formats.syntax import dump_json
from agentkit.models.formats.tool_format import ToolFormat
from agentkit.models.normalise import InvalidError, SchemaError, normalise
from agentkit.models.schema_check import read_value

MAX_CALLS = 64
"""Calls in one message that are looked at; a grammar allows far fewer."""


def read_calls(
    tool_format: ToolFormat, markup: str, tools: Sequence[ToolSpec], salt: bytes
) -> tuple[ToolCall, ...] | Refusal:
    """Return the calls in `markup`, or why none of them counts: one invalid call spoils the message.

    Where they are more than `MAX_CALLS`, the refusal shows the first alone.

    Args:
        tool_format: How they are written.
        markup: From the trigger on.
        tools: What may be called.
        salt: Makes the ids differ from those of other messages; the same salt and markup give the same ids.
    """
    fitting = Fitting(tool_format, tools)
    parsed = tool_format.parse(markup, fitting.shown)
    calls = []
    wrong = ""
    for index, call in enumerate(map(fitting.mean, parsed.calls[:MAX_CALLS])):
        name, arguments = call.name, call.arguments
        try:
            data = json.dumps([name, arguments], ensure_ascii=False, allow_nan=False).encode()
        except ValueError as error:
            # neither can be shown again: a question mark stands for the one, the largest number for the other
            half = isinstance(error, UnicodeEncodeError)
            wrong = f"an argument holds {'half a character' if half else 'a number too large to be read'}"
            data = dump_json([name, arguments]).encode(errors="replace")  # 1e999 was read as infinite
            name, arguments = json.loads(data, parse_constant=_largest)
        digest = hashlib.blake2b(data + bytes([index]), key=salt[:64], digest_size=8).hexdigest()
        calls.append(ToolCall(digest[:9], name, arguments))  # nine: Mistral takes no other length
    if len(parsed.calls) > MAX_CALLS:
        return Refusal(f"{len(parsed.calls)} calls are more than {MAX_CALLS}", tuple(calls[:1]))
    if wrong:
        return Refusal(wrong, tuple(calls))
    if not parsed.complete:
        return Refusal("the call breaks off", tuple(calls))
    parameters = {tool.name: tool.parameters for tool in tools}
    for made in calls:
        if made.name not in parameters:
            return Refusal("there is no such tool", tuple(calls))
        try:
            normalise(parameters[made.name], close=True).check(made.arguments)
        except (InvalidError, SchemaError) as error:
            return Refusal(str(error), tuple(calls))
    return tuple(calls)


def _largest(name: str) -> float:
    return math.copysign(sys.float_info.max, float(name))


def check_text(text: str, schema: dict[str, object]) -> Refusal | None:
    """Return why `text` is not one JSON value of `schema`, or nothing where it is."""
    try:
        normalise(schema).check(read_value(text))
    except (InvalidError, SchemaError) as error:
        return Refusal(str(error))
    return None
