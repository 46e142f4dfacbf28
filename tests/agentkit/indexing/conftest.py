"""A real vault, a real locked reader worker, and a folder to index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkit.indexing.reading import Reader
from agentkit.indexing.sync import Sync
from agentkit.spawn import LocalSpawner
from agentkit_memory import HashEmbedder, Vault
from agentkit_memory.keys import KdfParameters


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    """Yield a reader whose worker is started already."""
    with Reader(LocalSpawner()) as reader:
        reader.start()
        yield reader


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    """Yield an empty vault."""
    embedder = HashEmbedder()
    with Vault.create(
        tmp_path / "vault",
        passphrase=b"only for tests",
        embedder=embedder.name,
        dimensions=embedder.dimensions,
        kdf=KdfParameters.for_tests(),
        allow_weak_kdf=True,
    ) as vault:
        yield vault


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty folder to be indexed."""
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


@pytest.fixture
def sync(vault: Vault, reader: Reader) -> Sync:
    """Return a sync over the vault; its clock is far ahead, so that no file looks freshly written."""
    return Sync(vault, HashEmbedder(), reader, clock=lambda: 4e9)
