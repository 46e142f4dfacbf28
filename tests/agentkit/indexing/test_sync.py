"""The index follows the folder: edits, renames, deletes, bad files, lost disks; nothing is done twice."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentkit.errors import IndexingError
from agentkit.indexing.document import Block, Document
from agentkit.indexing.reading import Reader
from agentkit.indexing.sync import (
    FileIndexed,
    FileRemoved,
    FileRenamed,
    FileSkipped,
    FileUnchanged,
    IndexEvent,
    IndexFinished,
    Progress,
    Sync,
)
from agentkit.indexing.writing import Writer
from agentkit_memory import FileState, Filter, HashEmbedder, Vault

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NOTES = Path(__file__).parents[3] / "examples" / "notes"


class CountingEmbedder(HashEmbedder):
    """Counts the texts it embeds."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.batches.append(len(texts))
        return super().embed(texts)


def happened(events: Iterable[IndexEvent]) -> list[IndexEvent]:
    """Return the events that are about files, with the time left out."""
    kept: list[IndexEvent] = []
    for event in events:
        match event:
            case FileIndexed():
                kept.append(FileIndexed(event.path, event.chunks, 0.0, event.notes))
            case Progress() | IndexFinished():
                pass
            case _:
                kept.append(event)
    return kept


def indexed(path: Path, chunks: int = 1) -> FileIndexed:
    return FileIndexed(path, chunks, 0.0)


def stored(vault: Vault) -> dict[str, str]:
    """Return the text the vault holds of each file."""
    return {record.source: record.text for record in vault.records(Filter(kinds=("document",)), limit=1000)}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_folder_is_indexed_once_and_then_costs_nothing(sync: Sync, vault: Vault, folder: Path) -> None:
    first, second = (
        write(folder / "a.txt", "About boats."),
        write(folder / "sub" / "b.md", "# Cars\n\nAbout cars."),
    )
    assert happened(sync.run(folder)) == [indexed(first), indexed(second)]
    assert happened(sync.run(folder)) == [FileUnchanged(first), FileUnchanged(second)]
    assert stored(vault) == {str(first): "About boats.", str(second): "Cars\n\nAbout cars."}
    assert vault.roots() == [str(folder)]


def test_a_record_says_where_it_comes_from(sync: Sync, vault: Vault, folder: Path) -> None:
    path = write(folder / "house.md", "# House\n\n## Boiler\n\nIt is old.")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    list(sync.run(folder))
    (record,) = vault.records(Filter(under=str(path)))
    assert (record.kind, record.origin, record.privacy) == ("document", "document", "private")
    assert (record.source, record.title, record.place, record.position) == (
        str(path),
        "House",
        "lines 1-5",
        0,
    )
    assert record.created == 1_700_000_000


def test_an_edit_replaces_and_a_touch_does_not(vault: Vault, reader: Reader, folder: Path) -> None:
    embedder = CountingEmbedder()
    sync = Sync(vault, embedder, reader, clock=lambda: 4e9)
    path = write(folder / "a.txt", "Old words.")
    list(sync.run(folder))
    os.utime(path, (1, 1))
    assert happened(sync.run(folder)) == [FileUnchanged(path)]
    assert (
        vault.files()[str(path)].mtime_ns == 1_000_000_000
    )  # noted, so that the next run need not compare the content
    assert vault.files()[str(path)].chunks == 1
    path.write_text("New words.")
    assert happened(sync.run(folder)) == [indexed(path)]
    assert stored(vault) == {str(path): "New words."}
    assert embedder.batches == [1, 1]


def test_an_edit_within_one_tick_of_the_clock_is_still_seen(
    vault: Vault, reader: Reader, folder: Path
) -> None:
    path = write(folder / "a.txt", "Old words.")
    moment = path.stat().st_mtime_ns
    sync = Sync(vault, HashEmbedder(), reader, clock=lambda: moment / 1e9)
    list(sync.run(folder))
    path.write_text("New words.")
    os.utime(path, ns=(moment, moment))
    assert happened(sync.run(folder)) == [indexed(path)]


def test_a_rename_keeps_the_chunks(vault: Vault, reader: Reader, folder: Path) -> None:
    embedder = CountingEmbedder()
    sync = Sync(vault, embedder, reader)
    old, new = write(folder / "a.txt", "Some words."), folder / "deep" / "b.txt"
    list(sync.run(folder))
    ids = [record.id for record in vault.records()]
    new.parent.mkdir()
    old.rename(new)
    assert happened(sync.run(folder)) == [FileRenamed(old, new)]
    assert [record.id for record in vault.records()] == ids
    assert stored(vault) == {str(new): "Some words."}
    assert happened(sync.run(folder)) == [FileUnchanged(new)]
    assert embedder.batches == [1]


def test_a_delete_is_followed(sync: Sync, vault: Vault, folder: Path) -> None:
    path, other = write(folder / "a.txt", "Some words."), write(folder / "b.txt", "Other words.")
    list(sync.run(folder))
    path.unlink()
    assert happened(sync.run(folder)) == [FileUnchanged(other), FileRemoved(path)]
    assert list(stored(vault)) == [str(other)]


def test_a_bad_file_is_skipped_once_and_tried_again_when_it_changes(
    vault: Vault, reader: Reader, folder: Path
) -> None:
    sync = Sync(vault, HashEmbedder(), reader, clock=lambda: 4e9)
    bad, good = folder / "bad.txt", write(folder / "good.txt", "Words.")
    bad.write_bytes(b"\x00\x01")
    skipped = FileSkipped(bad, "it is a binary file")
    assert happened(sync.run(folder)) == [skipped, indexed(good)]
    assert happened(sync.run(folder)) == [skipped, FileUnchanged(good)]
    assert vault.files()[str(bad)].error == "it is a binary file"
    bad.write_text("Mended now.")
    assert happened(sync.run(folder)) == [FileUnchanged(good), indexed(bad)]
    assert vault.files()[str(bad)].error == ""


def test_a_file_that_turns_bad_is_no_longer_found(sync: Sync, vault: Vault, folder: Path) -> None:
    path = write(folder / "a.txt", "Some words.")
    list(sync.run(folder))
    path.write_bytes(b"\x00binary")
    assert happened(sync.run(folder)) == [FileSkipped(path, "it is a binary file")]
    assert stored(vault) == {}


def test_files_that_are_no_documents_are_named_with_a_reason(sync: Sync, vault: Vault, folder: Path) -> None:
    with (folder / "big.txt").open("wb") as file:
        file.truncate(200 << 20)
    os.mkfifo(folder / "fifo")
    write(folder / "id_ed25519", "-----BEGIN")
    write(folder / "server.pem", "-----BEGIN")
    (folder / "empty.txt").touch()
    wanted: list[IndexEvent] = [
        FileSkipped(folder / "big.txt", "it is larger than 64 MB: 200 MB"),
        FileSkipped(folder / "fifo", "it is not a regular file"),
        FileSkipped(folder / "id_ed25519", "it looks like a key or a password store"),
        FileSkipped(folder / "server.pem", "it looks like a key or a password store"),
    ]
    assert happened(sync.run(folder)) == [*wanted, indexed(folder / "empty.txt", 0)]
    assert happened(sync.run(folder)) == [wanted[0], FileUnchanged(folder / "empty.txt"), *wanted[1:]]
    assert stored(vault) == {}


def test_hidden_files_tool_folders_links_and_ignored_names_are_passed_over(
    sync: Sync, vault: Vault, folder: Path, tmp_path: Path
) -> None:
    outside = write(tmp_path / "outside" / "private.txt", "Not yours.")
    kept = write(folder / "kept.txt", "Words.")
    for name in (
        ".env",
        ".git/config",
        "node_modules/x.js",
        "__pycache__/x.txt",
        "draft.txt~",
        "old/a.txt",
        "x.bak",
    ):
        write(folder / name, "No.")
    write(folder / "sub" / "private" / "b.txt", "No.")
    (folder / "link.txt").symlink_to(outside)
    (folder / "linked").symlink_to(outside.parent)
    write(folder / ".agentkitignore", "# ours\nold/\n*.bak\nsub/private\n")
    assert happened(sync.run(folder)) == [indexed(kept)]
    assert happened(sync.sync_paths([folder / "old" / "a.txt", folder / "linked", folder / ".env"])) == []
    assert happened(sync.sync_paths([folder / "linked" / "private.txt"])) == []
    write(folder / ".agentkitignore", "kept.txt\n")
    write(folder / "one.txt", "Other words.")
    assert FileRemoved(kept) in happened(sync.run(folder))


def test_a_folder_leaves_alone_what_was_indexed_on_its_own_inside_it(
    sync: Sync, vault: Vault, folder: Path
) -> None:
    write(folder / ".agentkitignore", "lease.txt\n")
    hidden, ignored = (
        write(folder / ".private" / "diary.txt", "A diary."),
        write(folder / "lease.txt", "Rent."),
    )
    plain = write(folder / "a.txt", "Boats.")
    assert happened(sync.run(hidden.parent)) == [indexed(hidden)]
    assert happened(sync.run(ignored)) == [indexed(ignored)]
    assert happened(sync.run(folder)) == [indexed(plain)]
    assert happened(sync.sync_paths([folder])) == [FileUnchanged(plain)]
    assert sorted(stored(vault)) == sorted(map(str, (hidden, ignored, plain)))
    assert happened(sync.run(hidden.parent)) == [FileUnchanged(hidden)]
    other = write(hidden.parent / "b.txt", "Another.")
    hidden.unlink()
    assert happened(sync.run(hidden.parent)) == [FileRemoved(hidden), indexed(other)]


def test_a_vanished_or_emptied_folder_erases_nothing(sync: Sync, vault: Vault, folder: Path) -> None:
    path = write(folder / "a.txt", "Some words.")
    list(sync.run(folder))
    aside = folder.with_name("aside")
    folder.rename(aside)
    with pytest.raises(IndexingError, match="no such file or folder"):
        list(sync.run(folder))
    with pytest.raises(IndexingError, match="no such file or folder"):
        list(sync.sync_paths([path]))
    folder.mkdir()
    with pytest.raises(IndexingError, match="the folder is empty, but 1 files of it are indexed"):
        list(sync.run(folder))
    assert list(stored(vault)) == [str(path)]
    folder.rmdir()
    aside.rename(folder)
    assert happened(sync.run(folder)) == [FileUnchanged(path)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything: run the tests as an ordinary user")
def test_what_cannot_be_looked_at_is_kept_and_tried_again(sync: Sync, vault: Vault, folder: Path) -> None:
    path, inner = write(folder / "a.txt", "Some words."), write(folder / "sub" / "b.txt", "Other words.")
    list(sync.run(folder))
    path.write_text("Changed words.")
    path.chmod(0)
    inner.parent.chmod(0)
    try:
        assert happened(sync.run(folder)) == [FileSkipped(path, "it may not be read by this user")]
        assert set(stored(vault)) == {str(path), str(inner)}
    finally:
        path.chmod(0o600)
        inner.parent.chmod(0o700)
    assert happened(sync.run(folder)) == [FileUnchanged(inner), indexed(path)]


def test_a_file_that_goes_while_the_run_is_on_harms_nobody(sync: Sync, vault: Vault, folder: Path) -> None:
    first, second = write(folder / "a.txt", "Some words."), write(folder / "b.txt", "Other words.")
    events = sync.run(folder)
    assert next(events) == Progress(0, 2, first)
    second.unlink()
    assert happened(events) == [FileSkipped(second, "it is gone"), indexed(first)]
    second.write_text("Back again.")
    list(sync.run(folder))
    second.write_text("And changed.")
    events = sync.run(folder)
    while not isinstance(next(events), Progress):
        pass
    second.unlink()
    assert happened(events) == [FileRemoved(second)]
    assert list(stored(vault)) == [str(first)]


def test_a_run_that_is_stopped_keeps_what_it_has_yielded(vault: Vault, reader: Reader, folder: Path) -> None:
    sync = Sync(vault, HashEmbedder(), reader, clock=lambda: 4e9)
    paths = [write(folder / f"{number}.txt", "A sentence of some words. " * 900) for number in range(3)]
    events = sync.run(folder)
    done = next(event for event in events if isinstance(event, FileIndexed))
    events.close()  # type: ignore[attr-defined]  # a generator
    assert done.path == paths[0]
    assert set(stored(vault)) >= {str(done.path)}
    rest = happened(sync.run(folder))
    assert FileUnchanged(paths[0]) in rest
    assert {event.path for event in rest if isinstance(event, FileIndexed)} == set(paths[1:])


def test_changed_paths_are_followed_without_looking_at_the_rest(
    sync: Sync, vault: Vault, folder: Path
) -> None:
    path, other = write(folder / "a.txt", "Some words."), write(folder / "b.txt", "Other words.")
    list(sync.run(folder))
    path.write_text("Changed words.")
    assert happened(sync.sync_paths([path, Path("/elsewhere/x.txt")])) == [indexed(path)]
    deep = write(folder / "n" / "m" / "c.txt", "Deep words.")
    assert happened(sync.sync_paths([folder / "n", folder / "n" / "m", deep])) == [indexed(deep)]
    (folder / "n").rename(folder / "o")
    moved = folder / "o" / "m" / "c.txt"
    assert happened(sync.sync_paths([folder / "n", folder / "o"])) == [FileRenamed(deep, moved)]
    moved.unlink()
    assert happened(sync.sync_paths([moved])) == [FileRemoved(moved)]
    other.unlink()
    assert happened(sync.sync_paths([folder])) == [FileUnchanged(path), FileRemoved(other)]


def test_a_name_that_is_not_utf8_is_skipped(sync: Sync, vault: Vault, folder: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.txt"))
    path.write_text("Words.")
    assert happened(sync.run(folder)) == [FileSkipped(path, "its name is not UTF-8")]
    assert happened(sync.sync_paths([path])) == [FileSkipped(path, "its name is not UTF-8")]
    path.unlink()
    assert happened(sync.sync_paths([path])) == []
    assert vault.files() == {}


def test_a_word_without_end_is_cut_as_a_text_is(vault: Vault, reader: Reader, folder: Path) -> None:
    class Lumping(HashEmbedder):
        """Counts any word as one piece, as WordPiece does over 100 characters."""

        def count_pieces(self, text: str) -> int:
            return len(text.split())

    write(folder / "b.txt", "0123456789abcdef" * 70_000)
    last = write(folder / "c.txt", "Words.")
    made = happened(Sync(vault, Lumping(), reader, clock=lambda: 4e9).run(folder))
    assert made[-1] == indexed(last)
    texts = [record.text for record in vault.records(limit=1000) if record.source.endswith("b.txt")]
    assert sum(map(len, texts)) == 1_120_000
    assert max(map(len, texts)) <= 3600


def test_a_file_the_vault_refuses_is_skipped_and_the_rest_is_indexed(vault: Vault, folder: Path) -> None:
    writer = Writer(vault, HashEmbedder())
    prepared = [
        writer.prepare(folder / name, FileState(str(folder / name), 6, 1, "digest", 0), document, 0.0)
        for name, document in (
            ("a.txt", Document("x" * 5000, (Block("Words.", "line 1"),))),
            ("b.txt", Document("b", (Block("Words.", "line 1"),))),
        )
    ]
    reason = "a record's title is longer than 4096 characters"
    made = happened(writer.write(prepared, Progress(0, 2, folder)))
    assert made == [FileSkipped(folder / "a.txt", reason), indexed(folder / "b.txt")]
    assert [(state.error, state.chunks) for state in vault.files().values()] == [(reason, 0), ("", 1)]


def test_folders_deeper_than_the_stack_are_walked(sync: Sync, vault: Vault, folder: Path) -> None:
    write(folder / "a.txt", "Words.")
    here = os.open(folder, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("d", dir_fd=here)
        here, above = os.open("d", os.O_RDONLY, dir_fd=here), here
        os.close(above)
    with os.fdopen(os.open("deep.txt", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=here), "w") as file:
        file.write("Deep words.")
    os.close(here)
    try:
        events = happened(sync.run(folder))
    finally:
        subprocess.run(["/bin/rm", "-rf", folder / "d"], check=True)  # too deep for Python's own rmtree
    assert [event.path.name for event in events if isinstance(event, FileIndexed)] == ["a.txt", "deep.txt"]


def test_a_single_file_can_be_indexed(sync: Sync, vault: Vault, folder: Path) -> None:
    path = write(folder / "a.txt", "Some words.")
    write(folder / "b.txt", "Other words.")
    assert happened(sync.run(path)) == [indexed(path)]
    assert happened(sync.run(path)) == [FileUnchanged(path)]
    assert list(stored(vault)) == [str(path)]


def test_the_bulk_embedder_takes_over_when_there_is_much(vault: Vault, reader: Reader, folder: Path) -> None:
    light, bulk = CountingEmbedder(), CountingEmbedder()
    write(folder / "long.txt", "A sentence of some words. " * 20_000)
    list(Sync(vault, light, reader, bulk=bulk).run(folder))
    assert sum(light.batches) <= 320
    assert sum(light.batches) + sum(bulk.batches) == vault.count()
    assert sum(bulk.batches) > sum(light.batches)


def test_the_example_notes_are_all_read(sync: Sync, vault: Vault) -> None:
    *events, finished = sync.run(NOTES)
    assert isinstance(finished, IndexFinished)
    assert not [event for event in events if isinstance(event, FileSkipped)]
    assert finished.indexed == sum(1 for path in NOTES.rglob("*") if path.is_file())
    (report,) = [path for path in vault.files() if path.endswith(".pdf")]
    places = {record.place for record in vault.records(Filter(under=report)) if "expansion" in record.text}
    assert places == {"page 2"}


@pytest.mark.model
@pytest.mark.slow
def test_no_chunk_is_longer_than_minilm_reads(vault: Vault, reader: Reader, minilm_path: Path) -> None:
    from agentkit_memory import MiniLMEmbedder

    class Measuring(HashEmbedder):
        """Counts pieces as MiniLM does, and keeps the longest text."""

        longest = 0

        def count_pieces(self, text: str) -> int:
            return minilm.count_pieces(text)

        def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            self.longest = max(self.longest, *(minilm.count_pieces(text) for text in texts))
            return super().embed(texts)

    minilm = MiniLMEmbedder(minilm_path)
    measuring = Measuring()
    list(Sync(vault, measuring, reader).run(NOTES))
    list(Sync(vault, measuring, reader).run(NOTES.parents[1] / "agentkit"))
    assert 150 < measuring.longest <= minilm.max_pieces
