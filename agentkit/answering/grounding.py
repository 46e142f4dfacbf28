"""Answer a question of a conversation from what is written, or was told, where that holds it.

A small model that has the right sentence before it still tells something of its own; what answers `agentkit ask`
checks what it says. Here is decided whether its answer ends a turn, or the model with its tools goes on.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from agentkit.errors import Cancelled
from agentkit.events import Ending, Event, Finished, Prompted
from agentkit.messages import Evidence, Message, Role
from agentkit.request.asking import asks, asks_of_own, contents, topic
from agentkit.request.followup import about, told
from agentkit.request.parts import parts

_FEW_WORDS = 6


class Searches(Protocol):
    """Where evidence comes from; `agentkit.recall.Recall` is one."""

    def search(self, question: str) -> list[Evidence]:
        """Return passages for a question, best first."""
        ...


class Answers(Protocol):
    """What answers from documents alone; `agentkit.answering.answer.Answerer` is one."""

    def run(
        self,
        question: str,
        *,
        about: str = "",
        told: Sequence[Evidence] = (),
        among: Sequence[Evidence] | None = None,
    ) -> Iterator[Event]:
        """Answer, or say that nothing holds it; the last event is `Finished`.

        Args:
            question: In the user's words.
            about: Words for what the question only points to.
            told: Further passages, which go before those that are found.
            among: Look in these alone.
        """
        ...


@dataclass(frozen=True, slots=True)
class Written:
    """What is written, or was told, about a request."""

    last: Finished
    ends: bool
    """It ends the turn; else the model goes on, and it is better than a model that can do nothing."""


def last_of(events: Iterator[Event]) -> Generator[Event, None, Finished]:
    """Return how an answer ends; of what comes before it, pass on what was prompted.

    Raises:
        Cancelled: The user stopped it.
    """
    for event in events:
        if isinstance(event, Prompted):
            yield event
        elif isinstance(event, Finished):
            if event.ending is Ending.CANCELLED:
                raise Cancelled("the turn was stopped")
            return event
    raise RuntimeError("an answer has an end")


def from_what_is_written(
    answers: Answers, messages: Sequence[Message], *, nearby: bool, tools: bool, searched: bool = False
) -> Generator[Event, None, Written | None]:
    """Return what is written about the request; `None` where it is not asked of the documents.

    Where a tool is likely wanted, a mere quote is no answer. That nothing is written is an answer to what nobody else
    can know, and to who somebody is: a small model has a story for every name. A few words that are near something
    (`wifi password`) ask for it.

    Args:
        answers: Asks the documents.
        messages: The conversation; the user's last one is the request.
        nearby: Something in the documents is near it.
        tools: One of them is likely wanted.
        searched: The model has read the request, and would search the documents; what asks was tried before that.

    Raises:
        Cancelled: The user stopped it.
    """
    *earlier, text = (message for message in messages if message.role is Role.USER)
    request = text.text
    named = nearby and not tools and len(request.split()) <= _FEW_WORDS
    for_passages = bool(topic(request) or contents(request))
    if (named or for_passages or asks(request)) is searched or len(parts(request)) > 1:
        return None
    leaning = about(request, [message.text for message in earlier])
    last = yield from last_of(answers.run(request, about=leaning, told=told(earlier)))
    answered = last.ending is Ending.ANSWERED
    for_documents = asks_of_own(request) or for_passages or (answered and nearby)
    is_sure = answered and last.confidence != "low"
    return Written(last, ends=is_sure or (for_documents and not (tools or searched)))
