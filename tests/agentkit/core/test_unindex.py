"""`unindex` forgets what was read from a file or folder, and what was made from it since."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

from agentkit.core.indexing import IndexOps
from agentkit_memory import FileState, HashEmbedder, NewRecord, Vault

EMBEDDER = HashEmbedder(64)


def _unindex(vault: Vault, path: str) -> Any:
    service: Any = SimpleNamespace(vault=vault, runs=SimpleNamespace(forgetting=nullcontext))
    session: Any = None
    return IndexOps(service).table()["unindex"]({"path": path}, session)


def _read(vault: Vault, path: str, *texts: str) -> list[str]:
    records = [NewRecord(text, source=path, kind="document") for text in texts]
    return vault.replace_file(FileState(path, 1, 1, "d", len(texts)), records, EMBEDDER.embed(texts))


def test_unindex_forgets_passages_and_what_was_made_from_them(vault: Vault) -> None:
    for root in ("/notes", "/notes-2024"):
        vault.add_root(root)
    (old,) = _read(vault, "/notes/a.md", "the rent is 900 euros")
    (fresh,) = _read(vault, "/notes/a.md", "the rent is 950 euros")
    _read(vault, "/notes-2024/a.md", "something else")
    _read(vault, "/notes/empty.md")
    for source in (old, fresh):
        labels = ["document", "private", [source]]
        vault.append_message("talk", {"role": "assistant", "text": "so much", "labels": labels})
        vault.add(
            [NewRecord("so much", kind="round", source="talk", sources=(source,))], EMBEDDER.embed(["so"])
        )
    said = _unindex(vault, "/notes/../notes/")
    assert (said["path"], said["forgotten"], said["derived"], said["messages"]) == ("/notes", 1, 2, 2)
    assert said["proven"]
    assert (vault.roots(), list(vault.files())) == (["/notes-2024"], ["/notes-2024/a.md"])
    assert [record.text for record in vault.records()] == ["something else"]
    assert {message["text"] for message in vault.conversation("talk")} == {"[forgotten]"}


def test_unindex_of_a_file_that_is_gone_reaches_what_was_made_from_it(vault: Vault) -> None:
    (source,) = _read(vault, "/notes/a.md", "the rent is 900 euros")
    vault.add([NewRecord("so much", kind="round", source="talk", sources=(source,))], EMBEDDER.embed(["so"]))
    vault.remove_file("/notes/a.md")
    said = _unindex(vault, "/notes/a.md")
    assert (said["forgotten"], said["derived"], vault.count()) == (0, 1, 0)
