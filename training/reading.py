"""Examples in which a tool brings a text: fetch it, say what was asked of it, and leave it at that."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace

from agentkit import prompt
from agentkit.context.words import lower
from agentkit.labels import Labels
from agentkit.messages import Message
from training import grounded, jottings, profiles
from training.draws import stands_in
from training.grounded import Asked, capital
from training.joining import Request, decorated
from training.kinds import Value, kind
from training.phrases import Slot
from training.planted import PLANTED_SHARE, in_passage
from training.tasks import Ask, Example, Scene, ask, values_of
from training.tools import QUESTIONS, Shown, Tool, show

_FETCHED_SHARE = 0.55
"""How often the text is there already, and what is asked is to be said."""
_WHOLE_SHARE = 0.12
"""How often nothing is asked but the text."""
_MOST_COPIED = 60
"""Words of the longest text that is repeated whole."""
_MORE_SHARE = 0.4
"""How often something else stands beside what is asked about."""
_UNPLACED_SHARE = 0.5
"""How often a question that no tool answers does not say where the answer stands."""
_KNOWING = re.compile("search|recall|get_")
"""Beginnings of the names of tools that may know such things."""
_TRIES = 20
_TITLES = (
    "News",
    "As promised",
    "Short note",
    "Update",
    "For your information",
    "Notes",
    "This week",
    "Summary",
)


def look_up(rng: random.Random, here: Scene, _known: Sequence[Tool]) -> Example | None:
    """The answer stands in what a tool brings: call it; or it has been called: answer, or say that it is not there."""
    able = [each for each in here.shown if each.tool.looks]
    if not able:
        return None
    shown = rng.choice(able)
    asked = rng.choice((grounded.ask, profiles.ask, jottings.ask))(rng)
    passage = _among_others(asked, rng)
    if rng.random() < PLANTED_SHARE:
        passage = in_passage(passage, rng, [each.spec.name for each in here.shown])
    if not asked.is_said and asked.answer and stands_in(asked.answer, passage):
        return None
    text = _framed(shown.tool, passage, rng).strip()
    is_whole = rng.random() < _WHOLE_SHARE and len(text.split()) <= _MOST_COPIED
    request = ask(shown, rng) if is_whole else _look(shown, asked.question, rng)
    messages = [here.system, Message.user(decorated(request.request, rng))]
    call = replace(request.call, id="call_1")
    if rng.random() >= _FETCHED_SHARE:
        return Example("", tuple(messages), here.specs, calls=(request.call,))
    messages += [Message.assistant("", Labels(), (call,)), Message.tool(call, text, Labels())]
    answer = text if is_whole else asked.answer if asked.is_said else prompt.NOT_SAID
    return Example("", tuple(messages), here.specs, text=answer)


def nowhere(rng: random.Random, here: Scene, known: Sequence[Tool]) -> Example | None:
    """What is asked stands in a text that none of the tools brings, or nobody says where it stands."""
    shown = {each.tool.name for each in here.shown}
    if any(map(_KNOWING.match, shown)):
        return None
    question = rng.choice((grounded.ask, profiles.ask, jottings.ask))(rng).question
    if rng.random() < _UNPLACED_SHARE:
        return here.example(decorated(Request(capital(question), lower(question)), rng), text=prompt.UNABLE)
    elsewhere = rng.choice([tool for tool in known if tool.looks and tool.name not in shown])
    if any(each.tool.looks for each in here.shown):
        return None
    request = _look(show(elsewhere, rng), question, rng).request
    return here.example(decorated(request, rng), text=prompt.UNABLE)


def _look(shown: Shown, question: str, rng: random.Random) -> Ask:
    """Return a request that asks a question of what the tool brings."""
    said = rng.choice(shown.tool.looks).say(rng)
    for _ in range(_TRIES):
        if {*said.slots(), *said.flags} <= {*shown.names, *QUESTIONS}:
            break
        said = rng.choice(shown.tool.looks).say(rng, share=0.0)
    named = [name for name in said.slots() if name not in QUESTIONS]
    is_last = said.pieces[-1] == Slot("question")
    typed = {"question": capital(question if is_last else _marked(question)), "inside": lower(question)}
    asked = {name: Value(typed[name], None) for name in said.slots() if name in QUESTIONS}
    return Ask(shown, said, {**values_of(shown.tool, named, rng), **asked})


def _marked(question: str) -> str:
    """Return a question that ends as one, so that more can follow."""
    return question if question.endswith(("?", ".")) else f"{question}?"


def _among_others(asked: Asked, rng: random.Random) -> str:
    """Return the passage of a question, at times with another one that does not answer it."""
    if rng.random() >= _MORE_SHARE:
        return asked.passage
    other = rng.choice((grounded.ask, profiles.ask, jottings.ask))(rng).passage
    if asked.answer and stands_in(asked.answer, other):
        return asked.passage
    both = [asked.passage, other]
    rng.shuffle(both)
    return "\n\n".join(both)


def _framed(tool: Tool, text: str, rng: random.Random) -> str:
    """Return the text as the tool brings it."""
    around = {
        "who": kind("person").draw(rng).said,
        "day": kind("date").draw(rng).said,
        "title": rng.choice(_TITLES),
    }
    frame = rng.choice(tool.frames)
    for name, value in around.items():
        frame = frame.replace(f"{{{name}}}", value)
    return frame.replace("{text}", text)
