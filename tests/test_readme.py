"""What the README shows, runs; what it lists, is there. The examples too, with the real models."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import typer.main

from agentkit.answering.answer import NOT_FOUND
from agentkit.cli.app import app
from agentkit.client import CoreClient
from agentkit.demo import run as demo
from agentkit.errors import CoreError
from agentkit.paths import Home

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PASSPHRASE = "four unrelated quiet words\n"

TYPED = {"assistant": "Remember that the spare key is with Mrs Okafor.\ny\nWhere is the spare key?\n"}
EXPECTED = {
    "ask_my_documents": ("boiler_inspection_report.pdf", "not in your documents"),
    "assistant": ("remembered: the spare key is with Mrs Okafor",),
    "typed_answer": ("lamps_in_stock({}) -> Aurora", "Lamp(name=", "pieces=42, price=17.5"),
    "sandboxed_agent": ("7.20 euros", "calculator(", "391", "asked to approve run_python", "5050"),
}

Run = Callable[..., str]


@pytest.fixture
def run(home: Home, smollm2_path: Path, minilm_path: Path, tmp_path: Path) -> Iterator[Run]:
    """Yield a way to run a Python program as a user would, in an empty home with the real models."""
    passphrase = tmp_path / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text(PASSPHRASE)
    environment = {**os.environ, "AGENTKIT_PASSPHRASE_FILE": str(passphrase)}

    def run(*arguments: str, typed: str = "") -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            input=typed,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=environment,
            timeout=110,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout

    yield run
    with suppress(CoreError), CoreClient.connect(home, start=False) as client:
        client.request("stop")


@pytest.mark.slow
@pytest.mark.model
def test_the_python_example_runs_as_printed(run: Run, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    program = tmp_path / "example.py"
    program.write_text(example)
    shown = run(str(program))
    assert "1,480 euros" in shown  # the rent in examples/notes
    assert "5.0 minutes" in shown  # the caller's own tool was called, with 2 litres


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_runs(run: Run, example: Path) -> None:
    shown = run(str(example), typed=TYPED.get(example.stem, ""))
    for each in EXPECTED[example.stem]:
        assert each in shown


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short(example: Path) -> None:
    assert len(example.read_text(encoding="utf-8").splitlines()) < 60


def test_the_transcript_holds_the_demonstrations_questions_and_their_right_answers() -> None:
    """`tests/cli/test_demo.py` checks that the demonstration prints what it holds."""
    (shown,) = re.findall(r"^```console\n\$ agentkit demo\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)
    *_, steps = shown.partition("\n3. ")
    asked = re.split(r'^   \$ agentkit (?:ask|run) "(.*)"$', steps, flags=re.MULTILINE)[1:]
    answers: dict[str, str] = {}
    for question, said in zip(asked[::2], asked[1::2], strict=True):
        answers.setdefault(question, said)  # one is asked again, after its note was edited
    for question, held in (
        (demo.QUESTION, (demo.ANSWER, f"/{demo.NOTE}")),
        (demo.PDF_QUESTION, (demo.PDF_ANSWER, f"/{demo.PDF}")),
        (demo.SUM, (demo.SUM_ANSWER,)),
        (demo.FACT_QUESTION, (demo.FACT_ANSWER,)),
        (demo.UNKNOWN, (NOT_FOUND,)),
    ):
        for each in held:
            assert each in answers[question].replace(",", "")


def test_the_readme_lists_the_verbs_there_are() -> None:
    command = typer.main.get_command(app)
    verbs = set(command.commands)  # type: ignore[attr-defined]
    table = README[README.index("| command |") : README.index("| variable |")]
    assert set(re.findall(r"`agentkit (\w+)", table)) == verbs


def test_the_readme_lists_the_exit_codes_there_are() -> None:
    import agentkit.cli.app
    import agentkit.errors

    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", README, flags=re.MULTILINE)}
    written = " ".join(((agentkit.errors.__doc__ or "") + (agentkit.cli.app.__doc__ or "")).split())
    assert documented == {int(code) for code in re.findall(r"(?:·|codes:) (\d+) ", written)}


def test_the_readme_lists_the_variables_there_are() -> None:
    read = {
        name
        for path in (ROOT / "agentkit").rglob("*.py")
        for name in re.findall(r'"(AGENTKIT_\w+)"', path.read_text(encoding="utf-8"))
    }
    assert set(re.findall(r"`(AGENTKIT_\w+)`", README)) == read
