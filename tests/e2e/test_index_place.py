"""Where the vector index lies while the core has a vault open, and what becomes of it when it is locked."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentkit.core.records import WORTH_AN_INDEX
from agentkit.core.service import DEFAULT_EMBEDDER
from agentkit_memory import KdfParameters, NewRecord, Vault

pytestmark = [pytest.mark.model, pytest.mark.slow]

PASSPHRASE = b"four unrelated quiet words"
DIMENSIONS = 384


@pytest.fixture
def filled(home: Any) -> Path:
    """Return the folder of a vault that is worth an index."""
    vectors = np.random.default_rng(1).normal(size=(WORTH_AN_INDEX + 200, DIMENSIONS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with Vault.create(
        home.vault,
        passphrase=PASSPHRASE,
        embedder=DEFAULT_EMBEDDER,
        dimensions=DIMENSIONS,
        kdf=KdfParameters.floor(),
    ) as vault:
        vault.add([NewRecord(f"record {number}") for number in range(len(vectors))], vectors)
    return Path(home.vault)


def _until_loaded(client: Any) -> dict[str, Any]:
    """Ask for the status until the index answers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        index: dict[str, Any] = client.request("status")["index"]
        assert index["error"] is None
        if index["name"] == "chroma":
            return index
    pytest.fail(f"after a minute the index is {index}")


def test_the_index_lies_on_a_private_tmpfs_and_is_sealed_and_restored_there(
    filled: Path, core: Any, home: Any
) -> None:
    client = core.connect()
    if client.request("status")["index"]["place"] != "on a private tmpfs":
        pytest.skip("no mount namespace of one's own here: allow user namespaces")
    client.request("unlock", passphrase=PASSPHRASE)
    assert _until_loaded(client) == {"name": "chroma", "place": "on a private tmpfs", "error": None}
    assert list((home.run / "index").iterdir()) == []  # what lies there, only the core sees
    assert not (filled / "index.sealed").exists()
    client.request("lock")
    assert client.request("status")["index"]["name"] is None
    sealed = (filled / "index.sealed").read_bytes()
    client.request("unlock", passphrase=PASSPHRASE)
    _until_loaded(client)
    client.request("lock")
    assert (filled / "index.sealed").read_bytes() == sealed  # restored: one built anew is sealed anew
    assert list((home.run / "index").iterdir()) == []


def test_an_index_that_was_not_restored_is_sealed_anew(filled: Path, core: Any) -> None:
    """So that the test above can fail."""
    client = core.connect()
    if client.request("status")["index"]["place"] != "on a private tmpfs":
        pytest.skip("no mount namespace of one's own here: allow user namespaces")
    sealed = []
    for _ in range(2):
        client.request("unlock", passphrase=PASSPHRASE)
        _until_loaded(client)
        client.request("lock")
        sealed.append((filled / "index.sealed").read_bytes())
        changed = bytearray(sealed[-1])
        changed[100] ^= 1
        (filled / "index.sealed").write_bytes(bytes(changed))
    assert sealed[0] != sealed[1]
