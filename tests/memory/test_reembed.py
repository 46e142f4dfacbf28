"""Re-embedding: the old vectors answer until the new ones are all there, and stopping it anywhere loses nothing."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from agentkit_memory import EmbeddingMismatchError, FileState, HashEmbedder, NewRecord, Vault
from agentkit_memory.embed import embedding_text
from tests.memory.conftest import EMBEDDER, PASSPHRASE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.memory.conftest import Vaults

OTHER = HashEmbedder(96)
_DRAWN = random.Random(7)
TEXTS = [
    f"{word} number {number} " + " ".join(f"w{_DRAWN.randrange(10_000)}" for _ in range(6))
    for number in range(250)
    for word in ("apple", "river", "stone")
]
STONE, RIVER, APPLE = TEXTS[233], TEXTS[601], TEXTS[3]


def _finds(vault: Vault, embedder: HashEmbedder, text: str) -> bool:
    """Whether a record of this text is found by its vector: others may share it, for a hash knows little."""
    hits = vault.search("", embedder.embed([text])[0], k=60)
    return text in {hit.record.text for hit in hits if hit.dense > 0.999}


def _vectors(vault: Vault) -> dict[str, NDArray[np.float32]]:
    from agentkit_memory import rows

    with vault._access.reading() as database:
        return rows.vectors_of(database, rows.ids_where(database, _everything()), vault.dimensions)


def _everything() -> Any:
    from agentkit_memory import Filter

    return Filter()


@pytest.mark.slow
def test_every_record_gets_a_vector_of_the_new_model(
    vaults: Vaults, memory_folders: Callable[[], Path]
) -> None:
    vault = vaults.create(index_folder=memory_folders())
    vaults.add(vault, TEXTS)
    record = NewRecord("in the cellar", source="/a.md", kind="document", title="The boiler")
    vault.replace_file(FileState("/a.md", 1, 1, "d", 1), [record], EMBEDDER.embed(["x"]))
    vault.warm(wait=True)
    progress = list(vault.reembed(OTHER))
    assert [each.done for each in progress] == [0, 256, 512, 751, 751]
    assert [each.finished for each in progress] == [False] * 4 + [True]
    assert (vault.embedder, vault.dimensions) == (OTHER.name, 96)
    expected = {
        each.id: OTHER.embed([embedding_text(OTHER, each.title, each.text)])
        for each in vault.records(limit=1000)
    }
    stored = _vectors(vault)
    assert stored.keys() == expected.keys()
    assert all(stored[each] == pytest.approx(expected[each], abs=1e-6) for each in stored)
    vault.warm(wait=True)
    assert vault.index_name == "chroma"
    assert _finds(vault, OTHER, STONE)
    vault.verify()
    vault.close()
    vault = vaults.open(index_folder=memory_folders())
    assert vault.dimensions == 96
    vault.warm(wait=True)
    assert _finds(vault, OTHER, STONE)
    vault.close()


def test_another_model_is_refused_with_the_way_out(vaults: Vaults) -> None:
    vault = vaults.create()
    vaults.add(vault, TEXTS[:3])
    for refused in (
        lambda: vault.check_embedder(OTHER.name, OTHER.dimensions),
        lambda: vault.check_embedder("another", EMBEDDER.dimensions),
        lambda: vault.search("apple", OTHER.embed(["apple"])[0]),
        lambda: vault.add([NewRecord("apple")], OTHER.embed(["apple"])),
    ):
        with pytest.raises(EmbeddingMismatchError) as caught:
            refused()
        assert "agentkit memory reembed" in (caught.value.hint or "")


class _Watched(HashEmbedder):
    """Does something else in the middle of embedding, as another thread would."""

    def __init__(self, meanwhile: Callable[[int], None]) -> None:
        super().__init__(96)
        self.meanwhile = meanwhile
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.meanwhile(len(self.texts))
        self.texts += texts
        return super().embed(texts)


@pytest.mark.slow
def test_what_changes_meanwhile_is_followed_and_the_old_vectors_answer(vaults: Vaults) -> None:
    vault = vaults.create()
    ids = vaults.add(vault, TEXTS)

    def meanwhile(embedded: int) -> None:
        assert _finds(vault, EMBEDDER, STONE)
        if embedded == 0:
            vault.delete(ids[:2])
            vault.rewrite(ids[2], "a rewritten stone", EMBEDDER.embed(["a rewritten stone"])[0])
        elif embedded == 512:
            vault.forget([ids[5], ids[700]])
            vaults.add(vault, ["added at the end"])

    embedder = _Watched(meanwhile)
    list(vault.reembed(embedder))
    assert vault.count() == len(TEXTS) - 3
    assert _finds(vault, OTHER, "a rewritten stone")
    assert _finds(vault, OTHER, "added at the end")
    found = {hit.record.text for hit in vault.search("", OTHER.embed(["number"])[0], k=800)}
    assert found == {*TEXTS, "a rewritten stone", "added at the end"} - {
        TEXTS[each] for each in (0, 1, 2, 5, 700)
    }
    vault.verify()


def test_stopped_it_goes_on_and_for_a_third_model_begins_anew(vaults: Vaults) -> None:
    vault = vaults.create()
    vaults.add(vault, TEXTS)
    for progress in vault.reembed(OTHER):
        if progress.done >= 512:
            break
    assert vault.embedder == EMBEDDER.name
    vault.close()
    vault = vaults.open()
    again = _Watched(lambda _: None)
    assert next(vault.reembed(again)).done == 512
    list(vault.reembed(again))
    assert len(again.texts) == len(TEXTS) - 512
    assert vault.dimensions == 96
    third = HashEmbedder(32)
    for progress in vault.reembed(third):
        if progress.done:
            break
    assert next(vault.reembed(OTHER)).done == 0


def test_others_use_the_vault_while_a_batch_is_embedded(vaults: Vaults) -> None:
    vault = vaults.create()
    vaults.add(vault, TEXTS[:10])
    answered: list[bool] = []

    def ask() -> None:
        answered.append(_finds(vault, EMBEDDER, APPLE))

    def meanwhile(_: int) -> None:
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(20)

    list(vault.reembed(_Watched(meanwhile)))
    assert answered == [True]


KILLED = """
import sys
from pathlib import Path
from agentkit_memory import HashEmbedder, Vault

vault = Vault.open(Path(sys.argv[1]), passphrase=sys.argv[2].encode(), allow_weak_kdf=True)
for progress in vault.reembed(HashEmbedder(96)):
    print(progress.done, flush=True)
    sys.stdin.readline()
"""


@pytest.mark.slow
def test_kill_9_at_every_step_is_survived(vaults: Vaults) -> None:
    vault = vaults.create()
    vaults.add(vault, TEXTS)
    vault.close()
    reached = []
    for steps in (1, 1, 2, 1, 2, 3):
        command = [sys.executable, "-c", KILLED, str(vaults.folder), PASSPHRASE.decode()]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            for _ in range(steps):
                reached.append(int(child.stdout.readline()))
                child.stdin.write("\n")
                child.stdin.flush()
            child.send_signal(signal.SIGKILL)
    assert reached == sorted(reached)
    vault = vaults.open()
    list(vault.reembed(OTHER))
    assert vault.count() == len(TEXTS) == len(_vectors(vault))
    assert _finds(vault, OTHER, RIVER)
    vault.verify()
