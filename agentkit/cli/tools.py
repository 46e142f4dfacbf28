"""The verb `tools`: what the agent may use, and what the policy says of it."""

from __future__ import annotations

import typer

from agentkit.cli.connect import connect
from agentkit.cli.options import Json, PolicyFile
from agentkit.cli.output import Output, excerpt, tier_of

app = typer.Typer(help="What the agent may use, and what the policy says of it.", no_args_is_help=True)


@app.command("list")
def list_tools(policy: PolicyFile = None, as_json: Json = False) -> None:
    """List the built-in tools, what each can do, and whether it is allowed, asked about or denied."""
    output = Output(as_json=as_json)
    show_tools(output, None if policy is None else str(policy.absolute()))


@app.callback()
def _group() -> None:
    """Keep `list` a verb of its own, though it is the only one so far."""


def show_tools(output: Output, policy: str | None) -> None:
    """Write the table of tools."""
    with connect(output) as client:
        said = client.request("tools", policy=policy)
    output.json(said)
    output.rows(
        ("tool", "may", "policy", "what it does"),
        [
            (
                tool["name"],
                ", ".join(tool["capabilities"]) or "-",
                tool["decision"],
                excerpt(tool["description"], 70),
            )
            for tool in said["tools"]
        ],
    )
    output.note(f"sandbox: {tier_of(said['sandbox'])}")
    output.note(f"workspace: {said['workspace']}")
