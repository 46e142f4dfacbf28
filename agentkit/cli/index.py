"""Verbs about folders: index one, keep it up to date, list them, let go of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from agentkit.cli.connect import connect
from agentkit.cli.memory import proof_of
from agentkit.cli.options import Json
from agentkit.cli.output import Meter, Output, clean
from agentkit.paths import whole_path

Folder = Annotated[Path, typer.Argument(metavar="PATH", help="A file or folder.", show_default=False)]
SHOWN_SKIPS = 20


def index(
    path: Folder,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on, and follow every change until Ctrl-C.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Read documents into the vault; unchanged files cost nothing.

    With --json, one document at the end; with --watch too, one line for each event.
    """
    output = Output(as_json=as_json)
    wanted = whole_path(path)
    skipped: list[dict[str, Any]] = []
    with connect(output) as client, output.meter("indexing") as meter:
        events = client.stream("index", path=wanted, watch=watch)
        try:
            while True:
                event = next(events)
                if watch:
                    output.json_line(event)
                if event["type"] == "FileSkipped":
                    skipped.append({"path": event["path"], "reason": event["reason"]})
                show_indexing(event, output, meter, watching=watch)
        except StopIteration as done:
            summary: dict[str, Any] = {**done.value, "skipped_files": skipped}
        finally:
            events.close()
    if watch:
        return
    output.json(summary)
    output.line(_summary(summary))
    for each in skipped[:SHOWN_SKIPS]:
        output.warn(f"left out {each['path']}: {each['reason']}")
    if len(skipped) > SHOWN_SKIPS:
        output.warn(f"left out {len(skipped) - SHOWN_SKIPS} more: see agentkit folders --json")


def folders(as_json: Json = False) -> None:
    """List the indexed folders."""
    output = Output(as_json=as_json)
    with connect(output) as client:
        listed = client.request("folders")
    output.json(listed)
    output.rows(
        ("folder", "files", "passages", "left out"),
        [(each["path"], each["files"], each["chunks"], len(each["skipped"])) for each in listed["folders"]],
    )
    if not listed["folders"]:
        output.note("no folder is indexed yet: agentkit index PATH")


def unindex(path: Folder, as_json: Json = False) -> None:
    """Forget everything read from a file or folder, and what was made from it; the files stay."""
    output = Output(as_json=as_json)
    with connect(output) as client:
        gone = client.request("unindex", path=whole_path(path))
    output.json(gone)
    derived = f" and {gone['derived']} facts or rounds made from them" if gone.get("derived") else ""
    output.line(f"forgot {gone['forgotten']} passages of {gone['path']}{derived}{proof_of(gone)}")


def show_indexing(event: dict[str, Any], output: Output, meter: Meter, *, watching: bool = False) -> None:
    """Show one event of indexing: how far it is, and with `watching` what changed."""
    match event:
        case {"type": "Progress", "done": int(done), "total": int(total)}:
            meter.show(done, total, Path(clean(str(event.get("path") or ""))).name)
        case {"type": "Watching"}:
            output.note(f"watching {event['path']} by {event['mode']}; Ctrl-C ends it")
        case {"type": "FileIndexed" | "FileRemoved", "path": str(path)} if watching:
            output.line(f"{'read' if event['type'] == 'FileIndexed' else 'gone'} {path}")
        case {"type": "FileRenamed"} if watching:
            output.line(f"renamed {event['old']} to {event['new']}")
        case {"type": "FileSkipped"} if watching:
            output.warn(f"left out {event['path']}: {event['reason']}")


def _summary(said: dict[str, Any]) -> str:
    named = ("indexed", "unchanged", "renamed", "removed", "skipped")
    counts = ", ".join(f"{said[name]} {name}" for name in named if said.get(name))
    return f"{said['path']}: {counts or 'nothing to read'} in {float(said.get('seconds') or 0):.1f} s"
