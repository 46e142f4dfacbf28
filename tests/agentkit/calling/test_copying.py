"""A value that was miscopied is mended where one thing can be meant, and left alone where two can."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.calling.copying import copied
from agentkit.messages import ToolCall, ToolSpec

SHOWN = ToolSpec(
    "keep",
    "Keep it.",
    {
        "properties": {
            "what": {"type": "string"},
            "other": {"type": "string"},
            "kind": {"enum": ["mill", "A-1"]},
            "count": {"type": "integer"},
            "when": {"type": "string", "description": "As YYYY-MM-DD."},
            "at": {"type": "string", "format": "time"},
        }
    },
)


def now(request: str, **arguments: Any) -> dict[str, Any]:
    (call,) = copied([ToolCall("1", "keep", arguments)], [SHOWN], request)
    return call.arguments


@pytest.mark.parametrize(
    ("request_", "what", "meant"),
    [
        ("Keep SP-0771, please.", "SP-0717", "SP-0771"),
        ("A waltz in 3/4", "2/4", "3/4"),
        ("Either 3/4 or 6/8", "2/4", "2/4"),  # it may be either
        ("Keep SP-0771.", "sp-0771", "sp-0771"),  # it was said
        ("Keep 771", "717", "717"),  # no code
        ("Keep the keys", "SP-0717", "SP-0717"),
        ("Lights off at 11:15 pm", "11:15", "23:15"),
        ("Lights off at 11:15", "11:15", "11:15"),
        ("Between 11 am and 11 pm", "11:00", "11:00"),
        ("On 3 December 2022", "2022-12-3", "2022-12-03"),
        ("On 3 December 2022", "2022-12-04", "2022-12-03"),
        ("On 3 December 2022 or 2022-12-05", "2022-12-04", "2022-12-04"),
        (
            "Tomorrow, not on 3 December 2022",
            "2022-12-04",
            "2022-12-04",
        ),  # which day that is, is not known here
        ("From 3 December 2022 to the day after, 2022-12-04", "2022-12-04", "2022-12-04"),
        ("Title: 'Old mill, newly restored'", "Old mill", "Old mill, newly restored"),
        ('Title: "Old mill, newly restored"', "newly restored", "Old mill, newly restored"),
        ("Title: \u201cOld mill, newly restored\u201d", "Old mill", "Old mill, newly restored"),
        ("It's the Smiths' old mill, isn't it?", "old mill", "old mill"),
        ("Keep 'a mill' and 'a mill by a brook'", "a mill", "a mill"),
    ],
)
def test_what_was_miscopied_is_mended(request_: str, what: str, meant: str) -> None:
    assert now(request_, what=what, count=7) == {"what": meant, "count": 7}


def test_what_another_value_has_or_the_tool_gives_itself_is_left_alone() -> None:
    both = {"what": "SP-0771", "other": "SP-0717"}
    assert now("Keep SP-0771.", **both) == both
    parts = {"what": "Old mill", "other": "newly restored"}
    assert now("Title: 'Old mill, newly restored'", **parts) == parts
    assert now("Keep B-2", kind="A-1") == {"kind": "A-1"}
    assert now("The 'mill by a brook'", kind="mill") == {"kind": "mill"}
    unknown = ToolCall("1", "unknown", {"what": "SP-0717"})
    assert copied([unknown], [SHOWN], "Keep SP-0771") == (unknown,)


def test_a_day_that_depends_on_today_is_that_day() -> None:
    tomorrow = (datetime.now().astimezone().date() + timedelta(1)).isoformat()
    assert now("Keep it for tomorrow", what="2022-12-04")["what"] == tomorrow
    assert now("Keep it for tomorrow", what="tomorrow")["what"] == "tomorrow"
    assert now("Keep it for tomorrow", when="tomorrow", at="half past six")["when"] == tomorrow
    assert now("Keep it for tomorrow", at="6 pm")["at"] == "18:00"
    assert now("Keep it for tomorrow", at="six")["at"] == "six"


@given(st.text(max_size=80), st.text(max_size=20))
def test_any_text_can_be_looked_at(request_: str, what: str) -> None:
    mended = now(request_, what=what)["what"]
    assert mended == what or mended in request_ or re.fullmatch(r"\d{4}-\d\d-\d\d|\d\d:\d\d", mended)
