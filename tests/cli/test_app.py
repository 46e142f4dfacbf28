"""How a command ends: its help, its errors and its exit code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from agentkit import errors
from agentkit.cli.app import app
from agentkit.paths import Home
from agentkit_memory import errors as memory_errors
from agentkit_tools import errors as tool_errors

CODES = {1, 2, 3, 4, 5, 6, 7, 130}


def verbs(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of every verb."""
    yield path
    for name, each in getattr(command, "commands", {}).items():
        yield from verbs(each, (*path, name))


ALL = sorted(verbs(typer.main.get_command(app)))


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_verb_has_a_help_that_says_what_it_does(path: tuple[str, ...], run: Any) -> None:
    ended = run(*path, "--help")
    assert ended.code == 0
    assert "Usage: agentkit" in ended.out
    assert not ended.err


def test_all_verbs_that_were_promised_are_there() -> None:
    promised = {
        "init", "index", "search", "ask", "chat", "run", "memory", "models", "tools", "doctor", "demo", "unlock",
        "lock", "status", "stop", "passphrase", "keyring", "folders", "unindex",
        "keys", "bench",
    }  # fmt: skip
    assert promised == {path[0] for path in ALL if path}


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in ALL
        if path and path not in (("memory",), ("models",), ("tools",), ("keys",), ("bench",))
    ],
)
def test_every_verb_speaks_json(path: tuple[str, ...], run: Any) -> None:
    assert "--json" in run(*path, "--help").out


def every_error() -> list[type[Exception]]:
    """Return the classes of the three error trees."""
    return [
        each
        for module in (errors, memory_errors, tool_errors)
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Exception) and each.__module__ == module.__name__
    ]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_becomes_two_lines_and_a_documented_code(kind: Any, core: Any, run: Any) -> None:
    def fail(request: dict[str, Any], session: Any) -> dict[str, Any]:
        raise kind("the thing has 3 of 2 parts", hint="type this")

    core.answers["folders"] = fail
    ended = run("folders")
    assert ended.code == kind.exit_code
    assert ended.code in CODES
    assert ended.out == ""
    assert ended.err == "agentkit: error: the thing has 3 of 2 parts\nagentkit: hint: type this\n"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["bogus"], "no such command 'bogus'"),
        (["search"], "missing argument 'TEXT'"),
        (["search", "x", "-k", "0"], "'-k'"),
        (["ask", "x", "--bogus"], "--bogus"),
        (["keyring", "perhaps"], "'perhaps'"),
        (["memory", "forget"], "nothing to forget was named"),
        (["memory", "forget", "--source", ""], "nothing to forget was named"),
        (["models", "pull", "a", "b", "--name", "c"], "--name and --sha256 belong to one model"),
        (["run", "x", "--policy", "/nowhere.toml"], "'/nowhere.toml' does not exist"),
        (["ask", " "], "there is nothing to answer"),
    ],
)
def test_wrong_usage_is_code_2_with_a_hint(typed: list[str], said: str, run: Any) -> None:
    ended = run(*typed)
    assert ended.code == 2
    assert ended.err.startswith("agentkit: error: ")
    assert said in ended.err
    assert "agentkit: hint: " in ended.err
    assert "Traceback" not in ended.err


def test_a_group_without_a_verb_shows_its_help(run: Any) -> None:
    ended = run("models")
    assert ended.code == 2
    assert "pull" in ended.out + ended.err


def test_nothing_typed_shows_the_help(run: Any) -> None:
    ended = run()
    assert ended.code == 0
    assert "Your documents" in ended.out


def defect(request: dict[str, Any]) -> dict[str, Any]:
    raise ZeroDivisionError("a secret")


def test_a_defect_shows_no_traceback_and_no_content(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentkit.cli.models._store", lambda: defect({}))
    ended = run("models", "list")
    assert ended.code == 1
    assert re.search(r"agentkit: error: unexpected ZeroDivisionError at test_app.py:\d+\n", ended.err)
    assert "secret" not in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("where", [0, 1, 2])
def test_debug_shows_the_traceback_wherever_it_stands(
    where: int, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentkit.cli.models._store", lambda: defect({}))
    typed = ["models", "list"]
    typed.insert(where, "--debug")
    assert "Traceback" in run(*typed).err


def test_ctrl_c_is_code_130_without_a_word_of_python(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("agentkit.cli.models._store", interrupted)
    ended = run("models", "list")
    assert ended.code == 130
    assert ended.err == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("models list --json >/dev/full", 7, "No space left on device"),
        ("--version >&-", 0, ""),
        ("ask - <&-", 2, "there is nothing to answer"),
        ("ask - <latin1.txt", 2, "the text is not UTF-8"),
        ("ask $'caf\\xe9'", 2, "the text is not UTF-8"),
        ("chat <latin1.txt", 2, "the text is not UTF-8"),
    ],
)
def test_a_full_disk_a_closed_stream_and_bytes_that_are_no_text_are_said(
    line: str, code: int, said: str, core: Any, home: Home, tmp_path: Path
) -> None:
    (tmp_path / "latin1.txt").write_bytes(b"caf\xe9\n")
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m agentkit {line}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "AGENTKIT_HOME": str(home.root), "LC_ALL": "C.UTF-8"},
        timeout=60,
        check=False,
    )
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert "defect" not in done.stderr


@pytest.mark.slow
def test_a_closed_pipe_is_quiet(tmp_path: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m agentkit models list --json | true",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize("typed", [["--help"], ["--version"]])
def test_help_loads_nothing_but_typer(typed: list[str]) -> None:
    """What a verb needs is loaded when it runs, so that help and completion come at once."""
    script = f"""
import sys
from agentkit.cli.app import main
code = main({typed!r})
heavy = {{"pydantic", "msgpack", "numpy", "apsw", "prompt_toolkit", "llama_cpp", "torch", "chromadb",
          "cryptography", "keyring", "agentkit.client", "agentkit.core.server",
          "agentkit.events", "agentkit_memory", "agentkit_tools"}}
print(code, sorted(heavy & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == "0 []\n"
