"""A request for several things, cut into what it asks for one by one (pure, English).

A list is cut at its items, other text where it leads on ("also", "after that") and at its sentences. What only states
something stays with what is asked behind it, or else before it; what only points back ("put that on the list") stays
with what is before it. Not covered: several things in one phrase ("the rivers of Peru and Chile").
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from agentkit.context.sentences import sentences

MAX_PARTS = 8
ORDERS = (
    r"(?:add|analy[sz]e|answer|arrange|ask|assess|book|buy|calculate|call|cancel|change|check|compare|compute|convert|copy"
    r"|count|create|cut|delete|describe|determine|divide|draft|draw|enter|estimate|evaluate|explain|fetch|file|find|fix"
    r"|generate|get|give|have|help|identify|keep|let|list|log|look|make|mark|measure|move|multiply|name|note|open|order|pay"
    r"|plan|play|plot|post|predict|print|put|raise|read|recommend|record|register|remember|remove|rename|report|reserve"
    r"|resolve|retrieve|return|run|save|schedule|search|see|sell|send|set|show|simulate|solve|sort|start|stop|store"
    r"|suggest|summari[sz]e|take|tell|test|track|translate|turn|update|use|verify|work|write)"
)
"""Verbs that requests begin with."""
_FURTHER_ORDERS = r"(?:e-?mail|lock|mail|phone|remind|ring|shut|switch|text|track|unlock|wake)"
"""Verbs that requests begin with, and that stand behind an "and" as often without wanting anything."""
_WHAT = r"(?:what|which|who|whom|whose|when|where|why|how)"
_POLITE = r"(?:(?:please|kindly|pls|just|do|then|also|(?:would|could|can|will) you)\s+(?:please\s+)?)*"
_LEAST_WORDS = 3
_ITEM = re.compile(r"^[ \t]*+(?:[-*\u2022]|\d{1,2}[.)])\s+", re.MULTILINE)
_LEADS_ON = re.compile(
    r"(?<!\s),?\s++and\s+(?:also|then|after\s+that|finally)\b[,:]?\s+"
    r"|(?<=[.?!,;])\s*+(?:and\s+)?(?:also|then|next|after\s+that|afterwards|besides|plus|in\s+addition|additionally|moreover"
    r"|furthermore|on\s+top\s+of\s+that|at\s+the\s+same\s+time|finally|lastly|while\s+you\s+are\s+at\s+it|once\s+that\s+is"
    r"\s+done|when\s+you\s+have\s+that|second(?:ly)?|third(?:ly)?|fourth(?:ly)?|i\s+also\s+need(?:\s+this)?)\b[,:]?\s+",
    re.IGNORECASE,
)
_PIECE_END = re.compile(
    r"(?<!\s)\s*+;\s*+(?:and\s+)?"
    rf"|(?<!\s),?\s++and\s+(?=(?:please\s+)?(?:{ORDERS}\s+(?:me|us|the|an?|my|our|all|that|\d)"
    rf"|{_WHAT}(?:'s|(?:\s+\w+)?\s+(?:is|are|was|were|does|do|did|much|many|long|far))"
    r"|(?:can|could|would|will)\s+you|i(?:'d\s+like|\s+need|\s+want))\b)",
    re.IGNORECASE,
)
_ASKS = re.compile(
    rf"(?:^|[,:;]\s+(?:and\s+|so\s+)?){_POLITE}(?:{ORDERS}|{_WHAT})\b|\bplease\b|\bi(?:'d\s+like|\s+(?:need|want|would\s+like"
    r"|must|have\s+to|am\s+after|wonder))\b|\?$",
    re.IGNORECASE,
)
_STATES = re.compile(
    r"(?:[^.:?]{1,40}:\s+)?(?:(?:the|a|an|my|our|his|her|their|its?|this|that|these|those|there|he|she|we|they|i)\b"
    r"|[^.:]*?\b(?:is|are|was|were|has|have|had|am|'s|'re|'ve|will|\w{2,}ed)\b)",
    re.IGNORECASE,
)
_POINTS_BACK = re.compile(
    rf"{_POLITE}{ORDERS}(?:\s+(?:down|up|in|out|to|for|after))?\s+(?:it|that|this|them|those|these)\b(?!\s+\w+(?:ed|ing)\b)"
    r"|(?:that\s+would|please\s+be|thank|thanks|that's\s+for|if\s+(?:so|not|yes))\b"
    r"|(?=(?:\S+\s+){1,8}\S+$)(?!.+[^.?!:]\s(?-i:[A-Z]))"
    r"(?=.*(?:\b(?:that|them|those)|(?<!is )(?<!was )(?<!will )\bit)\b)",
    re.IGNORECASE,
)
"""Speaks of what was said before it and names nothing itself."""

_SHORT = re.compile(
    rf"{_POLITE}{ORDERS}\s+(?!(?:me|us|it|this|that|them|these|those|[\d.,]+)(?!\w))\S{{2,}}[^\s:]",
    re.IGNORECASE,
)
"""As short as an order gets that names something: "read harbour.txt"."""
_IS_ORDER = re.compile(
    rf"\W*{_POLITE}(?!(?:remember|note|keep|record)\b)(?:{ORDERS}|{_FURTHER_ORDERS})\s", re.IGNORECASE
)


def is_order(request: str) -> bool:
    """Return whether `request` begins as an order to do something; to remember what it says is none."""
    return _IS_ORDER.match(request) is not None


def parts(request: str) -> list[str]:
    """Return what `request` asks for, each as a request of its own, in order: itself, where it asks for one thing."""
    items = list(_ITEM.finditer(request))
    if len(items) > 1:
        ends = [*(item.start() for item in items[1:]), len(request)]
        found = [request[item.end() : end].strip() for item, end in zip(items, ends, strict=True)]
    else:
        found = [part for piece in _LEADS_ON.split(request) for part in _wholes(piece)]
    found = [
        part for part in dict.fromkeys(found) if len(part.split()) >= _LEAST_WORDS or _SHORT.fullmatch(part)
    ]
    return found[:MAX_PARTS] if len(found) > 1 else [request]


def _wholes(text: str) -> list[str]:
    """Return what `text` asks for, each with what is stated for it."""
    found: list[tuple[int, int]] = []
    stated: int | None = None
    end = 0
    for start, end in _pieces(text):
        piece = text[start:end]
        if found and stated is None and _POINTS_BACK.match(piece):
            found[-1] = (found[-1][0], end)
            continue
        stated = start if stated is None else stated
        if _ASKS.search(piece) or not _STATES.match(piece):
            found.append((stated, end))
            stated = None
    if stated is not None:
        first = found.pop()[0] if found else stated
        found.append((first, end))
    return [text[start:end] for start, end in found]


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each sentence begins and ends, and each part of one that asks for something by itself."""
    for sentence in sentences(text):
        start = sentence.start
        for match in _PIECE_END.finditer(sentence.text):
            if sentence.start + match.start() > start:
                yield start, sentence.start + match.start()
            start = sentence.start + match.end()
        if start < sentence.end:
            yield start, sentence.end
