"""Answer a question from the user's documents, with a model that cannot be trusted to.

    search → sentences → do they hold it? no: say so → the model answers from one sentence
                                                     → borne out by it? no: show the sentence instead

The model writes the answer; what it rests on and how sure it is are decided by rules a person can check
(`agentkit.answering.evidence`, `agentkit.answering.support`). What the rules reject is not shown as an answer, but told
in the reason. Whether there is an answer is decided by those rules too; only a model that was taught to say when a text
leaves a question open (`declines`) is asked about sentences they are not sure of, and about the next one where it does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from agentkit import prompt
from agentkit.answering.evidence import POSSIBLE_STRENGTH, SURE_STRENGTH, Finding, Lead, find, title
from agentkit.answering.expected import Kind, expected
from agentkit.answering.grounding import Searches
from agentkit.answering.support import support
from agentkit.context.assemble import Context, Window
from agentkit.context.budget import Budget
from agentkit.context.compress import Embeds
from agentkit.context.words import numbers, respelt, terms
from agentkit.errors import Cancelled
from agentkit.events import Ending, Event, Finished, Recalled, TextDelta
from agentkit.limits import add_usage
from agentkit.messages import Evidence, Message, Usage
from agentkit.models.base import GREEDY, Completion, Model, Sampling, StopReason, finish
from agentkit.request.asking import contents, is_yes_or_no, topic

NOT_FOUND = "That is not in your documents."
"""Said by agentkit, not by the model."""
IN_DOCUMENTS, IN_TEXTS = "Your documents say: ", "It says: "
"""Before a sentence that is quoted."""
POINTED_STRENGTH = 0.4
"""As `POSSIBLE_STRENGTH`, in texts that the user himself points to."""
REPLY_TOKENS = 48
"""An answer is short; a small model that goes on makes things up."""
LEAST_SHARE = 0.8
"""Share of an answer's own words that must stand in the sentence it was made from."""
_OR = re.compile(r"\bor\b", re.IGNORECASE)
_WHOLE_WORDS = 4
"""So many make a sentence, which may say yes or no in other words."""
_FOLDERS = re.compile(r"[/_-]+")
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a model's answer."""

    text: str
    evidence: tuple[Evidence, ...]
    confidence: str
    reason: str
    borne_out: bool
    """The text is the model's own; else it is a quote."""


class Answerer:
    """Answers one question at a time; keeps nothing."""

    def __init__(
        self,
        model: Model,
        recall: Searches,
        *,
        embedder: Embeds | None = None,
        sampling: Sampling = GREEDY,
        reply_tokens: int = REPLY_TOKENS,
        declines: bool = False,
    ) -> None:
        """Compose; nothing runs yet.

        Args:
            model: Writes the answer.
            recall: Finds passages.
            embedder: The one of the search, to judge sentences by meaning too.
            sampling: Its `max_tokens` is cut to `reply_tokens`.
            reply_tokens: The longest answer.
            declines: The model says `prompt.NOT_SAID` where a text does not hold the answer.
        """
        self._model = model
        self._recall = recall
        self._embedder = embedder
        self._declines = declines
        room = min(sampling.max_tokens, reply_tokens)
        self._sampling = replace(sampling, max_tokens=room, stop=sampling.stop or ("\n",))
        budget = replace(Budget.of(model.context_tokens), reply=room)
        self._context = Context(model, system=prompt.GROUNDED, frame=prompt.grounded, budget=budget)

    def run(
        self,
        question: str,
        *,
        about: str = "",
        told: Sequence[Evidence] = (),
        among: Sequence[Evidence] | None = None,
    ) -> Iterator[Event]:
        """Answer `question`; yield what happens as it happens.

        The answer comes in one piece, once it is known to be borne out. The last event is `Finished`.

        Args:
            question: In the user's words.
            about: Words for what the question only points to.
            told: Further passages, which go before those that are found.
            among: Look in these alone, to which the question points.

        Raises:
            ContextOverflowError: The question alone exceeds the window.
            EngineError: The model's worker failed.
            StoreError: The vault cannot be read.
        """
        sought = topic(question) or question
        searched = self._recall.search(f"{sought} {about}".strip()) if among is None else among
        least, source = (POSSIBLE_STRENGTH, IN_DOCUMENTS) if among is None else (POINTED_STRENGTH, IN_TEXTS)
        if whole := _of_text(contents(question) or topic(question), searched):
            yield Recalled(whole)
            text = source.strip() + "\n\n" + "\n[...]\n".join(each.quote for each in whole)
            yield TextDelta(text)
            why = "it is what was found of the text of that name"
            yield Finished(text, Ending.ANSWERED, whole, Usage(), "high", why)
            return
        passages = [*told, *searched]
        finding = find(sought, passages, about=about, embedder=self._embedder)
        yield Recalled(finding.quotes)
        may_hold = self._declines and finding.strength >= least
        if not (finding.found or may_hold):
            yield from _absent(Usage(), *_sure_of_absence(finding))
            return
        # a small model says yes to anything: what a text says of it, the user weighs
        is_weighed = among is not None and is_yes_or_no(question)
        if is_weighed or (finding.found and topic(question)):
            text = _quoted(finding.quotes, source)
            yield TextDelta(text)
            sure = "medium" if finding.found else "low"
            yield Finished(text, Ending.ANSWERED, finding.quotes, Usage(), sure, finding.reason)
            return
        used, verdicts = Usage(), list[Verdict]()
        for lead in finding.leads if self._declines else finding.leads[:1]:
            read = replace(lead.evidence, quote=lead.text)
            window = self._context.fit([Message.user(question)], evidence=[read])
            yield window.report
            completion = self._complete(window)
            used = add_usage(used, completion.usage)
            if completion.stop is StopReason.CANCELLED:
                yield Finished("", Ending.CANCELLED, (), used, "low", "there is no answer")
                return
            verdicts.append(judge(question, completion, finding, lead, source))
            if completion.text.strip() != prompt.NOT_SAID:
                break
        verdict = verdicts[-1] if verdicts[-1].borne_out else verdicts[0]
        if not (verdict.borne_out or finding.found):
            yield from _absent(used, "medium", verdict.reason)
            return
        yield TextDelta(verdict.text)
        yield Finished(
            verdict.text, Ending.ANSWERED, verdict.evidence, used, verdict.confidence, verdict.reason
        )

    def _complete(self, window: Window) -> Completion:
        try:
            return finish(self._model.complete(window.messages, sampling=self._sampling))
        except Cancelled:
            return Completion("", (), StopReason.CANCELLED)


def judge(
    question: str, completion: Completion, finding: Finding, lead: Lead, source: str = IN_DOCUMENTS
) -> Verdict:
    """Accept the model's answer, or put the sentence it was made from in its place.

    Args:
        question: In the user's words.
        completion: What the model wrote.
        finding: What the documents have to say to the question.
        lead: What of it the model had read.
        source: What goes before a sentence that is quoted.
    """
    said = completion.text.strip()
    is_best = lead is finding.leads[0]
    evidence = finding.quotes if is_best else _with(lead.evidence, finding.quotes)
    fault = _fault(question, completion, lead.text)
    if fault is not None:
        aside = f': "{said[:160]}"' if said not in ("", prompt.NOT_SAID) else ""
        return Verdict(_quoted(evidence[:1], source), evidence, "low", f"{fault}{aside}", borne_out=False)

    def accepted(confidence: str, reason: str) -> Verdict:
        return Verdict(respelt(said, lead.text), evidence, confidence, reason, borne_out=True)

    if not finding.found:
        return accepted("low", "the sentence it stands in is not near enough to the question to be sure")
    if not is_best:
        return accepted("medium", "the sentence it stands in is not the one nearest to the question")
    if finding.strength < SURE_STRENGTH:
        return accepted("medium", finding.reason)
    if expected(question) is None:
        return accepted("medium", "its words stand in the documents; the question fits no known kind")
    if len(set(numbers(lead.text)) - set(numbers(question))) > 1:
        return accepted("medium", "the sentence holds more than one number it could mean")
    return accepted("high", "its words and numbers stand in a sentence that answers the question")


def _quoted(quotes: Sequence[Evidence], source: str) -> str:
    return source + " ".join(f'"{each.quote}"' for each in quotes)


def _with(first: Evidence, others: Sequence[Evidence]) -> tuple[Evidence, ...]:
    """Return `first` before those of other passages."""
    return first, *(each for each in others if each.record_id != first.record_id)


def _fault(question: str, completion: Completion, text: str) -> str | None:
    """Return why the documents do not bear out what the model said, or nothing if they do."""
    said = completion.text.strip()
    if not said:
        return "the model said nothing"
    if said == prompt.NOT_SAID:
        return "the model did not find the answer there"
    if completion.stop is StopReason.LENGTH:
        return "the model did not come to an end"
    backing = support(said, [text], question)
    if backing.missing_numbers:
        return "the documents do not hold the numbers the model gave"
    if not backing.new:
        return "the model only repeated the question"
    if backing.share < LEAST_SHARE:
        return "the documents do not bear out what the model said"
    kind = expected(question)
    is_open = kind is not None or _OR.search(question) or not is_yes_or_no(question)
    if not is_open and len(said.split()) < _WHOLE_WORDS:
        return "the model said neither yes nor no"
    if kind is not None and kind.answer.search(text) and not _gives(kind, said):
        return f"the model did not give {kind.name}"
    return None


def _gives(kind: Kind, said: str) -> bool:
    """Return whether an answer holds such a thing: a name alone is one, and what a number is of, the sentence says."""
    counted = kind.name not in ("a name", "a colour") and bool(numbers(said))
    return counted or kind.answer.search(f"it is {said}") is not None


def _of_text(name: str, passages: Sequence[Evidence]) -> tuple[Evidence, ...]:
    """Return the passages of the first text that is called so, in their order; its folder may be named as well."""
    called = set(terms(name))

    def is_called_so(passage: Evidence) -> bool:
        own = set(terms(title(passage)))
        return bool(own) and own <= called <= own | set(terms(_FOLDERS.sub(" ", passage.source)))

    source = next((each.source for each in passages if is_called_so(each)), None)
    found = [each for each in passages if each.source == source]
    return tuple(sorted(found, key=_first_line))


def _first_line(passage: Evidence) -> int:
    """Return the first number of its place: `9` of `lines 9-13`."""
    found = _DIGITS.search(passage.place)
    return int(found[0]) if found else 0


def _absent(used: Usage, confidence: str, reason: str) -> Iterator[Event]:
    yield TextDelta(NOT_FOUND)
    yield Finished(NOT_FOUND, Ending.NOT_FOUND, (), used, confidence, reason)


def _sure_of_absence(finding: Finding) -> tuple[str, str]:
    return ("high" if finding.strength < 0.5 else "medium"), finding.reason
