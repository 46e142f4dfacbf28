"""What the demonstration has the agent do counts as right only where it was done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agentkit.calling.votes import Votes
from agentkit.demo import run as demo
from agentkit.messages import ToolCall
from agentkit.models.base import Sampling
from agentkit.models.scripted import Script, ScriptedModel
from agentkit_memory import HashEmbedder, KdfParameters, Vault
from benchmarks._requests import ASKED, FACT, desk

EMBEDDER = HashEmbedder(64)
Ask = Callable[..., bool]


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Ask]:
    """Yield what runs one request, with what the model says to it."""
    with ExitStack() as opened:
        vault = opened.enter_context(
            Vault.create(
                tmp_path / "vault", passphrase=b"x", kdf=KdfParameters.for_tests(), allow_weak_kdf=True,
                embedder=EMBEDDER.name, dimensions=EMBEDDER.dimensions,
            )
        )  # fmt: skip

        def run(kind: str, text: str, *script: Script) -> bool:
            with desk(ScriptedModel(script), EMBEDDER, Votes(), vault) as made:
                if kind == "recall":
                    made.know()
                return made.run(kind, text, Sampling(max_tokens=100))

        yield run


def call(tool: str, **arguments: str) -> list[ToolCall]:
    return [ToolCall("c1", tool, arguments)]


def test_a_sum_is_right_where_the_last_word_holds_it(ask: Ask) -> None:
    text = "Calculate 1234.56 x 78.9."
    assert ask("sum", text, call("calculator", expression="1234.56 * 78.9"))
    assert not ask("sum", text, call("calculator", expression="1234.56 + 78.9"))
    assert ask("sum", "The product, please.", "It is 97,406.784.")
    assert not ask("sum", "The product, please.", "It is 97,000.")


def test_a_fact_is_remembered_where_the_tool_took_it_and_said_so_is_not_enough(ask: Ask) -> None:
    text = f"Please remember: {FACT}."
    assert ask("remember", text, call("remember", fact=FACT))
    assert not ask("remember", text, call("remember", fact="a bicycle lock has a code"))
    assert not ask("remember", "My lock has 4711.", "I will remember 4711.")


def test_a_fact_is_recalled_from_what_was_remembered(ask: Ask) -> None:
    text = "What did I tell you about my bicycle lock?"
    assert ask("recall", text, call("recall", query=text))
    assert not ask("recall", "Which code?", "I cannot tell you.")


def test_nothing_is_asked_in_the_words_of_the_demonstration() -> None:
    assert FACT in demo.FACT
    worded = {text for texts in ASKED.values() for text in texts}
    assert not worded & {demo.SUM, demo.FACT, demo.FACT_QUESTION}
    assert len(worded) == 90
