"""What is forgotten is gone: from records, from what was made of them, from conversations, and from every page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentkit_memory import FileState, Filter, HashEmbedder, NewRecord, RecordError
from tests.vectors import second_reader

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


def test_a_fact_takes_the_rounds_that_repeat_it_and_a_round_its_messages(vaults: Vaults) -> None:
    vault = vaults.create()
    (fact,) = vaults.add(vault, [SECRET])
    said = [
        (f"please remember that {SECRET}", "I shall, for good."),
        ("and the weather today?", "I shall, for good."),
    ]
    rounds = []
    for conversation in ("kitchen", "attic"):
        for question, answer in said:
            vault.append_message(conversation, {"role": "user", "text": question})
            vault.append_message(conversation, {"role": "assistant", "text": answer})
            text = f"user: {question}\nassistant: {answer}"
            rounds += vaults.add(vault, [text], kind="round", source=conversation)
    gone = vault.forget([rounds[1]])
    assert gone.ids == (rounds[1],)
    assert gone.conversations == ("kitchen",)
    gone = vault.forget([fact])
    assert set(gone.ids) == {fact, rounds[0], rounds[2]}
    assert gone.proven
    kept = [message["text"] for message in vault.conversation("attic")]
    assert kept == ["[forgotten]"] * 2 + ["and the weather today?", "[forgotten]"]
    assert [record.id for record in vault.records()] == [rounds[3]]


def test_forgetting_by_source_query_and_time(vaults: Vaults) -> None:
    vault = vaults.create()
    vaults.add(vault, ["red apples", "green apples"], source="/notes/a.txt", kind="document", created=100.0)
    vaults.add(vault, ["red bricks"], created=200.0)
    vaults.add(vault, ["yesterday"], created=300.0)
    assert len(vault.forget(query="red apples").ids) == 1
    assert len(vault.forget(where=Filter(under="/notes/")).ids) == 1
    assert len(vault.forget(where=Filter(since=250.0)).ids) == 1
    assert [record.text for record in vault.records()] == ["red bricks"]
    with pytest.raises(RecordError):
        vault.forget()


def test_forgetting_a_folder_leaves_what_only_begins_like_it(vaults: Vaults) -> None:
    vault = vaults.create()
    for source in ("/me/tax", "/me/tax/2023.md", "/me/tax-2024/a.md", "/me/tax.md", "/me/taxes"):
        vaults.add(vault, [f"of {source}"], source=source, kind="document")
    vaults.add(vault, ["of pets2"], source="pets2", kind="round")
    assert vault.forget(where=Filter(under="pets")).ids == ()
    assert len(vault.forget(where=Filter(under="/me/tax")).ids) == 2
    kept = [record.source for record in vault.records()]
    assert kept == ["/me/tax-2024/a.md", "/me/tax.md", "/me/taxes", "pets2"]


def test_a_forgotten_files_name_goes_with_its_text(vaults: Vaults) -> None:
    vault = vaults.create()
    for path in ("/notes/diary.md", "/notes/kept.md"):
        texts = [f"first of {path}", f"second of {path}"]
        records = [NewRecord(text, source=path, kind="document") for text in texts]
        vault.replace_file(FileState(path, 1, 1, "digest", 2), records, HashEmbedder(64).embed(texts))
    vault.forget(where=Filter(under="/notes/diary.md"))
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


def test_no_page_that_somebody_else_decrypts_holds_what_was_forgotten(
    vaults: Vaults, memory_folders: Callable[[], Path]
) -> None:
    """Not our own word: the second reader decrypts every page and every frame of the log, free ones too."""
    vault = vaults.create(index_folder=memory_folders())
    text, title, path = f"{SECRET} " * 300, "the zinnia affair, in full", "/notes/zinnia-affair-2024.md"
    vaults.add(vault, [f"kept {number}" for number in range(30)])
    records = [NewRecord(text, source=path, title=title, kind="document")]
    (made,) = vault.replace_file(FileState(path, 1, 1, "digest", 1), records, vaults.embedder.embed([text]))
    answer = {"role": "assistant", "text": f"yes: {SECRET}", "labels": ["document", "private", [made]]}
    vault.append_message("talk", answer)
    vault.warm(wait=True)
    vault.close()  # a snapshot is sealed with it
    assert (vaults.folder / "index.sealed").exists()
    vault = vaults.open(index_folder=memory_folders())
    pieces = [SECRET[:32].encode(), SECRET[-20:].encode(), title.encode(), path.encode()]
    assert all(_decrypted(vaults).count(piece) for piece in pieces)  # the look has power
    vault.warm(wait=True)
    gone = vault.forget(where=Filter(under=path))
    assert gone.proven
    assert gone.messages == 1
    for moment in ("open", "closed", "opened again"):
        pages = _decrypted(vaults)
        assert {piece: pages.count(piece) for piece in pieces} == dict.fromkeys(pieces, 0), moment
        assert not (vaults.folder / "index.sealed").exists()
        if moment == "open":
            assert (vaults.folder / "vault.db-wal").stat().st_size == 0
            vault.close()
        else:
            vaults.open().close()


def _decrypted(vaults: Vaults) -> bytes:
    """Return every page of the database and of its log, decrypted by the second reader."""
    keys = second_reader.unlock((vaults.folder / "vault.json").read_bytes(), vaults.passphrase)
    key, data = keys.of("database"), (vaults.folder / "vault.db").read_bytes()
    log = vaults.folder / "vault.db-wal"
    pages = [
        second_reader.decrypt_page(key, data[at : at + 4096], at // 4096 + 1)
        for at in range(0, len(data), 4096)
    ]
    frames = second_reader.frames(log.read_bytes() if log.exists() else b"")
    return b"".join([*pages, *(second_reader.decrypt_page(key, page, number) for number, _, page in frames)])
