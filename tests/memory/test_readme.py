"""The package's README runs as printed, and the package stands alone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "memory" / "README.md"
CHROMA = README.with_name("CHROMA.md")


@pytest.mark.slow
def test_the_example_runs_as_printed(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert (done.stdout, done.stderr) == ("the boiler was serviced in march\n", "")


@pytest.mark.slow
def test_the_examples_for_chromas_users_print_what_stands_beside_them(tmp_path: Path) -> None:
    script = "".join(re.findall(r"```python\n(.*?)```", CHROMA.read_text(encoding="utf-8"), flags=re.DOTALL))
    expected = re.findall(r"print\(.*\)  # (.*)", script)
    assert len(expected) > 10
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert (done.stdout.splitlines(), done.stderr) == (expected, "")


def test_its_command_loads_neither_the_loop_nor_an_engine() -> None:
    script = """
import runpy, sys
sys.argv = ["agentkit_memory", "--help"]
try:
    runpy.run_module("agentkit_memory", run_name="__main__")
except SystemExit:
    print(sorted({"agentkit", "agentkit_tools", "llama_cpp"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
