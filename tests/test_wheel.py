"""What is built is what people get: three names, typed, with its command."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {"agentkit", "agentkit_tools", "agentkit_memory"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a freshly built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
        timeout=110,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_it_installs_exactly_our_three_names(wheel: Path) -> None:
    """`tools` and `memory` are only folders here; as top-level names they would overwrite other people's."""
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES


def test_it_is_typed_and_holds_every_source_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    for folder in (ROOT / "agentkit", ROOT / "tools" / "agentkit_tools", ROOT / "memory" / "agentkit_memory"):
        for path in folder.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert path.relative_to(folder.parent).as_posix() in names


def test_it_brings_the_command_and_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entry_points,) = (name for name in names if name.endswith(".dist-info/entry_points.txt"))
        assert "agentkit = agentkit.cli.app:main" in archive.read(entry_points).decode()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_it_runs_from_outside_the_tree(wheel: Path, tmp_path: Path) -> None:
    """All three packages import from the unpacked wheel, and from nowhere else."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    script = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import agentkit, agentkit_tools, agentkit_memory
for module in (agentkit, agentkit_tools, agentkit_memory):
    assert module.__file__.startswith({str(tmp_path)!r}), module.__file__
"""
    subprocess.run([sys.executable, "-I", "-c", script], check=True, cwd=tmp_path, timeout=60)
