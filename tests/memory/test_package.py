"""The package stands alone, and importing it costs nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import agentkit_memory

PACKAGE = Path(agentkit_memory.__file__).parent


def test_every_public_name_exists_once() -> None:
    assert len(set(agentkit_memory.__all__)) == len(agentkit_memory.__all__)
    for name in agentkit_memory.__all__:
        assert getattr(agentkit_memory, name).__name__ == name
    assert set(agentkit_memory.__all__) <= set(dir(agentkit_memory))
    with pytest.raises(AttributeError):
        agentkit_memory.nothing  # noqa: B018


def test_importing_it_imports_nothing_heavy_and_no_sibling() -> None:
    script = (
        "import sys, agentkit_memory, agentkit_memory.vault\n"
        "print([name for name in ('numpy', 'chromadb', 'torch', 'tokenizers', 'pydantic', 'cryptography', 'agentkit', "
        "'agentkit_tools', 'llama_cpp', 'keyring') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("library", "home"),
    [
        ("chromadb", {"chroma.py"}),
        ("apsw", {"database.py"}),
        ("sentence_transformers", {"sentence_transformer.py"}),
        ("torch", {"sentence_transformer.py"}),
        ("tokenizers", {"minilm.py"}),
        ("keyring", set()),
        ("agentkit", set()),
        ("agentkit_tools", set()),
        ("llama_cpp", set()),
    ],
)
def test_each_library_has_one_importer(library: str, home: set[str]) -> None:
    importers = {
        path.name
        for path in PACKAGE.glob("*.py")
        for line in path.read_text().splitlines()
        if line.strip().startswith((f"import {library}", f"from {library} ", f"from {library}."))
        and line.split()[1].split(".")[0] == library
    }
    assert importers == home


def test_the_command_says_what_the_package_is() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "agentkit_memory", "--help"], capture_output=True, text=True, check=True
    )
    assert "Encrypted memory" in ran.stdout
