"""An example is trained on in the very tokens that the engine would decode, those the grammar forces among them."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

pytest.importorskip("gguf", reason="training is an extra: pip install -e '.[training]'")

from agentkit.models.base import AUTO, CONSTRAINTS
from agentkit.models.formats.families import SMOLLM2
from agentkit.models.grammar import backend_for, bind_tools
from agentkit.models.llama import LlamaModel, Settings
from agentkit.models.vocabulary import Vocabulary
from training.encode import Encoder
from training.mix import tasks, trained_tools

pytestmark = [pytest.mark.slow, pytest.mark.model]


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_the_grammar_lets_through_and_forces_what_is_trained(smollm2_path: Path, name: str) -> None:
    encoder = Encoder(smollm2_path)
    model = LlamaModel(smollm2_path, Settings(repack=False))
    backend = backend_for(Vocabulary(model), name)
    shares = {"one_call": 1.0, "same_tool": 1.0, "several_tools": 1.0}
    for example in itertools.islice(tasks(5, trained_tools(), shares), 60):
        (branch,) = encoder.encode([example]).branches
        left = list(branch.tokens[branch.begin : -1])
        constraint = bind_tools(backend, SMOLLM2, example.tools, AUTO)
        while left:
            token = left.pop(0)
            assert constraint.allowed(token)
            constraint.commit(token)
            forced = constraint.forced()
            assert forced == left[: len(forced)]
            del left[: len(forced)]
    model.close()
