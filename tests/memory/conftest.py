"""Fixtures of the memory: cheap vaults, and a private folder in memory for Chroma's files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agentkit_memory import HashEmbedder, KdfParameters, NewRecord, Vault

PASSPHRASE = b"correct horse battery staple"
EMBEDDER = HashEmbedder(64)


class Vaults:
    """Makes and opens the vault of one test with a key derivation that costs nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.passphrase = PASSPHRASE
        self.embedder = EMBEDDER
        self._open: list[Vault] = []

    def create(self, **options: Any) -> Vault:
        """Make the vault."""
        options = {"embedder": EMBEDDER.name, "dimensions": EMBEDDER.dimensions, **options}
        vault = Vault.create(
            self.folder, passphrase=PASSPHRASE, kdf=KdfParameters.for_tests(), allow_weak_kdf=True, **options
        )
        self._open.append(vault)
        return vault

    def open(self, passphrase: bytes | None = PASSPHRASE, **options: Any) -> Vault:
        """Open it again."""
        vault = Vault.open(self.folder, passphrase=passphrase, allow_weak_kdf=True, **options)
        self._open.append(vault)
        return vault

    def add(self, vault: Vault, texts: Sequence[str], **fields: Any) -> list[str]:
        """Add memories with these texts."""
        return vault.add([NewRecord(text, **fields) for text in texts], EMBEDDER.embed(texts))

    def search(self, vault: Vault, question: str, **options: Any) -> list[str]:
        """Return the texts that answer a question."""
        return [hit.record.text for hit in vault.search(question, EMBEDDER.embed([question])[0], **options)]

    def close(self) -> None:
        """Close what the test left open."""
        for vault in self._open:
            vault.close()


@pytest.fixture
def vaults(tmp_path: Path) -> Iterator[Vaults]:
    """Yield a maker of vaults in a folder of this test."""
    maker = Vaults(tmp_path / "vault")
    yield maker
    maker.close()


@pytest.fixture
def memory_folders() -> Iterator[Callable[[], Path]]:
    """Yield a maker of private, empty folders on a tmpfs."""
    made: list[Path] = []

    def make() -> Path:
        made.append(Path(tempfile.mkdtemp(prefix="agentkit-test-", dir="/dev/shm")))
        return made[-1]

    if not Path("/dev/shm").is_mount():
        pytest.skip("there is no tmpfs at /dev/shm: mount one")
    yield make
    for folder in made:
        shutil.rmtree(folder, ignore_errors=True)
