"""Which tools read what a request points to: the file or the address it names (pure, English).

"How long does the barley soak? It's in recipe.md" is near to no description, yet says where the answer stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from agentkit.context.words import name_words, words
from agentkit.siblings import Described

FILE = r"[\w-]+\.(?:txt|md|csv|json|log|toml|ya?ml|ini|html?|py|tex|rst|pdf|docx?|odt|xlsx?)\b"
_ADDRESS = (
    r"\bhttps?://\S|\bwww\.\w|(?<![\w/.@-])(?:[a-z0-9-]+\.)+[a-z]{2,}(?:/\S|(?<=\.com)|(?<=\.org)|(?<=\.net))"
)
_NAMED: tuple[tuple[re.Pattern[str], frozenset[str]], ...] = (
    (re.compile(_ADDRESS, re.IGNORECASE), frozenset({"url", "address", "link", "page", "website", "site"})),
    (re.compile(FILE, re.IGNORECASE), frozenset({"file", "path", "filename", "filepath", "document"})),
)
"""What a request may name, and the words that a parameter which takes it is named with."""
_READ_CHARACTERS = 2000
"""Of a longer request the beginning is looked at."""
_WANTS_TO_KNOW = re.compile(
    r"\b(?:what|which|who|whose|whom|when|where|why|how|is|are|was|were|does|do|did|has|have|read|open|show|look|see|check"
    r"|fetch|get|visit|tell|summari[sz]e|according)\b",
    re.IGNORECASE,
)
_CHANGES = re.compile(
    r"\b(?:delete|remove|rename|move|write|add|append|edit|change|replace|save|create|copy|send|upload|put|run|execute|print"
    r"|translate|convert)\b",
    re.IGNORECASE,
)
_READING = frozenset("read open show get fetch view cat load visit see text contents browse".split())  # noqa: SIM905


def read_by(request: str, tools: Iterable[Described]) -> list[str]:
    """Return the tools that need just what `request` points to, and read it.

    Args:
        request: In the user's words.
        tools: All there are, in the order of the result.
    """
    begun = request[:_READ_CHARACTERS]
    if not _WANTS_TO_KNOW.search(begun) or _CHANGES.search(begun):
        return []
    named = (kinds for pattern, kinds in _NAMED if pattern.search(begun))
    kinds = next(named, frozenset[str]())
    return [tool.name for tool in tools if kinds and _reads(tool, kinds)]


def _reads(tool: Described, kinds: frozenset[str]) -> bool:
    required = tool.parameters.get("required", ())
    if len(required) != 1 or not _READING & {word.lower() for word in name_words(tool.name)}:
        return False
    schema: Mapping[str, Any] = tool.parameters.get("properties", {}).get(required[0], {})
    said = {word.lower() for word in name_words(required[0])} | set(words(str(schema.get("description", ""))))
    return schema.get("type") == "string" and bool(kinds & said)
