"""The families themselves: one object each.

Source: the chat templates of the models, and SmolLM2-1.7B-Instruct for the list that SmolLM2 was trained on.
"""

from __future__ import annotations

from dataclasses import replace

from agentkit.models.formats.json_call import JsonCall
from agentkit.models.formats.tool_format import ToolFormat
from agentkit.models.outline import outlines

_TOOLS = "You can call these tools:\n<tools>\n{tools}\n</tools>\n"
_CALL = '{"name": "TOOL", "arguments": {"NAME": "VALUE"}}'

SMOLLM2 = ToolFormat(
    name="smollm2",
    syntax=JsonCall(),
    trigger="<tool_call>",
    opening="[",
    between=", ",
    closing="]</tool_call>",
    instructions=_TOOLS + "To call, answer with nothing but\n<tool_call>[" + _CALL + "]</tool_call>",
    listing=outlines,
)
HERMES = ToolFormat(
    name="hermes",
    syntax=JsonCall(),
    trigger="<tool_call>",
    opening="\n",
    between="\n</tool_call>\n<tool_call>\n",
    closing="\n</tool_call>",
    instructions=_TOOLS + "To call, answer with nothing but\n<tool_call>\n" + _CALL + "\n</tool_call>",
)
GENERIC = replace(HERMES, name="generic")

FORMATS = {each.name: each for each in (SMOLLM2, HERMES, GENERIC)}
