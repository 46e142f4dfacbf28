"""Read the calls a model wrote, each checked against its tool's schema, whatever the grammar promised."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from agentkit.messages import ToolCall, ToolSpec
from agentkit.models.formats.syntax import dump_json
from agentkit.models.formats.tool_format import ToolFormat
from agentkit.models.normalise import InvalidError, normalise


def read_calls(
    tool_format: ToolFormat, markup: str, tools: Sequence[ToolSpec], salt: bytes
) -> tuple[ToolCall, ...] | None:
    """Return the calls in `markup`, all of them validated; `None` where it breaks off.

    Args:
        tool_format: How they are written.
        markup: From the trigger on.
        tools: What may be called.
        salt: Makes the ids differ from those of other messages; the same salt and markup give the same ids.

    Raises:
        InvalidError: A call of no such tool, or with arguments it does not take.
    """
    parsed = tool_format.parse(markup, tools)
    if not parsed.complete:
        return None
    parameters = {tool.name: tool.parameters for tool in tools}
    calls = []
    for index, call in enumerate(parsed.calls):
        if call.name not in parameters:
            raise InvalidError("there is no such tool")
        normalise(parameters[call.name], close=True).check(call.arguments)
        written = dump_json([call.name, call.arguments])
        try:
            data = written.encode()
        except UnicodeEncodeError as error:
            raise InvalidError("an argument holds half a character") from error
        digest = hashlib.blake2b(data + bytes([index]), key=salt[:64], digest_size=8).hexdigest()
        calls.append(ToolCall(digest[:9], call.name, call.arguments))  # nine: Mistral takes no other length
    return tuple(calls)
