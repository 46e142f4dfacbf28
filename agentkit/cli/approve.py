"""Ask the person at the terminal whether a call may run; without a person, the answer is no."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from agentkit.cli.output import Output

ALLOW, DENY, NOBODY = {"decision": "allow"}, {"decision": "deny"}, {"decision": "nobody"}

_ORIGINS = {
    "system": "only agentkit's own words",
    "user": "only your own words",
    "model": "its own words",
    "tool": "the results of tools",
    "document": "documents: somebody else may have written this request",
}


class Approver:
    """Answers the core's questions for one command."""

    def __init__(
        self,
        output: Output,
        *,
        ask: Callable[[str], str] | None = None,
        on_question: Callable[[Mapping[str, Any]], None] = lambda _: None,
    ) -> None:
        """Compose an approver.

        Args:
            output: Where the question is shown.
            ask: Puts a question and returns what was typed; default: standard input, if a person sits there.
            on_question: Told of each question before it is put.
        """
        self._output = output
        self._on_question = on_question
        self._ask = ask

    def __call__(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to one question of the core."""
        approval = question.get("approval")
        if not isinstance(approval, Mapping):
            return {}  # a call of a tool of ours, and the command line has none
        self._on_question(approval)
        show_approval(self._output, approval)
        typed = self._typed()
        if typed is None:
            self._output.note("denied: there is nobody to ask (--yes approves, --policy FILE rules)")
            return NOBODY
        return ALLOW if typed.strip().lower() in ("y", "yes") else DENY

    def _typed(self) -> str | None:
        if self._ask is not None:
            return self._ask("allow this once? [y/N]")
        if not sys.stdin.isatty():
            return None
        _forget_typed_ahead()
        self._output.question("allow this once? [y/N]")
        return sys.stdin.readline()


def show_approval(output: Output, approval: Mapping[str, Any]) -> None:
    """Show the tool, its exact arguments, what it can do, what was read before, and why it is asked."""
    call = approval["call"]
    output.note()
    output.note(f"{call['name']} wants to run", "yellow")
    output.note(f"  {approval['tool_description'].strip().splitlines()[0]}")
    for name, value in call["arguments"].items():
        output.exactly(f"{name} = {value if isinstance(value, str) else repr(value)}")
    output.note(f"  it can: {', '.join(approval['capabilities']) or 'nothing that needs a right'}")
    output.note(f"  the model had read: {_ORIGINS.get(approval['origin'], approval['origin'])}")
    output.note(f"  asked because: {approval['reason']}")


def _forget_typed_ahead() -> None:
    """Drop what was typed before the question was shown: it was not meant as its answer."""
    try:
        import termios

        termios.tcflush(sys.stdin, termios.TCIFLUSH)
    except (ImportError, OSError, ValueError):
        return  # no terminal of that kind
