"""Measure how well a small model does an assistant's work: tools it never saw, and questions on given passages.

`python -m benchmarks.assistant [--quick] [--adapter FILE.gguf] [--model NAME|FILE.gguf]` prints a table, then one
JSON object; `--json` prints that alone. Every figure is a percentage, and its name ends in how it came about:

- `bare`: the model as it came;
- `adapter`: with the adapter of the catalogue, or the one of `--adapter`;
- `rules`: with the scaffolding an agent has (selection of tools, forced calls; rules that find the sentence and check
  the answer);
- `both`: with adapter and scaffolding, as agentkit runs it; doubtful calls are asked for again.

`own_*`: the generator of `training/` with another seed and tools that are never trained on; right means the very
calls, in any order, or none where none is right. `own_told`: what is said of a text that a tool brought holds the
answer, or says that it is not there, and nothing more is called.

`nq` and `hotpotqa`: from the one passage that is given, the answer stands in what is said; the source is given with it,
and so no part of the figure. `absent`: the passage of another question is given; right is to say that the answer is not
there, in the words that agentkit knows it by.

The others are given twice, for `rules` and `both`: a model alone names no source and searches for nothing. `among`:
the passage is given among two of other questions, and the first source that is named has to be the right one.
`notes`: questions on `examples/notes` (`notes.toml`), searched for in all of them: the answer and its source;
`notes_demo`: rewordings of what the demonstration asks; `notes_absent`: what the notes do not say; `notes_agent`: the
questions of `notes`, asked of an agent with all its tools. The thresholds of `agentkit.answering.evidence` were set by
hand on questions about these notes, among others, so these figures flatter it; those of `nq` and `hotpotqa` do not.
`demo_*`: rewordings of what the demonstration has the agent do. The public questions are read from `AGENTKIT_DATA`, or
`../shared/data`.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agentkit import prompt
from agentkit.answering.answer import NOT_FOUND, Answerer
from agentkit.answering.grounding import Searches
from agentkit.answering.telling import tell
from agentkit.calling.brought import made_in
from agentkit.calling.remaining import meant
from agentkit.calling.selection import Chosen, Selection
from agentkit.calling.votes import Votes, settle
from agentkit.core.runs import CALLING
from agentkit.errors import EngineError
from agentkit.events import Event, Finished
from agentkit.messages import Evidence, Message, ToolCall, ToolSpec
from agentkit.models.adapters import Adapter
from agentkit.models.base import AUTO, NONE, Completion, Model, Sampling, StopReason, ToolChoice
from agentkit.models.engine import Engine
from agentkit.models.store import ModelStore
from agentkit.paths import Home
from agentkit.recall import Recall
from agentkit.spawn import LocalSpawner
from benchmarks import _notes as notes
from benchmarks import _requests as requests
from benchmarks._adapter import shipped_path
from benchmarks._data import data_folder
from benchmarks._passages import SETS, Asked, asked, right
from benchmarks._shown import shown
from benchmarks._talk import unless_long
from training.draws import stands_in
from training.mix import held_out_tools, tasks
from training.tasks import Example

SEED = 77
WAYS = ("bare", "adapter", "rules", "both")
ADAPTED = ("adapter", "both")
GUIDED = ("rules", "both")
BESIDE = 2
"""Passages of other questions that stand beside the right one."""
TELLING = "look_up"
"""The own task whose calls bring a text: fetching it is one figure, what is then said of it another."""
OWN_TASKS = ("one_call", "needs_nothing", "same_tool", "several_tools", "no_tool_fits", "something_missing")
STREAMS = 8
NAME = "trained"
TALK_CHARACTERS = 400
ANSWER_TOKENS = 48


@dataclass(frozen=True, slots=True)
class Parts:
    """What every question is asked of."""

    engine: Model
    embedder: Any
    votes: Votes
    vectors: dict[str, Any] = field(default_factory=dict)
    """Those of descriptions of tools."""

    def selection(self, way: str) -> Selection:
        """Return what chooses the tools that are shown, as an agent has it."""
        count, declines = self.engine.count_text, way in ADAPTED
        return Selection(self.embedder, count=count, vectors=self.vectors, declines=declines)


def own(parts: Parts, example: Example, way: str) -> bool:
    """Return whether the model makes the very calls of `example`, or none where there are none."""
    request = example.messages[-1].text
    chosen, choice = Chosen(example.tools, {}), AUTO if example.tools else NONE
    if way in GUIDED:
        chosen, choice = shown(request, example.tools, parts.selection(way))
    sampling = Sampling(max_tokens=512, adapter=NAME if way in ADAPTED else None)
    completion = _completed(parts.engine, example.messages, sampling, chosen.tools, choice)
    if way == "both":
        asked = parts.engine, example.messages, chosen.tools, choice, sampling, completion, parts.votes
        completion = settle(*asked, request=request, chosen=chosen).completion
    return _same(completion.calls, example.calls)


def own_told(parts: Parts, example: Example, way: str) -> bool:
    """Return whether what is said of the text in `example` holds the answer, and no more is called."""
    sampling = _sampling(way)
    request, *turn = example.messages[1:]
    completion = _completed(parts.engine, example.messages, sampling, example.tools, AUTO)
    made = made_in(turn, example.tools)
    if way in GUIDED:
        if meant(completion.calls, request.text, made):
            return False
        answers = _answerer(parts, _Given(()), way)
        said = _ended(tell(made, request.text, answers)).text
    else:
        said = completion.text if not completion.calls else ""
    return is_absent(said) if example.text == prompt.NOT_SAID else stands_in(example.text, said)


def _ended(events: Generator[Event, None, Finished]) -> Finished:
    """Return what a generator returns."""
    while True:
        try:
            next(events)
        except StopIteration as end:
            last: Finished = end.value
            return last


def _looked_up(count: int) -> tuple[list[Example], list[Example]]:
    """Return requests whose answer stands in a text that a tool brings: before it is called, and after."""
    drawn = tasks(SEED, held_out_tools(needing_nothing=True), {TELLING: 1.0})
    made = list(itertools.islice(drawn, 4 * count))
    fetched = [example for example in made if example.calls]
    told = [example for example in made if not example.calls]
    return fetched[:count], told[:count]


def _completed(
    engine: Model,
    messages: Sequence[Message],
    sampling: Sampling,
    tools: Sequence[ToolSpec] = (),
    choice: ToolChoice = NONE,
) -> Completion:
    """Return what the model wrote; who talks on and on calls nothing any more."""
    stream = engine.complete(messages, tools=tools, choice=choice, sampling=sampling)
    try:
        return unless_long(stream, TALK_CHARACTERS) or Completion("", (), StopReason.CANCELLED)
    except EngineError:  # an invalid call, say: wrong, whatever it was
        return Completion("", (), StopReason.LENGTH)


def _same(calls: Iterable[ToolCall], wanted: Iterable[ToolCall]) -> bool:
    return sorted(call.spelt for call in calls) == sorted(call.spelt for call in wanted)


class _Given:
    """A search that always finds the same passages."""

    def __init__(self, passages: Sequence[Asked]) -> None:
        self._passages = passages

    def search(self, question: str) -> list[Evidence]:  # noqa: ARG002 - as every search
        """Return the passages."""
        return [Evidence(each.id, each.title, "", each.passage, 0.6) for each in self._passages]


def from_passage(parts: Parts, question: str, passage: Asked, way: str) -> str:
    """Return what is answered to `question` from `passage`."""
    search = _Given([passage])
    if way in GUIDED:
        return _found(parts, question, search, way)[0]
    messages = [
        Message.system(prompt.GROUNDED),
        Message.user(prompt.grounded(question, search.search(question))),
    ]
    return _completed(parts.engine, messages, _sampling(way)).text


def _sampling(way: str) -> Sampling:
    return Sampling(max_tokens=ANSWER_TOKENS, adapter=NAME if way in ADAPTED else None)


def _found(parts: Parts, question: str, search: Searches, way: str) -> tuple[str, str]:
    """Return what agentkit answers from what a search brings, and the first source it names."""
    *_, last = _answerer(parts, search, way).run(question)
    if not isinstance(last, Finished):
        return "", ""
    return last.text, last.evidence[0].source if last.evidence else ""


def _answerer(parts: Parts, search: Searches, way: str) -> Answerer:
    """Return what answers from documents, as an agent has it."""
    return Answerer(
        parts.engine, search, embedder=parts.embedder, sampling=_sampling(way), declines=way in ADAPTED
    )


def is_absent(said: str) -> bool:
    """Return whether that says that the text does not hold the answer; saying nothing does not."""
    return said.strip() in (NOT_FOUND, prompt.NOT_SAID)


def measure(
    parts: Parts, ways: Sequence[str], count: int, folder: Path, only: tuple[str, ...] = ("",)
) -> dict[str, Any]:
    """Return every figure, in percent; of all only those whose name begins with one of `only`."""
    found: dict[str, Any] = {}

    def share(name: str, work: Sequence[Callable[[], bool]]) -> None:
        if not work or not name.startswith(only):
            return
        began = time.monotonic()
        with ThreadPoolExecutor(STREAMS) as pool:
            results = list(pool.map(lambda each: each(), work))
        found[name] = round(100 * sum(results) / len(results), 1)
        found[f"{name}_n"] = len(results)
        print(f"{name} {found[name]} % of {len(results)}, {time.monotonic() - began:.0f} s", file=sys.stderr)

    for task, way in itertools.product(OWN_TASKS, ways):
        tools = held_out_tools(needing_nothing=task == "needs_nothing")
        made = list(itertools.islice(tasks(SEED, tools, {task: 1.0}), count))
        share(f"own_{task}_{way}", [functools.partial(own, parts, example, way) for example in made])
    for way in ways:
        fetched, told = _looked_up(count)
        share(f"own_{TELLING}_{way}", [functools.partial(own, parts, example, way) for example in fetched])
        share(f"own_told_{way}", [functools.partial(own_told, parts, example, way) for example in told])
    for name, way in itertools.product(SETS, ways):
        try:
            questions = asked(name, folder, count)
        except FileNotFoundError:
            print(f"{name} is left out: its data is not in {folder}", file=sys.stderr)
            continue
        share(f"{name}_{way}", [functools.partial(_answered, parts, each, way) for each in questions])
        others = [*questions[1:], questions[0]]
        pairs = [
            (each, other)
            for each, other in zip(questions, others, strict=True)
            if not right(other.passage, each.answers)
        ]
        share(
            f"{name}_absent_{way}",
            [functools.partial(_left, parts, each, other, way) for each, other in pairs],
        )
        if way in GUIDED:
            share(
                f"{name}_among_{way}",
                [functools.partial(_among, parts, each, given, way) for each, given in mixed(questions)],
            )
    guided = [way for way in ways if way in GUIDED]
    if not guided:
        return found
    with notes.vault(parts.embedder) as vault:
        recall = Recall(vault, parts.embedder, kinds=("document", "memory"))
        for way in guided:
            work: dict[str, list[Callable[[], bool]]] = {"notes": [], "notes_demo": [], "notes_absent": []}
            for each in notes.asked():
                name = "notes_demo" if each.demo else "notes" if each.answers else "notes_absent"
                work[name].append(functools.partial(_noted, parts, each, recall, way))
            for name, calls in work.items():
                share(f"{name}_{way}", calls)
        with requests.desk(parts.engine, parts.embedder, parts.votes, vault) as desk:
            drawn = {way: replace(CALLING, adapter=NAME if way in ADAPTED else None) for way in guided}
            for way, calling in drawn.items():
                share(
                    f"notes_agent_{way}",
                    [
                        functools.partial(_told, desk, each, calling)
                        for each in notes.asked()
                        if each.answers and not each.demo
                    ],
                )
            for kind, texts in requests.ASKED.items():
                if kind == "recall":
                    desk.know()
                for way, calling in drawn.items():
                    share(
                        f"demo_{kind}_{way}",
                        [functools.partial(desk.run, kind, each, calling) for each in texts],
                    )
    return found


def mixed(questions: Sequence[Asked]) -> Iterator[tuple[Asked, list[Asked]]]:
    """Yield each question, and its passage among some of the next ones, now first, now second, now last.

    The others have another title and do not hold the answer.
    """
    for number, each in enumerate(questions):
        others = (
            other
            for other in (*questions[number + 1 :], *questions[:number])
            if other.title != each.title and not right(other.passage, each.answers)
        )
        passages = list(itertools.islice(others, BESIDE))
        passages.insert(number % (BESIDE + 1), each)
        yield each, passages


def _noted(parts: Parts, asked: notes.Asked, recall: Searches, way: str) -> bool:
    said, source = _found(parts, asked.question, recall, way)
    if not asked.answers:
        return is_absent(said)
    return notes.holds(said, asked.answers) and source.endswith(asked.source)


def _told(desk: requests.Desk, asked: notes.Asked, calling: Sampling) -> bool:
    """Return whether an agent, with all its tools, answers a question on the notes and names the source."""
    return any(
        notes.holds(each.text, asked.answers) and each.evidence[0].source.endswith(asked.source)
        for each in desk.turn(asked.question, calling)
        if isinstance(each, Finished) and each.evidence
    )


def _answered(parts: Parts, question: Asked, way: str) -> bool:
    return right(from_passage(parts, question.question, question, way), question.answers)


def _among(parts: Parts, question: Asked, passages: Sequence[Asked], way: str) -> bool:
    said, source = _found(parts, question.question, _Given(passages), way)
    return right(said, question.answers) and source == question.title


def _left(parts: Parts, question: Asked, other: Asked, way: str) -> bool:
    return is_absent(from_passage(parts, question.question, other, way))


def table(found: dict[str, Any], ways: Sequence[str]) -> str:
    """Return the figures for people."""
    names = list(
        dict.fromkeys(key.removesuffix(f"_{way}") for way in ways for key in found if key.endswith(f"_{way}"))
    )
    lines = [f"{'right, %':26}" + "".join(f"{way:>10}" for way in ways) + f"{'n':>6}"]
    for name in names:
        cells = "".join(f"{found.get(f'{name}_{way}', '-')!s:>10}" for way in ways)
        lines.append(f"{name:26}{cells}{max(found.get(f'{name}_{way}_n', 0) for way in ways):>6}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.assistant", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="40 of everything")
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    parser.add_argument("--model", default="smollm2-135m", help="of the store, or a GGUF file")
    parser.add_argument(
        "--adapter", type=Path, help="a GGUF file; default: the one agentkit comes with for this model"
    )
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=None)
    parser.add_argument("--count", type=int, default=200, help="questions of each kind")
    parser.add_argument(
        "--votes", type=int, default=Votes().count, help="how often a doubtful call is drawn again"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[""],
        metavar="NAME",
        help="figures whose names begin so, as in demo_recall",
    )
    chosen = parser.parse_args(arguments)
    from agentkit_memory import MiniLMEmbedder

    store = ModelStore(Home.default().models)
    path = Path(chosen.model) if chosen.model.endswith(".gguf") else store.get(chosen.model).path
    adapter = chosen.adapter or shipped_path(path)
    ways = chosen.ways or [way for way in WAYS if adapter or way not in ADAPTED]
    embedder = MiniLMEmbedder(store.get("minilm-l6-v2").path)
    engine = Engine(
        path,
        LocalSpawner(),
        streams=STREAMS,
        cache_tokens=STREAMS * 2048,
        adapters={NAME: Adapter(adapter)} if adapter else {},
    )
    try:
        parts = Parts(engine, embedder, Votes(chosen.votes))
        found = measure(parts, ways, 40 if chosen.quick else chosen.count, data_folder(), tuple(chosen.only))
    finally:
        engine.close()
    if not chosen.json:
        print(table(found, ways))
    print(json.dumps({"benchmark": "assistant", "model": chosen.model, **found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
