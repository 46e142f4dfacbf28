"""The verb `demo`."""

from __future__ import annotations

import typer

from agentkit.cli.options import Json
from agentkit.cli.output import Output


def demo(as_json: Json = False) -> None:
    """Show it all at work, in a throw-away home.

    It runs the default models over a copy of the example notes, and removes what it made.
    """
    from agentkit.demo.run import Demo

    if not Demo(Output(as_json=as_json)).run():
        raise typer.Exit(1)
