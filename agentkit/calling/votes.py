"""Ask again where a call is doubtful, and keep what speaks least against; leave out what nobody said.

A call is doubtful where the model gave one of its tokens little probability, where what was said does not back it
(`agentkit.calling.backing`), or where it cannot be read. Self-consistency alone, the majority of several tries, made a
model of 135 million parameters no better; to look at the faults first, and at the majority among the best, did. Where a
request asks for several things, one of the tries is to ask for each by itself. What is still without a value that it
needs is no call: the user is asked for it.

Covered: the first completion wins a tie; the same request gives the same result; a further try that fails counts as
none, since the first stands.
Not covered: text, but where the request has numbers or names and the model does not say that no tool helps (`insists`).
Source: self-consistency, Wang et al., 2022.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import reduce

from agentkit import prompt
from agentkit.calling.backing import faults, names_values, trimmed, unsaid
from agentkit.calling.copying import copied
from agentkit.calling.placing import placed
from agentkit.calling.pointing import misplaced
from agentkit.calling.selection import Chosen
from agentkit.errors import BusyError, EngineError
from agentkit.limits import add_usage
from agentkit.messages import Message, ToolCall, ToolSpec
from agentkit.models.base import AUTO, REQUIRED, Completion, Model, Sampling, Stream, ToolChoice, finish
from agentkit.request.completing import asks_back, is_helpless
from agentkit.request.parts import parts

MAX_COUNT = 16
_NOTHING = Chosen((), {})


@dataclass(frozen=True, slots=True)
class Votes:
    """When a call is asked for again, and how."""

    count: int = 4
    """Further completions, 0 to 16, drawn side by side; four cost about as much time as one or two. With none, a call
    is still asked for part by part where it is doubtful, and loses what nobody said."""
    below: float = -0.7
    """Ask again where the model gave some token of its call a lower log-probability: where it was all but undecided."""
    temperature: float = 0.7

    def __post_init__(self) -> None:
        """Refuse numbers that ask for nothing, or for too much."""
        if not 0 <= self.count <= MAX_COUNT or self.temperature <= 0:
            raise ValueError(f"votes need 0 to {MAX_COUNT} further completions, and a temperature over 0")

    def drawn(self, sampling: Sampling, number: int) -> Sampling:
        """Return how the further completion of this number, from 1, is drawn where the first was by `sampling`."""
        return replace(sampling, temperature=self.temperature, seed=sampling.seed + number)


def doubt(completion: Completion) -> float:
    """Return the lowest log-probability among the tokens that were chosen; 0 where none is known."""
    return min((signal.log_probability for signal in completion.signals), default=0.0)


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of it."""

    completion: Completion
    voices: int = 1
    """How many completions it was chosen from."""
    dropped: tuple[str, ...] = ()
    """What was left out of its calls: `tool.argument` where nobody spoke of that, `tool` for a call that is there."""


def insists(choice: ToolChoice, request: str) -> bool:
    """Return whether a call may take the place of text: then it is better not shown before it is settled."""
    return choice == AUTO and names_values(request)


def settle(
    model: Model,
    messages: Sequence[Message],
    tools: Sequence[ToolSpec],
    choice: ToolChoice,
    sampling: Sampling,
    first: Completion,
    votes: Votes,
    *,
    request: str = "",
    harmless: frozenset[str] = frozenset(),
    chosen: Chosen = _NOTHING,
) -> Settled:
    """Return `first`, or a better one in its place, with the usage of all.

    Args:
        model: Asked again, several times at once.
        messages: As `first` was asked for; so are the next three.
        tools: See there.
        choice: See there.
        sampling: See there.
        first: Where it is text, it stands.
        votes: When and how to ask again.
        request: The user's own words, which the last message holds; empty where some calls were made for them already.
        harmless: Tools that may be called with what nobody said.
        chosen: What is known of the tools that are shown.
    """
    if not first.calls and first.refused is None:
        at_hand = chosen.reads if is_helpless(first.text) else ""  # what it needs, the request names
        at_hand = at_hand or (chosen.ready if asks_back(first.text) else "")  # which needs nothing
        if request and choice == AUTO and at_hand:
            return _insist(model, messages, tools, sampling, first, "", ToolChoice.named(at_hand))
        if not insists(choice, request) or first.text.strip() == prompt.UNABLE:
            return Settled(first)
        return _insist(model, messages, tools, sampling, first, request)
    every = [_as_said(first, tools, request)]
    calls = every[0].calls
    if not calls or doubt(first) < votes.below or faults(calls, tools, messages, request):

        def again(number: int) -> Completion | None:
            drawn = votes.drawn(sampling, number)
            return tried(model.complete(messages, tools=tools, choice=choice, sampling=drawn))

        def alone(part: str) -> Completion | None:
            last = replace(messages[-1], text=messages[-1].text.replace(request, part))
            asked = [*messages[:-1], last]
            return tried(model.complete(asked, tools=tools, choice=choice, sampling=sampling))

        asked_for = parts(request)
        with ThreadPoolExecutor(votes.count or 1) as pool:
            numbered = pool.map(again, range(1, votes.count + 1))
            one_by_one = [each for each in pool.map(alone, asked_for) if each] if len(asked_for) > 1 else []
            every += filter(None, numbered)
        if len(one_by_one) == len(asked_for):
            every.append(_joined(one_by_one))
        every = [_as_said(each, tools, request) for each in every]
    usage = reduce(add_usage, (each.usage for each in every))
    heard = [(each, *trimmed(each.calls, tools, messages)) for each in every if each.calls]
    if not heard:
        return Settled(replace(first, usage=usage), len(every))
    counted = Counter(map(_spelt, (calls for _, calls, _ in heard)))
    winner, calls, dropped = min(  # the first of several
        heard, key=lambda each: (len(faults(each[1], tools, messages, request)), -counted[_spelt(each[1])])
    )
    asking = [tool for tool in tools if tool.name not in harmless]
    alike = {chosen.undecided[call.name]: None for call in calls if request and call.name in chosen.undecided}
    best = replace(winner, calls=calls, usage=usage)
    subjects = (*map(prompt.which_of, alike), *unsaid(calls, asking, messages)) if choice == AUTO else ()
    if subjects:
        best = replace(best, calls=(), text=prompt.still_needed(subjects))
    if request and choice == AUTO and chosen.reads and (subjects or misplaced(calls, tools)):
        return _insist(model, messages, tools, sampling, best, "", ToolChoice.named(chosen.reads))
    return Settled(best, len(every), () if subjects else dropped)


def _insist(
    model: Model,
    messages: Sequence[Message],
    tools: Sequence[ToolSpec],
    sampling: Sampling,
    first: Completion,
    request: str,
    choice: ToolChoice = REQUIRED,
) -> Settled:
    """Return a call instead of `first`, which is text, where the request says beyond doubt what to call with.

    One call then uses all numbers and names of `request` and nothing that was not said. A model that says that no tool
    helps is believed, and not asked: to doubt that, too, makes as many wrong calls as right ones.
    """
    second = tried(model.complete(messages, tools=tools, choice=choice, sampling=sampling))
    if second is None:
        return Settled(first)
    usage = add_usage(first.usage, second.usage)
    calls, dropped = trimmed(_as_said(second, tools, request).calls, tools, messages)
    if len(calls) != 1 or faults(calls, tools, messages, request):
        return Settled(replace(first, usage=usage), 2)
    return Settled(replace(second, calls=calls, usage=usage), 2, dropped)


def tried(stream: Stream) -> Completion | None:
    """Return what came of a further try; nothing, where the engine is busy or failed."""
    try:
        return finish(stream)
    except (BusyError, EngineError):
        return None


def _as_said(completion: Completion, tools: Sequence[ToolSpec], request: str) -> Completion:
    """Return a completion whose calls have the values of the request where and as it says them."""
    return replace(completion, calls=copied(placed(completion.calls, tools, request), tools, request))


def _joined(every: Sequence[Completion]) -> Completion:
    """Return the calls for the parts of a request, in order, as those of one message."""
    calls = tuple(call for each in every for call in each.calls)
    usage = reduce(add_usage, (each.usage for each in every))
    return replace(every[0], text="", calls=calls, refused=None, usage=usage)


def _spelt(calls: Sequence[ToolCall]) -> tuple[str, ...]:
    return tuple(call.spelt for call in calls)
