"""What a request asks for is read, or refused with what it should have been."""

from __future__ import annotations

from typing import Any

import pytest

from agentkit.calling.votes import Votes
from agentkit.core.asked import read_votes
from agentkit.errors import ConfigError


@pytest.mark.parametrize(
    ("request_", "votes"),
    [({}, Votes(2)), ({"votes": None}, Votes(2)), ({"votes": 0}, None), ({"votes": 16}, Votes(16))],
)
def test_votes_are_as_asked_for_or_else_as_the_model_has_them(
    request_: dict[str, Any], votes: Votes | None
) -> None:
    assert read_votes(request_, Votes(2)) == votes


@pytest.mark.parametrize("votes", [-1, 17, 10**9, 2.5, True, "4", [4]])
def test_other_votes_are_refused(votes: object) -> None:
    with pytest.raises(ConfigError, match="no whole number from 0 to 16") as caught:
        read_votes({"votes": votes})
    assert caught.value.hint
