"""A message that leans on the request before it, put into full: a reply to a question back, `and in May?` (pure).

"When is low tide?", "I still need to know: the harbour.", "Port Ellery" is one request, said in two messages. A small
model reads it best as one, so that is what it is shown; the conversation keeps what was said as it was said. Of the
question nothing is taken over: a model wrote it, and a request is in the user's own words.
Not covered: a reply that begins with a new request and then answers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from agentkit import prompt
from agentkit.messages import Message, Role
from agentkit.request.asking import asks
from agentkit.request.elliptic import whole

_MOST_WORDS = 30
"""Who says more than that has something else in mind."""
_LEAVES_IT = re.compile(
    r"\W*(?:never ?mind|forget (?:it|that|about it)|(?:please )?(?:cancel|stop|skip)\b|no\b|nothing\b|none\b|leave it"
    r"|(?:i )?(?:don't|do not|dont) (?:know|care|want|mind|bother)|(?:i(?:'m| am) )?not sure|whatever|drop it"
    r"|thanks?\b)",
    re.IGNORECASE,
)
_ORDERS = re.compile(
    r"\W*(?:please |pls |(?:can|could|would|will) you |i(?:'d like| want| need) )?(?:to )?"
    r"[a-z]+ (?:me|us|my|our|all|that|this)\b",
    re.IGNORECASE,
)
"""`add that to my list`, `give me the weather`: something else is wanted."""


def completed(messages: Sequence[Message]) -> list[Message]:
    """Return a conversation in which every reply to a question for what is missing stands with its request.

    A request that leaves out what the one before it said (`agentkit.request.elliptic`) says it.

    Args:
        messages: Those of the whole conversation, oldest first.
    """
    made: list[Message] = []
    for message in messages:
        if len(made) > 1 and message.role is Role.USER and _is_question(made[-1]):
            request = made[-2]
            if request.role is Role.USER and _is_reply(message.text):
                labels = request.labels.join(message.labels)
                made[-2:] = [replace(message, text=f"{request.text}\n{message.text}", labels=labels)]
                continue
        before = next((each for each in reversed(made) if each.role is Role.USER), None)
        if before is not None and message.role is Role.USER:
            text = whole(message.text, before.text)
            labels = message.labels if text == message.text else before.labels.join(message.labels)
            message = replace(message, text=text, labels=labels)
        made.append(message)
    return made


def asks_back(text: str) -> bool:
    """Return whether what an assistant says is a question for what a request left out."""
    return text.startswith(prompt.ASKING_BACK)


def is_helpless(text: str) -> bool:
    """Return whether an assistant says that it can do nothing, or nothing yet."""
    return text.strip() == prompt.UNABLE or asks_back(text)


def may_be_helpless(begun: str) -> bool:
    """Return whether a text that begins so may come to be `is_helpless`."""
    known = (prompt.UNABLE, *prompt.ASKING_BACK)
    return asks_back(begun) or any(each.startswith(begun.rstrip()) for each in known)


def _is_question(message: Message) -> bool:
    return message.role is Role.ASSISTANT and not message.calls and asks_back(message.text)


def _is_reply(text: str) -> bool:
    is_short = 0 < len(text.split()) <= _MOST_WORDS
    return is_short and not asks(text) and not _LEAVES_IT.match(text) and not _ORDERS.match(text)
