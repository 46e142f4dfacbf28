"""What is said of the texts that tools bring: what was asked of them, with its sentence, or the texts themselves.

A small model that has read a page goes on with whatever the page speaks of, and takes any number there for the answer.
So what is asked of a text is looked for as in a document, and a call that the request does not speak of is not made.
Short results, and those in JSON, a model tells well enough. Not covered: summing up.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from agentkit import prompt
from agentkit.asking import question_in
from agentkit.context.words import alike, name_words, terms
from agentkit.events import Ending, Event, Finished
from agentkit.grounding import Answers, last_of
from agentkit.messages import Evidence, Message, ToolCall, Usage
from agentkit.parts import parts

_LEAST_WORDS, _LEAST_LINES = 20, 3
"""Of a text; what is shorter in both is a fact."""
_MOST_NAMED = 80
"""Characters of the arguments that name a text."""
_MOST_SHOWN = 80
"""Words of a text that is shown where no answer is found in it."""


@dataclass(frozen=True, slots=True)
class Made:
    """A call of the turn, and what it brought."""

    call: ToolCall
    result: Message

    @property
    def is_text(self) -> bool:
        """Whether that is a text to be read, and not a fact, fields or an error."""
        text = self.result.text
        is_long = len(text.split()) >= _LEAST_WORDS or len(text.split("\n", _LEAST_LINES)) >= _LEAST_LINES
        return is_long and not text.startswith("error:") and not _is_json(text)

    @property
    def passage(self) -> Evidence:
        """The text as a passage, named after the call."""
        values = ", ".join(str(value) for value in self.call.arguments.values())
        source = f"{self.call.name}({values[:_MOST_NAMED]})" if values else self.call.name
        return Evidence("", source, "", self.result.text, 1.0, self.result.labels)


def made_in(turn: Sequence[Message]) -> list[Made]:
    """Return the answered calls among the messages of a turn, in order."""
    calls = {call.id: call for message in turn for call in message.calls}
    return [Made(calls[each.call_id], each) for each in turn if each.call_id in calls]


def is_meant(call: ToolCall, request: str, made: Sequence[Made]) -> bool:
    """Return whether a request still wants a call once tools have brought a text for it.

    It does if it gives more orders than were carried out, or names what the tool does.

    Args:
        call: What the model wants next.
        request: In the user's words.
        made: The calls that were answered.
    """
    if any(call.spelt == each.call.spelt for each in made):
        return False
    if sum(not question_in(part) for part in parts(request)) > len(made):
        return True
    known = {word.lower() for each in made for word in name_words(each.call.name)}
    own = {word.lower() for word in name_words(call.name)} - known
    return any(alike(one, other) for one in terms(" ".join(own)) for other in terms(request))


def tell(made: Sequence[Made], request: str, answers: Answers | None) -> Generator[Event, None, Finished]:
    """Return how a turn ends whose calls brought a text: with what it says to a question, or with the text.

    Args:
        made: The calls of the turn.
        request: In the user's words.
        answers: Looks for the answer in a text; absent, and the tools speak for themselves.

    Raises:
        Cancelled: The user stopped it.
    """
    texts = [each.passage for each in made if each.is_text]
    question = question_in(request)
    if answers is None or not texts or _is_of_all(question, texts):
        return _verbatim(made)
    last = yield from last_of(answers.run(question, among=texts))
    if last.ending is Ending.ANSWERED:
        return last
    shown = texts if sum(len(each.quote.split()) for each in texts) <= _MOST_SHOWN else ()
    unsure = replace(last, confidence="low")  # who points to a text has a reason to
    return replace(unsure, text=prompt.NOT_SAID, ending=Ending.ANSWERED, evidence=tuple(shown))


def _verbatim(made: Sequence[Made]) -> Finished:
    """Return the tools' own words."""
    texts = [each.result.text.strip() for each in made]
    said = "\n".join(prompt.NOT_RUN if text == prompt.DENIED else text for text in texts)
    sure = not any(text.startswith("error:") for text in texts)
    reason = "it is the tool's own result" if sure else "the tool could not do it"
    return Finished(said, Ending.ANSWERED, (), Usage(), "high" if sure else "low", reason)


def _is_of_all(question: str, texts: Sequence[Evidence]) -> bool:
    """Return whether nothing is asked, or nothing but what the texts say: `what does the newest mail say?`."""
    named = {term for each in texts for term in terms(" ".join([*name_words(each.source), each.source]))}
    return all(any(alike(term, other) for other in named) for term in terms(question))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
