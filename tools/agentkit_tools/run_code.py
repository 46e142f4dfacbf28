"""Run Python and shell code for a model, in a sandbox, and put into words what came of it.

The code travels on standard input: other users of the machine can read every command line. The shell line is a
shell's only inside the sandbox; nothing here goes through one outside.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from agentkit_tools.definition import ToolOutput
from agentkit_tools.errors import ToolFailedError
from agentkit_tools.sandbox import Limits, Sandbox, SandboxRequest, SandboxResult

LIMITS = Limits(seconds=30.0)
# As at Python's prompt, the value of a last expression is shown: small models forget to print.
_RUN_PYTHON = """
import ast, linecache, sys, traceback
source = sys.stdin.read()
linecache.cache["code"] = (len(source), None, source.splitlines(True), "code")
try:
    tree = ast.parse(source, "code")
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    names = {"__name__": "__main__"}
    exec(compile(tree, "code", "exec"), names)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), "code", "eval"), names)
        if value is not None:
            print(repr(value))
except Exception as error:
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != "code":
        trace = trace.tb_next
    sys.stdout.flush()
    traceback.print_exception(type(error), error, trace)
    sys.exit(1)
"""
_RUN_SHELL = 'line=$(cat); exec </dev/null; eval "$line"'


def run_python(sandbox: Sandbox, workspace: Path, code: str, limits: Limits = LIMITS) -> ToolOutput:
    """Run Python code and return what it printed.

    Raises:
        SandboxError: It cannot be run safely here.
        ToolFailedError: There is no Python a sandboxed program could start.
    """
    interpreter, readable = find_python()
    request = SandboxRequest(
        (interpreter, "-c", _RUN_PYTHON), str(workspace), code.encode(), limits, tuple(readable)
    )
    return report(sandbox.run(request))


def run_shell(sandbox: Sandbox, workspace: Path, command: str, limits: Limits = LIMITS) -> ToolOutput:
    """Run a shell command line and return what it printed.

    Raises:
        SandboxError: It cannot be run safely here.
    """
    return report(
        sandbox.run(SandboxRequest(("sh", "-c", _RUN_SHELL), str(workspace), command.encode(), limits))
    )


def find_python() -> tuple[str, list[str]]:
    """Return an interpreter a sandboxed program can start, and the folders it needs beside the system's.

    The system's own comes first. Ours may lie in a home or a virtual environment that the sandbox's user cannot
    read.

    Raises:
        ToolFailedError: There is none.
    """
    for path in ("/usr/bin/python3", "/usr/local/bin/python3", "/bin/python3"):
        if os.access(path, os.X_OK):
            return path, []
    ours = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    if ours.is_file() and ours.stat().st_mode & 0o005 == 0o005:
        return str(ours), [sys.base_prefix]
    raise ToolFailedError("there is no Python that a sandboxed program can start", hint="install python3")


def report(result: SandboxResult) -> ToolOutput:
    """Return how a run ended, in the words a model reads: output first, then what went wrong."""
    parts = [result.stdout.decode("utf-8", errors="replace").rstrip("\n")]
    errors = result.stderr.decode("utf-8", errors="replace").rstrip("\n")
    if errors:
        parts.append(f"[errors]\n{errors}")
    if result.truncated:
        parts.append("[there was more output than is kept]")
    if result.timed_out:
        parts.append(f"[stopped after {result.seconds:.0f} s: it took too long]")
    elif result.exit_code:
        parts.append(f"[ended with {_words(result.exit_code)}]")
    text = "\n".join(part for part in parts if part)
    return ToolOutput(
        text or "[done, no output]", is_error=result.timed_out or result.exit_code != 0, where=result.tier
    )


def _words(code: int) -> str:
    known = {
        126: "126: the program could not be started",
        127: "127: there is no such program",
        137: "137: killed, at a limit of memory or output",
        139: "139: it crashed",
        152: "152: it used up its processor time",
        153: "153: it wrote too large a file",
    }
    return f"exit code {known.get(code, code)}"
