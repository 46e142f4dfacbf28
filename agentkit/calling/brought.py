"""What the calls of a turn brought: texts to be read, or facts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agentkit.calling.pointing import pointed_to
from agentkit.calling.siblings import Described
from agentkit.context.words import name_words, terms
from agentkit.messages import Evidence, Message, ToolCall

_LEAST_WORDS, _LEAST_LINES = 20, 3
"""Of a text; what is shorter in both is a fact."""
_MOST_NAMED = 80
"""Characters of the arguments that name a text."""


@dataclass(frozen=True, slots=True)
class Made:
    """A call of the turn, and what it brought."""

    call: ToolCall
    result: Message
    about: str = ""
    """What the tool does, by its description."""
    named: bool = False
    """Whether the request names what it was called with: a file, an address."""

    @property
    def is_text(self) -> bool:
        """Whether that is a text to be read, and not a fact, fields or an error."""
        text = self.result.text
        is_long = len(text.split()) >= _LEAST_WORDS or len(text.split("\n", _LEAST_LINES)) >= _LEAST_LINES
        return (is_long or self.named) and not text.startswith("error:") and not _is_json(text)

    @property
    def passage(self) -> Evidence:
        """The text as a passage, named after the call."""
        values = ", ".join(str(value) for value in self.call.arguments.values())
        source = f"{self.call.name}({values[:_MOST_NAMED]})" if values else self.call.name
        return Evidence("", source, "", self.result.text, 1.0, self.result.labels)


def made_in(turn: Sequence[Message], tools: Iterable[Described], request: str = "") -> list[Made]:
    """Return the answered calls among the messages of a turn, in order.

    Args:
        turn: What follows the request.
        tools: Those there are.
        request: In the user's words.
    """
    about = {tool.name: tool.description for tool in tools}
    calls = {call.id: call for message in turn for call in message.calls}
    answered = ((calls[each.call_id], each) for each in turn if each.call_id in calls)
    named = pointed_to(request)
    return [
        Made(call, result, about.get(call.name, ""), any(each in named for each in call.arguments.values()))
        for call, result in answered
    ]


def terms_of(*texts: str) -> list[str]:
    """Return the content words of names and descriptions, those of `read_file` and of `harbour.txt` among them."""
    return [term for text in texts for term in (*terms(text), *terms(" ".join(name_words(text))))]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
