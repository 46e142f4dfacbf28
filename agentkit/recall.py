"""Search the vault for what belongs to a question.

What is found keeps its labels: a document stays a document's words, however it is quoted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from agentkit.answering.evidence import find
from agentkit.context.words import terms
from agentkit.labels import Labels, Origin, Privacy
from agentkit.messages import Evidence
from agentkit.request.asking import asks
from agentkit.request.parts import is_order
from agentkit.rounds import KIND, expand, told_in

if TYPE_CHECKING:
    from agentkit_memory import Hit, Record, Vault
    from agentkit_memory.embed import Embedder

_OF_A_TALK = re.compile(
    r"\b(?:(?:did|have|has|had) (?:you|we|i)|you (?:said|say|told|mentioned|suggested|recommended)"
    r"|we (?:said|talk\w*|discuss\w*|spoke)|(?:our|this|that|last|earlier) (?:conversation|talk|chat)s?|last time"
    r"|earlier)\b",
    re.IGNORECASE,
)
"""Asks for what was said."""
MOST_ROUNDS = 200
"""So many in which nothing was told may be nearer than the one that tells it."""
LEAST_SCORE = 0.25
"""Cosine under which a passage that shares no word with the question is left out."""


class Recall:
    """Hybrid search as a list of passages, best first."""

    def __init__(
        self,
        vault: Vault,
        embedder: Embedder,
        *,
        k: int = 6,
        kinds: Sequence[str] = (),
        minimum_score: float = LEAST_SCORE,
        neighbours: int = 0,
        apart_from: str = "",
        now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        """Make ready to search.

        Args:
            vault: Unlocked.
            embedder: The one the vault was filled with.
            k: Passages at most.
            kinds: Of `document`, `memory`, `round`; none means all.
            minimum_score: Cosine, -1 to 1; a passage under it stays only if it shares a word.
            neighbours: Chunks before and after each found chunk of a document that are joined to it.
            apart_from: A conversation whose own rounds are left out, for they are in the transcript.
            now: Local time: what `yesterday` in a question means.
        """
        self._vault = vault
        self._embedder = embedder
        self._k = k
        self._kinds = tuple(kinds)
        self._minimum_score = minimum_score
        self._neighbours = neighbours
        self._apart_from = apart_from
        self._now = now

    def search(self, question: str, *, replies: bool = True, orders: bool = True) -> list[Evidence]:
        """Return the passages for `question`, best first by fused score; each carries its cosine.

        Args:
            question: In the user's words.
            replies: Of a conversation also what the user asked and the assistant replied, not only what he told.
            orders: Of what he told also what he wanted done then, and what says no more than `question`.

        Raises:
            StoreError: The vault cannot be read.
        """
        from agentkit_memory import Filter

        embedding = self._embedder.embed([question])[0]
        asked = expand(question, self._now())
        # As many more as will be dropped: a long conversation has more rounds about a thing than `k`.
        deep = 2 * self._k + (self._own_rounds() if replies else self._rounds())
        hits = self._vault.search(asked, embedding, k=deep, where=Filter(kinds=self._kinds))
        near = [hit for hit in hits if hit.dense >= self._minimum_score or hit.lexical > 0]
        own = (KIND, self._apart_from)
        others = [hit for hit in near if (hit.record.kind, hit.record.source) != own]
        if not replies:
            others = [told for hit in others if (told := _told(hit)) is not None]
        if not orders:
            others = [
                hit for hit in others if hit.record.kind != KIND or _tells_more(hit.record.text, question)
            ]
        return self._join(others[: self._k])

    def _own_rounds(self) -> int:
        from agentkit_memory import Filter

        if not self._apart_from or (self._kinds and KIND not in self._kinds):
            return 0
        return self._vault.count(Filter(kinds=(KIND,), source=self._apart_from))

    def _rounds(self) -> int:
        from agentkit_memory import Filter

        return min(self._vault.count(Filter(kinds=(KIND,))), MOST_ROUNDS)

    def _join(self, hits: Sequence[Hit]) -> list[Evidence]:
        found: list[Evidence] = []
        taken: set[str] = set()
        for hit in hits:
            if hit.record.id in taken:
                continue
            records = [hit.record]
            if self._neighbours and hit.record.kind == "document":
                around = self._vault.neighbours(
                    hit.record.id, before=self._neighbours, after=self._neighbours
                )
                own = [hit.record, *(each for each in around if each.id not in taken | {hit.record.id})]
                records = sorted(own, key=lambda each: each.position)
            taken.update(each.id for each in records)
            found.append(_evidence(hit, records))
        return found


class Relevant:
    """Recall that stays silent unless something in the vault answers the request: talk needs no documents."""

    def __init__(self, vault: Vault, embedder: Embedder, *, conversation: str = "") -> None:
        self._recall = Recall(vault, embedder, apart_from=conversation)
        self._embedder = embedder

    def search(self, question: str) -> list[Evidence]:
        """Return the sentences that answer `question`, best passage first, or none.

        Raises:
            StoreError: The vault cannot be read.
        """
        of_a_talk = _OF_A_TALK.search(question) is not None
        passages = self._recall.search(question, replies=of_a_talk, orders=of_a_talk or asks(question))
        found = find(question, passages, embedder=self._embedder)
        return list(found.quotes) if found.found else []


def _tells_more(said: str, request: str) -> bool:
    """Say whether what the user told once may help with what he wants done now; what he ordered then is done."""
    return not is_order(said) and not {*terms(said)} <= {*terms(request)}


def _told(hit: Hit) -> Hit | None:
    """Return a hit without what an assistant said: a small model's guess is no source for its next one."""
    if hit.record.kind != KIND:
        return hit
    told = told_in(hit.record.text)
    return replace(hit, record=replace(hit.record, text=told)) if told else None


def _evidence(hit: Hit, records: Sequence[Record]) -> Evidence:
    record = hit.record
    labels = [
        Labels(Origin(each.origin), Privacy(each.privacy), tuple(sorted({each.id, *each.sources})))
        for each in records
    ]
    return Evidence(
        record_id=record.id,
        source=record.source or record.title or record.kind,
        place=record.place,
        quote="\n".join(each.text for each in records),
        score=hit.dense,
        labels=labels[0].join(*labels[1:]),
    )
