"""Verbs about the vault: make it, open it, close it, say how it stands, change who may open it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any

import typer

from agentkit.cli.connect import ask_new_passphrase, ask_passphrase, connect, new_passphrase, open_vault
from agentkit.cli.keys import show_secret_left
from agentkit.cli.options import Json
from agentkit.cli.output import Output, size, tier_of
from agentkit.errors import BusyError, CoreError
from agentkit.paths import Home

END_SECONDS = 30.0


class Switch(StrEnum):
    """On or off."""

    ON = "on"
    OFF = "off"


def init(as_json: Json = False) -> None:
    """Make the encrypted vault of this home."""
    from agentkit_memory.errors import VaultExistsError

    output = Output(as_json=as_json)
    with connect(output, unlock=False) as client:
        status = client.request("status")
        if status["vault"]["state"] != "absent":
            raise VaultExistsError(f"there is a vault in {status['home']} already", hint="agentkit status")
        with_vault = client.request("init", passphrase=new_passphrase(output))
    output.json(with_vault)
    output.line(f"made a vault in {status['home']}; it is unlocked")
    output.note('next: agentkit index FOLDER, then agentkit ask "…"')


def unlock(
    accept_rollback: Annotated[
        bool, typer.Option("--accept-rollback", help="Take an older vault that you put back yourself.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Open the vault, so that the next commands need no passphrase."""
    output = Output(as_json=as_json)
    with connect(output, accept_rollback=accept_rollback) as client:
        vault = client.request("unlock", passphrase=None)
    output.json(vault)
    output.line(f"unlocked: {_amount(vault)}")
    show_secret_left(vault, output)


def lock(as_json: Json = False) -> None:
    """Close the vault; keys and prompts leave the memory."""
    output = Output(as_json=as_json)
    vault = _of_running("lock", otherwise={"state": "locked"})
    output.json(vault)
    output.line("there is no vault" if vault["state"] == "absent" else "locked")


def stop(as_json: Json = False) -> None:
    """End the core; the vault is locked with it."""
    output = Output(as_json=as_json)
    stopped = _of_running("stop", otherwise={"stopped": False})
    wait_until_gone(Home.default())
    output.json(stopped)
    output.line("stopped" if stopped["stopped"] else "no core was running")


def status(as_json: Json = False) -> None:
    """Show the core, its locks, the vault and the engine."""
    output = Output(as_json=as_json)
    with connect(output, unlock=False) as client:
        said = client.request("status")
    output.json(said)
    output.rows(("", ""), _status_rows(said))


def passphrase(as_json: Json = False) -> None:
    """Change the passphrase; the old one no longer opens the vault."""
    output = Output(as_json=as_json)
    with connect(output, unlock=False) as client:
        old = ask_passphrase("passphrase now")
        client.request("unlock", passphrase=old)
        vault = client.request("passphrase", old=old, new=ask_new_passphrase(output))
    output.json(vault)
    output.line("changed")
    output.note("a copy of the vault made before still opens with the old passphrase")


def keyring(switch: Annotated[Switch, typer.Argument(help="on or off")], as_json: Json = False) -> None:
    """Let this session's keyring open the vault, or no longer."""
    output = Output(as_json=as_json)
    with connect(output, unlock=False) as client:
        open_vault(client, output)
        vault = client.request("keyring", on=switch is Switch.ON)
    output.json(vault)
    output.line(
        "the keyring opens the vault" if switch is Switch.ON else "the keyring no longer opens the vault"
    )
    show_secret_left(vault, output)


def wait_until_gone(home: Home) -> None:
    """Return when the core that was told to end no longer listens, so that the next verb starts a new one.

    Raises:
        BusyError: It is still there after half a minute.
    """
    from agentkit.client import CoreClient

    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline:
        try:
            CoreClient.connect(home, start=False).close()
        except CoreError:
            return
        time.sleep(0.05)
    raise BusyError(f"the core did not end in {END_SECONDS:.0f} s", hint="agentkit status says what it does")


def _of_running(op: str, *, otherwise: dict[str, Any]) -> dict[str, Any]:
    """Ask the core if one runs; none is started only to be told to rest."""
    from agentkit.client import CoreClient

    try:
        client = CoreClient.connect(start=False)
    except CoreError:
        return otherwise
    with client:
        return client.request(op)


def _amount(vault: dict[str, Any]) -> str:
    return f"{vault.get('records', 0)} records of {vault.get('files', 0)} files"


def _index(said: dict[str, Any]) -> str:
    failed = f"; {said['error']}" if said["error"] else ""
    return f"{said['name'] or 'not loaded'}, {said['place']}{failed}"


def _loaded(engine: dict[str, Any]) -> Iterator[str]:
    for name, each in engine.items():
        yield name if each["worker_pid"] else f"{name}, not loaded"


def _status_rows(said: dict[str, Any]) -> list[tuple[str, str]]:
    vault, receipt, launcher = said["vault"], said["receipt"], said["launcher"]
    sandbox, engine = launcher["sandbox"], said["engine"]
    refused = ", ".join(receipt["self_test"]) or "nothing was tried"
    rows = [
        ("home", said["home"]),
        ("core", f"version {said['version']}, process {said['pid']}, {said['rss_mb']} MB"),
        ("vault", vault["state"] + (f", {_amount(vault)}" if vault["state"] == "unlocked" else "")),
        ("opened by", ", ".join(slot["kind"] for slot in vault.get("slots", ())) or "-"),
        ("folders", ", ".join(vault.get("roots", ())) or "-"),
        ("index", _index(said["index"])),
        ("engine", ", ".join(_loaded(engine)) if engine else "not started yet"),
        ("sandbox", tier_of(sandbox)),
        ("no way out", f"refused by the kernel: {refused}"),
    ]
    if states := said.get("states"):
        rows.insert(-2, ("kept states", f"{states['states']} conversations, {size(states['bytes'])}"))
    rows += [("not enforced", each) for each in receipt["not_enforced"]]
    return rows
