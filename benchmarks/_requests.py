"""Rewordings of what the demonstration tells the agent to do: a sum, a fact to remember, the same fact again.

Each is run as an agent runs it: every built-in tool, selection, forced calls, and the passages that belong to it. What
the demonstration runs in the sandbox is given word for word, so that there is nothing to reword.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agentkit.answering.answer import Answerer
from agentkit.calling.selection import Selection
from agentkit.calling.votes import Votes
from agentkit.context.assemble import Context
from agentkit.core.runs import TALKING
from agentkit.demo.run import FACT_ANSWER, SUM_ANSWER
from agentkit.errors import EngineError
from agentkit.events import Event, Finished, ToolFinished
from agentkit.loop import Loop
from agentkit.memory_tools import memory_tools
from agentkit.models.base import Model, Sampling
from agentkit.recall import Recall, Relevant
from agentkit_memory import NewRecord, Vault
from agentkit_memory.embed import Embedder
from agentkit_tools import Policy, Toolbox
from agentkit_tools.builtin import builtin_tools
from agentkit_tools.sandbox import NoSandbox

FACT = "the code of my bicycle lock is 4711"
"""What the demonstration has remembered."""
ASKED: dict[str, list[str]] = tomllib.loads(
    Path(__file__).with_name("requests.toml").read_text(encoding="utf-8")
)
"""Every wording, by what it asks for."""


class _Forgetful:
    """Takes what is to be remembered and keeps nothing, so that one request tells the next nothing."""

    def remember(self, text: str, **labels: Any) -> str:  # noqa: ARG002 - as whatever remembers
        """Return an id."""
        return "r"


@dataclass(frozen=True, slots=True)
class Desk:
    """Where a request is run; several may be at once."""

    model: Model
    embedder: Embedder
    votes: Votes
    vault: Vault
    workspace: Path
    vectors: dict[str, Any] = field(default_factory=dict)
    """Those of descriptions of tools."""

    def run(self, kind: str, text: str, calling: Sampling) -> bool:
        """Return whether `text` was answered right, or for `remember` whether that very fact was kept.

        Args:
            kind: A key of `ASKED`.
            text: The request.
            calling: How tokens are drawn where tools are shown.
        """
        events = self.turn(text, calling)
        if kind == "remember":
            kept = [each for each in events if isinstance(each, ToolFinished) and each.call.name == kind]
            return any(FACT_ANSWER in each.text and not each.is_error for each in kept)
        wanted = SUM_ANSWER if kind == "sum" else FACT_ANSWER
        return any(isinstance(each, Finished) and wanted in each.text.replace(",", "") for each in events)

    def know(self) -> None:
        """Keep the fact, so that it can be recalled."""
        self.vault.add([NewRecord(FACT)], self.embedder.embed([FACT]))

    def turn(self, text: str, calling: Sampling) -> list[Event]:
        """Return what happens when `text` is asked of an agent; nothing, where its engine fails."""
        tools = [
            *builtin_tools(NoSandbox(), self.workspace, list, lambda: datetime.now().astimezone()),
            *memory_tools(_Forgetful(), self.vault, self.embedder, said=text),
        ]
        adapted = calling.adapter is not None
        recall = Recall(self.vault, self.embedder, kinds=("document", "memory"))
        loop = Loop(
            self.model,
            Toolbox(tools),
            policy=Policy.yes(),
            context=Context(self.model, embedder=self.embedder),
            recall=Relevant(self.vault, self.embedder),
            answers=Answerer(self.model, recall, embedder=self.embedder, sampling=calling, declines=True)
            if adapted
            else None,
            selection=Selection(
                self.embedder, count=self.model.count_text, vectors=self.vectors, declines=adapted
            ),
            sampling=TALKING,
            calling=calling,
            votes=self.votes if adapted else None,
        )
        try:
            return list(loop.run(text))
        except EngineError:
            return []


@contextmanager
def desk(model: Model, embedder: Embedder, votes: Votes, vault: Vault) -> Iterator[Desk]:
    """Lend where requests are run; the fact is not known there yet, as in the demonstration."""
    with TemporaryDirectory() as workspace:
        yield Desk(model, embedder, votes, vault, Path(workspace))
