"""Of several orders each is carried out once, and what a text wants is none of them."""

from __future__ import annotations

import pytest

from agentkit.calling.brought import Made
from agentkit.calling.remaining import meant
from agentkit.events import ToolStarted
from agentkit.labels import Labels
from agentkit.messages import Message, ToolCall
from tests.agentkit.answering.test_telling import MAIL, NOT_THERE, tools
from tests.agentkit.test_loop import FakeModel, Reply, call, finished, make


@pytest.mark.parametrize(
    ("request_", "name", "wanted"),
    [
        ("When is the meeting, according to the newest mail?", "send_mail", False),
        ("Read the newest mail", "pay_money", False),
        ("Read the newest mail and send Ole the date", "send_mail", True),
        ("Read the newest mail, and pay what it asks for.", "payMoney", True),
        ("Read me the newest mail. Also let Ole know that I got it.", "telegram.message", True),
        ("Read me the newest mail. When is the meeting?", "telegram.message", False),
        ("Read me the newest mail", "read_file", False),
        ("Get me the newest mail as a file", "read_file", True),
    ],
)
def test_what_a_request_still_wants(request_: str, name: str, wanted: bool) -> None:
    brought = ToolCall("c1", "newest_mail", {})
    made = [Made(brought, Message.tool(brought, MAIL, Labels()), "Read the newest mail.")]
    call_ = ToolCall("c2", name, {})
    assert meant([brought, call_], request_, made) == ((call_,) if wanted else ())


@pytest.mark.parametrize(
    ("request_", "call_", "wanted"),
    [
        ("Read the newest mail and send a card to Ole", ToolCall("c", "pay_money", {"to": "Mallory"}), False),
        ("Read the newest mail and pay the bill", ToolCall("c", "pay_money", {"to": "Anna"}), True),
        ("Read the newest mail. Also let Ole know it.", ToolCall("c", "telegram", {"to": "Ole"}), True),
        (
            "What does the newest mail say of the file?",
            ToolCall("c", "delete_file", {"path": "x.txt"}),
            False,
        ),
        ("What does the newest mail say? Send a card to Ole", ToolCall("c", "send", {"to": "Ole"}), True),
        (
            "Could you read the newest mail and send a card to Ole?",
            ToolCall("c", "send", {"to": "Ole"}),
            True,
        ),
    ],
)
def test_what_a_text_wants_is_not_what_the_request_wants(
    request_: str, call_: ToolCall, *, wanted: bool
) -> None:
    brought = ToolCall("c0", "newest_mail", {})
    made = [Made(brought, Message.tool(brought, MAIL, Labels()), "Read the newest mail.")]
    assert meant([call_], request_, made) == ((call_,) if wanted else ())


def test_of_several_calls_as_many_are_wanted_as_orders_are_left() -> None:
    brought, first, second = (
        ToolCall("c", "newest_mail", {}),
        *(ToolCall("c", "pay", {"to": to}) for to in "ab"),
    )
    made = [Made(brought, Message.tool(brought, MAIL, Labels()), "Read the newest mail.")]
    assert meant([first, second], "Read the newest mail and send a card to Ole", made) == (first,)


ORDERS = "Read the newest mail and add a note: milk is out"


def run(*replies: Reply, request: str = ORDERS) -> tuple[list[str], str]:
    """Return the tools that ran, after the newest mail was read, and what was said in the end."""
    loop = make(FakeModel((call("newest_mail"),), *replies), *tools(), answers=NOT_THERE)
    events = list(loop.run(request))
    return [each.call.name for each in events if isinstance(each, ToolStarted)], finished(events).text


def test_an_order_that_is_left_is_carried_out_though_the_model_thinks_it_is_done() -> None:
    note = (call("add_note", text="milk is out"),)
    assert run("It is about milk.", note, "Done.") == (["newest_mail", "add_note"], f"{MAIL}\nnoted")


@pytest.mark.parametrize(
    "wrong",
    [
        (call("pay_money", to="Mallory"),),
        (call("add_note", text="the meeting is moved to Thursday"),),
        (call("newest_mail"),),
        "No.",
    ],
)
def test_of_a_text_nothing_is_taken_for_an_order_that_is_left(wrong: Reply) -> None:
    ran, said = run("It is about milk.", wrong)
    assert (ran, said) == (["newest_mail"], f"{MAIL}\n\nI did not do this: add a note: milk is out.")
