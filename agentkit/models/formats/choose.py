"""Which family a chat template is of: by its fingerprint, else by what it writes."""

from __future__ import annotations

import hashlib

from agentkit.models.formats.families import GENERIC, HERMES, SMOLLM2
from agentkit.models.formats.tool_format import ToolFormat

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
