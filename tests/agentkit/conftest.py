"""What several tests of agentkit begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkit_memory import HashEmbedder, KdfParameters, Vault

EMBEDDER = HashEmbedder(64)


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    """Return an empty vault for the vectors of `HashEmbedder(64)`."""
    with Vault.create(
        tmp_path / "vault", passphrase=b"x", kdf=KdfParameters.for_tests(), allow_weak_kdf=True,
        embedder=EMBEDDER.name, dimensions=EMBEDDER.dimensions,
    ) as made:  # fmt: skip
        yield made
