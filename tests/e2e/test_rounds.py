"""Conversations become memory in a real core; a vault of another model is refused until it is re-embedded."""

from __future__ import annotations

from typing import Any

import pytest

from agentkit_memory import EmbeddingMismatchError, HashEmbedder, NewRecord, Vault

pytestmark = [pytest.mark.model, pytest.mark.slow]

PASSPHRASE = b"four unrelated quiet words"


def _run(client: Any, text: str, **request: Any) -> list[dict[str, Any]]:
    return list(client.stream("run", text=text, **request))


def test_only_kept_conversations_become_rounds_and_later_ones_find_them(core: Any) -> None:
    client = core.unlocked()
    _run(client, "My cat Moritz sees the vet on 3 March 2027.", mode="chat", conversation="pets")
    _run(client, "What is my cat called?", mode="ask")
    _run(client, "Hello", mode="chat")
    (record,) = client.request("records", kinds=["round"])["records"]
    assert record["text"].startswith("user: My cat Moritz sees the vet on 3 March 2027.\nassistant: ")
    assert "2027-03-03 Wednesday" in record["title"]
    assert (record["source"], record["origin"], record["privacy"]) == ("pets", "model", "private")
    events = _run(client, "What happens on 2027-03-03?", mode="chat", conversation="work")
    recalled = next(event for event in events if event["type"] == "Recalled")
    assert any(each["record_id"] == record["id"] for each in recalled["evidence"])
    client.request("rewrite", id=record["id"][:6], text="user: Moritz sees the vet on 4 March 2027.")
    assert "2027-03-04" in client.request("record", id=record["id"])["record"]["title"]
    hits = client.request("search", text="vet on 4 March", kinds=["round"])["hits"]
    assert record["id"] in {hit["record"]["id"] for hit in hits}
    gone = client.request("forget_conversation", id="pets")
    assert gone["proven"]
    assert record["id"] in gone["ids"]
    assert client.request("conversation", id="pets")["messages"] == []


def test_another_models_vault_is_refused_until_it_is_reembedded(core: Any) -> None:
    other = HashEmbedder(64)
    with Vault.create(
        core.home.vault, passphrase=PASSPHRASE, embedder=other.name, dimensions=other.dimensions
    ) as vault:
        texts = [f"note {number} about the boiler" for number in range(40)]
        vault.add([NewRecord(text) for text in texts], other.embed(texts))
    client = core.unlocked()
    for op, request in (("search", {"text": "boiler"}), ("remember", {"text": "boiler"})):
        with pytest.raises(EmbeddingMismatchError) as caught:
            client.request(op, **request)
        assert caught.value.hint == "agentkit memory reembed"
    events = client.stream("reembed")
    assert [event["done"] for event in events][-1] == 40
    assert len(client.request("search", text="boiler")["hits"]) == 8
    assert client.request("reembed")["reembedded"] == 0
    assert client.request("verify")["verified"]
