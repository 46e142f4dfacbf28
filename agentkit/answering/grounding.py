"""Answer a question of a conversation from what is written, or was told, where that holds it.

A small model that has the right sentence before it still tells something of its own; what answers `agentkit ask`
checks what it says. Here is decided whether its answer ends a turn, or the model with its tools goes on.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Protocol

from agentkit.errors import Cancelled
from agentkit.events import Ending, Event, Finished, Prompted
from agentkit.limits import add_usage
from agentkit.messages import Evidence, Message, Role
from agentkit.request.asking import asks, asks_of_own, contents, names_texts, question_in, topic
from agentkit.request.followup import about, told
from agentkit.request.parts import parts

_FEW_WORDS = 6
_MOST_QUESTIONS = 4
_SURENESS = ("low", "medium", "high")


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
    (`wifi password`) ask for it. Several questions are answered one by one, where all of them are.

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
    is_question = asks(request) and bool(question_in(request))
    is_order = asks(request) and not is_question  # `can you play some music?`
    named = nearby and not tools and not is_order and len(request.split()) <= _FEW_WORDS
    for_passages, by_name = bool(topic(request)), bool(contents(request)) and not is_question
    if (named or for_passages or by_name or is_question) is searched:
        return None
    questions = parts(request)
    if len(questions) > 1 and (searched or len(questions) > _MOST_QUESTIONS or not all(map(asks, questions))):
        return None
    before, found = [message.text for message in earlier], list[Finished]()
    for question in questions:
        leaning = about(question, before)
        found.append((yield from last_of(answers.run(question, about=leaning, told=told(earlier)))))
        before.append(question)
    last = _joined(found)
    if len(found) > 1:
        return Written(last, ends=all(map(_is_sure, found)))
    if by_name and not (named or for_passages):  # `open the gate` is about no text, unless one is called so
        is_called_so = _is_sure(last) and last.confidence == "high"
        return Written(last, ends=True) if is_called_so and not tools else None
    answered = last.ending is Ending.ANSWERED
    of_texts = for_passages and names_texts(request)
    for_documents = asks_of_own(request) or of_texts or (answered and nearby)
    is_quote = for_passages and not of_texts and tools
    return Written(
        last, ends=(_is_sure(last) and not is_quote) or (for_documents and not (tools or searched))
    )


def _is_sure(last: Finished) -> bool:
    return last.ending is Ending.ANSWERED and last.confidence != "low"


def _joined(found: Sequence[Finished]) -> Finished:
    """Return the answers to several questions as one, line by line, which is as sure as the least sure of them."""
    if len(found) == 1:
        return found[0]
    least = min(found, key=lambda each: _SURENESS.index(each.confidence))
    return replace(
        least,
        text="\n".join(each.text for each in found),
        ending=Ending.ANSWERED if any(each.evidence for each in found) else least.ending,
        evidence=tuple(dict.fromkeys(quote for each in found for quote in each.evidence)),
        usage=reduce(add_usage, (each.usage for each in found)),
    )
