"""Questions on `examples/notes`, asked of the whole way from the search to the answer."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from agentkit.demo.stage import find_notes
from agentkit.indexing.reading import Reader
from agentkit.indexing.sync import Sync
from agentkit.spawn import LocalSpawner
from agentkit_memory import KdfParameters, Vault
from agentkit_memory.embed import Embedder


@dataclass(frozen=True, slots=True)
class Asked:
    """One wording of a question."""

    question: str
    answers: tuple[str, ...]
    """One of them has to be said; none: the notes do not say it."""
    source: str
    demo: bool
    """Whether it is a rewording of a question of the demonstration."""


def asked() -> list[Asked]:
    """Return every wording of every question but those of the demonstration itself."""
    rows = tomllib.loads(Path(__file__).with_name("notes.toml").read_text(encoding="utf-8"))["question"]
    return [
        Asked(words, tuple(row.get("answers", ())), row.get("source", ""), row.get("demo", False))
        for row in rows
        for words in row["asks"][1 if row.get("demo") else 0 :]
    ]


@contextmanager
def vault(embedder: Embedder) -> Iterator[Vault]:
    """Index the notes into a vault of their own, and lend it."""
    with TemporaryDirectory() as folder:
        made = Vault.create(
            Path(folder) / "vault",
            passphrase=b"only a benchmark",
            embedder=embedder.name,
            dimensions=embedder.dimensions,
            kdf=KdfParameters(1024, 1, 1),
            allow_weak_kdf=True,
        )
        reader = Reader(LocalSpawner())
        try:
            for _ in Sync(made, embedder, reader).run(find_notes()):
                pass
            yield made
        finally:
            reader.close()
            made.close()


def holds(said: str, answers: Sequence[str]) -> bool:
    """Return whether one of `answers` stands in what was said."""
    return any(answer.lower() in said.lower() for answer in answers)
