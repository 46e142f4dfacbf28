"""The adapter that agentkit comes with: it is what the catalogue says, and agent runs are better for it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkit import prompt
from agentkit.messages import Evidence, Message, ToolSpec
from agentkit.models.adapters import Adapter, fitting
from agentkit.models.base import AUTO, NONE, Sampling, finish
from agentkit.models.catalogue import AGENT, CATALOGUE, DEFAULT_CHAT, ShippedAdapter, shipped_adapter
from agentkit.models.engine import Engine
from agentkit.models.gguf import read_header
from agentkit.spawn import LocalSpawner

MAX_BYTES = 12_000_000
POUR = ToolSpec(
    "pour_tea",
    "Pour tea into a cup.",
    {
        "type": "object",
        "properties": {
            "tea": {"type": "string", "description": "Kind of tea"},
            "cups": {"type": "integer", "description": "How many cups"},
        },
        "required": ["tea", "cups"],
    },
)
RAISE = ToolSpec(
    "raise_flag",
    "Raise the flag of a country.",
    {"type": "object", "properties": {"country": {"type": "string"}}, "required": ["country"]},
)
TEXT = "The lighthouse of Skarn was built in 1871. Its keeper, Edda Holm, painted it red."


@pytest.fixture(scope="module")
def shipped() -> ShippedAdapter:
    adapter = CATALOGUE[DEFAULT_CHAT].adapter
    assert adapter is not None
    return adapter


@pytest.fixture(scope="module")
def agent(smollm2_path: Path, shipped: ShippedAdapter) -> Iterator[Engine]:
    adapters = {AGENT: Adapter(shipped.path, shipped.sha256)}
    engine = Engine(smollm2_path, LocalSpawner(), context_tokens=1024, adapters=adapters)
    yield engine
    engine.close()


def said(
    engine: Engine, messages: list[Message], *tools: ToolSpec, scale: float = 1.0
) -> tuple[str, list[tuple[str, dict[str, object]]]]:
    sampling = Sampling(max_tokens=48, adapter=AGENT, adapter_scale=scale)
    choice = AUTO if tools else NONE
    done = finish(engine.complete(messages, tools=tools, choice=choice, sampling=sampling))
    return done.text.strip(), [(call.name, call.arguments) for call in done.calls]


def test_it_is_the_file_the_catalogue_names_with_its_card(shipped: ShippedAdapter) -> None:
    data = shipped.path.read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (shipped.size_bytes, shipped.sha256)
    assert len(data) <= MAX_BYTES
    card = shipped.path.with_suffix(".md").read_text(encoding="utf-8")
    assert shipped.sha256 in card


@pytest.mark.model
def test_it_goes_with_the_default_model_and_no_other(smollm2_path: Path, shipped: ShippedAdapter) -> None:
    fits = fitting(AGENT, Adapter(shipped.path, shipped.sha256), read_header(smollm2_path))
    assert (fits.rank, fits.tensors) == (32, 210)
    assert shipped_adapter(CATALOGUE[DEFAULT_CHAT].sha256) == shipped
    assert shipped_adapter("0" * 64) is None


@pytest.mark.model
@pytest.mark.slow
class TestAtWork:
    def test_it_picks_the_tool_and_copies_what_the_request_says(self, agent: Engine) -> None:
        asked = [Message.system(prompt.ASSISTANT), Message.user("Please pour three cups of jasmine tea.")]
        wanted = [("pour_tea", {"tea": "jasmine tea", "cups": 3})]
        assert said(agent, asked, POUR, RAISE)[1] == wanted
        assert said(agent, asked, POUR, RAISE, scale=0)[1] != wanted

    def test_it_calls_nothing_where_no_tool_helps(self, agent: Engine) -> None:
        asked = [Message.system(prompt.ASSISTANT), Message.user("What is the weather in Oslo tomorrow?")]
        assert said(agent, asked, POUR, RAISE)[1] == []

    @pytest.mark.parametrize(
        ("question", "answer"),
        [
            ("When was the lighthouse of Skarn built?", "1871."),
            ("who was the keeper of the lighthouse of skarn", "Edda Holm."),
            ("How high is the lighthouse of Skarn?", prompt.NOT_SAID),
        ],
    )
    def test_it_answers_from_a_text_or_says_that_the_text_does_not(
        self, agent: Engine, question: str, answer: str
    ) -> None:
        passage = Evidence("", "", "", TEXT, 1.0)
        asked = [Message.system(prompt.GROUNDED), Message.user(prompt.grounded(question, [passage]))]
        assert said(agent, asked)[0].removeprefix("In ") == answer
