"""A request for several things, cut into what it asks for one by one (pure, English).

A list is cut at its items, other text where it leads on ("also", "after that", ";"); a sentence that only states
something stays with what follows it. Not covered: several things in one phrase ("the rivers of Peru and Chile").
"""

from __future__ import annotations

import re

from agentkit.context.sentences import sentences

MAX_PARTS = 8
_LEAST_WORDS = 3
_ITEM = re.compile(r"^[ \t]*+(?:[-*\u2022]|\d{1,2}[.)])\s+", re.MULTILINE)
_LEADS_ON = re.compile(
    r"(?<!\s)\s*+;\s*+(?:and\s+)?"
    r"|(?<!\s),?\s++and\s+(?:also|then|after\s+that|finally)\b[,:]?\s+"
    r"|(?<!\s),?\s++and\s+(?=[a-z]+\s+(?:me|the|an?|my|all)\b)"
    r"|(?<=[.?!,])\s++(?:and\s+)?(?:also|then|next|after\s+that|afterwards|besides|plus|in\s+addition|additionally|moreover"
    r"|furthermore|on\s+top\s+of\s+that|at\s+the\s+same\s+time|finally|lastly|while\s+you\s+are\s+at\s+it|once\s+that\s+is"
    r"\s+done|when\s+you\s+have\s+that|second(?:ly)?|third(?:ly)?|fourth(?:ly)?|i\s+also\s+need(?:\s+this)?)\b[,:]?\s+",
    re.IGNORECASE,
)
_STATES = re.compile(
    r"(?:the|a|an|my|our|his|her|their|its?|this|that|these|those|there|he|she|we|they|i|first)\b"
    r"(?!\s*(?:'d\s+like|need|want|would\s+like|must|have\s+to|am\s+after))",
    re.IGNORECASE,
)


def parts(request: str) -> list[str]:
    """Return what `request` asks for, each as a request of its own, in order: itself, where it asks for one thing."""
    items = list(_ITEM.finditer(request))
    if len(items) > 1:
        ends = [*(item.start() for item in items[1:]), len(request)]
        found = [request[item.end() : end].strip() for item, end in zip(items, ends, strict=True)]
    else:
        found = [part for piece in _LEADS_ON.split(request) for part in _wholes(piece)]
    found = [part for part in dict.fromkeys(found) if len(part.split()) >= _LEAST_WORDS]
    return found[:MAX_PARTS] if len(found) > 1 else [request]


def _wholes(text: str) -> list[str]:
    """Return the sentences of `text`, those that only state something together with the next one."""
    found: list[str] = []
    gathered: list[str] = []
    for each in sentences(text):
        gathered.append(each.text)
        if each.text.endswith("?") or not _STATES.match(each.text):
            found.append(" ".join(gathered))
            gathered = []
    return [*found, " ".join(gathered)] if gathered else found
