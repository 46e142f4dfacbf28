"""Answers that need no model: to a statement that wants nothing, to what can be done, and to what cannot be."""

from __future__ import annotations

from collections.abc import Sequence

from agentkit import prompt
from agentkit.calling.intents import BUILT_IN
from agentkit.calling.siblings import Described
from agentkit.context.sentences import sentences
from agentkit.events import Ending, Finished
from agentkit.messages import Usage
from agentkit.request.asking import asks_of_today, asks_what_it_can, orders_a_change, states
from agentkit.request.parts import parts


def noting(request: str, usable: Sequence[Described]) -> Finished | None:
    """Return the answer to a statement that wants nothing: a small model goes on with a story of its own.

    Args:
        request: In the user's words.
        usable: The tools there are; one that remembers is named.
    """
    if not states(request):
        return None
    keeps = any(tool.name == "remember" for tool in usable)
    return _answer(prompt.NOTED_KEEPS if keeps else prompt.NOTED, "nothing was asked")


def naming_tools(request: str, usable: Sequence[Described]) -> Finished | None:
    """Return the answer to the question what the assistant can do: a small model tells what it likes of itself.

    Args:
        request: In the user's words.
        usable: The tools there are; each is named with what it says of itself first.
    """
    if not usable or not asks_what_it_can(request):
        return None
    does = {
        tool.name: sentences(tool.description)[0].text if tool.description.strip() else "" for tool in usable
    }
    return _answer(prompt.abilities(does), "these are the tools there are")


def declining(request: str, usable: Sequence[Described]) -> Finished | None:
    """Return the answer to an order that no tool of ours carries out: a small model takes another, or promises it.

    Of several things nothing is done if the first is one.

    Args:
        request: In the user's words.
        usable: The tools there are; what one that agentkit does not come with may do, is not known here.
    """
    if not orders_a_change(request):
        return None
    first, *rest = parts(request)
    return _unable(usable, prompt.declined(first) if rest else prompt.UNABLE)


def unknowing(request: str, usable: Sequence[Described]) -> Finished | None:
    """Return the answer to what only the network could tell, and no document does: a small model makes it up.

    Args:
        request: In the user's words.
        usable: As in `declining`.
    """
    return _unable(usable) if asks_of_today(request) else None


def _unable(usable: Sequence[Described], said: str = prompt.UNABLE) -> Finished | None:
    only_ours = usable and BUILT_IN.issuperset(tool.name for tool in usable)
    return _answer(said, "no tool does this") if only_ours else None


def _answer(text: str, reason: str) -> Finished:
    return Finished(text, Ending.ANSWERED, (), Usage(), "high", reason)
