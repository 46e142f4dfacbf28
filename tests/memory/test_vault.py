"""The vault: what is put in comes out, for one writer at a time, and wrong use is said plainly."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import numpy as np
import pytest

from agentkit_memory import (
    EmbeddingMismatchError,
    FileState,
    Filter,
    KdfParameters,
    NewerVaultError,
    NewRecord,
    RecordError,
    StoreError,
    TamperedError,
    Vault,
    VaultBusyError,
    VaultClosedError,
    VaultExistsError,
    VaultMissingError,
    WeakKeyError,
    WrongPassphraseError,
)
from agentkit_memory.database import Database
from agentkit_memory.schema import MIGRATIONS

if TYPE_CHECKING:
    from tests.memory.conftest import Vaults


def _file(path: str, chunks: int = 1, digest: str = "d") -> FileState:
    return FileState(path, 10, 1, digest, chunks)


def _chunks(path: str, texts: list[str]) -> list[NewRecord]:
    return [
        NewRecord(
            text, source=path, kind="document", origin="document", position=number, place=f"line {number}"
        )
        for number, text in enumerate(texts)
    ]


def test_what_is_added_is_there_after_reopening(vaults: Vaults) -> None:
    vault = vaults.create(clock=lambda: 1000.0)
    record = NewRecord(
        "Grüße, 世界",
        source="/a.md",
        kind="document",
        place="page 2",
        title="T",
        origin="document",
        privacy="secret",
        created=5.0,
        sources=("0" * 32,),
        position=3,
    )
    ids = vault.add([record, NewRecord("two")], vaults.embedder.embed(["one", "two"]))
    vault.close()
    again = vaults.open()
    first, second = again.get(ids)
    assert [getattr(first, name) for name in NewRecord.__slots__] == [
        getattr(record, name) for name in NewRecord.__slots__
    ]
    assert (second.text, second.kind, second.created) == ("two", "memory", 1000.0)
    assert (again.embedder, again.dimensions) == ("hash-64", 64)
    again.check_embedder("hash-64", 64)
    with pytest.raises(EmbeddingMismatchError):
        again.check_embedder("other", 64)


def test_search_finds_by_words_by_vector_and_by_both(vaults: Vaults) -> None:
    vault = vaults.create()
    vaults.add(vault, ["the cat sleeps on the sofa", "taxes are due in april", "the dog barks at night"])
    assert vaults.search(vault, "when are taxes due?")[0] == "taxes are due in april"
    assert vault.search("barks", None)[0].record.text == "the dog barks at night"
    question = vaults.embedder.embed(["the cat sleeps"])[0]
    hit = vault.search("", question, k=1)[0]
    assert hit.record.text == "the cat sleeps on the sofa"
    assert hit.dense > 0.5
    assert hit.lexical == 0.0


def test_an_empty_vault_and_an_empty_question_find_nothing(vaults: Vaults) -> None:
    vault = vaults.create()
    assert vaults.search(vault, "anything") == []
    vaults.add(vault, ["something"])
    assert vault.search("", None) == []
    assert vault.search("?!", None) == []


def test_filters_restrict_lists_counts_and_both_arms_of_search(vaults: Vaults) -> None:
    vault = vaults.create()
    vault.add(
        [
            NewRecord("red apple", source="/a/1", kind="document", origin="document", created=1.0),
            NewRecord("red apple cake", source="/a", kind="document", created=1.5, origin="tool"),
            NewRecord("red apple jam", source="/a.md", kind="memory", created=1.5, origin="tool"),
            NewRecord("red apple pie", source="/ab/2", kind="document", origin="user", created=2.0),
            NewRecord("red apple tart", source="c", kind="round", origin="model", created=3.0),
        ],
        vaults.embedder.embed(["red apple"] * 5),
    )
    cases: list[tuple[Filter, set[str]]] = [
        (Filter(kinds=("round",)), {"red apple tart"}),
        (Filter(origins=("user", "model")), {"red apple pie", "red apple tart"}),
        (Filter(under="/a/"), {"red apple"}),
        (Filter(under="/a"), {"red apple", "red apple cake"}),
        (Filter(under="/a.md"), {"red apple jam"}),
        (Filter(under="/ab/2"), {"red apple pie"}),
        (Filter(under="/"), {"red apple", "red apple cake", "red apple jam", "red apple pie"}),
        (Filter(under="c"), {"red apple tart"}),
        (Filter(under="/a/1/"), set()),
        (Filter(since=2.0), {"red apple pie", "red apple tart"}),
        (Filter(until=1.5), {"red apple"}),
        (Filter(kinds=("document",), since=2.0, origins=("user",)), {"red apple pie"}),
        (Filter(kinds=("message",)), set()),
    ]
    for where, expected in cases:
        assert {record.text for record in vault.records(where)} == expected
        assert vault.count(where) == len(expected)
        assert set(vaults.search(vault, "red apple", where=where)) == expected
        assert {hit.record.text for hit in vault.search("apple", None, where=where)} == expected


@pytest.mark.parametrize(
    "question",
    [
        '"',
        "'",
        "a AND",
        "NEAR(",
        "title:x",
        "x*",
        "- -",
        "(",
        "a\0b",
        "col : {}",
        "'; DROP TABLE records; --",
        "\ud800",
    ],
)
def test_nothing_in_a_question_is_query_syntax(vaults: Vaults, question: str) -> None:
    vault = vaults.create()
    vaults.add(vault, ["plain text"])
    vaults.search(vault, question)
    assert vault.count() == 1


def test_what_is_deleted_is_found_by_nothing(vaults: Vaults) -> None:
    vault = vaults.create()
    keep, drop = vaults.add(vault, ["the blue lamp", "the green lamp"])
    assert vault.delete([drop, "f" * 32]) == 1
    assert vaults.search(vault, "green lamp") == ["the blue lamp"]
    assert vault.get([drop, keep])[0].id == keep
    assert vault.delete([drop]) == 0
    vault.verify()


def test_neighbours_are_those_beside_it_in_the_same_source(vaults: Vaults) -> None:
    vault = vaults.create()
    texts = [f"part {number}" for number in range(5)]
    vault.replace_file(_file("/a", 5), _chunks("/a", texts), vaults.embedder.embed(texts))
    vault.replace_file(_file("/b", 5), _chunks("/b", texts), vaults.embedder.embed(texts))
    middle = next(each for each in vault.records(Filter(under="/a")) if each.position == 2)
    assert [(each.source, each.position) for each in vault.neighbours(middle.id, before=2, after=1)] == [
        ("/a", 0),
        ("/a", 1),
        ("/a", 3),
    ]
    (lone,) = vaults.add(vault, ["no source"])
    assert vault.neighbours(lone) == []
    assert vault.neighbours("f" * 32) == []


def test_a_file_is_replaced_renamed_and_removed_with_its_chunks(vaults: Vaults) -> None:
    vault = vaults.create()
    embed = vaults.embedder.embed
    vault.replace_file(
        _file("/r/a", 2), _chunks("/r/a", ["old one", "old two"]), embed(["old one", "old two"])
    )
    vault.replace_file(_file("/r/a", 1, "e"), _chunks("/r/a", ["new one"]), embed(["new one"]))
    vault.replace_file(_file("/r2/b"), _chunks("/r2/b", ["other"]), embed(["other"]))
    vault.replace_file(FileState("/r/bad", 1, 1, "", 0, "cannot be read"), [], embed([]))
    assert [record.text for record in vault.records()] == ["new one", "other"]
    assert set(vault.files("/r")) == {"/r/a", "/r/bad"}
    assert vault.files("/r/a")["/r/a"].digest == "e"
    assert vault.files()["/r/bad"].error == "cannot be read"
    vault.rename_file("/r/a", "/r2/b")
    assert vault.files().keys() == {"/r/bad", "/r2/b"}
    assert [(record.text, record.source) for record in vault.records()] == [("new one", "/r2/b")]
    assert vaults.search(vault, "new one") == ["new one"]
    assert vault.remove_file("/r2/b") == 1
    assert vault.remove_file("/nowhere") == 0
    assert vault.count() == 0
    with pytest.raises(RecordError):
        vault.replace_file(_file("/r/a"), _chunks("/elsewhere", ["x"]), embed(["x"]))


def test_roots_conversations_and_settings_are_kept(vaults: Vaults) -> None:
    times = iter(range(1, 100))
    vault = vaults.create(clock=lambda: float(next(times)))
    vault.add_root("/b")
    vault.add_root("/a")
    vault.add_root("/a")
    vault.remove_root("/b")
    assert [
        vault.append_message("c1", {"role": "system", "text": "s"}),
        vault.append_message("c2", {"n": 1}),
    ] == [0, 0]
    assert vault.append_message("c1", {"role": "user", "text": "hello " * 50, "calls": [{"a": None}]}) == 1
    vault.set_setting("theme", {"dark": True})
    vault.close()
    vault = vaults.open()
    assert vault.roots() == ["/a"]
    assert vault.conversation("c1")[1]["calls"] == [{"a": None}]
    latest, older = vault.conversations()
    assert (latest.id, latest.messages, len(latest.opening), older.opening) == ("c1", 2, 80, "")
    assert latest.created < latest.updated
    assert vault.delete_conversation("c1") == 2
    assert vault.conversation("c1") == []
    assert vault.get_setting("theme") == {"dark": True}
    assert vault.get_setting("none", 3) == 3


@pytest.mark.parametrize(
    "record",
    [
        NewRecord("x", kind="Not a word"),
        NewRecord("x", origin=""),
        NewRecord("\ud800"),
        NewRecord("x" * ((1 << 20) + 1)),
        NewRecord("x", source="s" * 5000),
        NewRecord("x", created=float("nan")),
        NewRecord("x", position=1 << 64),
        NewRecord("x", sources=("s" * 5000,)),
    ],
)
def test_records_that_cannot_be_stored_are_refused_whole(vaults: Vaults, record: NewRecord) -> None:
    vault = vaults.create()
    with pytest.raises(RecordError) as refused:
        vault.add([NewRecord("good"), record], vaults.embedder.embed(["a", "b"]))
    assert record.text not in str(refused.value) or len(record.text) < 2
    assert vault.count() == 0


@pytest.mark.parametrize(
    "vectors",
    [
        np.zeros((1, 64)),
        np.ones((1, 32)),
        np.ones((2, 64)),
        np.ones(64),
        np.full((1, 64), np.nan),
        np.ones((0, 64)),
    ],
)
def test_vectors_that_do_not_fit_are_refused(vaults: Vaults, vectors: Any) -> None:
    vault = vaults.create()
    with pytest.raises(EmbeddingMismatchError):
        vault.add([NewRecord("x")], vectors)
    with pytest.raises(EmbeddingMismatchError):
        vault.search("x", np.ones(32, np.float32))
    assert vault.count() == 0


def test_values_that_are_not_json_are_refused(vaults: Vaults) -> None:
    vault = vaults.create()
    for value in (object(), float("nan"), "\ud800", b"bytes"):
        with pytest.raises(RecordError):
            vault.set_setting("key", value)
        with pytest.raises(RecordError):
            vault.append_message("c", {"value": value})
    with pytest.raises(RecordError):
        vault.get(["no id"])


def test_names_that_are_not_unicode_are_refused(vaults: Vaults) -> None:
    vault = vaults.create()
    name = "/a/\udcff.txt"  # what `os.fsdecode` makes of a file name that is not UTF-8
    for call in (
        lambda: vault.replace_file(_file(name), [], vaults.embedder.embed([])),
        lambda: vault.remove_file(name),
        lambda: vault.rename_file("/a/b", name),
        lambda: vault.files(name),
        lambda: vault.add_root(name),
        lambda: vault.get_setting(name),
        lambda: vault.append_message(name, {}),
    ):
        with pytest.raises(RecordError):
            call()


def test_a_second_writer_is_told_who_has_it_open(vaults: Vaults) -> None:
    vault = vaults.create()
    with pytest.raises(VaultBusyError) as refused:
        vaults.open()
    assert refused.value.exit_code == 6
    vault.close()
    vault.close()
    vaults.open()


@pytest.mark.slow
def test_a_second_process_is_refused_and_served_when_the_first_is_gone(vaults: Vaults) -> None:
    vaults.create().close()
    script = (
        "import sys; from pathlib import Path; from agentkit_memory import Vault\n"
        "vault = Vault.open(Path(sys.argv[1]), passphrase=sys.argv[2].encode(), allow_weak_kdf=True)\n"
        "print('open', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(vaults.folder), vaults.passphrase.decode()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"open\n"
        with pytest.raises(VaultBusyError, match=str(child.pid)):
            vaults.open()
        child.kill()
    vaults.open()


def test_a_closed_vault_says_so(vaults: Vaults) -> None:
    with vaults.create() as vault:
        pass
    with pytest.raises(VaultClosedError):
        vault.count()
    with pytest.raises(VaultClosedError):
        vaults.add(vault, ["x"])


def test_wrong_ways_in_are_refused(vaults: Vaults, tmp_path: Path) -> None:
    with pytest.raises(VaultMissingError):
        vaults.open()
    assert not Vault.exists(vaults.folder)
    vaults.create().close()
    assert Vault.exists(vaults.folder)
    with pytest.raises(VaultExistsError):
        vaults.create()
    with pytest.raises(WrongPassphraseError):
        vaults.open(b"wrong")
    with pytest.raises(WrongPassphraseError):
        vaults.open(None)
    with pytest.raises(WeakKeyError):
        Vault.open(vaults.folder, passphrase=vaults.passphrase)
    with pytest.raises(WeakKeyError):
        Vault.create(
            tmp_path / "w", passphrase=b"x", embedder="e", dimensions=3, kdf=KdfParameters.for_tests()
        )
    header = Vault.read_header(vaults.folder)
    assert [(slot.name, slot.kind, slot.kdf) for slot in header.slots] == [
        ("passphrase", "passphrase", KdfParameters.for_tests())
    ]
    vaults.open()


def test_slots_open_the_vault_and_rewriting_them_touches_no_record(vaults: Vaults) -> None:
    vault = vaults.create()
    vaults.add(vault, ["kept"])
    vault.close()
    before = (vaults.folder / "vault.db").read_bytes()
    vault = vaults.open()
    secret = bytes(range(32))
    vault.add_keyring_slot(secret)
    vault.change_passphrase(vaults.passphrase, b"another")
    assert [slot.name for slot in vault.slots()] == ["passphrase", "keyring"]
    vault.close()
    assert (vaults.folder / "vault.db").read_bytes() == before
    with pytest.raises(WrongPassphraseError):
        vaults.open()
    vaults.open(b"another").close()
    vault = vaults.open(None, keyring_secret=secret)
    assert vault.count() == 1
    vault.remove_slot("keyring")
    vault.close()
    with pytest.raises(WrongPassphraseError):
        vaults.open(None, keyring_secret=secret)


def test_a_database_of_another_vault_is_refused(vaults: Vaults, tmp_path: Path) -> None:
    vaults.create().close()
    other = type(vaults)(tmp_path / "other")
    other.create().close()
    (other.folder / "vault.db").replace(vaults.folder / "vault.db")
    with pytest.raises(TamperedError):
        vaults.open()


def test_a_lost_database_is_not_replaced_by_an_empty_one(vaults: Vaults) -> None:
    vaults.create().close()
    (vaults.folder / "vault.db").unlink()
    with pytest.raises(TamperedError):
        vaults.open()
    assert not (vaults.folder / "vault.db").exists()
    (vaults.folder / "vault.db").write_bytes(b"")
    with pytest.raises(TamperedError):
        vaults.open()


def test_a_newer_database_is_refused_unharmed(tmp_path: Path) -> None:
    key, path = bytes(32), tmp_path / "x.db"
    Database(path, key, key, create=True, migrations=(*MIGRATIONS, "CREATE TABLE later (x)")).close()
    before = path.read_bytes()
    with pytest.raises(NewerVaultError):
        Database(path, key, key)
    assert path.read_bytes() == before


def test_an_older_database_is_brought_up_to_date_in_one_step_or_not_at_all(tmp_path: Path) -> None:
    key, path = bytes(32), tmp_path / "x.db"
    database = Database(path, key, key, create=True)
    database.change("INSERT INTO settings (key, value) VALUES ('kept', '1')")
    database.close()
    later = (*MIGRATIONS, "ALTER TABLE settings ADD COLUMN note TEXT NOT NULL DEFAULT 'new'")
    database = Database(path, key, key, migrations=(*later, "CREATE TABLE broken ("))
    with pytest.raises(apsw.SQLError):
        database.update()
    database.close()
    Database(path, key, key).close()  # still of the old version
    database = Database(path, key, key, migrations=later)
    assert database.outdated
    database.update()
    assert database.rows("SELECT * FROM settings") == [("kept", "1", "new")]
    database.close()
    with pytest.raises(NewerVaultError):
        Database(path, key, key)


def test_a_creation_that_broke_off_is_no_vault_and_is_repeated(vaults: Vaults) -> None:
    vaults.create().close()
    (vaults.folder / "vault.json").unlink()
    assert not Vault.exists(vaults.folder)
    with pytest.raises(
        VaultExistsError, match="without its header"
    ):  # it may be a vault whose header was lost
        vaults.create()
    (vaults.folder / "vault.db").rename(
        vaults.folder / "vault.db.new"
    )  # where it stands until it is complete
    vaults.create()


def test_threads_share_a_vault(vaults: Vaults) -> None:
    vault = vaults.create()
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(10):
                (identity,) = vaults.add(vault, [f"thread {number} turn {turn}"])
                assert vaults.search(vault, f"thread {number} turn {turn}")
                if turn % 2:
                    vault.delete([identity])
        except (StoreError, AssertionError) as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert vault.count() == 20
    vault.verify()


def test_a_clock_that_is_set_back_changes_no_order_and_loses_nothing(vaults: Vaults) -> None:
    times = iter((2000.0, 2000.0, 1000.0, 1000.0, -5.0))
    vault = vaults.create(clock=lambda: next(times))
    vaults.add(vault, ["said first"])
    vault.append_message("talk", {"role": "user", "text": "first"})
    vaults.add(vault, ["said second"])
    vault.append_message("talk", {"role": "user", "text": "second"})
    vaults.add(vault, ["said before the epoch"])
    vault.close()
    vault = vaults.open(clock=lambda: 0.0)
    vault.verify()
    assert [record.text for record in vault.records()] == [
        "said first",
        "said second",
        "said before the epoch",
    ]
    assert [message["text"] for message in vault.conversation("talk")] == ["first", "second"]
    assert vault.conversations()[0].updated == 2000.0
    assert len(vault.forget(where=Filter(until=1500.0)).ids) == 2
