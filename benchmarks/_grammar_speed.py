"""How fast bound generation is, always beside its other form in the same run: free, token by token, once more."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentkit.messages import Message, ToolSpec
from agentkit.models.base import AUTO, CONSTRAINTS, REQUIRED, Sampling, ToolChoice
from agentkit.models.formats.families import SMOLLM2
from agentkit.models.formats.syntax import ParsedCall
from agentkit.models.grammar import Backend, Constraint, backend_for, bind_tools
from agentkit.models.llama import LlamaModel, Settings
from agentkit.models.normalise import _normalised
from agentkit.models.scheduler import Job
from agentkit.models.session import Session
from agentkit.models.threads import default_threads
from agentkit.models.usable import _refusal
from agentkit.models.vocabulary import Vocabulary

STORIES = (
    "Tell me a story about a lighthouse.",
    "Explain how bread is made.",
    "Describe a walk in the mountains.",
    "What should I know about cats?",
)
ANSWER_TOKENS = 96
CALL_TOKENS = 160


@dataclass(frozen=True)
class Said:
    """One generation."""

    text: str
    tokens: int
    forced: int
    seconds: float
    """Of generation, without the prompt."""


class OneByOne:
    """A constraint that forces nothing: each of its tokens is drawn."""

    def __init__(self, inner: Constraint) -> None:
        self._inner = inner
        self.costly_mask = inner.costly_mask
        self.allowed, self.mask, self.commit = inner.allowed, inner.mask, inner.commit

    def forced(self) -> list[int]:
        """Force nothing."""
        return []

    @property
    def done(self) -> bool:
        """Whether nothing can follow."""
        return self._inner.done


def say(
    session: Session,
    text: str,
    tools: Sequence[ToolSpec],
    choice: ToolChoice,
    *,
    most: int,
    grammar: bool = True,
    forced: bool = True,
) -> Said:
    """Generate an answer to `text`, greedily."""
    sampling = Sampling(max_tokens=most, grammar=grammar)
    request = session.prepare(
        [Message.user(text)], tools=tools, choice=choice, sampling=sampling, schema=None, show=lambda _: None
    )
    generation = request.generation
    if not forced and generation._constraint is not None:  # noqa: SLF001 - no user should want that
        generation._constraint = OneByOne(generation._constraint)  # noqa: SLF001
    session.scheduler.submit(Job(generation, lambda _: None))
    while session.scheduler.busy:
        session.scheduler.step(lambda: False)
    outcome = generation.outcome
    said = request.stream.text + request.stream.markup
    return Said(said, outcome.completion_tokens, outcome.forced_tokens, outcome.generate_seconds)


def overhead(session: Session, tools: Sequence[ToolSpec], rounds: int) -> float | None:
    """Return tokens a second with a grammar, as a share of those without one, where both say the same."""
    ratios = []
    for turn in range(rounds):
        for text in STORIES:
            order = (True, False) if turn % 2 else (False, True)
            say(session, text, tools, AUTO, most=1)  # the prompt is in the cache, for both
            said = {each: say(session, text, tools, AUTO, most=ANSWER_TOKENS, grammar=each) for each in order}
            bound, free = said[True], said[False]
            if bound.text == free.text and bound.tokens == free.tokens > 8:
                ratios.append(free.seconds / bound.seconds)
    return round(statistics.median(ratios), 3) if ratios else None


def bound(session: Session, cases: Sequence[tuple[str, ToolSpec]]) -> float:
    """Return tokens a second of calls in which each token is drawn under the grammar, as a share of free text's."""
    ratios = []
    for number, (text, tool) in enumerate(cases):
        say(session, text, [tool], REQUIRED, most=1)

        def call() -> float:
            said = say(session, text, [tool], REQUIRED, most=CALL_TOKENS, forced=False)  # noqa: B023 - called at once
            return said.tokens / said.seconds

        def talk() -> float:
            said = say(session, text, [tool], AUTO, most=CALL_TOKENS // 4, grammar=False)  # noqa: B023 - likewise
            return said.tokens / said.seconds

        first, second = (call, talk) if number % 2 else (talk, call)
        rates = {first: first(), second: second()}
        ratios.append(rates[call] / rates[talk])
    return round(statistics.median(ratios), 3)


def forced(session: Session, cases: Sequence[tuple[str, ToolSpec]]) -> dict[str, Any]:
    """Compare calls written with batches of forced tokens and token by token, where both say the same."""
    with_, without = [], []
    for text, tool in cases:
        say(session, text, [tool], REQUIRED, most=1)
        fast = say(session, text, [tool], REQUIRED, most=CALL_TOKENS)
        slow = say(session, text, [tool], REQUIRED, most=CALL_TOKENS, forced=False)
        if fast.text == slow.text:
            with_.append(fast)
            without.append(slow)
    if not with_:
        return {}
    return {
        "forced_ratio": round(sum(each.seconds for each in without) / sum(each.seconds for each in with_), 2),
        "forced_share": round(sum(each.forced for each in with_) / sum(each.tokens for each in with_), 3),
        "forced_calls": len(with_),
        "forced_calls_differ": len(cases) - len(with_),
    }


def canonical(
    backend: Backend, model: LlamaModel, calls: Sequence[tuple[ToolSpec, Mapping[str, Any]]]
) -> dict[str, float]:
    """Follow gold calls, cut into tokens as the model's tokeniser cuts them; count what is forced otherwise."""
    same = tokens_seen = other = 0
    for tool, arguments in calls:
        tokens = model.tokenise(SMOLLM2.render_calls([ParsedCall(tool.name, dict(arguments))]))
        constraint = bind_tools(backend, SMOLLM2, [tool], REQUIRED)
        place = 0
        while place < len(tokens):
            due = constraint.forced()
            if due != tokens[place : place + len(due)]:
                other += 1
                break
            same += len(due)
            place += len(due)
            tokens_seen += len(due)
            if place == len(tokens) or not constraint.allowed(tokens[place]):
                break
            constraint.commit(tokens[place])
            tokens_seen += 1
            place += 1
    return {"share": round(same / max(1, tokens_seen), 3), "calls_cut_otherwise": other}


def many_tools(model: LlamaModel, tools: Sequence[ToolSpec], rounds: int) -> dict[str, float]:
    """Measure set-up, with nothing known of `tools` from before, and first mask, by either back-end."""
    found: dict[str, float] = {}
    vocabulary = Vocabulary(model)
    for name in CONSTRAINTS:
        prefix = "" if name == CONSTRAINTS[0] else f"{name}_"
        setups, again, masks = [], [], []
        for _ in range(rounds):
            backend = backend_for(vocabulary, name)
            for known in (_refusal, _normalised):
                known.cache_clear()
            started = time.perf_counter()
            bind_tools(backend, SMOLLM2, tools, REQUIRED)
            ready = time.perf_counter()
            constraint = bind_tools(backend, SMOLLM2, tools, REQUIRED)
            again.append(time.perf_counter() - ready)
            setups.append(ready - started)
            constraint.forced()
            asked = time.perf_counter()
            constraint.mask()
            masks.append(time.perf_counter() - asked)
        found[f"{prefix}mask_300_tools_ms"] = round(statistics.median(masks) * 1000, 2)
        found[f"{prefix}setup_300_tools_ms"] = round(statistics.median(setups) * 1000, 1)
        found[f"{prefix}setup_300_again_ms"] = round(statistics.median(again) * 1000, 2)
    return found


def speeds(path: Path, cases: Sequence[tuple[str, ToolSpec]], rounds: int) -> dict[str, Any]:
    """Measure the default model, bound by either back-end."""
    found: dict[str, Any] = {}
    for name in CONSTRAINTS:
        prefix = "" if name == CONSTRAINTS[0] else f"{name}_"
        settings = Settings(
            context_tokens=2048, cache_tokens=4096, streams=2, threads=default_threads(), constraint=name
        )
        session = Session(path, settings, adapters={}, beat=lambda: None)
        found[f"{prefix}overhead_ratio"] = overhead(session, [tool for _, tool in cases[:2]], rounds)
        found[f"{prefix}bound_ratio"] = bound(session, cases)
        found |= {prefix + key: value for key, value in forced(session, cases).items()}
    return found
