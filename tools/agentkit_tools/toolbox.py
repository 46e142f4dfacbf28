"""The tools of one agent, by name; and the one place where a call is checked, timed and cut to size."""

from __future__ import annotations

import contextvars
import difflib
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from agentkit_tools.definition import Tool, ToolOutput
from agentkit_tools.errors import ToolDefinitionError, ToolError, ToolInputError, ToolTimeoutError

MOST_OUTPUT_BYTES = 64 * 1024
# Terminal sequences (CSI, OSC, single escapes), other control characters but tab and newline, and the marks
# that
# turn the direction of writing: a result is shown to people in a terminal, beside a question to approve.
_UNPRINTABLE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
    r"|[\u202a-\u202e\u2066-\u2069]"
)


class Toolbox:
    """Every tool an agent has; iterating keeps the order given."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        """Collect `tools`.

        Raises:
            ToolDefinitionError: Two share a name.
        """
        self._tools: dict[str, Tool] = {}
        for each in tools:
            if each.name in self._tools:
                raise ToolDefinitionError(
                    f"there are two tools named {each.name}", hint="give one another name"
                )
            self._tools[each.name] = each

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def names(self) -> tuple[str, ...]:
        """Return the names, in order."""
        return tuple(self._tools)

    def get(self, name: str) -> Tool:
        """Return the tool `name`.

        Raises:
            ToolInputError: There is none; the hint names the nearest.
        """
        if name in self._tools:
            return self._tools[name]
        near = difflib.get_close_matches(name, self._tools, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(self._tools) or 'no tools'}"
        raise ToolInputError(f"there is no tool {name[:64]!r}", hint=hint)

    def call(self, name: str, arguments: Mapping[str, Any]) -> ToolOutput:
        """Check the arguments, run the tool, and return what it says; nothing a tool does is raised.

        No policy is asked here. A tool that outruns its time is given up: its thread goes on, its result is
        thrown away, and the output says so. Terminal escapes and other control characters are taken out, and
        text over 64 KiB is cut and says so.

        Args:
            name: Unknown names give an error output too.
            arguments: As parsed from JSON.
        """
        try:
            called = self.get(name)
            checked = check(called, arguments)
            output = _in_time(called, checked)
        except ToolError as error:
            hint = f" ({error.hint})" if error.hint else ""
            output = ToolOutput(f"{error.message}{hint}", is_error=True)
        return replace(output, text=_shorten(_UNPRINTABLE.sub("", output.text)))


def check(called: Tool, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return `arguments` as `called.run` takes them.

    Raises:
        ToolInputError: The tool cannot take them.
    """
    if called.check is not None:
        return called.check(arguments)
    from agentkit_tools.schema import check_against

    return check_against(called.parameters, called.name, arguments)


def _in_time(called: Tool, arguments: Mapping[str, Any]) -> ToolOutput:
    """Run the tool in a thread of its own and wait as long as it may take.

    Raises:
        ToolTimeoutError: It took longer.
        ToolError: The tool said so.
    """
    outcome: list[ToolOutput | ToolError] = []

    def run() -> None:
        try:
            outcome.append(called.run(arguments))
        except ToolError as error:
            outcome.append(error)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a tool may fail in any way it likes
            said = str(error) or "no reason given"
            outcome.append(ToolOutput(f"{called.name} failed: {type(error).__name__}: {said}", is_error=True))

    thread = threading.Thread(
        target=contextvars.copy_context().run, args=(run,), name=f"tool-{called.name}", daemon=True
    )
    thread.start()
    thread.join(called.timeout_seconds)
    if not outcome:
        raise ToolTimeoutError(
            f"{called.name} gave no answer in {called.timeout_seconds:g} s and was given up"
        )
    if isinstance(outcome[0], ToolError):
        raise outcome[0]
    return outcome[0]


def _shorten(text: str) -> str:
    data = text.encode("utf-8", errors="replace")
    if len(data) <= MOST_OUTPUT_BYTES:
        return data.decode()
    kept = data[:MOST_OUTPUT_BYTES].decode("utf-8", errors="ignore")
    return f"{kept}\n[cut: {MOST_OUTPUT_BYTES} of {len(data)} bytes are shown]"
