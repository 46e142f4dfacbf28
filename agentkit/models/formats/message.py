"""What a whole message may hold, said once for every constraint back-end: thoughts, then text, then calls."""

from __future__ import annotations

import json
from dataclasses import dataclass

from agentkit.messages import ToolSpec
from agentkit.models.formats.parts import Part
from agentkit.models.formats.tool_format import Envelope, ToolFormat


@dataclass(frozen=True, slots=True)
class MessageShape:
    """A message with 1 to `most` calls of `tools`, or, where it is free, with none."""

    tool_format: ToolFormat
    tools: tuple[ToolSpec, ...]
    """At least one; as the family writes them (see `agentkit.models.formats.fitting`)."""
    most: int
    """Calls in one message."""
    free: bool
    """Text may come before the calls, or instead of them, and thoughts before both."""
    envelope: Envelope | None = None
    """What stands around thoughts, where the model thinks."""
    thinking: bool = False
    """The prompt has opened the thoughts already."""

    @property
    def calls(self) -> Part:
        """What may follow the trigger, and where calls lead a message the trigger, too.

        Raises:
            SchemaError: No grammar can be made of the parameters of a tool.
        """
        return self.tool_format.calls_part(self.tools, self.most)

    @property
    def key(self) -> str:
        """A text that is the same for no other shape."""
        tools = [[tool.name, tool.parameters] for tool in self.tools]
        marks = self.envelope.marks if self.envelope else None
        return json.dumps([self.tool_format.name, tools, self.most, self.free, marks, self.thinking])
