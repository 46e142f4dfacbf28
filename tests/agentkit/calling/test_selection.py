"""Few tools, the same ones for the same words, and calls that the words themselves make."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from agentkit.answering.expected import expected
from agentkit.calling.backing import names_values
from agentkit.calling.intents import CUES, INTENTS, Intent, cues, intent, speaks_of_arithmetic
from agentkit.calling.selection import LIMIT, Selection
from agentkit.models.normalise import normalise
from agentkit.models.usable import refusal
from agentkit.request.parts import MAX_PARTS, parts

EVERY = ["remember", *(rule.tool for rule in INTENTS)]


@dataclass(frozen=True)
class Described:
    name: str
    description: str
    parameters: dict[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})


@pytest.mark.parametrize(
    ("request_", "tool", "arguments"),
    [
        ("What is 17 * 23?", "calculator", {"expression": "17 * 23"}),
        ("how much is 15% of 80", "calculator", {"expression": "15% of 80"}),
        ("What is 1250 plus 375 minus 20?", "calculator", {"expression": "1250 + 375 - 20"}),
        ("what is the square root of 144", "calculator", {"expression": "sqrt(144)"}),
        ("What is 12 percent of 450?", "calculator", {"expression": "12% of 450"}),
        ("Could you divide 1,500 by 12.5 for me, please?", "calculator", {"expression": "1,500 / 12.5"}),
        ("subtract 8 from 20", "calculator", {"expression": "20 - 8"}),
        ("Give me the product of 6 and 7", "calculator", {"expression": "6 * 7"}),
        ("Add 3 and 4, thanks", "calculator", {"expression": "3 + 4"}),
        ("(2 + 3) * 4 =", "calculator", {"expression": "(2 + 3) * 4"}),
        ("Remember that my sister's name is Anna.", "remember", {"fact": "my sister's name is Anna"}),
        (
            "please note: the spare key is under the pot",
            "remember",
            {"fact": "the spare key is under the pot"},
        ),
        ("My flat is number 12, don't forget that.", "remember", {"fact": "My flat is number 12"}),
        ("Never forget that I dislike coriander", "remember", {"fact": "I dislike coriander"}),
        ("Write this down: plumber, 020 555", "remember", {"fact": "plumber, 020 555"}),
        ("Do you remember where my sister lives?", "recall", {"query": "where my sister lives"}),
        ("What do you know about my sister?", "recall", {"query": "my sister"}),
        ("What time is it?", "current_time", {}),
        ("what's the time in New York right now?", "current_time", {"timezone": "New York"}),
        ("List my files", "list_folder", {}),
        ("Run this Python: print(6 * 7)", "run_python", {"code": "print(6 * 7)"}),
        ("Run print(2**10) in python", "run_python", {"code": "print(2**10)"}),
        ("Please run `print('a b')` with Python!", "run_python", {"code": "print('a b')"}),
        ("Execute ls -l in the terminal", "run_shell", {"command": "ls -l"}),
        (
            "Run this Python:\n```python\nfor i in range(3):\n    print(i)\n```",
            "run_python",
            {"code": "for i in range(3):\n    print(i)"},
        ),
        ("Run this command: ls -l | wc -l", "run_shell", {"command": "ls -l | wc -l"}),
        ("Use the run_python tool to add two numbers", "run_python", {}),
        ("Please tell me the date, using the current time tool.", "current_time", {}),
        ("How much is it? Use the calculator tool.", "calculator", {}),
        ("What\u2019s 7 times 8?", "calculator", {"expression": "7 * 8"}),
        ("((1,000 + 2) * (3 - 4)) / 5", "calculator", {"expression": "((1,000 + 2) * (3 - 4)) / 5"}),
        ("what is 10 % 3?", "calculator", {"expression": "10 % 3"}),
        ("Can you remember that I am vegan?", "remember", {"fact": "I am vegan"}),
        ("Remember that Zo\u00eb\u2019s cat is Mia.", "remember", {"fact": "Zo\u00eb\u2019s cat is Mia"}),
        ("Remember that my password is Sunny2day!!", "remember", {"fact": "my password is Sunny2day!!"}),
        ("Remember that I am 40!", "remember", {"fact": "I am 40"}),
        ("Add 'buy mum's cake' to todo.txt", "append_file", {"text": "buy mum's cake", "path": "todo.txt"}),
        (
            "please append the line \u201coil, 2 l\u201d to my list lists/shop-2.md!",
            "append_file",
            {"text": "oil, 2 l", "path": "lists/shop-2.md"},
        ),
        (
            "Add call the plumber to todo.txt.",
            "append_file",
            {"text": "call the plumber", "path": "todo.txt"},
        ),
        (
            "write 'buy milk' at the end of notes.txt",
            "append_file",
            {"text": "buy milk", "path": "notes.txt"},
        ),
        ('Save a new entry "oil" to log.md', "append_file", {"text": "oil", "path": "log.md"}),
        (
            "Write 'print(\"hi\")' into hello.py",
            "write_file",
            {"content": 'print("hi")', "path": "hello.py"},
        ),
        (
            'Create a file called greet.txt with the text "Hello, you two."',
            "write_file",
            {"content": "Hello, you two.", "path": "greet.txt"},
        ),
    ],
)
def test_a_request_that_names_its_tool_is_a_call_with_its_own_words(
    request_: str, tool: str, arguments: dict[str, str]
) -> None:
    named = intent(request_, EVERY)
    assert named is not None
    assert (named.tool, dict(named.arguments)) == (tool, arguments)


@pytest.mark.parametrize(
    "text",
    [
        "Do you remember when we met?",
        "Remember when we met?",
        "How many people live in 2 * 3 houses?",
        "Don't forget to buy milk.",
        "Do you know when my passport expires?",
        "Is it right that you remember that?",
        "Add 3 apples and 4 pears to my list.",
        "Explain how Python runs this: code",
        "When is the next dentist appointment?",
        "Remember me?",
        "Can you remember my name?",
        "Remember that time we went to Rome?",
        "Please remember it.",
        "note that down",
        "Please remember that I am vegan, and suggest a dinner.",
        "Keep in mind that I am a beginner. How do loops work in Python?",
        "What is the capital of France, remember it",
        "Write me an email to Bob. Remember this",
        "2024-05-01",
        "555-123-4567",
        "What is 24/7?",
        "what is 5 of 7",
        "what is 1,5 + 2",
        "Don't use the calculator tool. Guess.",
        "What happens if I use the run_shell tool?",
        "Add it to todo.txt",
        "Add error handling to main.py",
        "Add my phone number to contacts.txt",
        "Use the run_shell tool to list them, then use the calculator tool to add it up",
        "What time is it in two hours?",
        "What time is it in the morning?",
        "Keep the oven at 180 until the cake is done",
        "Keep the living room at 21 degrees while it is cold outside.",
        "I need to remember the name of that actor",
        "What hotel did I book for 3 nights at 90 euros a night?",
        "Add the opening hours to hours.txt",
        "Add 'a' and 'b' to list.txt",
        'Write "a" to b.txt and "c" to d.txt',
        "Add eggs to todo.txt and read it to me",
        "Don't add 'x' to todo.txt",
        "Write a poem to poem.txt",
        "",
    ],
)
def test_anything_less_plain_is_left_to_the_model(text: str) -> None:
    assert intent(text, EVERY) is None


@pytest.mark.parametrize(
    "text",
    [
        "add " + "'a' to " * 3000,
        "add-" * 5000,
        "run " + "(" * 50_000 + " in python?",
        "not " * 50_000 + "use the calculator tool",
        "add " + "x to " * 3000 + "y.txt z",
        f"What is {' + '.join(['12'] * 2000)} euros",
        "1%-" * 3000 + "1 x",
        "(" * 50_000,
        "what time" + " is it today" * 2000 + " x",
        "run python: x" + " " * 20_000 + "y",
        "34,85," * 30_000,
        "remember that " + ", and " * 20_000,
        "a, and " * 20_000,
        "\n" * 20_000,
        " " * 20_000 + "x",
        "." * 20_000 + "x",
        "what " * 5_000,
        "all of it in lower case. " * 4_000,
    ],
    ids=lambda text: text[:12],
)
def test_a_hostile_request_is_read_in_no_time(text: str) -> None:
    began = time.thread_time()
    intent(text, EVERY)
    cues(text, EVERY)
    parts(text)
    expected(text)
    names_values(text)
    speaks_of_arithmetic(text)
    assert time.thread_time() - began < 3  # a rule that goes back again and again takes minutes, or years


@given(st.text(max_size=200))
def test_given_values_stand_in_the_request_word_for_word(text: str) -> None:
    named = intent(text, EVERY)
    if named is not None:
        collapsed = " ".join(text.split())
        assert all(value in text or value in collapsed for value in named.arguments.values())


def test_a_tool_that_is_not_offered_is_never_forced() -> None:
    assert intent("What is 2 + 2?", ["remember"]) is None


def test_a_forced_call_leaves_the_model_nothing_to_invent() -> None:
    parameters = {
        "type": "object",
        "properties": {"expression": {"type": "string"}, "precision": {"type": "integer"}},
        "required": ["expression"],
        "additionalProperties": False,
    }
    named = intent("What is 2 + 2?", ["calculator"])
    assert named is not None
    (spec,) = Selection().choose("", [Described("calculator", "does sums", parameters)], forced=named).tools
    assert spec.parameters["properties"] == {"expression": {"enum": ["2 + 2"]}}
    assert spec.parameters["required"] == ["expression"]


def test_a_forced_call_of_a_pinned_tool_is_held_to_the_request_and_shown_as_ever() -> None:
    parameters = {
        "type": "object",
        "properties": {"expression": {"type": "string"}, "precision": {"type": "integer"}},
        "required": ["expression"],
    }
    tool = Described("calculator", "does sums", parameters)
    named = intent("What is 2 + 2?", ["calculator"])
    (spec,) = Selection(pins=["calculator"]).choose("", [tool], forced=named).tools
    assert (spec.beside, spec.parameters) == (False, parameters)
    assert spec.narrowed is not None
    assert spec.narrowed["properties"] == {"expression": {"enum": ["2 + 2"]}}


def test_a_forced_call_keeps_what_its_parameters_refer_to() -> None:
    parameters = {
        "type": "object",
        "properties": {"unit": {"$ref": "#/$defs/unit"}, "place": {"type": "string"}},
        "required": ["unit"],
        "$defs": {"unit": {"enum": ["c", "f"]}},
    }
    named = intent("Use the warmth tool", ["warmth"])
    (spec,) = Selection().choose("", [Described("warmth", "", parameters)], forced=named).tools
    assert refusal(spec.parameters) is None
    normalise(spec.parameters, close=True).check({"unit": "c"})


def test_the_same_request_gets_the_same_few_tools() -> None:
    tools = [
        Described(f"tool_{n}", f"does thing number {n} with apples" if n % 2 else "is of no use")
        for n in range(20)
    ]
    first = Selection(limit=3).choose("apples thing number", tools)
    again = Selection(limit=3).choose("apples thing number", reversed(tools))
    assert first == again
    assert len(first.tools) == 3
    assert set(first.reasons) == {tool.name for tool in first.tools}


APPLES = [Described(f"tool_{n}", "counts apples") for n in range(4)]


def test_pinned_tools_stand_in_the_stable_front_and_chosen_ones_beside_the_question() -> None:
    chosen = Selection(pins=["tool_3"], limit=2).choose("counts apples", APPLES)
    assert {tool.name: tool.beside for tool in chosen.tools} == {
        "tool_0": True,
        "tool_1": True,
        "tool_3": False,
    }
    assert chosen.reasons["tool_3"] == "pinned"


def test_pinned_tools_take_no_place_from_those_near_the_request() -> None:
    pins = [Described(f"pin_{n}", "is of no use") for n in range(LIMIT)]
    chosen = Selection(pins=[tool.name for tool in pins]).choose("counts apples", [*pins, *APPLES])
    assert [tool.name for tool in chosen.tools if not tool.beside] == ["pin_0", "pin_1", "pin_2"]
    assert [tool.name for tool in chosen.tools if tool.beside] == ["tool_0", "tool_1", "tool_2"]


def test_whatever_is_asked_the_pinned_tools_are_shown_alike() -> None:
    parameters = {"type": "object", "properties": {"expression": {"type": "string"}}}
    tools = [*APPLES, Described("calculator", "does sums", parameters)]
    selection = Selection(pins=["calculator", "tool_1"])
    pinned = selection.pinned(tools)
    assert pinned.reasons == {"calculator": "pinned", "tool_1": "pinned"}
    sums = intent("What is 2 + 2?", ["calculator"])
    for chosen in (
        selection.choose("counts apples", tools),
        selection.choose("counts apples", tools, required=True),
        selection.choose("", tools, named="tool_1"),
        selection.choose("", tools, named="tool_2"),
        selection.choose("What is 2 + 2?", tools, forced=sums),
    ):
        front = [replace(tool, narrowed=None) for tool in chosen.tools if not tool.beside]
        assert front == list(pinned.tools)


@pytest.mark.parametrize(
    "request_",
    [
        "Water the tomatoes. Also book the train to Vienna on Monday.",
        "1. Water the tomatoes\n2. Book the train to Vienna on Monday",
        "Please water all of the tomatoes in the garden and book me the train to Vienna on Monday",
        "Water the tomatoes; then book the train to Vienna",
    ],
)
def test_a_request_for_two_things_is_shown_the_tools_of_both(request_: str) -> None:
    tools = [
        Described("garden", "water plants"),
        Described("trip", "book trains"),
        Described("pears", "eat pears"),
    ]
    chosen = Selection().choose(request_, tools)
    assert [tool.name for tool in chosen.tools] == ["garden", "trip"]


def test_a_request_for_more_things_than_the_limit_is_shown_a_tool_for_each() -> None:
    tools = [Described(name, f"{name} plants") for name in ("water", "plant", "prune", "pick", "weed")]
    request = "Water it all, please. Also plant a tree. Then prune the vine. Finally pick some pears."
    assert set(Selection().choose(request, tools).reasons) == {"water", "plant", "prune", "pick"}


def test_a_request_for_several_things_is_shown_what_is_less_near_behind_what_is_near() -> None:
    class Turned:
        """The nearer to the first word, the more of one dimension."""

        def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            share = {"near": 1.0, "less": 0.15, "far:": 0.05}
            return np.array([(share.get(text.split()[0], 1.0), 0.0) for text in texts], np.float32)

    tools = [Described(name, "") for name in ("far", "less tool", "near tool")]
    several = Selection(Turned()).choose("Do the one thing. Then do the other thing.", tools)
    assert set(several.reasons) == {"near tool", "less tool"}
    assert set(Selection(Turned()).choose("Do the one thing.", tools).reasons) == {"near tool"}


def test_a_model_that_declines_by_itself_is_shown_what_is_less_near_where_nothing_is_nearer() -> None:
    class Turned:
        def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            share = {"near": 0.5, "less": 0.15, "far:": 0.05}
            return np.array([(share.get(text.split()[0], 1.0), 0.0) for text in texts], np.float32)

    near, less, far = Described("near tool", ""), Described("less tool", ""), Described("far", "")
    assert not Selection(Turned()).choose("Do it.", [less, far]).reasons
    declines = Selection(Turned(), declines=True)
    assert set(declines.choose("Do it.", [less, far]).reasons) == {"less tool"}
    assert set(declines.choose("Do it.", [near, less, far]).reasons) == {"near tool"}
    assert not declines.choose("Do it.", [less]).clear


def test_a_long_request_is_looked_at_in_no_more_than_a_few_parts() -> None:
    asked: list[int] = []

    class Counting:
        def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            asked.append(len(texts))
            return np.ones((len(texts), 2), np.float32)

    Selection(Counting()).choose("Book the train to Rome. " * 3 + "Eat one pear a day. " * 400, APPLES)
    assert max(asked) <= MAX_PARTS + 1


def test_a_tool_that_costs_too_much_gives_way_to_the_next() -> None:
    dear = Described("dear", "counts apples " + "and pears " * 300)
    chosen = Selection(budget_tokens=60, limit=2).choose("counts apples", [dear, *APPLES])
    assert [tool.name for tool in chosen.tools] == ["tool_0", "tool_1"]


def test_where_a_call_is_required_the_nearest_tool_is_shown_however_far() -> None:
    assert Selection().choose("what is love", APPLES).tools == ()
    chosen = Selection(budget_tokens=0).choose("what is love", APPLES, required=True)
    assert list(chosen.reasons) == ["tool_0"]
    assert "a call is required" in chosen.reasons["tool_0"]


def test_a_tool_asked_for_by_name_is_shown_whole_beside_the_pinned_ones() -> None:
    parameters = {"type": "object", "properties": {"optional": {"type": "string"}}}
    tools = [*APPLES, Described("pears", "counts pears", parameters)]
    chosen = Selection(pins=["tool_1"]).choose("counts apples", tools, named="pears")
    assert [(tool.name, tool.beside) for tool in chosen.tools] == [("pears", True), ("tool_1", False)]
    assert chosen.tools[0].parameters == parameters


def test_a_forced_call_leaves_the_pinned_tools_where_they_are() -> None:
    tools = [*APPLES, Described("calculator", "does sums")]
    chosen = Selection(pins=["tool_1", "tool_2"]).choose("", tools, forced=Intent("calculator", "arithmetic"))
    assert [(tool.name, tool.beside) for tool in chosen.tools] == [
        ("calculator", True),
        ("tool_1", False),
        ("tool_2", False),
    ]


@pytest.mark.parametrize(
    ("request_", "tool"),
    [
        ("Three boxes of twelve eggs each, how many is that?", "calculator"),
        ("How many days are in 6 weeks?", "calculator"),
        ("A third off 96 euros, what do I save?", "calculator"),
        ("Make a note of the boiler's number: 88-12", "remember"),
        ("keep in mind what Tom said", "remember"),
        ("where did I say the ladder is? i told you last week", "recall"),
        ("is there anything on heating in my notes", "search_documents"),
        ("show me todo.txt", "read_file"),
        ("put 'hello' into greeting.md", "write_file"),
    ],
)
def test_words_that_make_a_tool_likely_have_it_shown_and_force_nothing(request_: str, tool: str) -> None:
    tools = [Described(name, "") for name in dict.fromkeys(cue.tool for cue in CUES)]
    chosen = Selection().choose(request_, tools)
    assert tool in chosen.reasons
    assert intent(request_, chosen.reasons) is None


@pytest.mark.parametrize(
    "text", ["Good morning!", "Who wrote Hamlet?", "I am 34 years old", "Set an alarm for 7:15"]
)
def test_other_words_make_no_tool_likely(text: str) -> None:
    assert cues(text, [cue.tool for cue in CUES]) == {}


def test_what_a_request_says_is_not_to_be_kept_has_no_tool_to_keep_it() -> None:
    tools = [Described("remember", "Remember a code."), Described("recall", "Recall a code.")]
    assert set(Selection().choose("Save my code", tools).reasons) == {"remember", "recall"}
    assert set(Selection().choose("Don't save this: my code is 12", tools).reasons) == {"recall"}


@pytest.mark.parametrize(
    ("request_", "kept"),
    [
        ("Who repairs it when a fact about the user changes?", False),
        ("Can you remember a fact about the user for later?", True),
        ("Remember a fact about the user", True),
    ],
)
def test_a_question_is_no_fact_to_be_kept(request_: str, kept: bool) -> None:
    tools = [Described("remember", "Remember a fact about the user."), Described("pay", "Pay a bill.")]
    assert ("remember" in Selection().choose(request_, tools).reasons) is kept


def test_a_cue_for_a_tool_that_is_not_offered_is_passed_over() -> None:
    assert cues("remember that 2 and 2 are 4", ["remember"]) == {"remember": "it speaks of remembering"}


@pytest.mark.parametrize(
    ("request_", "clear"), [("gas red car", False), ("the price of gas oil", True), ("Note it down", True)]
)
def test_a_tool_is_clearly_meant_where_words_speak_of_it_or_it_is_very_near(
    request_: str, clear: bool
) -> None:
    tools = [
        Described("gas_meter_of_a_large_house", "Tell what the meter shows."),
        Described("remember", "Keep a fact."),
    ]
    tools.append(Described("gas_oil_price", "The price of oil."))
    assert Selection().choose(request_, tools).clear is clear


def test_a_tool_is_ready_where_it_is_the_nearest_and_needs_no_value() -> None:
    needs = {"type": "object", "properties": {"item": {"type": "string"}}, "required": ["item"]}
    tools = [
        Described("shopping_list", "Read out the shopping list."),
        Described("add_item", "Add an item.", needs),
    ]
    assert Selection().choose("Read out my shopping list", tools).ready == "shopping_list"
    assert Selection().choose("Add an item", tools).ready == ""
    assert Selection(pins=["shopping_list"]).choose("Read out my shopping list", tools).ready == ""
    assert Selection().choose("", tools).ready == ""
