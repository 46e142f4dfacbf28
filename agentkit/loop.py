"""One turn: text in, typed events out. A turn is steps; a step is one completion and the calls it asked for.

    fit the window → complete → no calls: finished
                              → calls: policy → approval → tool → labelled result, and again

The loop decides nothing about safety itself: `executing` has the policy rule on each call before its tool runs.
Whatever ends a turn (an answer, a limit, Ctrl-C, a lost worker), the transcript is left without a call that
has no result.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from agentkit import prompt
from agentkit.answering.at_once import declining, naming_tools, noting, unknowing
from agentkit.answering.grounding import Answers, Searches, Written, from_what_is_written
from agentkit.answering.support import BACKED, support, trust
from agentkit.answering.telling import tell
from agentkit.calling import offered
from agentkit.calling.brought import Made, made_in
from agentkit.calling.executing import Approve, Executor
from agentkit.calling.intents import intent
from agentkit.calling.remaining import meant, next_call, orders_left
from agentkit.calling.selection import Chosen, Selection
from agentkit.calling.votes import Votes, insists, settle
from agentkit.context.assemble import Context, Window
from agentkit.errors import Cancelled
from agentkit.events import (
    CallRefused,
    CallSettled,
    Ending,
    Event,
    Finished,
    Recalled,
    TextDelta,
)
from agentkit.labels import Labels, Origin, Privacy, join_all
from agentkit.limits import DEFAULT_LIMITS, Limits, Spent, add_usage
from agentkit.messages import Evidence, Message, Role, ToolCall, Usage
from agentkit.models.base import (
    AUTO,
    GREEDY,
    NONE,
    Completion,
    Model,
    Refusal,
    Sampling,
    StopReason,
    ToolChoice,
)
from agentkit.request.asking import question_in, states, tells_of_self
from agentkit.request.completing import asks_back, completed, is_helpless, may_be_helpless
from agentkit.transcript import Transcript
from agentkit.typed_output import Form, shape

if TYPE_CHECKING:
    from agentkit_tools import Policy, Tool, Toolbox

NO_TOOLS = Chosen((), {})


class Loop:
    """Runs the turns of one conversation, one at a time."""

    def __init__(
        self,
        model: Model,
        toolbox: Toolbox,
        *,
        policy: Policy,
        unusable: Mapping[str, str] | None = None,
        approve: Approve | None = None,
        context: Context | None = None,
        recall: Searches | None = None,
        answers: Answers | None = None,
        selection: Selection | None = None,
        transcript: Transcript | None = None,
        limits: Limits = DEFAULT_LIMITS,
        sampling: Sampling = GREEDY,
        calling: Sampling | None = None,
        votes: Votes | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Compose a loop; nothing runs yet.

        Args:
            model: Writes the answers and asks for calls.
            toolbox: Every tool there is; may be empty.
            policy: Rules on each call.
            unusable: Further tools, which could not be defined, and why; they are only named.
            approve: Asked where the policy asks; absent means deny.
            context: Default: the whole window of `model`, shared out by `Budget.of`.
            recall: Where passages for the question come from; absent means none.
            answers: Answers a question for which there are passages, so that what a small model makes up is checked;
                absent means that the model answers with them in sight.
            selection: Which tools are shown; default: by words alone.
            transcript: What was said before; give it a sink to keep it.
            limits: What one turn may use.
            sampling: How answers are drawn; `max_tokens` is cut to the budget for the reply.
            calling: The same where tools are shown, which may want an adapter and no penalties; default: `sampling`.
            votes: When a doubtful call is asked for again, and what nobody said left out; absent means never.
            clock: Seconds, never going back.
        """
        self._model = model
        self._toolbox = toolbox
        self._executor = Executor(toolbox, policy, approve, clock)
        self._context = context or Context(model)
        self._recall = recall
        self._answers = answers
        self._selection = selection or Selection(count=model.count_text)
        self.transcript = transcript if transcript is not None else Transcript()
        self._limits = limits
        self._sampling = sampling
        self._calling = calling or sampling
        self._votes = votes
        self._clock = clock
        self._unusable = {**offered.unusable(toolbox), **(unusable or {})}
        self._searching = frozenset(tool.name for tool in toolbox if "read_memory" in tool.capabilities)

    def run(self, text: str, *, choice: ToolChoice = AUTO, form: Form | None = None) -> Iterator[Event]:
        """Answer `text`, calling tools as needed; yield what happens as it happens.

        The last event is `Finished`. Closing the iterator cancels the turn.

        Args:
            text: What the user says.
            choice: Whether tools may, must not or must be called; what must be called is called first, and
                then the model is free.
            form: Bring the answer into this form, too, as `Finished.output`; in a second pass, after the turn.

        Raises:
            ConfigError: There is no such tool as `choice` names, or none at all to call.
            ContextOverflowError: System prompt, tools and question alone exceed the window.
            EngineError: The model's worker failed; the turn is closed and the next one can begin.
            OutputError: The answer could not be brought into the form; the turn itself is complete.
            SandboxError, StoreError: A tool or the memory cannot go on safely.
        """
        for event in self._turn(text, choice):
            if form is not None and isinstance(event, Finished) and event.ending is Ending.ANSWERED:
                yield self._shaped(event, form)
            else:
                yield event

    def _shaped(self, done: Finished, form: Form) -> Finished:
        """Return the end of a turn with its answer in the form asked for."""
        pinned = self._selection.pinned(offered.usable(self._toolbox, self._unusable, NONE)).tools
        try:
            output, usage = shape(
                self._model,
                self._context,
                self.transcript,
                form,
                tools=pinned,
                evidence=done.evidence,
                adapter=(self._calling if pinned else self._sampling).adapter,
                votes=self._votes,
            )
        except Cancelled:
            return replace(done, ending=Ending.CANCELLED)
        return replace(done, output=output, usage=add_usage(done.usage, usage))

    def _turn(self, text: str, choice: ToolChoice) -> Iterator[Event]:
        spent = Spent(self._limits, self._clock)
        ending: Ending | None = None
        window: Window | None = None
        usable = offered.usable(self._toolbox, self._unusable, choice)
        self.transcript.append(Message.user(text))
        text = self._question()
        try:
            if choice == NONE:
                forced, chosen = None, self._selection.pinned(usable)
            else:
                forced = intent(text, [tool.name for tool in usable]) if choice.name is None else None
                chosen = self._selection.choose(
                    text, usable, forced=forced, named=choice.name, required=choice.mode == "required"
                )
            choice = ToolChoice.named(forced.tool) if forced else choice if chosen.tools else NONE
            choice = ToolChoice.named(chosen.first) if choice == AUTO and chosen.first else choice
            evidence = [] if forced or self._recall is None else self._recall.search(text)
            if self._recall is not None:
                yield Recalled(tuple(evidence))
            at_once = resort = None
            if choice in (AUTO, NONE):
                at_once, resort = yield from self._without_model(text, usable, evidence, chosen)
            if at_once:
                yield from self._end(at_once, spent)
                return
            attempt: list[Message] = []
            while (ending := spent.before_step()) is None:
                said = [*completed(self.transcript), *attempt]
                window = self._context.fit(said, tools=chosen.tools, evidence=evidence)
                yield replace(window.report, reasons=chosen.reasons, unusable=self._unusable)
                completion, held = yield from self._complete(window, choice, spent, chosen)
                ending = spent.after_step(completion)
                if ending is None and completion.refused is not None:
                    repair = bool(completion.refused.calls) and spent.may_repair()
                    yield CallRefused(completion.refused.calls, completion.refused.reason, repair)
                    if repair:
                        attempt = self._attempt(completion, completion.refused, window)
                        continue
                    ending = Ending.INVALID_CALL
                if ending is None and (made := self._texts()):
                    wanted = meant(completion.calls, text, made) or self._left_to_do(made, window, spent)
                    if not wanted:
                        yield from self._tell(spent, left=orders_left(text, made))
                        return
                    completion = replace(completion, calls=wanted)
                if ending is None and choice == AUTO and evidence and self._is_for_memory(completion):
                    found = yield from self._written(evidence, chosen, searched=True)
                    if found and found.ends:
                        yield from self._end(found.last, spent)
                        return
                lost = ending is None and is_helpless(completion.text) and not self._results()
                needs = asks_back(completion.text) and chosen.clear and not states(text)
                if resort and lost and not needs:
                    yield from self._end(resort, spent, window.labels)
                    return
                if held:
                    yield TextDelta(held)
                free = choice in (AUTO, NONE) and bool(chosen.tools)
                if ending is None and free and self._is_no_answer(completion):
                    chosen, choice = NO_TOOLS, NONE  # with no tools in sight it may have something to say
                    continue
                if ending is None and self._is_no_answer(completion) and self._results():
                    yield from self._tell(spent)
                    return
                if ending is None and not completion.calls:
                    if not completion.text.strip():  # it wanted to call what it may not
                        completion = replace(completion, text=prompt.UNABLE)
                    self._say(completion, window)
                    ending = Ending.ANSWERED
                if ending is not None:
                    yield self._finished(completion.text, ending, window, spent)
                    return
                attempt, choice = [], AUTO
                self._say(completion, window)
                for call in completion.calls:
                    if (ending := spent.before_call(call)) is not None:
                        break
                    yield from self._executor.run(call, window, self.transcript, spent)
                if ending is not None:
                    break
                if forced and self._results():
                    yield from self._tell(spent)
                    return
            self.transcript.repair(prompt.stopped(ending))
            yield self._finished("", ending, window, spent)
        except Cancelled:
            ending = Ending.CANCELLED
            self.transcript.repair(prompt.CUT_OFF)
            yield self._finished("", ending, window, spent)
        finally:
            self.transcript.repair(prompt.stopped(ending) if ending else prompt.CUT_OFF)

    def _without_model(
        self, text: str, usable: Sequence[Tool], evidence: Sequence[Evidence], chosen: Chosen
    ) -> Generator[Event, None, tuple[Finished | None, Finished | None]]:
        """Return the answer that needs no model with tools, and the one to give where that can do nothing."""
        if self._answers is None:
            return None, None
        if said := naming_tools(text, usable) or declining(text, usable):
            return said, None
        written = yield from self._written(evidence, chosen)
        if written and written.ends:
            return written.last, None
        noted = noting(text, usable)
        said = unknowing(text, usable) or (noted if not chosen.tools else None)
        tells = written is not None and (bool(written.last.evidence) or bool(question_in(text)))
        return said, noted or (written.last if written and tells else None)

    def _written(
        self, evidence: Sequence[Evidence], chosen: Chosen, *, searched: bool = False
    ) -> Generator[Event, None, Written | None]:
        """Return what is written, or was told, about the request, if that is asked of the documents."""
        if self._answers is None:
            return None
        said, beside = completed(self.transcript), {"nearby": bool(evidence), "tools": chosen.clear}
        return (yield from from_what_is_written(self._answers, said, searched=searched, **beside))

    def _complete(
        self, window: Window, choice: ToolChoice, spent: Spent, chosen: Chosen
    ) -> Generator[Event, None, tuple[Completion, str]]:
        """Generate one message, passing on its text; end it early when the time is up.

        Returns:
            The message, and what of its text was not passed on: it may come to nothing yet.
        """
        sampling = self._bounded(self._calling if window.tools else self._sampling, spent)
        stream = self._model.complete(window.messages, tools=window.tools, choice=choice, sampling=sampling)
        said, passed = "", 0
        request = "" if self._results() or chosen.first else self._question()
        waits, ends_here = self._votes is not None and insists(choice, request), bool(self._texts())
        may_turn = self._answers is not None or bool(chosen.ready or chosen.reads)
        try:
            while True:
                said += next(stream)
                if ends_here and said.strip():
                    return Completion("", (), StopReason.STOP), ""
                if not waits and not (may_turn and may_be_helpless(said)):
                    yield TextDelta(said[passed:])
                    passed = len(said)
                if spent.late():
                    return Completion(said, (), StopReason.CANCELLED), said[passed:]
        except StopIteration as end:
            completion: Completion = end.value
            held = said[passed:]
            if self._votes is not None:
                asked = self._model, window.messages, window.tools, choice, sampling, completion, self._votes
                settled = settle(*asked, request=request, harmless=self._searching, chosen=chosen)
                held = held if settled.completion.text == completion.text else settled.completion.text
                completion = settled.completion
                if completion.calls and (settled.voices > 1 or settled.dropped):
                    yield CallSettled(settled.voices, settled.dropped)
            spent.used(completion.usage)
            return completion, "" if completion.calls else held
        finally:
            stream.close()

    def _bounded(self, sampling: Sampling, spent: Spent) -> Sampling:
        """Return how to draw a message that fits the window, and what is left of the turn."""
        return replace(
            sampling, max_tokens=min(sampling.max_tokens, self._context.budget.reply, spent.tokens_left)
        )

    def _is_for_memory(self, completion: Completion) -> bool:
        """Say whether to look for the answer in what is written: the model would search it, or can do nothing."""
        if completion.calls:
            return all(call.name in self._searching for call in completion.calls) and not self._results()
        return is_helpless(completion.text) and tells_of_self(self._question())

    def _is_no_answer(self, completion: Completion) -> bool:
        """Say whether a model made nothing of its tools: it said nothing, or went on to write a result itself.

        What it said before that stands only where the real results back it.
        """
        if completion.calls or not completion.text.strip():
            return not completion.calls
        if completion.stop is not StopReason.STOP or self._calling.stop:
            return False
        read = [message.text for message in self._results()]
        return not read or support(completion.text, read, self._question()).share < BACKED

    def _attempt(self, completion: Completion, refused: Refusal, window: Window) -> list[Message]:
        """Return what the model wrote and why it does not count: shown to it once, and never kept."""
        labels = window.labels.join(Labels(Origin.MODEL, Privacy.PUBLIC))
        reason = prompt.refused(refused.reason)
        return [
            Message.assistant(completion.text, labels, refused.calls),
            *(Message.tool(call, reason, labels) for call in refused.calls),
        ]

    def _texts(self) -> list[Made]:
        """Return what was called, if that brought a text which is not for the model to tell."""
        made = self._made() if self._answers is not None else []
        return made if any(each.is_text for each in made) else []

    def _left_to_do(self, made: Sequence[Made], window: Window, spent: Spent) -> tuple[ToolCall, ...]:
        """Return the call of the next order of several, if the user's own words say all that it needs."""
        if spent.tokens_left < 1:
            return ()
        sampling = self._bounded(self._calling, spent)
        asked, calls = next_call(self._model, window.messages, window.tools, sampling, self._question(), made)
        spent.used(asked.usage if asked else Usage())
        return calls

    def _made(self) -> list[Made]:
        """Return the calls of the turn that were answered."""
        return made_in(self._turn_so_far(), self._toolbox, self._question())

    def _tell(self, spent: Spent, *, left: Sequence[str] = ()) -> Iterator[Event]:
        """End a turn with what its tools brought: its request named the tool, or it is not for the model to tell."""
        made = self._made()
        last = yield from tell(made, self._question(), self._answers)
        if left:
            last = replace(last, text=f"{last.text}\n\n{prompt.not_done(left)}")
        labels = join_all(each.result.labels for each in made)
        yield from self._end(last, spent, labels)

    def _end(self, last: Finished, spent: Spent, read: Labels | None = None) -> Iterator[Event]:
        """End a turn with an answer that is not the model's own message, but made of its evidence and what was read."""
        quoted = join_all(each.labels for each in last.evidence).join(Labels(Origin.MODEL, Privacy.PUBLIC))
        labels = read.join(quoted) if read else quoted
        spent.used(last.usage)
        self.transcript.append(Message.assistant(last.text, labels))
        yield TextDelta(last.text)
        yield replace(last, usage=spent.usage)

    def _say(self, completion: Completion, window: Window) -> None:
        """Append what the model said; it is as untrusted and as private as all it had read."""
        labels = window.labels.join(Labels(Origin.MODEL, Privacy.PUBLIC))
        self.transcript.append(Message.assistant(completion.text, labels, completion.calls))

    def _finished(self, text: str, ending: Ending, window: Window | None, spent: Spent) -> Finished:
        evidence = window.evidence if window else ()
        confidence, reason = "low", "there is no answer"
        if ending is Ending.ANSWERED and window is not None and text.strip():
            results, quotes = self._results(), [each.quote for each in evidence]
            read, called = [message.text for message in results], {message.name or "" for message in results}
            confidence, reason = trust(text, self._question(), read, quotes, called=called)
        return Finished(text, ending, evidence, spent.usage, confidence, reason)

    def _question(self) -> str:
        """Return what the user wants: what was said last, with the request that it completes."""
        return next(m.text for m in reversed(completed(self.transcript)) if m.role is Role.USER)

    def _turn_so_far(self) -> list[Message]:
        """Return what follows the user's last message, in order."""
        turn = itertools.takewhile(lambda message: message.role is not Role.USER, reversed(self.transcript))
        return list(turn)[::-1]

    def _results(self) -> list[Message]:
        """Return the tool results of the turn that is going on, in order."""
        return [message for message in self._turn_so_far() if message.role is Role.TOOL]
