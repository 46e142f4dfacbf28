"""The tools that reach into memory: search_documents, remember, recall.

They live here and not in `agentkit_tools`, which knows nothing of the vault. What they return carries the ids of
the records it came from, so that forgetting can follow it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from agentkit.context.words import stands_in
from agentkit.labels import Labels, Origin, call_labels, join_all
from agentkit.messages import Evidence
from agentkit.recall import Recall
from agentkit.request.asking import asks
from agentkit.request.noting import fact_to_keep

if TYPE_CHECKING:
    from agentkit_memory import Embedder, Vault
    from agentkit_tools import Tool, ToolOutput

RESULTS = 4
QUERY = {
    "type": "object",
    "properties": {
        "query": {"type": "string", "description": "What to look for, in a few words.", "maxLength": 300}
    },
    "required": ["query"],
    "additionalProperties": False,
}
FACT = {
    "type": "object",
    "properties": {"fact": {"type": "string", "description": "The fact, as one sentence.", "maxLength": 600}},
    "required": ["fact"],
    "additionalProperties": False,
}


class Remembers(Protocol):
    """Whatever stores a fact with its labels."""

    def remember(
        self, text: str, *, origin: str, privacy: str = "private", sources: tuple[str, ...] = ()
    ) -> str:
        """Store `text` and return its id."""
        ...


def memory_tools(memory: Remembers, vault: Vault, embedder: Embedder, *, said: str) -> list[Tool]:
    """Return the three tools over one vault.

    Args:
        memory: Stores what is to be remembered.
        vault: Unlocked.
        embedder: The one the vault was filled with.
        said: What the user said in this turn. It is searched for where the model's query finds nothing; and a fact in
            the user's own words is labelled as the user's. Any other is as untrusted and as private as all the model
            had read, and was made from the same records.
    """
    from agentkit_tools import Tool, ToolOutput

    def search(query: str, *kinds: str) -> list[Evidence]:
        recall = Recall(vault, embedder, k=RESULTS, kinds=kinds)
        return recall.search(query) or recall.search(said)  # a model may look for what nobody spoke of

    def search_documents(arguments: Mapping[str, Any]) -> ToolOutput:
        return _listed(search(arguments["query"], "document"), "nothing in the documents is near this")

    def recall(arguments: Mapping[str, Any]) -> ToolOutput:
        return _listed(search(arguments["query"], "memory", "round"), "nothing is remembered about this")

    def remember(arguments: Mapping[str, Any]) -> ToolOutput:
        fact = arguments["fact"].strip()
        labels = Labels() if _is_own(fact, said) else call_labels().join(Labels(Origin.MODEL))
        record_id = memory.remember(
            fact, origin=labels.origin.value, privacy=labels.privacy.value, sources=labels.sources
        )
        return ToolOutput(f"remembered: {fact}", sources=(record_id,))

    return [
        Tool(
            name="search_documents",
            description="Search the user's own documents and notes.",
            parameters=QUERY,
            capabilities=frozenset({"read_memory"}),
            origin="document",
            run=search_documents,
        ),
        Tool(
            name="remember",
            description="Remember a fact about the user for later.",
            parameters=FACT,
            capabilities=frozenset({"write_memory"}),
            run=remember,
        ),
        Tool(
            name="recall",
            description="Recall what the user asked to remember earlier.",
            parameters=QUERY,
            capabilities=frozenset({"read_memory"}),
            run=recall,
        ),
    ]


def _is_own(fact: str, said: str) -> bool:
    """Say whether a fact is what the user said, word for word: asked, he wants it kept or has not said it."""
    return fact_to_keep(said) == fact or (stands_in(fact, said) and not asks(said))


def _listed(found: list[Evidence], nothing: str) -> ToolOutput:
    from agentkit_tools import ToolOutput

    if not found:
        return ToolOutput(nothing)
    lines = [
        f"[{number}] {each.quote.strip()} ({_where(each)})" for number, each in enumerate(found, start=1)
    ]
    labels = join_all(each.labels for each in found)
    return ToolOutput(
        "\n".join(lines), origin=labels.origin.value, privacy=labels.privacy.value, sources=labels.sources
    )


def _where(evidence: Evidence) -> str:
    name = evidence.source.rsplit("/", 1)[-1]
    return f"{name}, {evidence.place}" if evidence.place else name
