"""What an `Agent` asks of the core."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from agentkit import Agent
from agentkit.core.asked import read_levers
from agentkit.core.runs import TALKING
from agentkit.models.base import Sampling


class Core:
    """Takes requests and answers nothing."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def request(self, op: str, **fields: Any) -> dict[str, Any]:
        return {}

    def stream(self, op: str, **fields: Any) -> Iterator[dict[str, Any]]:
        self.asked.append(fields)
        return iter(())

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (None, TALKING),
        (Sampling(), TALKING),
        (
            Sampling(temperature=0.5, stop=("x",), logit_bias=((3, -1.0),)),
            replace(TALKING, temperature=0.5, stop=("x",), logit_bias=((3, -1.0),)),
        ),
        ({"repeat_penalty": 1.0, "max_tokens": 512}, Sampling()),
    ],
    ids=["nothing", "defaults", "some", "by name"],
)
def test_levers_that_were_not_chosen_stay_as_the_agent_has_them(
    monkeypatch: pytest.MonkeyPatch, given: Sampling | Mapping[str, Any] | None, meant: Sampling
) -> None:
    core = Core()
    monkeypatch.setattr("agentkit.agent.CoreClient.connect", lambda _: core)
    list(Agent(sampling=given).run("Good morning!"))
    assert read_levers(core.asked[0]["sampling"], TALKING) == meant
