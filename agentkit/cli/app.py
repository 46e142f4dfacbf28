"""`agentkit`: the verbs, and how a command ends.

    agentkit: error: the vault is locked
    agentkit: hint: agentkit unlock

Nothing but typer is imported until a verb runs. Exit codes: 0 done · 1 failed · 2 wrong usage · 3 not found or not
set up · 4 locked or wrong passphrase · 5 refused by policy or isolation · 6 busy elsewhere · 7 out of space or over
a limit · 130 interrupted · 141 the reader of our output went away.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from agentkit.cli import (
    ask,
    chat,
    demo,
    doctor,
    index,
    keys,
    levers,
    memory,
    models,
    search,
    tools,
    tuning,
    vault,
)
from agentkit.cli.output import Output
from agentkit.errors import LimitError

INTERRUPTED = 130
DOCUMENTS, AGENT, VAULT, MACHINE = "Your documents", "Your agent", "Your vault", "Your machine"

app = typer.Typer(
    name="agentkit",
    help="Agents that run wholly on your own machine: nothing they read, remember or say leaves it.",
    epilog="No telemetry, no update check. The network is used by `agentkit models pull`, when you type it, and by "
    "`agentkit demo` where the models are missing.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    add_completion=True,
    no_args_is_help=False,
)

app.command("index", rich_help_panel=DOCUMENTS)(index.index)
app.command("folders", rich_help_panel=DOCUMENTS)(index.folders)
app.command("unindex", rich_help_panel=DOCUMENTS)(index.unindex)
app.command("search", rich_help_panel=DOCUMENTS)(search.search)
app.command("ask", rich_help_panel=DOCUMENTS)(ask.ask)
app.command("chat", rich_help_panel=AGENT)(chat.chat)
app.command("run", rich_help_panel=AGENT)(ask.run)
app.add_typer(memory.app, name="memory", rich_help_panel=AGENT)
app.add_typer(tools.app, name="tools", rich_help_panel=AGENT)
app.command("init", rich_help_panel=VAULT)(vault.init)
app.command("unlock", rich_help_panel=VAULT)(vault.unlock)
app.command("lock", rich_help_panel=VAULT)(vault.lock)
app.command("status", rich_help_panel=VAULT)(vault.status)
app.command("stop", rich_help_panel=VAULT)(vault.stop)
app.command("passphrase", rich_help_panel=VAULT)(vault.passphrase)
app.command("keyring", rich_help_panel=VAULT)(vault.keyring)
app.add_typer(keys.app, name="keys", rich_help_panel=VAULT)
models.app.command("tune")(tuning.tune)
models.app.command("levers")(levers.levers)
models.app.command("quantise")(tuning.quantise)
app.add_typer(models.app, name="models", rich_help_panel=MACHINE)
app.add_typer(tuning.bench, name="bench", rich_help_panel=MACHINE)
app.command("doctor", rich_help_panel=MACHINE)(doctor.doctor)
app.command("demo", rich_help_panel=MACHINE)(demo.demo)


def _version(wanted: bool) -> None:
    if wanted:
        from agentkit import __version__

        Output().line(f"agentkit {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Take the options that stand before the verb; both are read elsewhere."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    Args:
        arguments: Without the name of the program; default: those of this process.
    """
    from agentkit.core import namespaces

    _open_standard_streams()
    namespaces.no_core_dumps(for_good=False)  # a passphrase and answers pass through here
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = _take_flag(given, "--debug")
    output = Output()
    try:
        code = app(given or ["--help"], prog_name="agentkit", standalone_mode=False)
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except typer.Abort:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last stop: a person gets one line, whatever went wrong
        if debug:
            output.note(traceback.format_exc(), style="")
        return _report(error, output)
    return code if isinstance(code, int) else 0


def _open_standard_streams() -> None:
    """Put nothing in the place of what a shell closed (`>&-`): else the next file that is opened would take it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - for good


def _report(error: Exception, output: Output) -> int:
    """Write the error for the person who meets it and return the exit code."""
    if isinstance(error, typer.TyperException):
        return _report_usage(error, output)
    code = getattr(error, "exit_code", None)
    if isinstance(code, int):  # ours, of any of the three packages
        output.error(str(error), getattr(error, "hint", None))
        return code
    if isinstance(error, OSError):
        about = f"{error.filename}: " if error.filename else ""
        output.error(f"{about}{error.strerror or type(error).__name__}")
        return LimitError.exit_code if error.errno in (errno.ENOSPC, errno.EDQUOT) else 1
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "?"
    output.error(
        f"unexpected {type(error).__name__} at {where}", "this is a defect: type it again with --debug"
    )
    return 1


def _report_usage(error: typer.TyperException, output: Output) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "agentkit"
    if type(error).__name__ == "NoArgsIsHelpError":
        return 2  # typer has shown the help already
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    text = message.strip().rstrip(".")
    output.error(text[:1].lower() + text[1:], f"{path} --help")
    return int(getattr(error, "exit_code", 2))


def _take_flag(arguments: list[str], flag: str) -> bool:
    """Remove `flag` from wherever it stands before `--`, so that it may follow the verb."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    if flag not in arguments[:end]:
        return False
    arguments[:end] = [each for each in arguments[:end] if each != flag]
    return True


if __name__ == "__main__":
    sys.exit(main())
