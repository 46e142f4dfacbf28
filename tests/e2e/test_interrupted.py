"""Ctrl-C in the middle of a long verb: it ends at once with its code, and the vault is whole."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentkit_memory import KdfParameters, MiniLMEmbedder, NewRecord, Vault
from tests.e2e.conftest import PASSPHRASE

pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.timeout(600)]

RECORDS = 3_000
TYPED = (
    "import sys; from agentkit.cli.app import main; print('ready', flush=True); sys.exit(main(sys.argv[1:]))"
)


@pytest.fixture
def filled(home: Any, core: Any, minilm_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Fill the vault of this home, so that verbs about it take a while; return a folder to index."""
    embedder = MiniLMEmbedder(minilm_path)
    chosen = np.random.default_rng(3)
    with Vault.create(
        home.vault,
        passphrase=PASSPHRASE,
        embedder=embedder.name,
        dimensions=embedder.dimensions,
        kdf=KdfParameters.floor(),
    ) as vault:
        texts = [f"memory {number} " + "filler " * 100 for number in range(RECORDS)]
        vault.add([NewRecord(text) for text in texts], chosen.standard_normal((RECORDS, embedder.dimensions)))
    path = tmp_path / "passphrase"
    path.write_bytes(PASSPHRASE)
    path.chmod(0o600)
    monkeypatch.setenv("AGENTKIT_PASSPHRASE_FILE", str(path))
    notes = tmp_path / "notes"
    notes.mkdir()
    for number in range(200):
        (notes / f"{number}.md").write_text(f"# Note {number}\n\nThe ferry leaves at {number}.\n")
    return notes


def _interrupted(chosen: random.Random, *arguments: str) -> None:
    """Type a verb, press Ctrl-C at some moment, and look at how it ends."""
    child = subprocess.Popen(
        [sys.executable, "-c", TYPED, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"  # before that it is Python that is interrupted
    with suppress(subprocess.TimeoutExpired):
        child.wait(chosen.random() * 0.7)  # the moment is the attack
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    # A verb that is done may meet it while Python ends, which then ends by the signal.
    assert child.returncode in (0, 130, -signal.SIGINT), (arguments, said)
    assert "Traceback" not in said, (arguments, said)
    assert "defect" not in said, (arguments, said)


@pytest.mark.long
def test_ctrl_c_in_the_middle_of_a_long_verb_leaves_the_vault_whole(
    filled: Path, core: Any, tmp_path: Path
) -> None:
    chosen = random.Random(2)
    copy = tmp_path / "copy"
    for _ in range(4):
        for verb in (
            ("memory", "verify"),
            ("index", str(filled)),
            ("keys", "rotate"),
            ("memory", "backup", str(copy)),
            ("memory", "export", "--plain", "--yes"),
            ("memory", "reembed"),
            ("memory", "forget", "--query", "nothing like this"),
        ):
            _interrupted(chosen, *verb)
            client = core.unlocked()
            assert client.request("records", kinds=["memory"], limit=1)["total"] == RECORDS, verb
        shutil.rmtree(copy, ignore_errors=True)
    assert core.unlocked().request("verify")["verified"]
