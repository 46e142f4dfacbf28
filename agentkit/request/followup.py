"""What a question leans on that was said before it: `and how much did it cost?` (pure, English).

Not covered: a question without a word that points back, and without a thing of its own (`and in May?`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from agentkit.context.words import STOP_WORDS, words
from agentkit.messages import Evidence, Message, Role
from agentkit.request.asking import asks

_POINTS_BACK = re.compile(
    r"\b(?:it|its|they|them|their|theirs|he|him|his|she|her|hers"
    r"|(?:this|that|these|those)(?=\s*(?:[?.!,]|$)|\s+(?:is|was|are|were|cost|do|does|did|one|ones)\b))\b",
    re.IGNORECASE,
)
_CARRIED = 4
"""How many requests back a thing may have been named."""
_MOST_SAID = 20
_SAID_CHARACTERS = 2000
CONVERSATION = "this conversation"
"""Where it stands what the user said."""


def about(question: str, earlier: Sequence[str]) -> str:
    """Return the words of earlier requests that `question` points back to, or nothing where it does not.

    Args:
        question: The request to answer.
        earlier: What the user said before it, oldest first.
    """
    if not _POINTS_BACK.search(question):
        return ""
    carried: list[str] = []
    for text in reversed(earlier[-_CARRIED:]):
        carried[:0] = [word for word in words(text[:_SAID_CHARACTERS]) if word not in STOP_WORDS]
        if not _POINTS_BACK.search(text):
            break
    return " ".join(dict.fromkeys(carried))


def told(messages: Sequence[Message]) -> list[Evidence]:
    """Return what the user told, rather than asked, in a conversation: as passages, the latest first."""
    said = [each for each in messages if each.role is Role.USER and len(each.text) <= _SAID_CHARACTERS]
    return [
        Evidence(f"said {number}", CONVERSATION, "", each.text, 0.0, each.labels)
        for number, each in reversed(list(enumerate(said)))
        if not asks(each.text)
    ][:_MOST_SAID]
