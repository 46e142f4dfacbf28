"""What is said of the texts that tools bring: what was asked of them, with its sentence, or the texts themselves.

A small model that has read a page goes on with whatever the page speaks of, and takes any number there for the answer.
So what is asked of a text is looked for as in a document, and a call that the request does not speak of is not made.
Short results, and those in JSON, a model tells well enough. Not covered: summing up.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Sequence
from dataclasses import replace

from agentkit import prompt
from agentkit.answering.grounding import Answers, last_of
from agentkit.answering.headers import header_asked
from agentkit.calling.brought import Made, terms_of
from agentkit.context.words import alike, terms
from agentkit.events import Ending, Event, Finished
from agentkit.messages import Usage
from agentkit.request.asking import question_in

_NAMES = re.compile(
    r",?\s+(?:according to|going by|as told in|says?|in|of|from|on|for|per)\s+", re.IGNORECASE
)
"""What may follow says which text is meant."""
_MOST_SHOWN = 80
"""Words of a text that is shown where no answer is found in it."""


def tell(made: Sequence[Made], request: str, answers: Answers | None) -> Generator[Event, None, Finished]:
    """Return how a turn ends whose calls brought a text: with what it says to a question, or with the text.

    Args:
        made: The calls of the turn.
        request: In the user's words.
        answers: Looks for the answer in a text; absent, and the tools speak for themselves.

    Raises:
        Cancelled: The user stopped it.
    """
    read = [each for each in made if each.is_text]
    texts = [each.passage for each in read]
    named = terms_of(*(f"{text.source} {each.about}" for each, text in zip(read, texts, strict=True)))
    question = _without_names(question_in(request), named)
    if len(texts) == 1 and (asked := header_asked(question_in(request), named, texts[0].quote)):
        line, value = asked
        why = "it stands at the head of the text"
        return Finished(value, Ending.ANSWERED, (replace(texts[0], quote=line),), Usage(), "high", why)
    if answers is None or not texts or _only_names(question, named):
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


def _without_names(question: str, named: Collection[str]) -> str:
    """Leave out what only says which text is meant: it stands in none of its sentences.

    `how much do yachts pay` of `how much do yachts pay according to harbour.txt?`.
    """
    for found in _NAMES.finditer(question):
        before, after = question[: found.start()], question[found.end() :]
        if _only_names(after, named):
            return question if _only_names(before, named) else f"{before}?"
    return question


def _only_names(question: str, named: Collection[str]) -> bool:
    """Return whether nothing is asked but what a text says as a whole: `what does the newest mail say?`."""
    return all(any(alike(term, other) for other in named) for term in terms(question))
