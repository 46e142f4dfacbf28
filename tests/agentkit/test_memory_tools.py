"""A fact the model remembers is as untrusted and as private as what it was taken from, and is forgotten with it."""

from __future__ import annotations

import pytest

from agentkit.events import ToolFinished
from agentkit.loop import Loop
from agentkit.memory_tools import memory_tools
from agentkit.messages import ToolCall
from agentkit.models.scripted import ScriptedModel
from agentkit.recall import Recall
from agentkit_memory import FileState, Filter, HashEmbedder, NewRecord, Record, Vault
from agentkit_tools import Policy, Toolbox

EMBEDDER = HashEmbedder(64)
LEASE = "The landlord Marten Vogel lives at Mill Lane 4."


@pytest.fixture
def vault(vault: Vault) -> Vault:
    record = NewRecord(LEASE, "/lease.txt", "document", origin="document", privacy="secret")
    vault.replace_file(FileState("/lease.txt", 1, 1, "d", 1), [record], EMBEDDER.embed([LEASE]))
    return vault


class Facts:
    """Stores a fact as the core does."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def remember(
        self, text: str, *, origin: str, privacy: str = "private", sources: tuple[str, ...] = ()
    ) -> str:
        record = NewRecord(text, origin=origin, privacy=privacy, sources=sources)
        (record_id,) = self._vault.add([record], EMBEDDER.embed([text]))
        return record_id


def _remembered(vault: Vault, said: str, fact: str, *, recall: bool = False, search: bool = False) -> Record:
    calls = [ToolCall("c2", "remember", {"fact": fact})]
    before = [[ToolCall("c1", "search_documents", {"query": "landlord"})]] if search else []
    loop = Loop(
        ScriptedModel([*before, calls, "Noted."]),
        Toolbox(memory_tools(Facts(vault), vault, EMBEDDER, said=said)),
        policy=Policy.yes(),
        recall=Recall(vault, EMBEDDER) if recall else None,
    )
    events = list(loop.run(said))
    assert [event.is_error for event in events if isinstance(event, ToolFinished)] == [False] * (1 + search)
    (record,) = vault.records(Filter(kinds=("memory",)))
    return record


@pytest.mark.parametrize("how", ["recall", "search"])
def test_a_fact_taken_from_a_document_has_its_labels_and_goes_with_it(vault: Vault, how: str) -> None:
    (lease,) = vault.records()
    record = _remembered(
        vault,
        "Search my documents for the landlord, and remember who it is.",
        "Marten Vogel is the landlord.",
        **{how: True},
    )
    assert (record.origin, record.privacy, record.sources) == ("document", "secret", (lease.id,))
    gone = vault.forget(where=Filter(source="/lease.txt"))
    assert set(gone.ids) == {lease.id, record.id}
    assert gone.proven
    assert vault.count() == 0


def test_where_a_made_up_query_finds_nothing_the_users_words_are_searched_for(vault: Vault) -> None:
    tools = {
        tool.name: tool for tool in memory_tools(Facts(vault), vault, EMBEDDER, said="the landlord Marten")
    }
    assert LEASE in tools["search_documents"].run({"query": "zzz"}).text
    tools = {tool.name: tool for tool in memory_tools(Facts(vault), vault, EMBEDDER, said="qqq")}
    assert "nothing in the documents" in tools["search_documents"].run({"query": "zzz"}).text


def test_a_fact_in_the_users_words_stays_the_users(vault: Vault) -> None:
    record = _remembered(vault, "Remember that I sing in a choir.", "I sing in a choir", recall=True)
    assert (record.origin, record.privacy, record.sources) == ("user", "private", ())
    assert vault.forget(where=Filter(source="/lease.txt")).derived == 0
    assert vault.get([record.id]) == [record]


def test_a_fact_the_model_makes_up_is_the_models(vault: Vault) -> None:
    record = _remembered(vault, "Remember my hobby.", "The user collects stamps.")
    assert (record.origin, record.privacy, record.sources) == ("model", "private", ())


@pytest.mark.parametrize(
    ("said", "fact"),
    [
        ("Look it up: do I owe Anna 500 euros or does Anna owe me?", "I owe Anna 500 euros"),
        ("Look it up: do I owe Anna 500 euros or does Anna owe me?", "Anna owes me 500 euros"),
        ("Remember what it is", "It is on"),
    ],
)
def test_a_fact_out_of_the_users_words_is_not_his(vault: Vault, said: str, fact: str) -> None:
    tools = Toolbox(memory_tools(Facts(vault), vault, EMBEDDER, said=said))
    assert not tools.call("remember", {"fact": fact}).is_error
    (record,) = vault.records(Filter(kinds=("memory",)))
    assert record.origin == "document"  # trusted least, outside of a turn


def test_outside_of_a_turn_a_fact_is_trusted_least(vault: Vault) -> None:
    toolbox = Toolbox(memory_tools(Facts(vault), vault, EMBEDDER, said=""))
    assert not toolbox.call("remember", {"fact": "The user collects stamps."}).is_error
    (record,) = vault.records(Filter(kinds=("memory",)))
    assert (record.origin, record.privacy) == ("document", "secret")
