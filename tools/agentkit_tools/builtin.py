"""The tools that come with agentkit: files, arithmetic, the clock, Python and the shell.

Names and descriptions are short and plain, for very small models read them. Each is an ordinary `@tool`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from agentkit_tools import clock as clock_words
from agentkit_tools import run_code
from agentkit_tools.calculator import calculate
from agentkit_tools.definition import Tool, ToolOutput, tool
from agentkit_tools.files import Files
from agentkit_tools.sandbox import Sandbox

_RUN_SECONDS = (
    run_code.LIMITS.seconds + 25.0
)  # the sandbox ends a run in order; this is for a sandbox that hangs


def builtin_tools(
    sandbox: Sandbox, workspace: Path, roots: Callable[[], Sequence[Path]], clock: Callable[[], datetime]
) -> list[Tool]:
    """Return the built-in tools.

    Args:
        sandbox: Where Python and shell code run.
        workspace: The only folder that is written.
        roots: Returns the folders that may be read as well; called at each use.
        clock: Returns the time now, aware of its zone.
    """
    files = Files(workspace, roots)

    @tool(capabilities=("read_files",), origin="document")
    def read_file(path: str, first_line: int = 1, lines: int = 400) -> str:
        """Read a text file.

        Args:
            path: The file.
            first_line: Where to start, counted from 1.
            lines: How many lines to read.
        """
        return files.read(path, first_line, lines)

    @tool(capabilities=("read_files",), origin="document")
    def list_folder(path: str = ".") -> str:
        """List the files in a folder.

        Args:
            path: The folder; the workspace if left out.
        """
        return files.entries(path)

    @tool(capabilities=("write_files",))
    def write_file(path: str, content: str) -> str:
        """Write a text file in the workspace, replacing it if it exists.

        Args:
            path: The file.
            content: The whole text of the file.
        """
        return files.write(path, content)

    @tool(capabilities=("write_files",))
    def append_file(path: str, text: str) -> str:
        """Add a line to the end of a text file in the workspace.

        Args:
            path: The file.
            text: What to add.
        """
        return files.append(path, text)

    @tool(privacy="public")
    def calculator(expression: str) -> str:
        """Compute an arithmetic expression exactly.

        Args:
            expression: Numbers and + - * / ** % ( ) sqrt round, such as (17.5 + 3) * 12.
        """
        return calculate(expression)

    @tool(privacy="public")
    def current_time(timezone: str = "") -> str:
        """Tell the current date, weekday and time.

        Args:
            timezone: A name such as Europe/Berlin; the user's own if left out.
        """
        return clock_words.describe(clock(), timezone)

    @tool(capabilities=("execute", "write_files"), timeout_seconds=_RUN_SECONDS)
    def run_python(code: str) -> ToolOutput:
        """Run Python code in a sandbox without network and return what it prints.

        Args:
            code: The program.
        """
        return run_code.run_python(sandbox, workspace, code)

    @tool(capabilities=("execute", "write_files"), timeout_seconds=_RUN_SECONDS)
    def run_shell(command: str) -> ToolOutput:
        """Run a shell command in a sandbox without network and return what it prints.

        Args:
            command: The command line.
        """
        return run_code.run_shell(sandbox, workspace, command)

    return [read_file, list_folder, write_file, append_file, calculator, current_time, run_python, run_shell]
