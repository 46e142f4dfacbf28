"""A request that names a file or an address is for the tool that reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from agentkit.calling.pointing import misplaced, named_by, pointed_to, read_by
from agentkit.calling.selection import Selection
from agentkit.messages import ToolCall


@dataclass(frozen=True)
class Described:
    name: str
    description: str
    parameters: dict[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})


def taking(name: str, description: str, *needs: str) -> Described:
    properties = {each: {"type": "string", "description": f"the {each}"} for each in needs}
    return Described(name, description, {"type": "object", "properties": properties, "required": list(needs)})


READ_FILE = taking("read_file", "Read a text file.", "path")
FETCH = taking("fetchPage", "The text of a page.", "url")
TOOLS = [
    READ_FILE,
    FETCH,
    taking("delete_file", "Delete a file.", "path"),
    taking("get_line", "One line of a file.", "path", "number"),
    taking("get_mail", "The mail of somebody.", "sender"),
    Described("read_mail", "Read the newest mail."),
]


@pytest.mark.parametrize(
    ("request_", "readers"),
    [
        ("How long does the barley soak? It's in recipe.md", ["read_file"]),
        ("Read `notes/monday.md`", ["read_file"]),
        ("What does admission cost, according to varden.example/clocks?", ["fetchPage"]),
        ("When is it open? See https://varden.example.", ["fetchPage"]),
        ("who runs example.com", ["fetchPage"]),
        ("Delete recipe.md", []),
        ("Can you translate recipe.md?", []),
        ("Is 3.5 more than 2.75, e.g. in euros?", []),
        ("Write to ida@harbour.example. What does she want?", []),
        ("How long does the barley soak?", []),
        ("", []),
        ("a." * 100_000, []),
    ],
)
def test_what_is_named_is_read(request_: str, readers: list[str]) -> None:
    assert read_by(request_, TOOLS) == readers


def test_what_reads_it_is_shown_though_its_description_is_far_from_the_request() -> None:
    chosen = Selection().choose("How long does the barley soak? It's in recipe.md", TOOLS)
    assert [each.name for each in chosen.tools] == ["read_file"]
    assert (chosen.reads, chosen.clear) == ("read_file", True)
    assert Selection().choose("How long does the barley soak?", TOOLS).reads == ""


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        ("When were the pads changed? It's in my note garage", ["get_note"]),
        ("What is wrong with the tyre, says my garage note?", ["get_note"]),
        ("When does Ole arrive, according to our chat?", ["chatHistory"]),
        ("When were the pads changed?", []),
        ("Delete what it says. It's in my note garage", []),
        ("Is Ole coming? Check our chat", ["chatHistory"]),
        ("Check the chat and the note", []),
        ("", []),
    ],
)
def test_what_is_said_to_hold_the_answer_names_its_tool(request_: str, named: list[str]) -> None:
    tools = [
        taking("get_note", "A note.", "title"),
        taking("chatHistory", "A chat."),
        taking("add_note", "Add."),
    ]
    assert named_by(request_, tools) == named


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        ("What colour is the quay in harbour.txt?", ("harbour.txt",)),
        ("Read `notes/monday.md`, please", ("notes/monday.md",)),
        ("See (https://varden.example/a_(b)?x=1,2).", ("https://varden.example/a_(b)?x=1,2)",)),
        ("When is it open (varden.example/clocks)?", ("varden.example/clocks",)),
        ("Compare a.txt, b.txt and a.txt", ("a.txt", "b.txt")),
        ("Show 'Harbour notes.txt'", ("notes.txt", "Harbour notes.txt")),
        ("What is in Harbour notes.txt?", ()),
        ("Read My Notes.txt", ()),
        ("Read harbour.txt in the folder notes", ()),
        ("How long is the quay?", ()),
        ("", ()),
        ("a." * 100_000, ()),
    ],
)
def test_what_is_named_in_full(request_: str, named: tuple[str, ...]) -> None:
    assert pointed_to(request_) == named


def test_the_tool_that_reads_it_is_held_to_it_and_shown_as_ever() -> None:
    chosen = Selection().choose("How long does the barley soak? It's in recipe.md", TOOLS)
    read = next(tool for tool in chosen.tools if tool.name == "read_file")
    assert read.narrowed
    assert read.narrowed["properties"]["path"] == {"enum": ["recipe.md"]}
    assert read.parameters == READ_FILE.parameters


@pytest.mark.parametrize(
    ("request_", "first", "reads"),
    [
        ("Read recipe.md and write the shopping list into list.txt", "read_file", ""),
        ("Please open recipe.md, then send a mail to Ole", "read_file", ""),
        ("Read recipe.md. How long does the barley soak?", "", "read_file"),
        ("Write the list into list.txt and open recipe.md", "", ""),
        ("Delete recipe.md and add a note", "", ""),
    ],
)
def test_what_is_to_be_read_before_the_rest_is_done_comes_first(
    request_: str, first: str, reads: str
) -> None:
    chosen = Selection().choose(request_, TOOLS)
    assert (chosen.first, chosen.reads) == (first, reads)
    if first:
        held = next(tool for tool in chosen.tools if tool.name == first)
        assert held.narrowed
        assert held.narrowed["properties"]["path"] == {"enum": ["recipe.md"]}


def test_an_address_for_an_amount_is_misplaced() -> None:
    pay = taking("pay", "Pay.", "to", "amount")
    assert misplaced([ToolCall("1", "pay", {"to": "yachts", "amount": "harbour.txt"})], [pay])
    assert not misplaced([ToolCall("1", "pay", {"to": "yachts", "amount": "25, says harbour.txt"})], [pay])
    assert not misplaced([ToolCall("1", "read_file", {"path": "harbour.txt"})], TOOLS)
    assert misplaced([ToolCall("1", "fetchPage", {"url": "harbour.txt"})], TOOLS)
    assert not misplaced([ToolCall("1", "unheard", {})], TOOLS)
