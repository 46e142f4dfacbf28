"""Which family a chat template is of: by its fingerprint, else by what it writes of a trial conversation.

A template is believed only where it does what its family does: one that writes calls in no way known here, whatever it
says it does, is used for nothing but roles and text, and its model gets the `generic` format.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from agentkit.errors import ConfigError
from agentkit.messages import ToolSpec
from agentkit.models.formats.families import (
    FORMATS,
    FUNCTION_GEMMA,
    GENERIC,
    GRANITE,
    HERMES,
    LFM2,
    PHI4,
    SMOLLM2,
)
from agentkit.models.formats.syntax import ParsedCall
from agentkit.models.formats.tool_format import Envelope, ToolFormat

AUTO = "auto"
"""Stands for a format's name where the template is to decide."""
_BY_FINGERPRINT = {
    "872be49dbb638044": SMOLLM2,  # SmolLM2-{135M,360M}-Instruct
}
_SIGNS = (
    ("<|tool|>", PHI4),
    ("respond only with <|tool_call|>", GRANITE),
    ("<start_function_declaration>", FUNCTION_GEMMA),
    ("<|tool_list_start|>", LFM2),
    ("List of tools: [", LFM2),
    ("/no_think", HERMES),  # SmolLM3, and Qwen3 where somebody took its branch for tools out
    ("named SmolLM, trained by Hugging Face", SMOLLM2),
)
"""What gives templates away that do not write calls themselves."""
_THOUGHTS = (("<think>", "</think>"), ("[THINK]", "[/THINK]"))

PROBE_TOOL = ToolSpec(
    "probe_8f3a1c",
    "A probe.",
    {
        "type": "object",
        "properties": {"probe_key": {"type": "string", "description": "A probe."}},
        "required": ["probe_key"],
        "additionalProperties": False,
    },
)
PROBE_CALL = ParsedCall(PROBE_TOOL.name, {"probe_key": "probe_value"})
PROBE_RESULT = "probe-result"


@dataclass(frozen=True, slots=True)
class Trial:
    """What a template writes of a conversation with a tool, a call and a result; nothing where it refuses it."""

    tools: str = ""
    """A prompt with the tool listed."""
    calls: str = ""
    """Between the question and the result."""
    header: str = ""
    """Between a question and a plain answer."""
    shows_result: bool = False


@dataclass(frozen=True, slots=True)
class Chosen:
    """A template's family, why, and what the template writes of it by itself."""

    format: ToolFormat
    reason: str
    tools: bool = False
    """The template lists tools; else they stand in the system message in the family's words."""
    calls: bool = False
    results: bool = False

    @property
    def native(self) -> str:
        """What the template writes itself, in words."""
        said = [
            name
            for name, has in (("tools", self.tools), ("calls", self.calls), ("results", self.results))
            if has
        ]
        return ", ".join(said) or "nothing"


def fingerprint(template: str) -> str:
    """Return the name under which a chat template is known: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(template.encode("utf-8", "replace")).hexdigest()[:16]


def format_named(name: str) -> ToolFormat | None:
    """Return the format of this name; nothing for `auto`, which leaves it to the template.

    Raises:
        ConfigError: There is none.
    """
    if name == AUTO:
        return None
    if name not in FORMATS:
        raise ConfigError(
            f"there is no tool format {str(name)[:40]!r}", hint=f"use one of {AUTO}, {', '.join(FORMATS)}"
        )
    return FORMATS[name]


def choose_format(template: str, trial: Trial, wanted: str = AUTO) -> Chosen:
    """Return the format for a chat template.

    Args:
        template: Its source.
        trial: What it writes.
        wanted: Name of the format to take whatever the template says, or `auto`.

    Raises:
        ConfigError: There is no format of that name.
    """
    found, asked = _found(template, trial), format_named(wanted)
    if asked is None or asked is found.format:
        return found
    return Chosen(asked, "it was asked for")


def thoughts_of(template: str, tool_format: ToolFormat) -> Envelope | None:
    """Return what a model with this template writes around its thoughts, if it thinks."""
    if tool_format.envelope is not None:
        return tool_format.envelope
    marks = next((marks for marks in _THOUGHTS if marks[0] in template), None)
    return None if marks is None else Envelope(*marks)


def _found(template: str, trial: Trial) -> Chosen:
    lists = PROBE_TOOL.name in trial.tools
    known = _BY_FINGERPRINT.get(fingerprint(template))
    wrote = [
        each for each in FORMATS.values() if each.reads(trial.calls, PROBE_CALL, PROBE_TOOL, trial.header)
    ]
    if known is not None:
        return _with_branches(known, "the template is known", lists, known in wrote, trial)
    if wrote:
        return _with_branches(wrote[0], "the template writes calls so", lists, True, trial)
    if PROBE_CALL.arguments["probe_key"] in trial.calls:
        return Chosen(GENERIC, "the template writes calls in a way that is not known")
    for sign, each in _SIGNS:
        if sign in template:
            return _with_branches(each, f"the template says {sign.strip()!r}", lists, False, trial)
    if lists:
        return Chosen(GENERIC, "the template lists tools but not how they are called")
    return Chosen(GENERIC, "the template knows no tools")


def _with_branches(each: ToolFormat, reason: str, lists: bool, calls: bool, trial: Trial) -> Chosen:
    return Chosen(each, reason, lists, calls, results=trial.shows_result and (lists or calls))
