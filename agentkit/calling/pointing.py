"""Which tools read what a request points to, the file, the address or the note it names, and with what (pure, English).

"How long does the barley soak? It's in recipe.md" is near to no description, yet says where the answer stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agentkit.calling.parameters import needed, properties
from agentkit.calling.siblings import Described
from agentkit.context.words import name_words, terms, words
from agentkit.messages import ToolCall

FILE = r"(?<![\w-])[\w-]{1,80}\.(?:txt|md|csv|json|log|toml|ya?ml|ini|html?|py|tex|rst|pdf|docx?|odt|xlsx?)\b"
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
_ORDER_TO_READ = re.compile(
    r"\W*(?:(?:please|first|can you|could you|would you)\b[\s,]*)*"
    r"(?:read|open|fetch|load|get|show|view|visit|check|go through|look (?:at|in|into|through|up))\b",
    re.IGNORECASE,
)
_STANDS_IN = re.compile(
    r"(?:\b(?:according to|going by|says|it(?:'s| is) (?:in|on))"
    r"|(?<=[.?!:,] )(?:see|check|ask|use|look (?:at|in|into)))\s+"
    r"(?P<where>(?:[\w'-]+ ?){1,5})",
    re.IGNORECASE,
)
"""What follows says where the answer stands."""
_FOLDER = re.compile(r"\b(?:folder|directory)\b", re.IGNORECASE)
"""Then the file may be named by its path, which nobody said in one piece."""
_UNQUOTED = re.compile(rf"[A-Z]\w*\s+(?=[A-Z]){FILE}|[a-z]\s+[A-Z]\w*\s+{FILE}")
"""A name that may hold a blank: `What is in Harbour notes.txt?`"""
_RUN = re.compile(r"[^\s\"'`\u201c\u201d\u2018\u2019()<>][^\s\"'`\u201c\u201d\u2018\u2019<>]*")
_QUOTED = re.compile(r"[\"'`\u201c\u2018](?P<inside>[^\"'`\u201d\u2019\n]+)[\"'`\u201d\u2019]")
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
    kinds = _kinds(request)
    return [tool.name for tool in tools if kinds and _reads(tool, kinds)]


def is_order_to_read(part: str) -> bool:
    """Return whether one of several things that are asked for is to read what it names: `open notes.txt`."""
    return bool(_ORDER_TO_READ.match(part))


def named_by(request: str, tools: Iterable[Described]) -> list[str]:
    """Return the tools that bring what `request` says the answer stands in: `check the chat`, for `chat_history`.

    Args:
        request: In the user's words.
        tools: All there are, in the order of the result.
    """
    begun = request[:_READ_CHARACTERS]
    where = {term for found in _STANDS_IN.finditer(begun) for term in terms(found["where"])}
    if not where or _CHANGES.search(begun):
        return []
    return [tool.name for tool in tools if where & _spoken_of(tool)]


def pointed_to(request: str) -> tuple[str, ...]:
    """Return the files or addresses that `request` names, each in every way it can be read; nothing if that is unsure.

    A name in quotes may hold blanks: `'Harbour notes.txt'` is that, or `notes.txt`.
    """
    begun = request[:_READ_CHARACTERS]
    pattern = next((pattern for pattern, _ in _NAMED if pattern.search(begun)), None)
    if pattern is None or _FOLDER.search(begun) or _UNQUOTED.search(begun):
        return ()
    runs = (run[0].rstrip(".,;:?!") for run in _RUN.finditer(begun))
    runs = (run if "(" in run else run.rstrip(")") for run in runs)
    quoted = (quote["inside"] for quote in _QUOTED.finditer(begun))
    return tuple(dict.fromkeys(each for each in (*runs, *quoted) if pattern.search(each)))


def misplaced(calls: Sequence[ToolCall], tools: Iterable[Described]) -> bool:
    """Say whether one of `calls` has a file or an address for a value that is to be neither: an amount of a.txt."""
    every = {tool.name: properties(tool) for tool in tools}
    given = ((each.name, *pair) for each in calls for pair in each.arguments.items())
    texts = (
        (tool, name, value) for tool, name, value in given if isinstance(value, str) and " " not in value
    )
    return any(
        bool(kinds := _kinds(value)) and not _takes(name, every.get(tool, {}), kinds)
        for tool, name, value in texts
    )


def _kinds(text: str) -> frozenset[str]:
    begun = text[:_READ_CHARACTERS]
    return next((kinds for pattern, kinds in _NAMED if pattern.search(begun)), frozenset[str]())


def _spoken_of(tool: Described) -> set[str]:
    """Return what the name of a tool speaks of; nothing, if the tool changes it."""
    said = [word.lower() for word in name_words(tool.name)]
    if _CHANGES.search(" ".join(said)):
        return set()
    return set(terms(" ".join(word for word in said if word not in _READING)))


def _reads(tool: Described, kinds: frozenset[str]) -> bool:
    required = needed(tool)
    if len(required) != 1 or not _READING & {word.lower() for word in name_words(tool.name)}:
        return False
    every = properties(tool)
    return every.get(required[0], {}).get("type") == "string" and _takes(required[0], every, kinds)


def _takes(name: str, every: Mapping[str, Any], kinds: frozenset[str]) -> bool:
    said = {word.lower() for word in name_words(name)}
    schema = every.get(name, {})
    return bool(kinds & (said | set(words(str(schema.get("description", ""))))))
