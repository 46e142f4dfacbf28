"""The life of a vault through the core: a recovery code, a backup in another home, fresh keys, forgetting."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.model, pytest.mark.slow]

PASSPHRASE = b"four unrelated quiet words"
FACT = "My sister Annegret collects porcelain owls."


def test_forgotten_rotated_backed_up_and_restored(core: Any, tmp_path: Path) -> None:
    client = core.unlocked()
    client.request("remember", text=FACT)
    code = client.request("add_recovery")["code"]
    made = Path(client.request("backup")["folder"])
    assert client.request("verify")["verified"]
    exported = list(client.stream("export"))
    assert exported[0]["text"] == FACT
    rotated = client.request("rotate", passphrase=PASSPHRASE)
    assert rotated["dropped"] == ["recovery"]
    gone = client.request("forget", query="porcelain owls")
    assert gone["forgotten"] == 1
    assert gone["proven"]
    client.request("lock")
    vault = made.parent.parent / "vault"
    shutil.rmtree(vault)
    client.request("restore", path=str(made))
    client.request("unlock", passphrase=code.encode(), accept_rollback=True)
    assert client.request("verify")["verified"]
    assert client.request("records")["total"] == 1
