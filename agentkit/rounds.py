"""Conversation memory: a round of a kept conversation, verbatim, under keys by which it is found again.

The keys are found by rules and not by a model: the day it was said, the days it speaks of made absolute, names, and
numbers in one spelling. Each turn has a vector of its own (a long one several), and the whole round is served. A round
is as untrusted and as private as what was read for its answer, and carries the ids of those records, so that forgetting
them reaches it.
Not covered: facts that change; a later round does not replace an earlier one, both are found, with their days.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from agentkit.context.words import STOP_WORDS, numbers
from agentkit.labels import join_all
from agentkit.messages import Message, Role
from agentkit.request.asking import asks
from agentkit.request.dates import MONTHS, WEEKDAYS, dates, spell

if TYPE_CHECKING:
    from agentkit_memory import Embedder, NewRecord, Vault

KIND = "round"
_USER, _ASSISTANT = "user: ", "\nassistant: "
MOST_KEYS = 12
"""Days, names and numbers of each sort; a pasted list is no key."""
_NAME = re.compile(r"(?<![.!?:\n\"] )(?<!^)(?<!\n)\b[A-Z][\w'-]+(?: [A-Z][\w'-]+)*")

_NO_NAMES = STOP_WORDS | {*MONTHS, *WEEKDAYS}


def keys(text: str, when: datetime) -> str:
    """Return the key line of a text that was said at `when`: days, names, numbers."""
    spoken = [when.date(), *(day for day in dates(text, when.date())[:MOST_KEYS] if day != when.date())]
    names = dict.fromkeys(name for name in _NAME.findall(text) if name.lower() not in _NO_NAMES)
    counted = dict.fromkeys(each for each in numbers(text) if len(each) > 1)
    parts = [*map(spell, spoken), *list(names)[:MOST_KEYS], *list(counted)[:MOST_KEYS]]
    return "; ".join(parts)


def expand(question: str, now: datetime) -> str:
    """Return a question with the days it speaks of made absolute, as the keys of rounds have them."""
    return " ".join([question, *map(spell, dates(question, now.date())[:MOST_KEYS])])


class Rounds:
    """The rounds of one kept conversation."""

    def __init__(self, vault: Vault, embedder: Embedder, conversation: str) -> None:
        self._vault = vault
        self._embedder = embedder
        self._conversation = conversation

    def keep(self, turn: Sequence[Message], when: datetime) -> str | None:
        """Store the round a turn ended with; return its id, or `None` when nothing was asked and answered.

        Args:
            turn: From the user's message to the answer; what tools said in between is not kept a second time.
            when: With its time zone.

        Raises:
            StoreError: It could not be stored.
        """
        from agentkit_memory import Filter
        from agentkit_memory.embed import embed_record

        asked = [message for message in turn if message.role is Role.USER]
        if not asked or turn[-1].role is not Role.ASSISTANT or not turn[-1].text.strip():
            return None
        labels = join_all(message.labels for message in (asked[-1], turn[-1]))
        mine = Filter(kinds=(KIND,), source=self._conversation)
        record = new_round(
            f"{_USER}{asked[-1].text.strip()}{_ASSISTANT}{turn[-1].text.strip()}",
            when,
            source=self._conversation,
            place=when.strftime("%Y-%m-%d %H:%M"),
            position=self._vault.count(mine),
            origin=labels.origin.value,
            privacy=labels.privacy.value,
            sources=labels.sources,
        )
        vectors = embed_record(self._embedder, KIND, record.title, record.text)
        (record_id,) = self._vault.add([record], vectors, counts=[len(vectors)])
        return record_id


def told_in(text: str) -> str:
    """Return what the user told in the text of a round, or nothing where he asked."""
    said = text.removeprefix(_USER).partition(_ASSISTANT)[0].strip()
    return "" if asks(said) else said


def new_round(text: str, when: datetime, **fields: Any) -> NewRecord:
    """Return the record of a round."""
    from agentkit_memory import NewRecord

    return NewRecord(text, kind=KIND, title=keys(text, when), created=when.timestamp(), **fields)
