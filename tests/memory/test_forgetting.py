"""What is forgotten is gone: from records, from what was made of them, from conversations, and from every page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentkit_memory import FileState, Filter, HashEmbedder, NewRecord, RecordError

if TYPE_CHECKING:
    from tests.memory.conftest import Vaults

SECRET = "the spare key lies under the third zinnia pot, said Mrs Okafor"


def test_forgetting_follows_what_was_made_from_a_record(vaults: Vaults) -> None:
    vault = vaults.create()
    (first,) = vaults.add(vault, [SECRET])
    (second,) = vaults.add(vault, ["a summary of it: zinnia"], sources=(first,))
    (third,) = vaults.add(vault, ["and a summary of that"], sources=(second,))
    (other,) = vaults.add(vault, ["something else entirely"])
    vault.append_message("talk", {"role": "user", "text": f"remember that {SECRET}"})
    vault.append_message("talk", {"role": "tool", "text": "found", "labels": ["tool", "private", [first]]})
    vault.append_message("other", {"role": "user", "text": "nothing about it"})
    told: list[str] = []
    vault.on_forget.append(told.extend)
    gone = vault.forget([first])
    assert set(gone.ids) == {first, second, third} == set(told)
    assert (gone.derived, gone.messages, gone.conversations) == (2, 2, ("talk",))
    assert gone.proven
    assert gone.probes >= 9
    assert gone.pages_scanned > 5
    assert [message["text"] for message in vault.conversation("talk")] == ["[forgotten]"] * 2
    assert vault.conversation("other")[0]["text"] == "nothing about it"
    assert [record.id for record in vault.records()] == [other]
    vault.verify()


def test_forgetting_by_source_query_and_time(vaults: Vaults) -> None:
    vault = vaults.create()
    vaults.add(vault, ["red apples", "green apples"], source="/notes/a.txt", kind="document", created=100.0)
    vaults.add(vault, ["red bricks"], created=200.0)
    vaults.add(vault, ["yesterday"], created=300.0)
    assert len(vault.forget(query="red apples").ids) == 1
    assert len(vault.forget(where=Filter(source_prefix="/notes/")).ids) == 1
    assert len(vault.forget(where=Filter(since=250.0)).ids) == 1
    assert [record.text for record in vault.records()] == ["red bricks"]
    with pytest.raises(RecordError):
        vault.forget()


def test_a_forgotten_files_name_goes_with_its_text(vaults: Vaults) -> None:
    vault = vaults.create()
    for path in ("/notes/diary.md", "/notes/kept.md"):
        texts = [f"first of {path}", f"second of {path}"]
        records = [NewRecord(text, source=path, kind="document") for text in texts]
        vault.replace_file(FileState(path, 1, 1, "digest", 2), records, HashEmbedder(64).embed(texts))
    vault.forget(where=Filter(source_prefix="/notes/diary.md"))
    assert list(vault.files()) == ["/notes/kept.md"]
    assert {record.source for record in vault.records()} == {"/notes/kept.md"}


def test_the_proof_finds_what_was_not_deleted(vaults: Vaults) -> None:
    """It has power: sought while it is still there, it is found."""
    from agentkit_memory import forgetting

    vault = vaults.create()
    vaults.add(vault, [SECRET])
    with vault._access.reading() as database:
        (record,) = vault.records()
        vectors = forgetting.vectors_of(database, [record.id], vault.dimensions)
        _, pages, traces, searches = forgetting.prove(database, vault._finder, [record], vectors)
    assert pages > 5
    assert traces >= 3  # id, vector and terms; the text is in a record that is kept
    assert searches >= 2  # by its words and by its vector
