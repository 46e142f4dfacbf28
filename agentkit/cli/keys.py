"""The verbs of `keys`: the ways to open the vault, and fresh keys for everything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from agentkit.cli.connect import ask_new_passphrase, connect, open_vault, passphrase_now
from agentkit.cli.options import Json
from agentkit.cli.output import Output
from agentkit.passphrase import read_passphrase_file

app = typer.Typer(help="The ways to open the vault.", no_args_is_help=True)


@app.command("list")
def list_slots(as_json: Json = False) -> None:
    """List what opens the vault."""
    output = Output(as_json=as_json)
    with connect(output, unlock=False) as client:
        slots = client.request("status")["vault"].get("slots", [])
    output.json({"slots": slots})
    output.rows(("name", "kind"), [(slot["name"], slot["kind"]) for slot in slots])


@app.command("add")
def add(
    name: Annotated[
        str, typer.Argument(help="Of the new way in, as `list` will show it.", show_default=False)
    ],
    file: Annotated[
        Path | None,
        typer.Option("--file", help="Holds the new passphrase, instead of typing it.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Let one more passphrase open the vault."""
    output = Output(as_json=as_json)
    with connect(output) as client:
        fresh = ask_new_passphrase(output) if file is None else read_passphrase_file(file)
        vault = client.request("add_passphrase", name=name, passphrase=fresh)
    output.json(vault)
    output.line(f"{name} opens the vault, too")


@app.command("add-recovery")
def add_recovery(as_json: Json = False) -> None:
    """Make a recovery code, to be printed and put away.

    It opens the vault wherever a passphrase is asked for. An older one no longer does. It is shown this once.
    """
    output = Output(as_json=as_json)
    with connect(output) as client:
        code = client.request("add_recovery")["code"]
    output.json({"code": code})
    output.line(code)
    output.note("write it down or print it, and keep it away from this machine; it is not shown again")


@app.command("remove")
def remove(
    name: Annotated[str, typer.Argument(help="As `list` shows it.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Remove a way to open the vault; never the last."""
    output = Output(as_json=as_json)
    with connect(output) as client:
        vault = client.request("remove_slot", name=name)
    output.json(vault)
    output.line(f"{name} no longer opens the vault")
    output.note("a copy of the vault made before still opens with it")


@app.command("rotate")
def rotate(as_json: Json = False) -> None:
    """Put everything under fresh keys.

    Only the passphrase given stays; other ways in are dropped, and can be added again. A copy of the vault made before
    still opens for whoever knows a passphrase or recovery code it was made under.
    """
    output = Output(as_json=as_json)
    with connect(output, unlock=False) as client:
        open_vault(client, output)
        vault = client.request("rotate", passphrase=passphrase_now())
    output.json(vault)
    show_rotated(vault, output)


def show_rotated(vault: dict[str, Any], output: Output) -> None:
    """Say what a rotation did away with: the answer of the core to `rotate`."""
    output.line("everything is under fresh keys")
    if vault["dropped"]:
        output.note(f"dropped: {', '.join(vault['dropped'])}; add them again if you want them")
    if vault["secret_destroyed"]:
        output.note("the keyring's secret is destroyed: no copy of the vault opens with it")
    show_secret_left(vault, output)


def show_secret_left(vault: dict[str, Any], output: Output) -> None:
    """Warn where a keyring may still hold the secret of a slot that was dropped."""
    if vault.get("keyring_secret_left"):
        output.warn(
            "the keyring's secret could not be destroyed: a copy of the vault made before may still open with it"
        )
        output.note("agentkit unlock tries again; do it in a session that has the keyring")
