"""The demonstration: the whole path on the default models, in a throw-away home, judged step by step.

Everything shown is real: the engine's own words, the kernel's own answers, the files as they lie on the disk. A
step passes only if what came out holds what it must; one that does not is shown as failed, and the exit code says
so. The model runs with the adapter that agentkit comes with: untuned, where a tuned variant has none. What is
helped along is only what any such request gets: where it names its tool and gives the values, the model must call
that tool with those values, and the tool's result is the answer (`agentkit.calling.selection`). So the Python of the
sandbox step was written by us and not by the model, which is too small to write one; it still travels as the
argument of the model's call, through policy, approval and sandbox, and what comes back is what Python printed
there. The demo answers the approvals itself, and says so.

Not covered: how good the model is; the questions are ones it can answer.
"""

from __future__ import annotations

import csv
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agentkit.cli.approve import show_approval
from agentkit.cli.index import show_indexing
from agentkit.cli.output import Output, excerpt, size, tier_of
from agentkit.cli.turn import run_turn, show_sources
from agentkit.cli.vault import wait_until_gone
from agentkit.client import CoreClient
from agentkit.demo.plaintext import SPELLINGS, search
from agentkit.demo.stage import (
    StepFailedError,
    adapter_of,
    find_notes,
    has_adapter,
    other_models,
    read_all,
    throw_away_folder,
    watching,
)
from agentkit.errors import AgentkitError
from agentkit.paths import Home
from agentkit_memory.errors import StoreError
from agentkit_tools.errors import ToolError

QUESTION = "Who has the spare house key?"
NOTE, ANSWER, NEW_ANSWER = "README.md", "Ingrid Solberg", "Olga Marchetti"
PDF_QUESTION = "What is the serial number of the gas boiler?"
PDF, PDF_ANSWER = "home/boiler_inspection_report.pdf", "NT24-5580193"
SUM, SUM_ANSWER = "What is 1234.56 * 78.9?", "97406.784"
METER, YEAR = "home/meter_readings.csv", "2025"
FACT, FACT_QUESTION, FACT_ANSWER = (
    "Remember that the code of my bicycle lock is 4711.",
    "What do you remember about my bicycle lock?",
    "4711",
)
UNKNOWN = "What did the new bicycle of Lena cost?"
LEAST_FILES = 25
REFUSALS = {"EACCES", "EPERM", "ENOSYS", "ENETUNREACH", "EAFNOSUPPORT"}
"""What the kernel answers to an attempt that went nowhere; a timeout would mean that something was sent."""
LONG_ENOUGH = 24
"""A shorter line of a note could stand in a file by chance."""


@dataclass(frozen=True, slots=True)
class Step:
    """How one step came out."""

    name: str
    passed: bool
    seconds: float
    said: str


class Demo:
    """One run of the demonstration."""

    def __init__(
        self,
        output: Output,
        *,
        connect: Callable[[Home], CoreClient] = CoreClient.connect,
        fetch: bool = True,
    ) -> None:
        """Compose a demonstration.

        Args:
            output: Where it is shown.
            connect: Returns a connection to the core of a home.
            fetch: Fetch the models that are missing.
        """
        self._output = output
        self._connect = connect
        self._fetch = fetch
        self._passphrase = secrets.token_urlsafe(24)
        self._steps: list[Step] = []
        self._receipt: dict[str, Any] = {}

    def run(self) -> bool:
        """Run every step, show what happens, and return whether all of them passed."""
        began = time.monotonic()
        models = Home.default().models
        if self._fetch:
            self._fetch_models(models)
        notes = find_notes()
        with throw_away_folder() as folder, other_models(models):
            self._home = Home(folder / "home").ensure()
            self._notes = folder / "notes"
            shutil.copytree(notes, self._notes)
            self._client: CoreClient | None = None
            try:
                for name, step in self._plan():
                    self._do(name, step)
            finally:
                self._stop()
        passed = all(step.passed for step in self._steps)
        self._summarise(passed, time.monotonic() - began)
        return passed

    def _plan(self) -> list[tuple[str, Callable[[], str]]]:
        return [
            ("make a vault", self._make_vault),
            ("index a folder of notes", self._index),
            ("answer from the notes, with the source", self._ask),
            ("calculate through a tool", self._calculate),
            ("run Python in the sandbox", self._python),
            ("remember, restart, recall", self._remember),
            ("say what the notes do not hold", self._unknown),
            ("follow an edited note", self._watch),
            ("find no way out", self._egress),
            ("find nothing readable on the disk", self._search_disk),
        ]

    def _do(self, name: str, step: Callable[[], str]) -> None:
        self._output.line()
        self._output.line(f"{len(self._steps) + 1}. {name}", "bold")
        began = time.monotonic()
        try:
            said, passed = step(), True
        except (AgentkitError, ToolError, StoreError) as error:
            said, passed = error.message, False
        except OSError as error:
            said, passed = f"{error.filename or 'a file'}: {error.strerror}", False
        seconds = time.monotonic() - began
        self._steps.append(Step(name, passed, round(seconds, 2), said))
        self._output.line(
            f"   {'ok' if passed else 'FAILED'}: {said} ({seconds:.1f} s)", "green" if passed else "red"
        )

    # --- the steps -----------------------------------------------------------------------------------------------

    def _make_vault(self) -> str:
        self._typed("init")
        vault = self._core.request("init", passphrase=self._passphrase.encode())
        self._receipt = self._core.request("status")
        return f"vault {vault['id'][:8]}, opened by a random passphrase that is written nowhere"

    def _index(self) -> str:
        self._typed(f"index {self._notes}")
        with self._output.meter("indexing") as meter:
            stream = self._core.stream("index", path=str(self._notes), watch=False)
            summary = read_all(stream, lambda event: show_indexing(event, self._output, meter))
        count, skipped = summary["indexed"], summary.get("skipped", 0)
        self._expect(count >= LEAST_FILES, f"only {count} files were read")
        self._expect(not skipped, f"{skipped} files were left out")
        folder = self._core.request("folders")["folders"][0]
        kinds = sorted({path.suffix[1:] for path in self._notes.rglob("*") if path.is_file()})
        return f"{count} files ({', '.join(kinds)}) in {folder['chunks']} passages"

    def _ask(self) -> str:
        asked = ((QUESTION, ANSWER, NOTE), (PDF_QUESTION, PDF_ANSWER, PDF))
        places = [
            self._must_hold(self._turn("ask", question), value, note) for question, value, note in asked
        ]
        self._output.line(f"   (the model ran with the adapter {adapter_of(self._core)})")
        return f"the answers are in {' and '.join(places)}"

    def _calculate(self) -> str:
        finished = self._turn("agent", SUM)
        result = self._result_of(finished, "calculator")
        self._expect(SUM_ANSWER in result["text"].replace(",", ""), "the tool gave another number")
        self._must_say(finished, SUM_ANSWER)
        return f"the calculator gave {excerpt(result['text'], 60)}"

    def _python(self) -> str:
        # The workspace is the one folder a program in the sandbox may see, so the user puts the file there.
        shutil.copy(self._notes / METER, self._home.workspace)
        name = Path(METER).name
        program = (
            f"import csv; print(sum(int(row['kwh']) for row in csv.DictReader(open('{name}')) "
            f"if row['date'] >= '{YEAR}' and row['date'] < '{int(YEAR) + 1}'))"
        )
        try:
            finished = self._turn("agent", f"Run this Python: {program}")
        finally:
            (self._home.workspace / name).unlink()
        result = self._result_of(finished, "run_python")
        with (self._notes / METER).open(newline="", encoding="utf-8") as file:
            expected = sum(int(row["kwh"]) for row in csv.DictReader(file) if row["date"].startswith(YEAR))
        self._expect(str(expected) in result["text"], f"the program did not print {expected}")
        self._must_say(finished, str(expected))
        self._expect(result["where"] not in ("core", "client"), "the program did not run in the sandbox")
        return f"{expected} kWh in {YEAR}, by Python under {result['where']}"

    def _remember(self) -> str:
        finished = self._turn("agent", FACT)
        self._expect(FACT_ANSWER in self._result_of(finished, "remember")["text"], "the fact was not kept")
        self._must_say(finished, FACT_ANSWER)
        before = self._core.request("status")["pid"]
        self._typed("stop")
        self._stop()
        self._typed("unlock")
        self._core.request("unlock", passphrase=self._passphrase.encode())
        after = self._core.request("status")["pid"]
        finished = self._turn("agent", FACT_QUESTION)
        self._expect(FACT_ANSWER in self._result_of(finished, "recall")["text"], "the fact was not recalled")
        self._must_say(finished, FACT_ANSWER)
        return f"core {before} ended, core {after} still knows"

    def _unknown(self) -> str:
        finished = self._turn("ask", UNKNOWN)
        self._expect(finished["ending"] == "not_found", "it answered what the notes do not hold")
        return "it says that it is not there"

    def _watch(self) -> str:
        self._typed(f"index {self._notes} --watch")
        note = self._notes / NOTE
        with watching(self._connect(self._home), self._notes) as events:
            events.wait_for("Watching", "")
            began = time.monotonic()
            note.write_text(note.read_text(encoding="utf-8").replace(ANSWER, NEW_ANSWER), encoding="utf-8")
            self._output.note(f"   (the note {NOTE} now says {NEW_ANSWER})")
            events.wait_for("FileIndexed", str(note))
            seconds = time.monotonic() - began
            finished = self._turn("ask", QUESTION)
        self._must_hold(finished, NEW_ANSWER, NOTE)
        self._expect(ANSWER not in finished["text"], "it still gives the old answer")
        return f"the new text was there {seconds:.1f} s after it was saved"

    def _egress(self) -> str:
        said = self._core.request("probe_egress")
        for who, answers in (("core", said["core"]), (f"a tool ({said['tier']})", said["sandbox"])):
            for attempt, answer in answers.items():
                self._output.line(f"   {who}: {attempt}: {answer}")
        everything = [*said["core"].values(), *said["sandbox"].values()]
        self._expect(bool(said["core"]) and bool(said["sandbox"]), "one of the two was not tried")
        self._expect(set(everything) <= REFUSALS, "an attempt was not refused")
        return f"{len(everything)} attempts, all refused by the kernel"

    def _search_disk(self) -> str:
        self._stop()  # everything it had in memory is now written
        texts = self._telling_texts()
        control = search(texts, self._notes)
        self._expect(
            control.hits > 0, "the search finds nothing in the notes themselves, so it proves nothing"
        )
        found = search(texts, self._home.root)
        self._expect(not found.hits, f"readable in {', '.join(found.found)}")
        self._output.line(
            f"   searched {found.files} files of the home, {size(found.size_bytes)}, for {len(texts)} texts"
        )
        self._output.line(
            f"   (lines and names of the notes, the fact, the questions, the passphrase) as {', '.join(SPELLINGS)}"
        )
        return f"none of them is there; the same search finds {control.hits} in the folder of notes"

    # --- how -----------------------------------------------------------------------------------------------------

    @property
    def _core(self) -> CoreClient:
        if self._client is None:
            self._client = self._connect(self._home)
        return self._client

    def _stop(self) -> None:
        if self._client is None:
            return
        client, self._client = self._client, None
        try:
            client.request("stop")
        finally:
            client.close()
        wait_until_gone(self._home)

    def _typed(self, words: str) -> None:
        self._output.line(f"   $ agentkit {words}", "cyan")

    def _turn(self, mode: str, text: str) -> dict[str, Any]:
        untuned = not has_adapter(self._home)
        self._typed(f'{"ask" if mode == "ask" else "run"} {"--untuned " if untuned else ""}"{text}"')
        finished = run_turn(
            self._core, self._output, answer=self._approve, text=text, mode=mode, untuned=untuned
        )
        if mode == "ask":
            show_sources(finished, self._output)
        self._expect("ending" in finished, "the turn broke off")
        return finished

    def _approve(self, question: dict[str, Any]) -> dict[str, Any]:
        """Answer as the user of this demo would: yes to what it asked for itself, and visibly."""
        if "approval" not in question:
            return {}
        show_approval(self._output, question["approval"])
        self._output.note("  allow this once? [y/N] y   (typed by the demo)")
        return {"decision": "allow"}

    def _result_of(self, finished: dict[str, Any], tool: str) -> dict[str, Any]:
        """Return the result of the call of `tool` in this turn."""
        for call in finished["calls"]:
            if call["name"] == tool and "text" in call:
                self._expect(not call["is_error"], f"{tool} failed")
                found: dict[str, Any] = call
                return found
        raise StepFailedError(f"the model did not get {tool} to run")

    def _must_say(self, finished: dict[str, Any], value: str) -> None:
        """Check that the turn was answered, and that the answer itself holds `value`."""
        self._expect(finished["ending"] == "answered", "there was no answer")
        self._expect(value in finished["text"].replace(",", ""), f"the answer does not hold {value!r}")

    def _must_hold(self, finished: dict[str, Any], value: str, note: str) -> str:
        """Check that the answer and a passage it names from `note` both hold `value`; return where that stands."""
        self._must_say(finished, value)
        for each in finished["evidence"]:
            if each["source"].endswith(note) and value in each["quote"]:
                return f"{note}, {each['place']}" if each["place"] else note
        raise StepFailedError("the passage that holds the answer is not among the sources")

    @staticmethod
    def _expect(condition: bool, otherwise: str) -> None:
        if not condition:
            raise StepFailedError(otherwise)

    def _telling_texts(self) -> list[str]:
        """Return what must not be readable: the longest line and the name of each note, the fact, the secrets."""
        found = [self._passphrase, FACT, FACT_QUESTION, QUESTION, UNKNOWN, "bicycle lock is 4711", NEW_ANSWER]
        for path in sorted(self._notes.rglob("*")):
            if path.suffix in (".md", ".txt", ".html", ".csv", ".py"):
                longest = max(path.read_text(encoding="utf-8").splitlines(), key=len, default="").strip()
                found += [longest] if len(longest) >= LONG_ENOUGH else []
            if path.is_file() and len(path.name) >= 12:
                found.append(path.name)
        return sorted(set(found))

    def _fetch_models(self, folder: Path) -> None:
        """Fetch the default models into the ordinary store if they are not there."""
        from agentkit.models.catalogue import DEFAULT_CHAT, DEFAULT_EMBEDDING
        from agentkit.models.pull import pull
        from agentkit.models.store import ModelStore

        for name in (DEFAULT_CHAT, DEFAULT_EMBEDDING):
            with self._output.meter(name, unit="bytes") as meter:
                pull(name, ModelStore(folder), lambda each: meter.show(each.done, each.total or 0, each.step))

    def _summarise(self, passed: bool, seconds: float) -> None:
        receipt = self._receipt.get("receipt", {})
        sandbox = self._receipt.get("launcher", {}).get("sandbox", {})
        self._output.json(
            {
                "passed": passed,
                "seconds": round(seconds, 1),
                "steps": [asdict(step) for step in self._steps],
                "receipt": receipt,
                "sandbox": sandbox,
            }
        )
        self._output.line()
        self._output.line("receipt: what was enforced, and how", "bold")
        for line in receipt_lines(receipt, sandbox):
            self._output.line(f"   {line}")
        self._output.line()
        for step in self._steps:
            sign = "\u2713" if step.passed else "\u2717"
            self._output.line(
                f" {sign} {step.name:42} {step.seconds:6.1f} s", "green" if step.passed else "red"
            )
        ended = "all steps passed" if passed else "at least one step failed"
        self._output.line(f"   {ended:42} {seconds:6.1f} s", "bold")


def receipt_lines(receipt: dict[str, Any], sandbox: dict[str, Any]) -> Iterator[str]:
    """Yield what was enforced on the core and on tools, in words."""
    if not receipt:
        yield "the core did not start"
        return
    filtered = "filtered" if receipt["seccomp"] else "not filtered"
    yield f"core: namespaces {receipt['namespaces']}; system calls {filtered}"
    for each in receipt["landlock"]:
        yield f"core: {each}"
    for attempt, answer in receipt["self_test"].items():
        yield f"core: tried {attempt}: {answer}"
    for each in receipt["not_enforced"]:
        yield f"not enforced: {each}"
    if sandbox:
        yield f"tools: sandbox {tier_of(sandbox)}"
