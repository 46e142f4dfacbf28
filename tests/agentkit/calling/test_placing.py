"""Numbers go where the words of a request put them, and stay where they say nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.calling.placing import placed
from agentkit.messages import ToolCall, ToolSpec


def tool(**arguments: Any) -> ToolSpec:
    """Return one whose arguments are described by these words, or by these schemas."""
    return ToolSpec(
        "measure",
        "Measure something.",
        {
            "properties": {
                name: about if isinstance(about, dict) else {"type": "number", "description": about}
                for name, about in arguments.items()
            }
        },
    )


FENCE = tool(metres="How long it is.", height={"type": "integer", "description": "In centimetres."})
SCORES = tool(correct="True positives", alarms="False positives", missed="False negatives")
BOX = tool(width="", depth="")


@pytest.mark.parametrize(
    ("shown", "request_", "before", "after"),
    [
        (FENCE, "A fence 190 cm high, and 1060 m of it", (190, 1060), (1060, 190)),
        (
            FENCE,
            "A fence 190.5 cm high, and 1060 m of it",
            (190.5, 1060),
            (190.5, 1060),
        ),  # whole numbers only
        (SCORES, "97 false positives, 336 true ones, 221 false negatives", (97, 336, 221), (336, 97, 221)),
        (BOX, "width 6 and depth 10", (10, 6), (6, 10)),
        (BOX, "6 wide, 10 deep", (10, 6), (6, 10)),
        (BOX, "6 wide, 10 deep", (6, 10), (6, 10)),
        (BOX, "6 by 10", (10, 6), (10, 6)),  # nothing tells which is which
        (BOX, "width 6 and depth 6", (6, 6), (6, 6)),
        (BOX, "width 6", (6, 10), (6, 10)),  # the other was not said
        (BOX, "on 6/10 at 10:06, width and depth", (10, 6), (10, 6)),  # no numbers of their own
        (BOX, "", (10, 6), (10, 6)),
    ],
)
def test_numbers_go_to_the_arguments_they_stand_beside(
    shown: ToolSpec, request_: str, before: tuple[float, ...], after: tuple[float, ...]
) -> None:
    names = tuple(shown.parameters["properties"])
    calls = [ToolCall("1", "measure", dict(zip(names, before, strict=True)))]
    assert placed(calls, [shown], request_)[0].arguments == dict(zip(names, after, strict=True))


def test_each_of_several_calls_is_of_its_own_part() -> None:
    request = "Measure a box with width 6 and depth 10. Then measure a box 4 deep, 3 wide."
    calls = [
        ToolCall(each, "measure", {"width": w, "depth": d}) for each, w, d in (("1", 10, 6), ("2", 4, 3))
    ]
    assert [each.arguments for each in placed(calls, [BOX], request)] == [
        {"width": 6, "depth": 10},
        {"width": 3, "depth": 4},
    ]


def test_a_text_of_digits_is_a_number_and_stays_a_text() -> None:
    shown = tool(cell={"type": "string"}, voltage="In volts.")
    calls = [ToolCall("1", "measure", {"cell": "24", "voltage": 18650})]
    (now,) = placed(calls, [shown], "24 volts from 18650 cells")
    assert now.arguments == {"cell": "18650", "voltage": 24}


@given(st.text(max_size=60), st.lists(st.floats(allow_nan=False) | st.integers(), min_size=2, max_size=2))
def test_whatever_was_said_the_same_numbers_are_given(request_: str, numbers: list[float]) -> None:
    calls = [ToolCall("1", "measure", dict(zip(("width", "depth"), numbers, strict=True)))]
    (now,) = placed(calls, [BOX], request_)
    assert sorted(now.arguments.values()) == sorted(numbers)
    other = [ToolCall("1", "unknown", calls[0].arguments)]
    assert placed(other, [BOX], request_) == tuple(other)
