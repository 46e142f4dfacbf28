"""What is forgotten is gone: from records, from what was made of them, from conversations, and from every page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agentkit_memory import FileState, Filter, HashEmbedder, NewRecord, RecordError, Vault
from agentkit_memory.database import Database
from agentkit_memory.schema import MIGRATIONS
from tests.memory.conftest import EMBEDDER
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


FACT = "PIN 4711"


def _say(vault: Vault, conversation: str, *said: str) -> None:
    """Keep messages: a question, a call with one argument, what the tool said, an answer."""
    for number, text in enumerate(said):
        message: dict[str, Any] = {"role": ("user", "assistant", "tool", "assistant")[number], "text": text}
        if number == 1:
            call = {"id": "c1", "name": "remember", "arguments": {"fact": text, "more": [{"in": text}]}}
            message |= {"text": "", "calls": [call]}
        elif number == 2:
            message |= {"call_id": "c1", "name": "remember"}
        vault.append_message(conversation, message)


def _turn(vault: Vault, vaults: Vaults, conversation: str, *said: str) -> str:
    _say(vault, conversation, *said)
    text = f"user: {said[0].strip()}\nassistant: {said[-1].strip()}"
    return vaults.add(vault, [text], kind="round", source=conversation)[0]


def test_a_round_takes_the_calls_and_results_of_its_turn(vaults: Vaults) -> None:
    """However short its question, and though they hold other words than the round."""
    vault = vaults.create()
    vault.append_message("talk", {"role": "assistant", "text": "welcome to the conversation"})
    kept = _turn(vault, vaults, "talk", "my pin?", "kept fact", "kept result", "Fine, as ever.")
    gone = _turn(vault, vaults, "talk", " my pin? ", FACT, f"remembered: {FACT}", "Fine!")
    other = _turn(vault, vaults, "attic", "my pin?", "another fact", "another result", "Fine!")
    _say(vault, "talk", "what else?")
    before = vault.conversation("talk")
    assert FACT.encode() in _decrypted(vaults)
    found = vault.forget([gone])
    assert (found.messages, found.conversations, found.proven) == (4, ("talk",), True)
    after = vault.conversation("talk")
    assert (after[:5], after[9:]) == (before[:5], before[9:])
    assert after[6] == {
        **before[6],
        "text": "[forgotten]",
        "calls": [{**before[6]["calls"][0], "arguments": {}}],
    }
    assert after[7] == {**before[7], "text": "[forgotten]"}
    assert [vault.conversation("attic")[at]["text"] for at in (0, 2)] == ["my pin?", "another result"]
    assert [record.id for record in vault.records()] == [kept, other]
    assert _decrypted(vaults).count(FACT.encode()) == 0


def test_a_fact_takes_the_call_that_stored_it(vaults: Vaults) -> None:
    """Too short to be sought in messages; the result names it, and the call is what the result answers."""
    vault = vaults.create()
    (fact,) = vaults.add(vault, [FACT])
    _say(vault, "talk", "keep my number safe", FACT)
    result = {"role": "tool", "text": "remembered", "call_id": "c1", "labels": ["user", "private", [fact]]}
    vault.append_message("talk", result)
    _say(vault, "talk", "and another one?", "of c1 too, but in another turn")
    assert vault.forget([fact]).messages == 2
    assert [each["calls"][0]["arguments"] == {} for each in vault.conversation("talk")[1::3]] == [True, False]
    assert _decrypted(vaults).count(FACT.encode()) == 0


def test_messages_of_any_shape_lose_their_words(vaults: Vaults) -> None:
    """A call may be an object or a list; what is neither goes, for nobody knows where its words are."""
    vault = vaults.create()
    calls: list[Any] = [
        ["c1", "remember", {"fact": SECRET}],
        {"id": ["c"], "arguments": [SECRET]},
        SECRET,
        7,
        [],
        None,
    ]
    vault.append_message("talk", {"role": "assistant", "text": ["no", SECRET], "calls": calls})
    vault.append_message("talk", {"role": "tool", "text": SECRET, "call_id": ["c"], "labels": 7})
    gone = vault.forget(query="zinnia")
    assert (gone.messages, gone.proven) == (2, True)
    assert vault.conversation("talk")[0] == {
        "role": "assistant", "text": "[forgotten]",
        "calls": [["c1", "remember", {}], {"id": ["c"], "arguments": {}}],
    }  # fmt: skip


def test_a_question_takes_what_followed_from_it(vaults: Vaults) -> None:
    vault = vaults.create()
    (fact,) = vaults.add(vault, [SECRET])
    _say(vault, "talk", f"note that {SECRET}", "Okafor: zinnia", "noted: Okafor", "stopped")
    _say(vault, "talk", "and the weather?", "rain", "it rains", "It rains.")
    assert vault.forget([fact]).messages == 4
    assert [message["text"] for message in vault.conversation("talk")[4:]] == [
        "and the weather?", "", "it rains", "It rains.",
    ]  # fmt: skip
    assert not any(_decrypted(vaults).count(piece) for piece in (b"Okafor", b"zinnia"))


def test_words_and_time_reach_messages_that_no_round_was_kept_of(vaults: Vaults) -> None:
    """A turn that was stopped has none; what the model wrote into a call stands in no round at all."""
    now = [100.0]
    vault = vaults.create(clock=lambda: now[0])
    _say(vault, "talk", "keep my number safe", f"the {FACT}", "saved", "Done.")
    now[0] = 200.0
    _say(vault, "talk", "and the user's fact?", "remember the role")
    now[0] = 301.0
    _say(vault, "late", "pins and needles")
    for nothing in (
        {"query": "4711 needles"}, {"query": "role user"}, {"query": "assistant remember c1"}, {"query": "?!"},
        {"query": "pin", "where": Filter(since=150.0, until=301.0)},
        {"query": "pin", "where": Filter(kinds=("round",))},
        {"where": Filter(until=99.0)}, {"where": Filter(source="talk")}, {"where": Filter(under="talk")},
    ):  # fmt: skip
        assert vault.forget(**nothing).messages == 0, nothing
    gone = vault.forget(query="4711 pin")
    assert (gone.ids, gone.messages, gone.proven) == ((), 1, True)
    assert gone.probes > 0
    assert _decrypted(vaults).count(FACT.encode()) == 0
    assert _words(vault, "talk") == [
        "keep my number safe", "[forgotten]", "saved", "Done.", "and the user's fact?", "",
    ]  # fmt: skip
    assert vault.forget(query="number").messages == 3  # a question, and what followed from it
    assert vault.forget(query="number").messages == 0
    assert vault.forget(where=Filter(since=200.0, until=300.0)).messages == 2
    assert (set(_words(vault, "talk")), _words(vault, "late")) == ({"[forgotten]"}, ["pins and needles"])
    assert vault.forget(query="pin", where=Filter(since=300.0)).messages == 1
    _say(vault, "late", "something new")
    assert vault.forget(where=Filter()).messages == 1


def test_an_answer_that_was_slow_goes_with_its_question(vaults: Vaults) -> None:
    now = [100.0]
    vault = vaults.create(clock=lambda: now[0])
    vault.append_message("talk", {"role": "user", "text": "before midnight"})
    now[0] = 200.0
    vault.append_message("talk", {"role": "assistant", "text": "after midnight"})
    assert vault.forget(where=Filter(since=150.0)).messages == 0
    assert vault.forget(where=Filter(until=150.0)).messages == 2


def _words(vault: Vault, conversation: str) -> list[str]:
    return [message["text"] for message in vault.conversation(conversation)]


def _rewrite(vault: Vault, record_id: str, text: str) -> None:
    assert vault.rewrite(record_id, text, EMBEDDER.embed([text])[0])


def test_the_old_words_of_an_edited_round_leave_its_messages(vaults: Vaults) -> None:
    vault = vaults.create()
    _turn(vault, vaults, "talk", "hello there", "greeting", "greeted", "Hello!")
    edited = _turn(vault, vaults, "talk", SECRET, FACT, f"remembered: {FACT}", "I shall keep it for good.")
    short = _turn(vault, vaults, "talk", "my pin?", FACT, "4711", "4711")
    assert SECRET.encode() in _decrypted(vaults)
    _rewrite(vault, edited, "user: the key is elsewhere now\nassistant: I see.")
    pages = _decrypted(vaults)  # before anything else folds the log
    forgotten = (SECRET.encode(), b"zinnia", b"keep it for good", b"remembered: PIN")
    assert {piece: pages.count(piece) for piece in forgotten} == dict.fromkeys(forgotten, 0)
    assert _words(vault, "talk") == [
        "hello there", "", "greeted", "Hello!", *["[forgotten]"] * 4, "my pin?", "", "4711", "4711",
    ]  # fmt: skip
    _rewrite(vault, short, "user: never mind\nassistant: Fine.")
    assert _decrypted(vaults).count(b"4711") == 0
    gone = vault.forget([edited])
    assert (gone.ids, gone.messages, gone.proven) == ((edited,), 0, True)
    assert _words(vault, "talk")[:4] == ["hello there", "", "greeted", "Hello!"]
    vault.verify()


def test_the_old_words_of_an_edited_fact_leave_messages_and_lead_to_its_rounds(vaults: Vaults) -> None:
    vault = vaults.create()
    (fact,) = vaults.add(vault, [SECRET])
    repeats = _turn(vault, vaults, "talk", f"note that {SECRET}", SECRET, f"remembered: {SECRET}", "Done.")
    kept = _turn(vault, vaults, "talk", "and now?", "x", "y", "Nothing.")
    answer = {"role": "assistant", "text": "it lies there", "labels": ["user", "private", [fact]]}
    vault.append_message("attic", answer)
    for text in ("the spare key is with the neighbours", "the spare key is with the neighbours"):
        _rewrite(vault, fact, text)
    assert _words(vault, "talk") == [*["[forgotten]"] * 4, "and now?", "", "y", "Nothing."]
    assert _words(vault, "attic") == ["it lies there"]
    assert [record.id for record in vault.records()] == [fact, repeats, kept]
    assert [record.sources for record in vault.records()] == [(), (fact,), ()]
    gone = vault.forget([fact])
    assert (set(gone.ids), gone.messages, gone.proven) == ({fact, repeats}, 1, True)
    pages = _decrypted(vaults)
    assert not any(
        pages.count(piece) for piece in (SECRET.encode(), b"zinnia", b"neighbours", b"it lies there")
    )


def test_an_edit_that_changes_no_word_takes_none_out_of_messages(vaults: Vaults) -> None:
    vault = vaults.create()
    said = _turn(vault, vaults, "talk", "a question of some length", "x", "y", "an answer of some length")
    (text,) = [record.text for record in vault.records()]
    _rewrite(vault, said, text)
    assert _words(vault, "talk") == ["a question of some length", "", "y", "an answer of some length"]
    assert not vault.rewrite("0" * 32, "x", EMBEDDER.embed(["x"])[0])


DIARY = "/notes/diary-of-the-zinnia-affair.md"


def _read(vault: Vault, path: str, *texts: str, created: float = 100.0) -> list[str]:
    """Index a file, in place of what it said before."""
    records = [NewRecord(text, source=path, kind="document", created=created) for text in texts]
    return vault.replace_file(FileState(path, 1, 1, "digest", len(texts)), records, EMBEDDER.embed(texts))


def _answered(vault: Vault, vaults: Vaults, source: str) -> None:
    """Keep a round that was answered from a record, its messages, and a note that was made of the round."""
    question, answer = "where is the key of Mrs Okafor?", "It lies under her third pot."
    vault.append_message("talk", {"role": "user", "text": question, "labels": ["user", "private", []]})
    labels = ["document", "private", [source]]
    vault.append_message("talk", {"role": "assistant", "text": answer, "labels": labels})
    text = f"user: {question}\nassistant: {answer}"
    (made,) = vaults.add(vault, [text], kind="round", source="talk", sources=(source,))
    vaults.add(vault, ["in short: third pot, Okafor"], sources=(made,))


@pytest.mark.parametrize(
    ("then", "named"),
    [
        ("read anew", Filter(under=DIARY)),
        ("read anew", Filter(under="/notes")),
        ("emptied", Filter(source=DIARY)),
        ("removed", Filter(under=DIARY)),
        ("removed", Filter(kinds=("document",), since=99.0, until=101.0)),
        ("renamed and removed", Filter(under="/new")),
        ("removed and written over", Filter(under=DIARY)),
    ],
)
def test_forgetting_a_file_reaches_what_was_made_from_its_older_text(
    vaults: Vaults, then: str, named: Filter
) -> None:
    """Its chunks have other ids by now, or none: what was made from them names the old ones."""
    vault = vaults.create()
    (source, _) = _read(vault, DIARY, f"dear diary, {SECRET}", "and it rained")
    _read(vault, "/other.md", "nothing of the kind", created=300.0)
    _answered(vault, vaults, source)
    match then:
        case "read anew":
            _read(vault, DIARY, "a new page", created=200.0)
        case "emptied":
            _read(vault, DIARY)
        case "removed":
            vault.remove_file(DIARY)
        case "renamed and removed":
            vault.rename_file(DIARY, "/new/diary.md")
            vault.remove_file("/new/diary.md")
        case "removed and written over":
            vault.remove_file(DIARY)
            _read(vault, "/draft.md", "a draft")
            vault.rename_file("/draft.md", DIARY)
    vault.close()
    vault = vaults.open()
    told: list[str] = []
    vault.on_forget.append(told.extend)
    gone = vault.forget(where=named)
    assert (gone.derived, gone.messages, gone.proven) == (2, 2, True)
    assert source in told  # for caches made from it
    assert [record.text for record in vault.records()] == ["nothing of the kind"]
    assert {message["text"] for message in vault.conversation("talk")} == {"[forgotten]"}
    vault.verify()
    pages = _decrypted(vaults)
    forgotten = (b"Okafor", b"third pot", b"zinnia", DIARY.encode(), b"/new/diary.md", bytes.fromhex(source))
    assert {piece: pages.count(piece) for piece in forgotten} == dict.fromkeys(forgotten, 0)
    assert vault.forget(where=named).ids == ()


def test_what_was_made_from_a_file_stays_until_it_is_forgotten(vaults: Vaults) -> None:
    vault = vaults.create()
    (source,) = _read(vault, DIARY, SECRET)
    _answered(vault, vaults, source)
    assert vault.remove_file(DIARY) == 1
    assert vault.count() == 2
    for other in (
        Filter(under="/notes/diary"),
        Filter(kinds=("memory",), under=DIARY),
        Filter(since=101.0, until=102.0),
    ):
        assert vault.forget(where=other).ids == ()
    assert vault.count() == 2


def test_an_answer_that_ends_after_its_source_was_read_anew_is_reached_too(vaults: Vaults) -> None:
    """A folder is watched while the answer is written: its ids are of chunks that are gone already."""
    vault = vaults.create()
    (source,) = _read(vault, DIARY, SECRET)
    _read(vault, DIARY, "a new page")
    _answered(vault, vaults, source)
    vault.close()
    vault = vaults.open()
    gone = vault.forget(where=Filter(under=DIARY))
    assert (gone.derived, gone.messages, vault.count()) == (2, 2, 0)


def test_where_records_came_from_is_kept_no_longer_than_something_names_them(vaults: Vaults) -> None:
    vault = vaults.create()
    (source,) = _read(vault, DIARY, SECRET)
    _read(vault, "/other.md", "nobody asks about this")
    _answered(vault, vaults, source)
    for path in (DIARY, "/other.md"):
        vault.remove_file(path)
    assert _cited(vault) == [DIARY, "talk"]
    vault.delete_conversation("talk")
    vault.forget(where=Filter(kinds=("round",), source="talk"))
    assert _cited(vault) == []
    assert _decrypted(vaults).count(DIARY.encode()) == 0


def test_a_vault_of_version_3_learns_where_its_records_came_from(tmp_path: Path) -> None:
    path, key = tmp_path / "a.db", bytes(32)
    database = Database(path, key, key, create=True, migrations=MIGRATIONS[:3])
    ids = [bytes([number] * 16) for number in range(6)]
    made = json.dumps([ids[0].hex(), "elsewhere"])
    for number, identity in enumerate(ids):
        database.change(
            "INSERT INTO records VALUES (?, ?, 'document', ?, 0, '', '', 'x', 'document', 'private', 1.0, ?)",
            (number, identity, f"/{number}.md", made if number == 5 else "[]"),
        )
    for number, message in enumerate(
        (
            {"labels": ["document", "private", [ids[1].hex()]]},
            {"labels": {"sources": [ids[2].hex()]}},
            {"sources": [ids[3].hex()], "labels": "none"},
            {"text": "hello"},
        )
    ):
        database.change("INSERT INTO messages VALUES ('talk', ?, 1.0, ?)", (number, json.dumps(message)))
    database.close()
    database = Database(path, key, key)
    database.update()
    cited = database.rows("SELECT id, kind, source, origin, privacy, created FROM cited ORDER BY id")
    assert cited == [
        (ids[number], "document", f"/{number}.md", "document", "private", 1.0) for number in range(4)
    ]
    database.close()


def test_many_texts_are_sought_as_few_are(vaults: Vaults) -> None:
    """A folder has more passages than can be sought one after the other in every message."""
    vault = vaults.create()
    texts = [f"passage number {number} of a long report" for number in range(60)]
    _read(vault, "/report.md", *texts, "too short")
    (said, kept) = [
        "user: he wrote: passage number 59 of a long report!",
        "user: passage number 6 of it, too short",
    ]
    for text in (said, kept):
        vault.append_message("talk", {"role": "user", "text": text})
        vaults.add(vault, [text], kind="round", source="talk")
    assert len(vault.forget(where=Filter(under="/report.md")).ids) == 62
    assert [record.text for record in vault.records()] == [kept]
    assert [message["text"] for message in vault.conversation("talk")] == ["[forgotten]", kept]


def _cited(vault: Vault) -> list[str]:
    with vault._access.reading() as database:
        return [source for (source,) in database.rows("SELECT source FROM cited ORDER BY source")]


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


@pytest.mark.parametrize(
    ("query", "said", "kept"),
    [
        ("Jan", "Jan sold his bike", "Jane called about the flat"),
        ("plan", "we made plans", "the plane leaves at nine"),
        ("Bill", "Bill's number is 4711", "the billing went wrong"),
        ("care", "she cares for him", "the car is at the garage"),
        ("boxes", "a box of nails", "boxing on Friday"),
        ("battery", "two batteries", "they were battered"),
        ("Will Anne", "Anne will come", "Ann will come"),
    ],
)
def test_forgetting_a_word_leaves_its_lookalikes(vaults: Vaults, query: str, said: str, kept: str) -> None:
    vault = vaults.create()
    named, other = vaults.add(vault, [said, kept])
    for name, text in (("first", said), ("second", kept)):
        vault.append_message(name, {"role": "user", "text": text})
        vault.append_message(name, {"role": "assistant", "text": "I see."})
    gone = vault.forget(query=query)
    assert gone.ids == (named,)
    assert (gone.messages, gone.conversations) == (2, ("first",))
    assert gone.proven
    assert [record.id for record in vault.records()] == [other]
    assert [message["text"] for message in vault.conversation("second")] == [kept, "I see."]


def test_forgetting_a_word_reaches_a_title_and_words_in_any_spelling(vaults: Vaults) -> None:
    vault = vaults.create()
    ids = vaults.add(vault, ["nothing else"], title="Zoë") + vaults.add(vault, ["ZOE came", "她 喜欢 猫头鹰"])
    assert set(vault.forget(query="zoe").ids) == set(ids[:2])
    assert vault.forget(query="猫头鹰").ids == (ids[2],)
