"""What the lock of the engine's worker takes away: every file but the model's, every change, every way out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentkit.spawn import ENGINE_ENVIRONMENT
from agentkit_tools import landlock, seccomp

CHILD = """
import json, os, socket, subprocess, sys
from pathlib import Path
from agentkit.models.engine_worker import lock

model, home, free = map(Path, sys.argv[1:])
doings = {
    "read the model": lambda: model.read_bytes(),
    "read beside the model": lambda: (model.parent / "other.gguf").read_bytes(),
    "read a file of the home": lambda: (home / "letter.txt").read_text(),
    "list the home": lambda: list(home.iterdir()),
    "read the names of users": lambda: Path("/etc/passwd").read_text(),
    "make a file": lambda: (free / "new").write_text("x"),
    "change the model": lambda: model.open("r+b"),
    "remove the model": lambda: model.unlink(),
    "make a folder": lambda: (free / "folder").mkdir(),
    "open a socket": lambda: socket.socket(socket.AF_INET).close(),
    "open a local socket": lambda: socket.socket(socket.AF_UNIX).close(),
    "start a program": lambda: subprocess.run(["/bin/true"]),
}

def outcome(name):
    try:
        doings[name]()
        return "done"
    except OSError as error:
        return type(error).__name__

said = {"before": outcome("read a file of the home"), "words": lock([model])}
print(json.dumps(said | {name: outcome(name) for name in doings}))
"""


@pytest.mark.skipif(
    not landlock.abi() or not seccomp.supported(),
    reason="needs Linux 5.13 or later with landlock in its lsm list, and seccomp",
)
def test_the_worker_can_read_its_model_and_nothing_of_the_user(tmp_path: Path) -> None:
    models, home, free = (tmp_path / name for name in ("models", "home", "free"))
    for each in (models, home, free):
        each.mkdir()
    for path in (models / "model.gguf", models / "other.gguf", home / "letter.txt"):
        path.write_text("text")
    done = subprocess.run(
        [sys.executable, "-I", "-c", CHILD, str(models / "model.gguf"), str(home), str(free)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
        env={"PATH": os.environ["PATH"], "HOME": str(home), **ENGINE_ENVIRONMENT},
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said.pop("before") == "done"
    words = said.pop("words")
    assert {"files: read", "files: write", "files: execute"} <= set(words)
    assert "no socket, program or new process (seccomp)" in words
    assert said.pop("read the model") == "done"
    assert set(said.values()) == {"PermissionError"}, said
    assert sorted(each.name for each in tmp_path.rglob("*") if each.is_file()) == [
        "letter.txt",
        "model.gguf",
        "other.gguf",
    ]
