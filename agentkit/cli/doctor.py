"""The verb `doctor`."""

from __future__ import annotations

from dataclasses import asdict

import typer

from agentkit.cli.options import Json
from agentkit.cli.output import Output

_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(as_json: Json = False) -> None:
    """Examine this machine; say what is wrong and the fix.

    The exit code is 1 if something agentkit needs is missing.
    """
    from agentkit.doctor import State, examine
    from agentkit.paths import Home

    output = Output(as_json=as_json)
    checks = []
    for check in examine(Home.default()):
        checks.append(check)
        output.line(f"{check.state:4}  {check.name}: {check.text}", _STYLES[check.state])
        if check.fix:
            output.line(f"      fix: {check.fix}")
    counts = {state.value: sum(check.state is state for check in checks) for state in State}
    output.json({"checks": [asdict(check) for check in checks], **counts})
    if counts["fail"]:
        raise typer.Exit(1)
