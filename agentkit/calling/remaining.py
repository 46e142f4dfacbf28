"""What a request for several things still wants once tools have brought a text for it.

A small model that has read a page wants whatever the page speaks of, or says that all is done. So a call counts while
orders are left, and the next one is asked for where the user's own words say all that it needs.
Not covered: what a call should take out of the text ("write the opening hours into hours.txt").
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from agentkit.calling.backing import faults, trimmed
from agentkit.calling.brought import Made, terms_of
from agentkit.calling.votes import tried
from agentkit.context.words import alike, terms
from agentkit.messages import Message, ToolCall, ToolSpec
from agentkit.models.base import REQUIRED, Completion, Model, Sampling
from agentkit.request.asking import question_in
from agentkit.request.parts import parts

_BEGINS = re.compile(
    r"(?:^|[,;.:!?]|\b(?:and|then|also|please))\s*(?:(?:and|then|also|please)\s+)*(\w+)", re.IGNORECASE
)
"""The first word of a clause: in an order, what is to be done."""


def orders_in(request: str) -> list[str]:
    """Return what `request` wants to have done, each by itself; what it asks is none of it."""
    return [part for part in parts(request) if not question_in(part)]


def orders_left(request: str, made: Sequence[Made]) -> list[str]:
    """Return the orders of `request` that come after as many as there are answered calls.

    One of these calls served what is asked first, if the request begins with a question.
    """
    served = int(bool(question_in(parts(request)[0])))
    return orders_in(request)[max(0, len(made) - served) :]


def meant(calls: Iterable[ToolCall], request: str, made: Sequence[Made]) -> tuple[ToolCall, ...]:
    """Return the calls that a request still wants once tools have brought a text for it.

    Of an order that is left the call is one whose tool it speaks of, or all of whose values the user said himself.
    Where none is left, it is one whose tool a clause begins with (`and note when it is`), or both; and another tool
    than those before it.

    Args:
        calls: What the model wants next.
        request: In the user's words.
        made: The calls that were answered.
    """
    done = list(made)
    for call in calls:
        if _is_meant(call, request, done):
            done.append(Made(call, Message.user("")))
    return tuple(each.call for each in done[len(made) :])


def next_call(
    model: Model,
    messages: Sequence[Message],
    tools: Sequence[ToolSpec],
    sampling: Sampling,
    request: str,
    made: Sequence[Made],
) -> tuple[Completion | None, tuple[ToolCall, ...]]:
    """Ask for the call of the next order that is left, and return it if it is all in the words of that order.

    What a tool brought, an order hidden in a page among it, counts for nothing here.

    Args:
        model: Has nothing more to call by itself.
        messages: What it had read.
        tools: What it was shown.
        sampling: How to ask.
        request: In the user's words.
        made: The calls that were answered.

    Returns:
        What the model made of it, and the call, or none.
    """
    left = orders_left(request, made)
    if not left or not tools:
        return None, ()
    completion = tried(model.complete(messages, tools=tools, choice=REQUIRED, sampling=sampling))
    if completion is None:
        return None, ()
    calls, _ = trimmed(meant(completion.calls, request, made)[:1], tools, messages)
    own = [Message.user(left[0])]
    if faults(calls, tools, own, left[0]) or not all(_speaks_of(left[0], call.name) for call in calls):
        return completion, ()
    return completion, calls


def _is_meant(call: ToolCall, request: str, made: Sequence[Made]) -> bool:
    if any(call.spelt == each.call.spelt for each in made):
        return False
    is_said = not faults((call,), (), [Message.user(request)]).unspoken
    if left := orders_left(request, made):
        return is_said or _speaks_of("; ".join(left), call.name)
    known = terms_of(*(f"{each.call.name} {each.about}" for each in made))
    begun = " ".join(_BEGINS.findall(request))
    return _speaks_of(request if is_said else begun, call.name, beside=known)


def _speaks_of(request: str, name: str, *, beside: Collection[str] = ()) -> bool:
    """Return whether `request` has a word of a tool's name that is none of the stems `beside`."""
    own = (word for word in terms_of(name) if not any(alike(word, other) for other in beside))
    return any(alike(one, other) for one in own for other in terms(request))
