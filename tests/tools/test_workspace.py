"""What a tool leaves behind in its workspace, and what is removed however it hides it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkit_tools.errors import SandboxError
from agentkit_tools.workspace import MOST_FOLDERS_DEEP, protected_paths, remove_new


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    subprocess.run(["chmod", "-R", "u+rwX", str(tmp_path)], check=True)


def removed(workspace: Path) -> list[str]:
    return sorted(remove_new(str(workspace), set()))


def test_what_is_new_and_protected_is_removed_and_all_else_stays(workspace: Path) -> None:
    kept = workspace / "mine" / ".git"
    kept.mkdir(parents=True)
    known = set(protected_paths(str(workspace)).values())
    (workspace / "a" / ".git").mkdir(parents=True)
    (workspace / ".envrc").write_text("x")
    (workspace / "notes.txt").write_text("x")
    assert sorted(remove_new(str(workspace), known)) == [".envrc", "a/.git"]
    assert sorted(path.name for path in workspace.rglob("*")) == [".git", "a", "mine", "notes.txt"]


def test_no_name_a_tool_can_guess_keeps_it_there(workspace: Path) -> None:
    folder = workspace / ".git"
    folder.mkdir()
    (workspace / f"removed-{folder.stat().st_ino}").mkdir()
    (workspace / f"removed-{folder.stat().st_ino}" / "x").write_text("x")
    assert removed(workspace) == [".git"]
    assert not folder.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root looks into any folder")
def test_a_folder_that_cannot_be_looked_into_hides_nothing(workspace: Path) -> None:
    (workspace / "a" / ".git").mkdir(parents=True)
    (workspace / "a").chmod(0o300)
    with pytest.raises(SandboxError, match="cannot be looked into, the first is a"):
        protected_paths(str(workspace))
    assert removed(workspace) == [os.path.join("a", ".git")]  # noqa: PTH118 - as it is said


def test_as_root_or_not_a_closed_folder_hides_nothing(workspace: Path) -> None:
    """The same in a process that is not root, where the tests run as root."""
    if os.geteuid() != 0:
        pytest.skip("the test above")
    (workspace / "a" / ".git").mkdir(parents=True)
    for path in (workspace, workspace / "a", workspace / "a" / ".git"):
        os.chown(path, 65534, 65534)
    (workspace / "a").chmod(0o300)
    code = (
        "import os, sys; from agentkit_tools.workspace import remove_new;"
        "os.setgroups([]); os.setgid(65534); os.chdir(sys.argv[1]); os.setuid(65534); print(remove_new('.', set()))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(workspace)], capture_output=True, text=True, check=False
    )
    assert ended.stdout.strip() == "['a/.git']", ended.stderr
    assert not (workspace / "a" / ".git").exists()


def test_folders_too_deep_to_look_through_are_an_error_and_not_a_hiding_place(workspace: Path) -> None:
    (workspace / ".envrc").write_text("x")
    here = os.open(workspace, os.O_RDONLY)
    for _ in range(MOST_FOLDERS_DEEP + 900):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    with pytest.raises(SandboxError, match="cannot be looked into"):
        remove_new(str(workspace), set())
    assert not (workspace / ".envrc").exists()
    with pytest.raises(SandboxError, match="cannot be looked into"):
        protected_paths(str(workspace))
    subprocess.run(["rm", "-rf", str(workspace / "d")], check=True)
