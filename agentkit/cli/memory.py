"""The verbs of `memory`: what was remembered, and the conversations."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from agentkit.cli.connect import connect
from agentkit.cli.options import Json
from agentkit.cli.output import Output, excerpt
from agentkit.errors import ConfigError

SHOWN_ID = 8

app = typer.Typer(help="What was remembered, and the conversations.", no_args_is_help=True)


@app.command("add")
def add(
    words: Annotated[list[str], typer.Argument(metavar="TEXT", help="What to remember.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Remember a fact."""
    output = Output(as_json=as_json)
    with connect(output) as client:
        stored = client.request("remember", text=" ".join(words))
    output.json(stored)
    output.line(f"remembered as {stored['id'][:SHOWN_ID]}")


@app.command("list")
def list_memories(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 100,
    offset: Annotated[int, typer.Option(min=0, help="Leave out this many first.")] = 0,
    as_json: Json = False,
) -> None:
    """List what was remembered."""
    output = Output(as_json=as_json)
    with connect(output) as client:
        listed = client.request("records", kinds=["memory"], limit=limit, offset=offset)
    output.json(listed)
    output.rows(("id", "when", "who", "what"), [_row(record) for record in listed["records"]])
    left = listed["total"] - offset - len(listed["records"])
    if left > 0:
        output.note(f"{left} more: --offset {offset + limit}")


@app.command("search")
def search(
    words: Annotated[list[str], typer.Argument(metavar="TEXT", help="What to look for.", show_default=False)],
    k: Annotated[int, typer.Option("-k", min=1, max=100, help="How many results.")] = 8,
    as_json: Json = False,
) -> None:
    """Find memories by meaning and by words, best first."""
    output = Output(as_json=as_json)
    with connect(output) as client:
        found = client.request("search", text=" ".join(words), k=k, kinds=["memory"], source_prefix="")
    output.json(found)
    output.rows(("id", "when", "who", "what"), [_row(hit["record"]) for hit in found["hits"]])


@app.command("forget")
def forget(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="As `list` shows it; 4 characters are enough.")
    ] = None,
    conversation: Annotated[
        str | None,
        typer.Option(
            "--conversation", "-c", metavar="NAME", help="A whole conversation.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Delete memories, or a conversation, for good."""
    if not ids and conversation is None:
        raise ConfigError("nothing to forget was named", hint="agentkit memory list shows the ids")
    output = Output(as_json=as_json)
    said: dict[str, Any] = {}
    with connect(output) as client:
        if ids:
            said |= client.request("forget", ids=ids)
            output.line(f"forgot {said['forgotten']}")
        if conversation is not None:
            said |= client.request("forget_conversation", id=conversation)
            said["conversation"] = conversation
            output.line(f"forgot the conversation {conversation}")
    output.json(said)


@app.command("conversations")
def conversations(
    name: Annotated[str | None, typer.Argument(help="Show this one whole.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """List the conversations, or show one."""
    output = Output(as_json=as_json)
    with connect(output) as client:
        said = client.request("conversations") if name is None else client.request("conversation", id=name)
    output.json(said)
    if name is None:
        output.rows(
            ("conversation", "messages", "last", "begins"),
            [_conversation(each) for each in said["conversations"]],
        )
        return
    for message in said["messages"]:
        output.line(f"{message.get('role', '?')}:", "bold")
        output.line(f"    {message.get('text', '')}")


def _row(record: dict[str, Any]) -> tuple[str, str, str, str]:
    return record["id"][:SHOWN_ID], _when(record["created"]), record["origin"], excerpt(record["text"], 120)


def _conversation(said: dict[str, Any]) -> tuple[str, str, str, str]:
    return said["id"], str(said["messages"]), _when(said["updated"]), excerpt(said["opening"], 60)


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
