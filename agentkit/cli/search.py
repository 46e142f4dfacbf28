"""The verb `search`: passages and memories nearest to a text, without a language model."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from agentkit.cli.connect import connect
from agentkit.cli.options import Json
from agentkit.cli.output import Output, excerpt, place_of
from agentkit.labels import Origin, Privacy
from agentkit.paths import whole_path


class Kind(StrEnum):
    """What a record is."""

    DOCUMENT = "document"
    MEMORY = "memory"
    ROUND = "round"


def search(
    words: Annotated[list[str], typer.Argument(metavar="TEXT", help="What to look for.", show_default=False)],
    k: Annotated[int, typer.Option("-k", min=1, max=100, help="How many results.")] = 8,
    kind: Annotated[
        list[Kind] | None,
        typer.Option(help="Only records of this kind; may be repeated.", show_default=False),
    ] = None,
    under: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Only documents under this path.", show_default=False)
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(help="Only what was said, or a file changed, from then on.", show_default=False),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(help="Only what was said, or a file changed, before.", show_default=False),
    ] = None,
    origin: Annotated[
        list[Origin] | None,
        typer.Option(help="Only what this one wrote; may be repeated.", show_default=False),
    ] = None,
    privacy: Annotated[
        list[Privacy] | None,
        typer.Option(help="Only what is this private; may be repeated.", show_default=False),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Show whole passages.")] = False,
    as_json: Json = False,
) -> None:
    """Find passages by meaning and by words, best first."""
    output = Output(as_json=as_json)
    with connect(output) as client:
        found = client.request(
            "search",
            text=" ".join(words),
            k=k,
            kinds=[each.value for each in kind or ()],
            under="" if under is None else whole_path(under),
            since=since and since.timestamp(),
            until=until and until.timestamp(),
            origins=[each.value for each in origin or ()],
            privacies=[each.value for each in privacy or ()],
        )
    output.json(found)
    for hit in found["hits"]:
        record = hit["record"]
        output.line(f"{place_of(record)}  ({hit['score']:.2f})", "bold")
        output.line(f"    {record['text'].strip() if full else excerpt(record['text'])}")
    if not found["hits"]:
        output.note("nothing found")
