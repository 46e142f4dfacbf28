"""Values that nobody spoke of, numbers that no call uses, and calls made twice are seen in the words alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import prompt
from agentkit.calling.backing import Faults, faults, trimmed, unsaid
from agentkit.calling.selection import Selection
from agentkit.labels import Labels, Origin, Privacy
from agentkit.messages import Evidence, Message, ToolCall, ToolSpec

TABLE = ToolSpec(
    "book_table",
    "Book a table at a restaurant.",
    {
        "type": "object",
        "properties": {
            "restaurant": {"type": "string"},
            "guests": {"type": "integer"},
            "time": {"type": "string"},
            "date": {"type": "string"},
            "area": {"enum": ["indoor", "outdoor", "bar"]},
            "birthday": {"type": "boolean", "description": "Bring a cake."},
            "hours": {"type": "number", "default": 2},
            "wishes": {"type": "array", "items": {"type": "string"}},
            "note": {"type": "string"},
        },
        "required": ["restaurant", "guests"],
    },
)


TIMER = ToolSpec(
    "set_timer",
    "Set a timer by name or by number, today or tomorrow.",
    {
        "type": "object",
        "properties": {
            "amount": {"type": "number"},
            "volume": {"type": "integer"},
            "brightness": {"type": "integer"},
            "day": {"type": "string"},
            "time": {"type": "string"},
        },
        "required": [],
    },
)


def call(name: str = "book_table", /, **arguments: Any) -> ToolCall:
    return ToolCall("call_1", name, arguments)


def against(calls: list[ToolCall], request: str) -> Faults:
    return faults(calls, [TABLE], [Message.user(request)], request)


def left(request: str, **arguments: Any) -> dict[str, Any]:
    calls, _ = trimmed([call(**arguments)], [TABLE], [Message.user(request)])
    return calls[0].arguments


@pytest.mark.parametrize(
    ("request_", "arguments"),
    [
        ("Table for 4 at Kumo", {"time": "19:00"}),
        ("Table for 4 at Kumo", {"area": "outdoor"}),
        ("Table for 4 at Kumo", {"birthday": True}),
        ("Table for 4 at Kumo", {"hours": 3}),
        ("Table for 4 at Kumo", {"hours": 4}),  # it was said once, and the guests have it
        ("Table for 4 at Kumo", {"note": "Kumo"}),
        ("Table for 4 at the Kumo", {"note": "the Kumo"}),
        ("Table for 4 at Kumo", {"note": "4"}),  # the very number, as a text
        ("Table for 4 at Kumo", {"note": "table"}),  # a word of the tool, and no wish of the user
        ("Table for 4 at Kumo", {"wishes": ["high chair"]}),
    ],
)
def test_a_value_nobody_spoke_of_is_left_out_where_the_tool_does_without_it(
    request_: str, arguments: dict[str, Any]
) -> None:
    said: dict[str, Any] = {"restaurant": "Kumo", "guests": 4}
    assert left(request_, **said, **arguments) == said
    calls, dropped = trimmed([call(**said, **arguments)], [TABLE], [Message.user(request_)])
    assert dropped == tuple(f"book_table.{name}" for name in arguments)
    assert against([call(**said, **arguments)], request_).unspoken == dropped
    assert not against([*calls], request_)


@pytest.mark.parametrize(
    ("request_", "arguments"),
    [
        ("Table for 4 at Kumo at 7 pm", {"time": "19:00"}),
        ("Table for 4 at Kumo at 7:30 p.m.", {"time": "19:30"}),
        ("Table for 4 at Kumo at 12 am", {"time": "00:00"}),
        ("Table for 4 at Kumo on 3 March 2027", {"date": "2027-03-03"}),
        ("An outdoor table for 4 at Kumo", {"area": "outdoor"}),
        ("Table for 4 at Kumo, it is a birthday", {"birthday": True}),
        ("Table for 4 at Kumo, and please bring a cake", {"birthday": True}),
        ("Table for 4 at Kumo", {"hours": 2}),  # that is how long it is anyway
        ("Table for 4 at Kumo for 90 minutes", {"hours": 1.5}),
        ("Table for 4 at Kumo for 4 hours", {"hours": 4}),
        ("Table for four at Kumo with two high chairs", {"wishes": ["two high chairs"]}),
        ("Table for 4 at Kumo, allergic to nuts", {"note": "allergies"}),
        ("Table for 4 at Kumo", {"note": ""}),
    ],
)
def test_a_value_somebody_spoke_of_stays(request_: str, arguments: dict[str, Any]) -> None:
    said: dict[str, Any] = {"restaurant": "Kumo", "guests": 4, **arguments}
    assert left(request_, **said) == said
    assert not against([call(**said)], request_)


def test_a_day_that_was_said_once_is_not_given_to_two() -> None:
    said: dict[str, Any] = {"restaurant": "Kumo", "guests": 4, "date": "2027-03-03"}
    once = "Table for 4 at Kumo on 3 March 2027"
    assert left(once, **said, note="2027-03-03") == said
    assert left(once, **said, note="on 3 March") == {**said, "note": "on 3 March"}


def test_a_sentence_with_a_number_of_the_models_own_was_not_said() -> None:
    note = ToolSpec(
        "write_note", "Write.", {"properties": {"text": {"type": "string"}}, "required": ["text"]}
    )
    asked = [Message.user("Write down how long the quay is. It is 1,400 dm, measured on 3 May 2026 at 7 pm.")]

    def missing(text: str) -> tuple[str, ...]:
        return unsaid([ToolCall("call_1", note.name, {"text": text})], [note], asked)

    assert missing("the length of the quay is 300") == ("text",)
    for text in (
        "the length is 1400 dm",
        "measured on 2026-05-03 at 19:00, how long",
        "print(range(1, 21)) # how long",
    ):
        assert not missing(text)


def test_what_is_said_once_goes_to_the_argument_whose_list_has_it() -> None:
    eat = ToolSpec(
        "find_food",
        "Find something to eat.",
        {"properties": {"dish": {"type": "string"}, "price": {"enum": ["low", "moderate"]}}},
    )
    both = ToolCall("call_1", eat.name, {"dish": "moderate", "price": "moderate"})
    calls, dropped = trimmed([both], [eat], [Message.user("Something moderate, please")])
    assert (calls[0].arguments, dropped) == ({"price": "moderate"}, ("find_food.dish",))


def test_yes_or_no_needs_more_than_a_word_of_the_tool() -> None:
    first = {"type": "boolean", "description": "It is the first home."}
    loan = ToolSpec("home_loan", "Ask a bank.", {"properties": {"first": first}})

    def kept(request: str) -> bool:
        yes = ToolCall("call_1", loan.name, {"first": True})
        return bool(trimmed([yes], [loan], [Message.user(request)])[0][0].arguments)

    assert not kept("A loan for a home of 300,000 dollars")
    assert kept("A loan for our first home")


def test_blanks_around_a_text_go_and_a_text_of_blanks_stays() -> None:
    assert left(
        "Table for 4 at Kumo, by the window", restaurant=" Kumo\n", guests=4, note=" by the window"
    ) == {
        "restaurant": "Kumo",
        "guests": 4,
        "note": "by the window",
    }
    assert left("Table for 4 at Kumo", restaurant=" ", guests=4) == {"restaurant": " ", "guests": 4}


def test_what_has_to_be_there_is_a_fault_and_stays() -> None:
    said: dict[str, Any] = {"restaurant": "Velo", "guests": 7}
    assert left("Table for 4 at Kumo", **said) == said
    assert against([call(**said)], "Table for 4 at Kumo") == Faults(
        ("book_table.restaurant", "book_table.guests"), ("4", "Kumo")
    )


def test_numbers_that_no_call_uses_are_faults_and_those_of_lists_and_powers_are_none() -> None:
    asked = "1. Table for 4 at Kumo, 30 m^2 at least\n2. Table for 1,250.50 at Velo"
    calls = [call(restaurant="Kumo", guests=4), call(restaurant="Velo", guests=1250.5)]
    assert against(calls, asked).unused == ("30",)


def test_names_that_no_call_uses_are_faults_and_days_and_beginnings_are_none() -> None:
    asked = "Book a table for 4 at Kumo and at Velo Rosso on Friday, 3 March. Thanks. The Kumo one first"
    kumo = call(restaurant="Kumo", guests=4)
    velo = call(restaurant="the Velo Rosso", guests=4, date="2027-03-03")
    assert against([kumo], asked).unused == ("3", "Velo", "Rosso")
    assert not against([kumo, velo], asked)


def test_behind_a_result_values_may_come_from_it_and_nothing_has_to_be_used() -> None:
    first = call(restaurant="Kumo", guests=4)
    result = Message.tool(first, "Full. Velo has room, at 21:15.", Labels(Origin.TOOL, Privacy.PUBLIC))
    asked = [Message.user("Table for 4 at Kumo"), Message.assistant("", result.labels, (first,)), result]
    assert not faults([call(restaurant="Velo", guests=4, time="21:15")], [TABLE], asked)


def test_a_call_that_is_there_already_is_made_once() -> None:
    twice = [call(restaurant="Kumo", guests=4), call(restaurant="Kumo", guests=4, time="19:00")]
    asked = [Message.user("Table for 4 at Kumo")]
    assert trimmed(twice, [TABLE], asked) == ((twice[0],), ("book_table.time", "book_table"))
    assert faults([twice[0], twice[0]], [TABLE], asked).repeated == 1


@pytest.mark.parametrize(
    "number", [10**400, -(10**400), 1e200, 5e-324], ids=lambda number: f"{str(number)[:9]}"
)
def test_numbers_of_any_size_can_be_looked_at(number: float) -> None:
    calls = [call(restaurant="Kumo", guests=number)]
    assert against(calls, "Table for 4 at Kumo") == Faults(("book_table.guests",), ("4",))
    assert against(calls, f"Kumo, {10**400}").unused == (() if abs(number) > 1e300 else ("inf",))


def test_a_tool_that_was_not_shown_is_looked_at_without_its_schema() -> None:
    other = call("wave", hand="left")
    assert trimmed([other], [TABLE], [Message.user("Wave.")]) == ((other,), ())
    assert faults([other], [TABLE], [Message.user("Wave.")]).unspoken == ("wave.hand",)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.text(max_size=80), st.dictionaries(st.sampled_from([*TABLE.parameters["properties"], "x"]), _JSON))
def test_any_values_can_be_looked_at_and_trimming_only_takes_away(
    text: str, arguments: dict[str, Any]
) -> None:
    asked = [Message.user(text)]
    calls, dropped = trimmed([call(**arguments), call(**arguments)], [TABLE], asked)
    (only,) = calls
    assert only.arguments == {
        name: value.strip() or value if isinstance(value, str) else value
        for name, value in arguments.items()
        if f"book_table.{name}" not in dropped
    }
    assert not {"book_table.restaurant", "book_table.guests"} & {*dropped}
    assert not faults(calls, [TABLE], asked).repeated


@pytest.mark.parametrize(
    ("request_", "arguments"),
    [
        ("for twenty-five minutes", {"amount": 25}),
        ("for forty five minutes", {"amount": 45}),
        ("for a hundred and fifty people", {"amount": 150}),
        ("two thousand three hundred and four", {"amount": 2304}),
        ("on the fifth floor", {"amount": 5}),
        ("an hour and a half", {"amount": 1.5}),
        ("1/2 cup", {"amount": 0.5}),
        ("1\u00bd cups", {"amount": 1.5}),
        ("1,5 m", {"amount": 1.5}),
        ("at noon", {"time": "12:00"}),
        ("volume and brightness to 30 percent", {"volume": 30, "brightness": 30}),
        ("what about today", {"day": "today"}),
        ("\u660e\u65e5\u306e\u6771\u4eac", {"day": "\u660e\u65e5"}),
    ],
)
def test_what_was_said_in_another_way_is_kept(request_: str, arguments: dict[str, Any]) -> None:
    said = [Message.user(request_)]
    (kept,), gone = trimmed([call("set_timer", **arguments)], [TIMER], said)
    assert (kept.arguments, gone) == (arguments, ())
    assert not faults([kept], [TIMER], said).unspoken


def test_numbers_in_words_that_stand_side_by_side_are_not_added_up() -> None:
    (kept,), _ = trimmed([call("set_timer", amount=5)], [TIMER], [Message.user("rooms two and three")])
    assert kept.arguments == {}


TIDES = ToolSpec(
    "tides",
    "Look up the tides.",
    {
        "type": "object",
        "properties": {
            "harbour": {"type": "string", "description": "Name of the harbour. As on charts."},
            "day": {"type": "string"},
            "unit": {"type": "string"},
            "hours": {"type": "integer", "description": "How many hours are looked at"},
            "state": {"enum": ["low", "high"]},
            "marks": {"type": "array", "items": {"type": "string"}},
            "local": {"type": "boolean"},
            "deep": {"type": "number", "default": 2},
            "note": {"type": "string"},
        },
        "required": ["harbour", "day", "unit", "hours", "state", "marks", "local", "deep"],
    },
)
SAID = {"harbour": "Port Ellery", "day": "2027-03-04", "hours": 12}
ASKED = "Tides at Port Ellery on 4 March 2027 for 12 hours"


def asked_for(request: str, *others: Message, **arguments: Any) -> tuple[str, ...]:
    return unsaid([call("tides", **arguments)], [TIDES], [*others, Message.user(request)])


@pytest.mark.parametrize(
    ("arguments", "subjects"),
    [
        ({}, ()),
        ({"harbour": "Stranmouth"}, ("name of the harbour",)),
        ({"harbour": " "}, ("name of the harbour",)),
        ({"hours": 7}, ("how many hours are looked at",)),
        ({"day": "day"}, ("day",)),  # short as a code, and the name of the argument
        ({"day": "2031-11-09", "hours": 7}, ("day", "how many hours are looked at")),
        ({"marks": ["buoys", "lights"]}, ("marks",)),
        ({"unit": "ft"}, ()),  # a code may stand for what was said
        ({"state": "low", "local": True, "deep": 2}, ()),  # of a list, yes or no, and what it is anyway
        ({"note": "calm sea"}, ()),  # it is left out
    ],
)
def test_what_a_call_needs_and_nobody_said_is_named(
    arguments: dict[str, Any], subjects: tuple[str, ...]
) -> None:
    assert asked_for(ASKED, **{**SAID, **arguments}) == subjects
    both = [call("tides", **SAID), call("tides", **{**SAID, **arguments}), call("unknown", day="day")]
    assert unsaid(both, [TIDES], [Message.user(ASKED)]) == subjects


def test_what_was_said_or_returned_before_counts_as_said() -> None:
    labels = Labels(Origin.TOOL, Privacy.PRIVATE)
    found = Message.tool(call("harbours"), "Stranmouth is near", labels)
    assert asked_for(ASKED, found, **{**SAID, "harbour": "Stranmouth"}) == ()
    assert asked_for(ASKED, Message.user("I am in Stranmouth"), **{**SAID, "harbour": "Stranmouth"}) == ()
    assert asked_for(ASKED, Message.system("Stranmouth"), **{**SAID, "harbour": "Stranmouth"})


@pytest.mark.parametrize(
    ("arguments", "is_said"),
    [
        ({"harbour": "Stranmouth"}, True),
        ({"harbour": "old quay"}, True),
        ({"harbour": "boat"}, False),
        ({"hours": 3}, False),
        ({"hours": 144}, True),
        ({"harbour": "Kumo"}, False),
    ],
)
def test_of_passages_only_what_stands_out_counts_as_said(arguments: dict[str, Any], *, is_said: bool) -> None:
    passage = Evidence(
        "1", "notes.md", "", "My boat lies at Stranmouth, at the old quay, berth 144, for 3 weeks.", 0.6
    )
    request = prompt.question(ASKED, [passage])
    assert prompt.unquestioned(request) == (request.removesuffix(f"\n\nQuestion: {ASKED}"), ASKED)
    assert (asked_for(request, **{**SAID, **arguments}) == ()) is is_said


@pytest.mark.parametrize(
    ("told", "hours", "is_said"),
    [
        ("for an hour", 1, True),
        ("for a while", 1, False),
        ("for the next day", 24, True),
        ("for the next ships", 1, False),
        ("four times, quarterly", 4, True),
        ("monthly", 12, True),
        ("monthly", 7, False),
    ],
)
def test_words_for_a_time_are_numbers(told: str, hours: int, *, is_said: bool) -> None:
    request = f"Tides at Port Ellery on 4 March 2027 {told}"
    assert (asked_for(request, **{**SAID, "hours": hours}) == ()) is is_said


@pytest.mark.parametrize("schema", [True, {"type": "array", "items": True}, {"type": "array", "items": [{}]}])
def test_a_parameter_that_may_be_anything_can_be_looked_at(schema: Any) -> None:
    tool = ToolSpec("read_x", "Read.", {"properties": {"x": schema}, "required": ["x"]})
    calls, said = [call("read_x", x=["notes.txt"])], [Message.user("What is in notes.txt?")]
    assert not faults(calls, [tool], said).unspoken
    assert unsaid(calls, [tool], said) == ()
    assert trimmed(calls, [tool], said)[0] == tuple(calls)
    assert [each.name for each in Selection().choose(said[0].text, [tool]).tools] == []


def test_a_request_that_names_a_file_is_not_what_is_written_into_it() -> None:
    properties = {"path": {"type": "string"}, "text": {"type": "string", "description": "What to add."}}
    tool = ToolSpec("append_file", "Add a line.", {"properties": properties, "required": ["path", "text"]})

    def asked(request: str, text: str) -> tuple[str, ...]:
        calls = [call("append_file", path="todo.txt", text=text)]
        return unsaid(calls, [tool], [Message.user(request)])

    assert asked("Add it to todo.txt", "Add it to todo.txt.") == ("what to add",)
    assert asked("Add the word eggs to todo.txt", "eggs") == ()


def test_what_is_part_of_another_value_is_said_and_left_out_where_it_may_be() -> None:
    request = "Tides in feet at Ellery Sound, Norway on 4 March 2027 for 12 hours"
    values = {**SAID, "harbour": "Ellery Sound, Norway", "unit": "Norway"}
    assert asked_for(request, **values) == ()
    assert asked_for(request, **{**values, "unit": "Ellery Sound, Norway"}) == ("unit",)
    (kept,), gone = trimmed([call("tides", **values, note="Norway")], [TIDES], [Message.user(request)])
    assert (kept.arguments, gone) == (values, ("tides.note",))


MAYOR = ToolSpec(
    "mayor_of_town",
    "Return the mayor of a town.",
    {
        "properties": {
            "town_name": {"type": "string"},
            "town_kind": {"enum": ["town", "village"]},
            "in_year": {"type": "integer"},
        },
        "required": ["town_name"],
    },
)


@pytest.mark.parametrize(
    ("request_", "arguments", "lacking"),
    [
        ("Who is the mayor of the town?", {"town_name": "the town"}, ("town name",)),
        ("Who is mayor of my town?", {"town_name": "my town"}, ("town name",)),
        ("Mayor of town?", {"town_name": "town"}, ("town name",)),
        ("Who is the mayor of the harbour town?", {"town_name": "the harbour town"}, ()),
        ("Who is mayor of Kumo, a town?", {"town_name": "Kumo", "town_kind": "town"}, ()),
    ],
)
def test_what_only_tells_what_an_argument_is_does_not_say_which(
    request_: str, arguments: dict[str, Any], lacking: tuple[str, ...]
) -> None:
    calls = [call("mayor_of_town", **arguments)]
    assert unsaid(calls, [MAYOR], [Message.user(request_)]) == lacking
    # who says it twice has no other name for it
    assert unsaid(calls, [MAYOR], [Message.user(request_), Message.user(request_)]) == ()


SHIPPING = ToolSpec(
    "shipping_cost",
    "What a parcel costs.",
    {
        "properties": {
            "code": {"type": "string"},
            "distance": {"type": "number"},
            "weight": {"type": "number"},
            "day": {"type": "string", "description": "Day of the parcel, e.g. 2027-01-31."},
            "at": {"type": "string", "description": "When it goes (such as 18:30)"},
        },
        "required": ["code", "distance", "weight", "at", "day"],
    },
)


@pytest.mark.parametrize(
    ("request_", "arguments", "lacking"),
    [
        ("Cost of a weight of 22 kg", {"distance": 22, "weight": 22}, ("distance",)),
        ("Cost of 22 kg over a distance of 22 km", {"distance": 22, "weight": 22}, ()),
        ("Distance and weight are 22", {"distance": 22, "weight": 22}, ()),
        ("Cost of a weight of 22,000 g", {"distance": 22, "weight": 22000}, ("distance",)),
        ("Cost of a weight of 2 tonnes for 2,000 km", {"distance": 2000, "weight": 2}, ()),
        ("Cost on 21 July 2027", {"day": "2027-07-21", "distance": 21}, ("distance",)),
        ("Cost on 21 July 2027 for 21 km", {"day": "2027-07-21", "distance": 21}, ()),
        ("Cost of parcel EM-2016", {"code": "EM-2016", "weight": 2016}, ("weight",)),
        ("Cost of 6,684 kg", {"code": "6684", "weight": 6684}, ("weight",)),
        ("Cost on 21 July", {"day": "2027-07-21"}, ()),
        ("Cost on 21 July", {"day": "2027-07-23"}, ("day of the parcel",)),
        ("Cost on 21 July", {"day": "2027-07-21", "at": "21:00"}, ("when it goes",)),
        ("Cost at 9 pm on 21 July", {"day": "2027-07-21", "at": "21:00"}, ()),
    ],
)
def test_a_number_that_is_said_once_is_one_value_of_a_call(
    request_: str, arguments: dict[str, Any], lacking: tuple[str, ...]
) -> None:
    assert unsaid([call("shipping_cost", **arguments)], [SHIPPING], [Message.user(request_)]) == lacking
