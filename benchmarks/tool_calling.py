"""Measure how often a model makes the right calls: BFCL, by the published AST rules, in three ways of asking.

`python -m benchmarks.tool_calling [--quick] [--model NAME|FILE.gguf] [--adapter FILE | --bare] [--all-tools]
[--unforced] [--votes N | --no-votes] [--results FILE]` prints a table, then one flat JSON object; `--json` prints that
alone. What is asked is what an agent would ask, at temperature 0: our system prompt, the functions its selection
chooses, the question.

| way | grammar | in the four categories that want calls | in irrelevance |
|---|---|---|---|
| `required` | yes | the model must call | it may call or speak |
| `auto` | yes | it may call or speak | the same |
| `free` | no | it may call or speak, and calls may be invalid | the same |

In the object a category's name alone is its share in the way `auto`, and with `_unconstrained` that in the way `free`;
what is not measured is null. Irrelevance is right where nothing is called, so that a model which never calls is always
right there: read it beside the others. Where the selection shows no function, nothing is called; `--all-tools` shows
every function instead. With an adapter, a doubtful call is asked for again, as by an agent; with `--votes 0` it is
drawn once and checked, and `--no-votes` takes it as it is. Where a question names its function beyond doubt, that one
alone is shown and, but for `free`, has to be called, as for an agent; with `--unforced` it is like any other. BFCL is
read from `AGENTKIT_DATA`, or `../shared/data`. With `--results FILE` every finished question is kept in that file, and
a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agentkit import prompt
from agentkit.calling.selection import Chosen, Selection
from agentkit.calling.votes import Votes, settle
from agentkit.errors import AgentkitError
from agentkit.messages import Message, ToolSpec
from agentkit.models.adapters import Adapter
from agentkit.models.base import AUTO, REQUIRED, Completion, Model, Sampling, StopReason, ToolChoice
from agentkit.models.engine import Engine
from agentkit.models.formats.families import FORMATS
from agentkit.models.store import ModelStore
from agentkit.paths import Home
from agentkit.spawn import LocalSpawner
from benchmarks._adapter import shipped_path
from benchmarks._bfcl import CATEGORIES, NO_CALL, Question, data_folder, questions, score
from benchmarks._data import evenly
from benchmarks._shown import shown
from benchmarks._talk import unless_long

WAYS = ("required", "auto", "free")
SUFFIXES = {"auto": "", "free": "_unconstrained"}
"""What follows a category in the figures named without their way."""
KEYS = tuple(f"{category}{suffix}" for suffix in SUFFIXES.values() for category in CATEGORIES)
QUICK = 60
"""Questions of each category in the quick form."""
MAX_TOKENS = 512
TALK_CHARACTERS = 600
"""Who has said so much calls nothing any more; waiting for the end would double the time of a run."""
TOKENS_A_STREAM = 2048
DEFAULT_MODEL = "smollm2-135m"
EMBEDDER = "minilm-l6-v2"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one question asked in one way."""

    way: str
    id: str
    category: str
    wrong: str | None
    shown: int
    """How many functions the model was shown."""
    tokens: int
    seconds: float


class Asker:
    """Asks one model."""

    def __init__(
        self,
        model: Model,
        selection: Selection | None,
        adapter: str | None,
        votes: Votes | None,
        *,
        forcing: bool = True,
    ) -> None:
        self._model = model
        self._votes = votes
        self._adapter = adapter
        self._selection = selection
        self._forcing = forcing

    def ask(self, question: Question, way: str) -> Result:
        """Ask `question`; what would not be run, as it breaks off or does not fit, is no call."""
        began = time.perf_counter()
        every = [
            ToolSpec(each["name"], each["description"], each["parameters"]) for each in question.functions
        ]
        choice = REQUIRED if way == "required" and question.category != NO_CALL else AUTO
        chosen, choice = shown(question.text, every, self._selection, choice, forcing=self._forcing)
        wrong, tokens = score(question, []), 0
        if chosen.tools:
            sampling = Sampling(max_tokens=MAX_TOKENS, grammar=way != "free", adapter=self._adapter)
            try:
                completion = self._complete(question, chosen, choice, sampling)
            except AgentkitError as error:
                wrong = type(error).__name__
            else:
                if completion is not None:
                    wrong = score(question, [(call.name, call.arguments) for call in completion.calls])
                    tokens = completion.usage.completion_tokens
                    if wrong and completion.refused:
                        wrong = "cut off" if completion.stop is StopReason.LENGTH else "refused"
        seconds = round(time.perf_counter() - began, 3)
        return Result(way, question.id, question.category, wrong, len(chosen.tools), tokens, seconds)

    def _complete(
        self, question: Question, chosen: Chosen, choice: ToolChoice, sampling: Sampling
    ) -> Completion | None:
        """Return what the model wrote, or nothing where it talks on and on instead of calling."""
        messages = [Message.system(prompt.ASSISTANT), Message.user(question.text)]
        stream = self._model.complete(messages, tools=chosen.tools, choice=choice, sampling=sampling)
        said = unless_long(stream, TALK_CHARACTERS)
        if said is None or self._votes is None:
            return said
        asked = messages, chosen.tools, choice, sampling
        return settle(self._model, *asked, said, self._votes, request=question.text, chosen=chosen).completion


class Kept:
    """The results so far, and the file that keeps them."""

    def __init__(self, file: Path | None, settings: dict[str, Any]) -> None:
        """Read what an earlier run left.

        Raises:
            SystemExit: The file is of a run with other settings.
        """
        self.results: dict[tuple[str, str], Result] = {}
        self._file = file
        if file is None:
            return
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        if text and not text.endswith("\n"):  # the run was stopped in the middle of a line
            file.write_text(text + "\n", encoding="utf-8")
        head, *lines = text.splitlines() or [""]
        if not head:
            file.write_text(json.dumps(settings) + "\n", encoding="utf-8")
        elif json.loads(head) != settings:
            raise SystemExit(f"{file} holds the results of another model or other settings: {head}")
        for line in lines:
            try:
                result = Result(**json.loads(line))
            except ValueError:
                continue  # a line that was being written when the run was stopped
            self.results[result.way, result.id] = result

    def add(self, result: Result) -> None:
        """Keep one result."""
        self.results[result.way, result.id] = result
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as opened:
                opened.write(json.dumps(asdict(result)) + "\n")


def run(asker: Asker, asked: list[Question], ways: list[str], kept: Kept, streams: int) -> None:
    """Ask everything that has no result yet, several at once."""
    todo = [
        (way, question)
        for way in ways
        for question in asked
        if (way, question.id) not in kept.results
        and not (way == "required" and "auto" in ways and question.category == NO_CALL)  # the same question
    ]
    began, done = time.monotonic(), 0
    pool = ThreadPoolExecutor(streams)
    try:
        for future in as_completed([pool.submit(asker.ask, question, way) for way, question in todo]):
            kept.add(future.result())
            done += 1
            if done % 20 == 0 or done == len(todo):
                left = (time.monotonic() - began) / done * (len(todo) - done)
                print(f"{done} of {len(todo)}, {left:.0f} s left", file=sys.stderr)
    finally:
        pool.shutdown(cancel_futures=True)


def figures(kept: Kept, ways: list[str]) -> dict[str, float | None]:
    """Return the share of right answers by way and category, in percent, and how many were asked."""
    found: dict[str, float | None] = dict.fromkeys(KEYS)
    for way, category in _cells(ways):
        results = _results(kept, way, category, ways)
        if results:
            share = round(100 * sum(each.wrong is None for each in results) / len(results), 1)
            found[f"bfcl_{way}_{category}"] = share
            found[f"bfcl_{way}_{category}_n"] = len(results)
            if way in SUFFIXES:
                found[f"{category}{SUFFIXES[way]}"] = share
    return found


def reasons(kept: Kept, ways: list[str]) -> str:
    """Return what was wrong, by way and category, the most frequent first; one line for each."""
    lines = []
    for way, category in _cells(ways):
        wrong = Counter(each.wrong for each in _results(kept, way, category, ways) if each.wrong is not None)
        if wrong:
            said = ", ".join(f"{reason} ({count})" for reason, count in wrong.most_common())
            lines.append(f"wrong, {way}, {category}: {said}")
    return "\n".join(lines)


def table(found: dict[str, float | None], ways: list[str]) -> str:
    """Return the figures for people."""
    lines = [f"{'right, %':20}" + "".join(f"{way:>10}" for way in ways) + f"{'n':>6}"]
    for category in CATEGORIES:
        cells = [found.get(f"bfcl_{way}_{category}") for way in ways]
        n = max((found.get(f"bfcl_{way}_{category}_n") or 0 for way in ways), default=0)
        lines.append(
            f"{category:20}" + "".join(f"{'-' if each is None else each:>10}" for each in cells) + f"{n:>6}"
        )
    return "\n".join(lines)


def _results(kept: Kept, way: str, category: str, ways: list[str]) -> list[Result]:
    source = "auto" if way == "required" and category == NO_CALL and "auto" in ways else way
    return [each for each in kept.results.values() if (each.way, each.category) == (source, category)]


def _cells(ways: list[str]) -> Iterator[tuple[str, str]]:
    for way in ways:
        for category in CATEGORIES:
            yield way, category


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark."""
    try:
        return measure(parser().parse_args(arguments))
    except AgentkitError as error:
        print(f"error: {error.message}" + (f"\nhint: {error.hint}" if error.hint else ""), file=sys.stderr)
        return error.exit_code


def measure(options: argparse.Namespace) -> int:
    """Ask what is to be asked, and print what came of it.

    Raises:
        AgentkitError: The model, or its adapter, cannot be used.
    """
    folder = data_folder()
    if not folder.is_dir():
        print("skipped: BFCL is not in ../shared/data; AGENTKIT_DATA says where it is", file=sys.stderr)
        print(json.dumps(dict.fromkeys(KEYS)))
        return 0
    given = Path(options.model)
    path = given if given.is_file() else ModelStore(Home.default().models).get(options.model).path
    ways = [way for way in WAYS if way in options.ways.split(",")]
    most = QUICK if options.quick else options.limit
    chosen = [each for each in CATEGORIES if each in options.categories.split(",")]
    asked = [question for category in chosen for question in evenly(questions(category, folder), most)]
    adapter = None if options.bare else options.adapter or shipped_path(path)
    settings = settings_of(options, path, adapter)
    kept = Kept(options.results, settings)
    selection = None if options.all_tools else _selection(declines=adapter is not None)
    with_load = os.getloadavg()[0]
    name = None if adapter is None else adapter.name
    engine = Engine(
        path,
        LocalSpawner(),
        streams=options.streams,
        cache_tokens=options.streams * TOKENS_A_STREAM,
        adapters={} if adapter is None else {adapter.name: Adapter(adapter)},
    )
    began = time.perf_counter()
    try:
        engine.describe()  # a model that cannot be loaded is an error, and not as many wrong answers
        votes = None if options.no_votes or adapter is None else Votes(options.votes)
        asker = Asker(engine, selection, name, votes, forcing=not options.unforced)
        run(asker, asked, ways, kept, options.streams)
    except KeyboardInterrupt:
        engine.close()
        print(
            "stopped; the same command goes on from here" if options.results else "stopped", file=sys.stderr
        )
        return 130
    engine.close()
    found = figures(kept, ways)
    seconds = round(time.perf_counter() - began)
    if not options.json:
        print(table(found, ways))
        if wrong := reasons(kept, ways):
            print(wrong)
        print(
            f"{path.name}, {'tools selected' if selection else 'all tools shown'}, {seconds} s, load {with_load:.1f}"
        )
    print(json.dumps({**settings, "seconds": seconds, "load": round(with_load, 1), **found}))
    return 0


def settings_of(options: argparse.Namespace, model: Path, adapter: Path | None) -> dict[str, Any]:
    """Return all that a result depends on but the question."""
    return {
        "model": model.name,
        "size": model.stat().st_size,
        "adapter": None if adapter is None else hashlib.sha256(adapter.read_bytes()).hexdigest(),
        "selection": not options.all_tools,
        "forced": not options.unforced,
        "votes": None if options.no_votes or adapter is None else options.votes,
        "layout": _layout(),
    }


def _layout() -> str:
    """Return a mark of the words around the functions: results of other words are results of another test."""
    words = [prompt.ASSISTANT, *(each.instructions for each in FORMATS.values())]
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:8]


def _selection(*, declines: bool) -> Selection:
    from agentkit_memory import MiniLMEmbedder

    embedder = MiniLMEmbedder(ModelStore(Home.default().models).get(EMBEDDER).path)
    return Selection(embedder, declines=declines)


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    made = argparse.ArgumentParser(
        prog="benchmarks.tool_calling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--quick", action="store_true", help=f"{QUICK} questions of each category")
    made.add_argument("--limit", type=int, metavar="N", help="N of each category, taken evenly from all")
    made.add_argument("--model", default=DEFAULT_MODEL, help="a model of the store, or a GGUF file")
    made.add_argument(
        "--adapter",
        type=Path,
        metavar="FILE",
        help="a LoRA adapter; default: the one agentkit comes with for that model",
    )
    made.add_argument("--bare", action="store_true", help="without any adapter")
    made.add_argument("--ways", default=",".join(WAYS), help="which ways of asking, with commas between")
    made.add_argument(
        "--categories", default=",".join(CATEGORIES), help="which categories, with commas between"
    )
    made.add_argument(
        "--all-tools", action="store_true", help="show every function, and not those the agent would choose"
    )
    made.add_argument(
        "--unforced", action="store_true", help="treat a question that names its function like any other"
    )
    made.add_argument(
        "--votes",
        type=int,
        default=Votes().count,
        metavar="N",
        help="how often a doubtful call is drawn again; without an adapter an agent never does",
    )
    made.add_argument("--no-votes", action="store_true", help="take the first call as it is, unchecked")
    made.add_argument("--streams", type=int, default=8, metavar="N", help="how many are asked at once")
    made.add_argument("--results", type=Path, metavar="FILE", help="keep each result, and go on from there")
    made.add_argument("--json", action="store_true", help="print the JSON object only")
    return made


if __name__ == "__main__":
    raise SystemExit(main())
