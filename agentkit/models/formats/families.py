# ruff: noqa: RUF001 - DeepSeek writes its markup with letters of its own
"""The families themselves: one object each.

To add one whose calls are spelt in a way that is here already: one object, in `FORMATS`. `choose_format` finds the
templates that write it by itself; where a template does not write calls at all, say in `agentkit.models.formats.choose`
what gives it away.
Source: the chat templates of the models; SmolLM2-1.7B-Instruct for the list that SmolLM2 was trained on; the model
cards of FunctionGemma, DeepSeek-V3.1, LFM2 and Phi-4-mini; the description of harmony for gpt-oss.
"""

from __future__ import annotations

from dataclasses import replace

from agentkit.models.formats.gemma_call import GemmaCall
from agentkit.models.formats.json_call import JsonCall, NamedJson
from agentkit.models.formats.listing import (
    as_declarations,
    as_types,
    functions_in_a_list,
    specs_a_line,
    specs_in_a_list,
    under_headings,
)
from agentkit.models.formats.python_call import PythonCall
from agentkit.models.formats.tagged_call import TaggedCall
from agentkit.models.formats.tool_format import Envelope, ToolFormat
from agentkit.models.outline import outlines

_QUOTABLE = r'[^"\\\x00-\x1f]+'
"""Templates put names between quotes as they are."""
_WORD = r"[A-Za-z0-9_.-]{1,128}"
_IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]{0,127}"

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
    names=_QUOTABLE,
)
GENERIC = replace(HERMES, name="generic", names=None)
QWEN_CODER = replace(
    HERMES,
    name="qwen-coder",
    syntax=TaggedCall(),
    instructions=_TOOLS
    + "To call, answer with nothing but\n<tool_call>\n<function=TOOL>\n<parameter=NAME>\nVALUE\n"
    "</parameter>\n</function>\n</tool_call>",
    names=_WORD,
    keys=_WORD,
)
LLAMA3 = ToolFormat(
    name="llama3",
    syntax=JsonCall(arguments_key="parameters"),
    trigger='{"name": "',
    opening="",
    between="; ",
    closing="",
    instructions="To call one of these functions, respond with nothing but JSON for it, in the format "
    '{"name": function name, "parameters": dictionary of argument name and its value}. Do not use variables.\n\n'
    "{tools}",
    listing=specs_a_line,
    leading=True,
    max_calls=1,
    names=_QUOTABLE,
)
BARE_LIST = ToolFormat(
    name="bare-list",
    syntax=JsonCall(),
    trigger='[{"name": "',
    opening="[",
    between=", ",
    closing="]",
    instructions=_TOOLS + "To call, answer with nothing but\n[" + _CALL + "]",
    leading=True,
    names=_QUOTABLE,
)
MISTRAL = ToolFormat(
    name="mistral",
    syntax=JsonCall(ignored=frozenset(("id",))),
    trigger="[TOOL_CALLS]",
    opening="[",
    between=", ",
    closing="]",
    instructions="[AVAILABLE_TOOLS]{tools}[/AVAILABLE_TOOLS]",
    listing=specs_in_a_list,
    result_opening="[TOOL_RESULTS]",
    result_closing="[/TOOL_RESULTS]",
    names=_QUOTABLE,
)
MISTRAL_ARGS = replace(
    MISTRAL,
    name="mistral-args",
    syntax=NamedJson(("[ARGS]",), noise=r"\[CALL_ID\][A-Za-z0-9]{9}"),
    opening="",
    between="[TOOL_CALLS]",
    closing="",
    names=_WORD,
)
GRANITE = ToolFormat(
    name="granite",
    syntax=JsonCall(),
    trigger="<|tool_call|>",
    opening="[",
    between=", ",
    closing="]",
    instructions="You have these tools:\n{tools}\nWhen one is required, respond only with <|tool_call|> followed by a "
    "JSON list of the tools used.",
    listing=functions_in_a_list,
    names=_QUOTABLE,
)
PHI4 = replace(
    GRANITE,
    name="phi4",
    closing="]<|/tool_call|>",
    instructions="<|tool|>{tools}<|/tool|>",
    result_opening="<|tool_response|>",
    result_closing="",
)
FUNCTION_GEMMA = ToolFormat(
    name="functiongemma",
    syntax=GemmaCall(),
    trigger="<start_function_call>",
    opening="",
    between="<end_function_call><start_function_call>",
    closing="<end_function_call>",
    instructions="You are a model that can do function calling with the following functions{tools}",
    listing=as_declarations,
    result_opening="<start_function_response>",
    result_closing="<end_function_response>",
    stop=("<start_function_response>",),
    names=_IDENTIFIER,
    keys=_IDENTIFIER,
)
DEEPSEEK = ToolFormat(
    name="deepseek-v3.1",
    syntax=NamedJson(("<｜tool▁sep｜>",)),
    trigger="<｜tool▁calls▁begin｜>",
    opening="<｜tool▁call▁begin｜>",
    between="<｜tool▁call▁end｜><｜tool▁call▁begin｜>",
    closing="<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    instructions="## Tools\nYou have access to the following tools:\n\n{tools}\n\nTo call, write exactly\n"
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>TOOL<｜tool▁sep｜>ARGUMENTS<｜tool▁call▁end｜><｜tool▁calls▁end｜>\n"
    "where ARGUMENTS is one JSON object.",
    listing=under_headings,
    result_opening="<｜tool▁output▁begin｜>",
    result_closing="<｜tool▁output▁end｜>",
    names=_WORD,
)
HARMONY = ToolFormat(
    name="harmony",
    syntax=NamedJson(
        (
            " <|constrain|>json<|message|>",
            "<|channel|>commentary json<|message|>",
            "<|channel|>commentary <|constrain|>json<|message|>",
        )
    ),
    trigger="<|channel|>commentary to=functions.",
    opening="",
    between="",
    closing="",
    instructions="# Tools\n\n## functions\n\nnamespace functions {\n\n{tools}\n\n} // namespace functions",
    listing=as_types,
    max_calls=1,
    stop=("<|call|>",),
    names=r"[A-Za-z0-9_-]{1,64}",
    template_trigger=" to=functions.",
    envelope=Envelope(
        thought_opening="<|channel|>analysis<|message|>",
        thought_closing="<|end|><|start|>assistant",
        answer_opening="<|channel|>final<|message|>",
    ),
)
LFM2 = ToolFormat(
    name="lfm2",
    syntax=PythonCall(),
    trigger="<|tool_call_start|>",
    opening="[",
    between=", ",
    closing="]<|tool_call_end|>",
    instructions="List of tools: <|tool_list_start|>{tools}<|tool_list_end|>",
    listing=specs_in_a_list,
    result_opening="<|tool_response_start|>",
    result_closing="<|tool_response_end|>",
    names=rf"{_IDENTIFIER}(\.{_IDENTIFIER}){{0,3}}",
    keys=_IDENTIFIER,
)

FORMATS = {
    each.name: each
    for each in (
        SMOLLM2, HERMES, QWEN_CODER, LLAMA3, MISTRAL, MISTRAL_ARGS, FUNCTION_GEMMA, PHI4, GRANITE, DEEPSEEK, HARMONY,
        LFM2, BARE_LIST, GENERIC,
    )
}  # fmt: skip
