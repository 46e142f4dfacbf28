"""The shape of the source, as ARCHITECTURE.md describes it."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "agentkit": ROOT / "agentkit",
    "agentkit_tools": ROOT / "tools" / "agentkit_tools",
    "agentkit_memory": ROOT / "memory" / "agentkit_memory",
}
SOURCES = sorted(path for folder in PACKAGES.values() for path in folder.rglob("*.py"))

# The parts of agentkit, lowest first. A part imports from its own layer and from those below, never upwards.
LAYERS = (
    {"errors", "labels", "messages", "events", "paths", "wire", "spawn", "passphrase"},
    {"models", "fetcher", "context", "indexing", "request", "prompt", "limits", "transcript"},
    {"calling"},
    {"answering"},
    {"recall", "rounds", "memory_tools", "typed_output"},
    {"loop"},
    {"core"},
    {"client", "agent", "lock_process"},
    {"__init__"},
    {"cli", "doctor", "demo", "__main__"},
)

# Each heavy or dangerous library is imported by the files named here and by no other.
IMPORTERS = {
    "apsw": {"memory/agentkit_memory/database.py"},
    "chromadb": {"memory/agentkit_memory/chroma.py"},
    "cryptography": {"memory/agentkit_memory/keys.py", "memory/agentkit_memory/seal.py"},
    "jinja2": {"agentkit/models/template.py"},
    "keyring": {"agentkit/core/keyring_slot.py"},
    "llama_cpp": {
        "agentkit/models/build.py",
        "agentkit/models/decoder.py",
        "agentkit/models/gbnf_sampler.py",
        "agentkit/models/llama.py",
        "agentkit/models/sampler.py",
        "agentkit/models/workbench.py",
    },
    "llguidance": {"agentkit/models/guidance.py"},
    "msgpack": {"agentkit/wire.py"},
    "prompt_toolkit": {"agentkit/cli/chat.py"},
    "rich": {"agentkit/cli/output.py"},
    "sentence_transformers": {"memory/agentkit_memory/sentence_transformer.py"},
    "tokenizers": {"memory/agentkit_memory/minilm.py"},
    "torch": {"memory/agentkit_memory/sentence_transformer.py"},
    "watchdog": {"agentkit/indexing/watch.py"},
}
NEVER_IMPORTED = {
    "pickle",
    "shelve",
    "marshal",
    "diskcache",
    "requests",
    "httpx",
    "aiohttp",
    "huggingface_hub",
    "kubernetes",
    "onnxruntime",
    "opentelemetry",
}
HEAVY = {
    "apsw",
    "chromadb",
    "cryptography",
    "docx",
    "jinja2",
    "jsonschema",
    "keyring",
    "llama_cpp",
    "llguidance",
    "lxml",
    "numpy",
    "pydantic",
    "pypdfium2",
    "rich",
    "sentence_transformers",
    "tokenizers",
    "torch",
    "typer",
    "watchdog",
}


def name_of(path: Path) -> str:
    """Return the path as ARCHITECTURE.md and the tables above write it."""
    return path.relative_to(ROOT).as_posix()


@functools.cache
def imports(path: Path) -> tuple[str, ...]:
    """Return every module a file imports, wherever in it, as an absolute dotted name."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} uses a relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part_of(module: str) -> str:
    """Return the part of agentkit a module belongs to: the name after `agentkit.`."""
    return module.split(".")[1] if "." in module else "__init__"


def layer_of(part: str) -> int:
    """Return how high a part stands."""
    for height, parts in enumerate(LAYERS):
        if part in parts:
            return height
    pytest.fail(f"say in LAYERS where agentkit/{part} belongs")


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_never_point_up_or_across(path: Path) -> None:
    """Tools and memory know nothing of the loop or of each other; in agentkit arrows point one way."""
    package = next(name for name, folder in PACKAGES.items() if path.is_relative_to(folder))
    ours = {each for each in imports(path) if each.split(".")[0] in PACKAGES}
    if package != "agentkit":
        assert not {each for each in ours if each.split(".")[0] != package}
        return
    inside = path.relative_to(PACKAGES["agentkit"]).with_suffix("").parts
    height = layer_of(inside[0])
    known = {each.stem for each in PACKAGES["agentkit"].iterdir()}
    for module in ours:
        if module.split(".")[0] == "agentkit" and module != "agentkit.__version__":
            part = part_of(module) if part_of(module) in known else "__init__"  # else a public name of ours
            assert layer_of(part) <= height, f"{name_of(path)} imports {module}, which stands higher"


@pytest.mark.parametrize("library", IMPORTERS)
def test_a_heavy_library_has_the_importers_named_here_and_no_other(library: str) -> None:
    found = {
        name_of(path) for path in SOURCES if any(each.split(".")[0] == library for each in imports(path))
    }
    assert found == IMPORTERS[library]


def test_nothing_unpickles_and_nothing_brings_its_own_network_client() -> None:
    """What a worker or a file holds is never executed; only the fetcher speaks HTTP, without a library."""
    guilty = {
        (name_of(path), each)
        for path in SOURCES
        for each in imports(path)
        if each.split(".")[0] in NEVER_IMPORTED
    }
    assert not guilty


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_does_no_work(package: str) -> None:
    """It loads no heavy library and opens no socket, no thread, no process and no file to write."""
    script = f"""
import sys, threading
did = []
def watch(event, arguments):
    if event in ("socket.__new__", "subprocess.Popen", "os.fork", "os.exec"):
        did.append(event)
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        did.append(event)
sys.dont_write_bytecode = True
sys.addaudithook(watch)
import {package}
print(sorted(set({HEAVY!r}) & set(sys.modules)), did, threading.active_count())
print(sorted(set({tuple(PACKAGES)!r}) & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    work, packages = done.stdout.splitlines()
    assert work == "[] [] 1"
    if package != "agentkit":
        assert packages == f"['{package}']"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_file_holds_one_idea(path: Path) -> None:
    """About 400 lines is where one idea becomes two."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 420


def test_architecture_names_every_source_file_and_no_other() -> None:
    """The table of files is the map a newcomer is given."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `([\w/.]+\.py)` \|", text, flags=re.MULTILINE))
    wanted = {
        name_of(path)
        for path in SOURCES
        if path.name != "__init__.py"
        or path.parent in PACKAGES.values()  # those of sub-folders hold a docstring
    }
    assert rows == wanted


def test_the_inner_init_files_hold_only_a_docstring() -> None:
    for path in SOURCES:
        if path.name == "__init__.py" and path.parent not in PACKAGES.values():
            body = ast.parse(path.read_text(encoding="utf-8")).body
            assert len(body) == 1, f"{name_of(path)} does more than describe its folder"


def test_every_test_and_decision_the_documents_name_exists() -> None:
    """A claim without the test that holds it is a claim we do not make."""
    for document in ("ARCHITECTURE.md", "SECURITY.md", "README.md", "CONTRIBUTING.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        for path, test in re.findall(r"`(tests/[\w/.]+\.py)(?:::(\w+))?`", text):
            assert (ROOT / path).is_file(), f"{document} names {path}"
            if test:
                assert f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), (
                    f"{document} names {path}::{test}"
                )
        for link in re.findall(r"\]\(((?!https?:)[\w/.-]+)(?:#[\w-]*)?\)", text):
            assert (ROOT / link).exists(), f"{document} links to {link}"
