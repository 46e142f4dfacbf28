"""The verbs of `memory`: what was remembered, and the conversations."""

from __future__ import annotations

import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from agentkit.cli.connect import confirm, connect, open_vault, passphrase_now
from agentkit.cli.keys import show_rotated
from agentkit.cli.options import Json
from agentkit.cli.output import Output, excerpt
from agentkit.cli.typed import checked, read_stdin
from agentkit.errors import ConfigError, NotFoundError
from agentkit.paths import whole_path

SHOWN_ID = 8
EXPORT_QUESTIONS = (
    "write everything in the vault in clear?",
    "whoever reads it knows all that you told this program; really?",
)
KINDS = ("memory", "round")
"""What is remembered: facts, and the rounds of kept conversations."""

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
    kind: Annotated[
        str | None, typer.Option(help="Only `memory` or only `round`.", show_default=False)
    ] = None,
    conversation: Annotated[
        str,
        typer.Option(
            "--conversation", "-c", metavar="NAME", help="Only rounds of this one.", show_default=False
        ),
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 100,
    offset: Annotated[int, typer.Option(min=0, help="Leave out this many first.")] = 0,
    as_json: Json = False,
) -> None:
    """List what was remembered: facts, and the rounds of kept conversations."""
    output = Output(as_json=as_json)
    kinds = _kinds("round" if conversation else kind)
    with connect(output) as client:
        listed = client.request("records", kinds=kinds, source=conversation, limit=limit, offset=offset)
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
    """Find memories and rounds of conversations by meaning and by words, best first."""
    output = Output(as_json=as_json)
    with connect(output) as client:
        found = client.request("search", text=" ".join(words), k=k, kinds=list(KINDS))
    output.json(found)
    output.rows(("id", "when", "who", "what"), [_row(hit["record"]) for hit in found["hits"]])


@app.command("show")
def show(
    record_id: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Show one memory or round whole, with its labels and keys."""
    output = Output(as_json=as_json)
    with connect(output) as client:
        record = client.request("record", id=record_id)["record"]
    output.json(record)
    output.line(record["text"])
    output.note(f"{record['kind']} {record['id'][:SHOWN_ID]} of {_when(record['created'])}")
    made = f", made from {len(record['sources'])} records" if record["sources"] else ""
    output.note(f"written by {record['origin']}, {record['privacy']}{made}")
    for name, value in (("from", record["source"]), ("keys", record["title"])):
        if value:
            output.note(f"{name} {value}")


@app.command("edit")
def edit(
    record_id: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.", show_default=False)],
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="TEXT", help="The new text; - reads it from standard input.", show_default=False
        ),
    ],
    as_json: Json = False,
) -> None:
    """Put another text in the place of a memory or round; its time and labels stay.

    Messages that hold the old words lose them.
    """
    output = Output(as_json=as_json)
    text = read_stdin() if words == ["-"] else checked(" ".join(words))
    with connect(output) as client:
        written = client.request("rewrite", id=record_id, text=text)
    output.json(written)
    output.line(f"changed {written['id'][:SHOWN_ID]}")


@app.command("reembed")
def reembed(
    again: Annotated[bool, typer.Option("--again", help="Even if the model is the same.")] = False,
    as_json: Json = False,
) -> None:
    """Give everything vectors of the embedding model in use; stopped, it goes on where it was."""
    output = Output(as_json=as_json)
    with connect(output) as client, output.meter("embedding") as meter:
        events = client.stream("reembed", again=again)
        try:
            while True:
                event = next(events)
                meter.show(event["done"], event["total"], "")
        except StopIteration as done:
            said: dict[str, Any] = done.value
        finally:
            events.close()
    output.json(said)
    count = said["reembedded"]
    output.line(
        f"{count} records have new vectors of {said['embedder']}"
        if count
        else f"every vector is of {said['embedder']} already"
    )


@app.command("delete", hidden=True)
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
    source: Annotated[
        str,
        typer.Option(
            "--source", metavar="PATH", help="What came from this file or folder.", show_default=False
        ),
    ] = "",
    query: Annotated[
        str,
        typer.Option(
            "--query",
            metavar="WORDS",
            help="All that has every one of these words, messages too.",
            show_default=False,
        ),
    ] = "",
    since: Annotated[
        datetime | None,
        typer.Option(
            help="What was stored or said from then on; a file counts by the time it was changed.",
            show_default=False,
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(
            help="What was stored or said before; a file counts by the time it was changed.",
            show_default=False,
        ),
    ] = None,
    shred: Annotated[
        bool,
        typer.Option("--shred", help="Then rotate the keys: other ways in than the passphrase are dropped."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Delete for good, with what was made from it, and look for traces.

    A file that was indexed is read again by the next `agentkit index` unless it is gone. A copy of the vault made
    before still holds it, and opens for whoever knows a passphrase or recovery code it was made under; with
    --shred, not with the keyring's secret, which is destroyed.
    """
    wanted: dict[str, Any] = {
        "ids": ids,
        "under": source and whole_path(source),
        "query": query,
        "since": since and since.timestamp(),
        "until": until and until.timestamp(),
    }
    wanted = {name: value for name, value in wanted.items() if value}
    if not wanted and conversation is None:
        raise ConfigError("nothing to forget was named", hint="agentkit memory list shows the ids")
    output = Output(as_json=as_json)
    said: dict[str, Any] = {}
    with connect(output) as client:
        if wanted:
            said |= client.request("forget", **wanted)
            output.line(f"forgot {said['forgotten']}{proof_of(said)}")
        if conversation is not None:
            gone = client.request("forget_conversation", id=conversation)
            if not gone["found"]:
                raise NotFoundError(
                    "there is no such conversation", hint="agentkit memory conversations lists them"
                )
            said |= gone | {"conversation": conversation}
            output.line(f"forgot the conversation {conversation}{proof_of(said)}")
        if shred:
            rotated = client.request("rotate", passphrase=passphrase_now())
            show_rotated(rotated, output)
            said |= {"rotated": rotated["dropped"], "secret_destroyed": rotated["secret_destroyed"]}
    output.json(said)


def proof_of(said: dict[str, Any]) -> str:
    """Return what a proof of forgetting says, as the end of a sentence."""
    if not said.get("probes"):
        return ""
    messages = f", and the words of {said['messages']} messages" if said["messages"] else ""
    if not said["proven"]:
        left = f"{said['pages_with_traces']} in pages, {said['searches_with_traces']} in searches"
        return f"{messages}; traces are left: {left}"
    return (
        f"{messages}; {said['probes']} pieces of it looked for in {said['pages_scanned']} pages, none found"
    )


@app.command("export")
def export(
    plain: Annotated[bool, typer.Option("--plain", help="Yes: everything, in clear.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Write everything in clear to standard output: as JSON lines, or with --json as one list."""
    output = Output(as_json=as_json)
    if not plain:
        raise ConfigError(
            "an export is in clear",
            hint="agentkit memory export --plain, or for a copy that stays encrypted: backup",
        )
    if not yes and not all(map(confirm, EXPORT_QUESTIONS)):
        raise ConfigError("not confirmed", hint="--yes answers for you")
    with connect(output) as client:
        entries = client.stream("export")
        if as_json:
            output.json(list(entries))
            return
        lines = Output(as_json=True)
        for entry in entries:
            lines.json_line(entry)


@app.command("backup")
def backup(
    folder: Annotated[Path, typer.Argument(help="Made new; the copy is encrypted.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Copy the vault, encrypted, while it is in use."""
    from agentkit_memory import Vault

    output = Output(as_json=as_json)
    if folder.exists():
        raise ConfigError(f"{folder} exists", hint="name a folder that does not")
    with connect(output) as client:
        made = Path(client.request("backup")["folder"])
        try:
            Vault.restore(made, folder)  # on the disk when it returns
        except BaseException:  # an interrupt, too, leaves no half of a copy
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
    output.json({"folder": str(folder)})
    output.line(f"copied to {folder}; it opens with what opens this vault now")
    output.note(f"to use it in another home: agentkit memory restore {folder}")


@app.command("restore")
def restore(
    folder: Annotated[Path, typer.Argument(help="What `backup` made.", exists=True, file_okay=False)],
    as_json: Json = False,
) -> None:
    """Bring a backup into a home that has no vault."""
    output = Output(as_json=as_json)
    with connect(output, unlock=False) as client:
        client.request("restore", path=str(folder.resolve()))
        open_vault(client, output, accept_rollback=True)
        vault = client.request("verify")
    output.json(vault)
    output.line("restored, unlocked and verified")


@app.command("verify")
def verify(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="What `backup` made; else the vault.", exists=True, file_okay=False, show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Read and check every page, row and index of the vault, or every byte of a backup, which stays as it is."""
    output = Output(as_json=as_json)
    if folder is not None:
        with connect(output, unlock=False) as client:
            path = str(folder.resolve())
            said = client.request("verify_backup", path=path, passphrase=passphrase_now())
        output.json(said)
        output.line(f"every byte is what was written, of generation {said['generation']}")
        return
    with connect(output) as client:
        said = client.request("verify")
    output.json(said)
    anchored = "" if said["anchored"] else "; no keyring remembers the newest state"
    output.line(f"every page is genuine and belongs to generation {said['generation']}{anchored}")


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


def _kinds(kind: str | None) -> list[str]:
    if kind is not None and kind not in KINDS:
        raise ConfigError(f"the kind is none of {', '.join(KINDS)}")
    return list(KINDS) if kind is None else [kind]


def _row(record: dict[str, Any]) -> tuple[str, str, str, str]:
    return record["id"][:SHOWN_ID], _when(record["created"]), record["origin"], excerpt(record["text"], 120)


def _conversation(said: dict[str, Any]) -> tuple[str, str, str, str]:
    return said["id"], str(said["messages"]), _when(said["updated"]), excerpt(said["opening"], 60)


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
