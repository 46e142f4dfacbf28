"""The built-in tools, through the toolbox, as a model calls them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agentkit_tools import NoSandbox, Toolbox, ToolOutput
from agentkit_tools.builtin import builtin_tools
from agentkit_tools.run_code import report
from agentkit_tools.sandbox import SandboxRequest, SandboxResult, choose

NOW = datetime(2026, 11, 1, 9, 5, 7, tzinfo=UTC)


class Recorder:
    """A sandbox that runs nothing and remembers what it was asked."""

    tier = "landlock"

    def __init__(self, result: SandboxResult) -> None:
        self.result = result
        self.requests: list[SandboxRequest] = []

    def run(self, request: SandboxRequest) -> SandboxResult:
        self.requests.append(request)
        return self.result


def ended(code: int | None = 0, stdout: bytes = b"", stderr: bytes = b"", **more: Any) -> SandboxResult:
    return SandboxResult(
        code,
        stdout,
        stderr,
        **{"truncated": False, "timed_out": False, "seconds": 0.1, "tier": "landlock", **more},
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Return a workspace beside an indexed folder and a private one."""
    for name in ("ws", "indexed", "private"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "note.txt").write_text(f"{name}\nsecond\nthird")
    return tmp_path / "ws"


@pytest.fixture
def toolbox(workspace: Path) -> Toolbox:
    """Return the built-in tools without a sandbox."""
    return Toolbox(builtin_tools(NoSandbox(), workspace, lambda: [workspace.parent / "indexed"], lambda: NOW))


def test_their_names_capabilities_and_schemas_are_these(toolbox: Toolbox) -> None:
    assert {tool.name: sorted(tool.capabilities) for tool in toolbox} == {
        "read_file": ["read_files"],
        "list_folder": ["read_files"],
        "write_file": ["write_files"],
        "append_file": ["write_files"],
        "calculator": [],
        "current_time": [],
        "run_python": ["execute", "write_files"],
        "run_shell": ["execute", "write_files"],
    }
    for tool in toolbox:
        assert all("description" in each for each in tool.parameters["properties"].values())
        assert len(tool.description) < 100


def test_files_are_read_in_pieces_and_labelled_as_documents(toolbox: Toolbox, workspace: Path) -> None:
    assert toolbox.call("read_file", {"path": "note.txt"}) == ToolOutput(
        "ws\nsecond\nthird", origin="document"
    )
    indexed = str(workspace.parent / "indexed" / "note.txt")
    part = toolbox.call("read_file", {"path": indexed, "first_line": 2, "lines": 1})
    assert part.text == "second\n[lines 2 to 2 of 3]"
    listed = f"note.txt  15 bytes\n{workspace.parent / 'indexed'}/  indexed"
    assert toolbox.call("list_folder", {}) == ToolOutput(listed, origin="document")
    assert (
        toolbox.call("list_folder", {"path": str(workspace.parent / "indexed")}).text == "note.txt  20 bytes"
    )
    (workspace / "binary").write_bytes(b"\x7fELF\0\0")
    assert "not text" in toolbox.call("read_file", {"path": "binary"}).text


def test_a_relative_path_may_stand_in_an_indexed_folder(workspace: Path) -> None:
    roots = [workspace.parent / name for name in ("indexed", "other")]
    for root in roots:
        root.mkdir(exist_ok=True)
        (root / "both.txt").write_text("twice")
    (roots[0] / "letters").mkdir()
    (roots[0] / "letters" / "anna.txt").write_text("Dear Anna")
    tools = Toolbox(builtin_tools(NoSandbox(), workspace, lambda: roots, lambda: NOW))

    def read(path: str) -> str:
        return tools.call("read_file", {"path": path}).text

    assert read("letters/anna.txt") == "Dear Anna"
    assert tools.call("list_folder", {"path": "letters"}).text == "anna.txt  9 bytes"
    assert read("note.txt").startswith("ws")
    assert "both.txt is in 2 indexed folders" in read("both.txt")
    assert "there is no gone.txt in the workspace or an indexed folder" in read("gone.txt")
    assert str(workspace) in read("gone.txt")
    assert "leads outside the folder" in read("../private/note.txt")
    tools.call("write_file", {"path": "letters/anna.txt", "content": "x"})
    assert (roots[0] / "letters" / "anna.txt").read_text() == "Dear Anna"


def test_an_empty_workspace_says_where_it_is(tmp_path: Path) -> None:
    tools = Toolbox(builtin_tools(NoSandbox(), tmp_path, list, lambda: NOW))
    assert tools.call("list_folder", {}).text == f"[the workspace is empty: {tmp_path}]"


@pytest.mark.parametrize(
    "path", ["../private/note.txt", "{private}", "/etc/passwd", "~/.ssh/id_rsa", ".git/config"]
)
def test_files_elsewhere_are_refused(toolbox: Toolbox, workspace: Path, path: str) -> None:
    place = path.format(private=workspace.parent / "private" / "note.txt")
    writing = {"write_file": {"content": "x"}, "append_file": {"text": "x"}}
    for name, more in {"read_file": {}, "list_folder": {}, **writing}.items():
        if path[0] == "~" and name in writing:
            continue  # a folder named ~ in the workspace is an odd but safe place
        assert toolbox.call(name, {"path": place, **more}).is_error
    assert (workspace.parent / "private" / "note.txt").read_text().startswith("private")


def test_only_the_workspace_is_written(toolbox: Toolbox, workspace: Path) -> None:
    assert toolbox.call("write_file", {"path": "a/b.txt", "content": "ü"}).text == "created a/b.txt (2 bytes)"
    assert toolbox.call("write_file", {"path": str(workspace / "note.txt"), "content": ""}).text.startswith(
        "replaced"
    )
    assert toolbox.call("read_file", {"path": "note.txt"}).text == "[the file is empty]"
    indexed = workspace.parent / "indexed" / "note.txt"
    assert toolbox.call("write_file", {"path": str(indexed), "content": "x"}).is_error
    assert indexed.read_text().startswith("indexed")


@pytest.mark.parametrize(
    ("before", "text", "after"),
    [
        (None, "eggs", b"eggs\n"),
        (b"", "eggs\n", b"eggs\n"),
        (b"milk\n", "eggs", b"milk\neggs\n"),
        (b"milk", "eggs\nbread", b"milk\neggs\nbread\n"),
        (b"milk\r\n", "eggs", b"milk\r\neggs\r\n"),
        ("Öl\n".encode("latin-1"), "Öl", "Öl\n".encode("latin-1") + "Öl\n".encode()),
    ],
)
def test_lines_are_added_and_nothing_else_changes(
    toolbox: Toolbox, workspace: Path, before: bytes | None, text: str, after: bytes
) -> None:
    if before is not None:
        (workspace / "list.txt").write_bytes(before)
    done = toolbox.call("append_file", {"path": "list.txt", "text": text})
    assert (workspace / "list.txt").read_bytes() == after
    assert done.text.startswith("created list.txt" if before is None else "added ")


def test_nothing_is_added_to_what_is_no_text(toolbox: Toolbox, workspace: Path) -> None:
    (workspace / "photo.txt").write_bytes(b"\x89\0\1")
    assert toolbox.call("append_file", {"path": "photo.txt", "text": "x"}).is_error
    assert toolbox.call("append_file", {"path": str(workspace), "text": "x"}).is_error
    assert (workspace / "photo.txt").read_bytes() == b"\x89\0\1"


def test_arithmetic_and_the_clock(toolbox: Toolbox) -> None:
    assert toolbox.call("calculator", {"expression": "15% of 80"}).text == "12"
    assert toolbox.call("calculator", {"expression": "1/0"}).is_error
    assert toolbox.call("current_time", {}).text == "Sunday, 1 November 2026, 09:05:07 (UTC+00:00, week 44)"
    assert (
        "Sunday, 1 November 2026, 14:35:07 (UTC+05:30"
        in toolbox.call("current_time", {"timezone": "Asia/Kolkata"}).text
    )
    for city, offset in (("kolkata", "+05:30"), ("New York", "-05:00"), ("Istanbul", "+03:00")):
        assert f"(UTC{offset}" in toolbox.call("current_time", {"timezone": city}).text
    for zone in ("Mars", "../../etc/passwd", "a\0b"):
        assert toolbox.call("current_time", {"timezone": zone}).is_error


def test_without_a_sandbox_code_is_refused_with_a_hint(toolbox: Toolbox) -> None:
    for name, argument in (("run_python", "code"), ("run_shell", "command")):
        output = toolbox.call(name, {argument: "1"})
        assert output.is_error
        assert "install bubblewrap" in output.text


def test_code_travels_on_standard_input_never_on_the_command_line(workspace: Path) -> None:
    recorder = Recorder(ended())
    toolbox = Toolbox(builtin_tools(recorder, workspace, list, lambda: NOW))
    toolbox.call("run_python", {"code": "SECRET"})
    toolbox.call("run_shell", {"command": "SECRET"})
    for request in recorder.requests:
        assert request.stdin == b"SECRET"
        assert "SECRET" not in "".join(request.argv)
        assert request.workspace == str(workspace)


def test_how_a_run_ended_is_put_into_words() -> None:
    assert report(ended()).text == "[done, no output]"
    assert report(ended(0, b"out\n", b"warn\n")) == ToolOutput("out\n[errors]\nwarn", where="landlock")
    failed = report(ended(127, b"", b"x: not found\n"))
    assert failed.is_error
    assert failed.text.endswith("[ended with exit code 127: there is no such program]")
    late = report(ended(None, b"a", timed_out=True, truncated=True, seconds=30.02))
    assert late.is_error
    assert late.text == "a\n[there was more output than is kept]\n[stopped after 30 s: it took too long]"


@pytest.mark.slow
def test_python_and_shell_run_in_the_sandbox_and_share_the_workspace(workspace: Path) -> None:
    sandbox = choose()
    if sandbox.tier == "none":
        pytest.skip("install bubblewrap")
    toolbox = Toolbox(builtin_tools(sandbox, workspace, list, lambda: NOW))
    made = toolbox.call("run_python", {"code": "open('made', 'w').write('by python')\nprint('hi')\n6 * 7"})
    assert made == ToolOutput("hi\n42", where=sandbox.tier)
    assert (
        toolbox.call("run_shell", {"command": "cat made; echo; cat; echo 'it''s'"}).text == "by python\nits"
    )
    assert toolbox.call("read_file", {"path": "made"}).text == "by python"
    broken = toolbox.call("run_python", {"code": "def f():\n    return 1 / 0\nf()"})
    assert broken.is_error
    assert "return 1 / 0" in broken.text
    assert "ZeroDivisionError" in broken.text
    assert "exec(" not in broken.text
    assert "SyntaxError" in toolbox.call("run_python", {"code": "def"}).text
    assert toolbox.call("run_shell", {"command": "exit 3"}).text == "[ended with exit code 3]"
