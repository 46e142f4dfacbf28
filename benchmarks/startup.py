"""Measure how long a person waits at the terminal, and what a waiting core costs.

`python -m benchmarks.startup [--quick]`. Everything goes through the command line, as typed. `help_ratio` is
`agentkit --help` to the `--help` of an empty typer app, in turns; lower is better. The other figures come from a
vault of 1,000 chunks in a throw-away home with the real models; a figure that could not be measured is `null`.

Cold means: the core runs with the vault unlocked (it is the key agent) and has done nothing else yet, so
embedder, index and engine are still to be loaded. `*_locked_*` adds the start of the core and one key derivation.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from agentkit.paths import Home

EMPTY_APP = """
import typer
app = typer.Typer()
@app.command()
def main() -> None:
    "Do nothing."
app()
"""
KEYS = ("help_ratio", "search_cold_seconds", "ask_first_token_seconds", "core_rss_mb")
CHUNKS = 1000
FILES = 50
WORDS = (
    "garden letter engine paper winter market bridge summer carpet signal harbour kettle ladder meadow needle orchard "
    "pillow quarry ribbon saddle timber umbrella valley window yard anchor basket candle dairy fence"
)
QUESTION = "Where was the brass telescope of the observatory left?"
ANSWER = "The brass telescope of the observatory was left in the boathouse on 14 March."


class FailedError(Exception):
    """A command did not do what is to be timed."""


class Terminal:
    """Types commands in a home of its own."""

    def __init__(self, folder: Path) -> None:
        passphrase = folder / "passphrase"
        passphrase.touch(mode=0o600)
        passphrase.write_text("four unrelated quiet words\n")
        self._environment = {
            **os.environ,
            "AGENTKIT_MODELS": str(Home.default().models),
            "AGENTKIT_HOME": str(folder / "home"),
            "AGENTKIT_PASSPHRASE_FILE": str(passphrase),
        }

    def type(self, *words: str) -> dict[str, Any]:
        """Run a command to its end and return its JSON document."""
        done = subprocess.run(
            [*agentkit_command(), *words, "--json"],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise FailedError(f"agentkit {words[0]} failed: {done.stderr.strip()}")
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def seconds(self, *words: str) -> float:
        """Run a command and return how long it took, from typing to its end."""
        start = time.perf_counter()
        self.type(*words)
        return time.perf_counter() - start

    def first_word_seconds(self, *words: str) -> float:
        """Run a command and return how long it took until something stood on the terminal."""
        start = time.perf_counter()
        with subprocess.Popen(
            [*agentkit_command(), *words],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            first = process.stdout.read(1)
            took = time.perf_counter() - start
            process.communicate()
        if process.returncode or not first:
            raise FailedError(f"agentkit {words[0]} said nothing")
        return took

    def restart(self, *, unlock: bool) -> None:
        """End the core; start it anew, unlocked, with nothing loaded."""
        self.type("stop")
        if unlock:
            self.type("unlock")


def agentkit_command() -> list[str]:
    """Return the installed command, as a user starts it."""
    return [str(Path(sys.executable).parent / "agentkit")]


def write_documents(folder: Path) -> None:
    """Write about 1,000 chunks of text in 50 files, always the same, and one sentence to be asked for."""
    draw, words = random.Random(1), WORDS.split()
    for number in range(FILES):
        paragraphs = []
        for _ in range(CHUNKS // FILES):
            sentences = (" ".join(draw.choices(words, k=12)).capitalize() + "." for _ in range(10))
            paragraphs.append(" ".join(sentences))
        if number == FILES // 2:
            paragraphs[3] += " " + ANSWER
        (folder / f"notes-{number:02}.txt").write_text("\n\n".join(paragraphs) + "\n")


def help_ratio(rounds: int, folder: Path) -> tuple[float, float, float]:
    """Return the ratio, our seconds and those of an empty typer app; rounds alternate, the median counts."""
    empty = folder / "empty.py"
    empty.write_text(EMPTY_APP)
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(run_seconds([*agentkit_command(), "--help"]))
        theirs.append(run_seconds([sys.executable, str(empty), "--help"]))
    return median(ours) / median(theirs), median(ours), median(theirs)


def run_seconds(command: Sequence[str]) -> float:
    """Return how long a command takes."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def cold(terminal: Terminal, rounds: int, measure: Callable[[], float], *, unlocked: bool) -> float:
    """Return the median of a measurement, each time on a core that has loaded nothing yet."""
    taken = []
    for _ in range(rounds):
        terminal.restart(unlock=unlocked)
        taken.append(measure())
    return median(taken)


def measure(rounds: int, folder: Path) -> dict[str, float | None]:
    """Return every figure."""
    figures: dict[str, float | None] = dict.fromkeys(KEYS)
    ratio, ours, theirs = help_ratio(3 * rounds, folder)
    figures |= {"help_ratio": ratio, "help_seconds": ours, "empty_typer_help_seconds": theirs}
    documents = folder / "documents"
    documents.mkdir()
    write_documents(documents)
    terminal = Terminal(folder)
    try:
        terminal.type("init")
        figures["index_seconds"] = terminal.seconds("index", str(documents))
        figures["chunks"] = chunks(terminal)
        found = json.dumps(terminal.type("search", QUESTION))
        if ANSWER not in found:
            raise FailedError("the search does not find what it is timed for")
        for name, unlocked in (("search_cold_seconds", True), ("search_locked_seconds", False)):
            figures[name] = cold(
                terminal, rounds, lambda: terminal.seconds("search", QUESTION), unlocked=unlocked
            )
        figures["search_warm_seconds"] = median(terminal.seconds("search", QUESTION) for _ in range(rounds))
        figures["ask_first_token_seconds"] = cold(
            terminal, rounds, lambda: terminal.first_word_seconds("ask", QUESTION), unlocked=True
        )
        figures["ask_prompt_tokens"] = terminal.type("ask", QUESTION)["usage"]["prompt_tokens"]
        figures["core_rss_mb"] = terminal.type("status")["rss_mb"]
    except FailedError as error:
        print(f"not measured: {error}", file=sys.stderr)
    finally:
        terminal.type("stop")
    return figures


def chunks(terminal: Terminal) -> float | None:
    """Return how many chunks the vault holds, as the core says it."""
    vault = terminal.type("status")["vault"]
    return next((vault[name] for name in ("chunks", "records") if name in vault), None)


def main() -> int:
    """Measure, print the table, then the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds: about two minutes on two cores")
    rounds = 3 if parser.parse_args().quick else 9
    folder = Path(tempfile.mkdtemp(prefix="agentkit-startup-"))
    try:
        figures = measure(rounds, folder)
    finally:
        shutil.rmtree(folder)
    limits = {
        "help_ratio": 2.0,
        "search_cold_seconds": 1.5,
        "ask_first_token_seconds": 3.0,
        "core_rss_mb": 400.0,
    }
    print(f"{'figure':<28}{'value':>10}   at most")
    for name, value in figures.items():
        shown = "-" if value is None else f"{value:.2f}"
        print(f"{name:<28}{shown:>10}   {limits.get(name, '')}")
    print(json.dumps({name: None if value is None else round(value, 4) for name, value in figures.items()}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
