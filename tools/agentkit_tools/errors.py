"""The errors of agentkit_tools.

    ToolError
    ├── ToolDefinitionError   a function cannot become a tool
    ├── PolicyError           a policy file cannot be used
    ├── ToolInputError        no such tool, or arguments it cannot take
    ├── ToolFailedError       the tool ran and failed
    │   └── BrokerError       a file is outside the root, protected, or not a plain file
    │       └── MissingError  there is none
    ├── ToolDeniedError       policy or user said no
    ├── ToolTimeoutError      the tool outran its limit
    └── SandboxError          a program cannot be run safely here, so it was not run
        ├── LandlockError     the kernel took no Landlock ruleset
        └── SeccompError      the kernel took no seccomp filter

A message names the tool, argument or path it is about; it never holds the contents of a file, a document or a
program. `exit_code` follows the table of agentkit: 1 failed · 2 wrong usage · 5 refused · 7 over a limit.
"""

from __future__ import annotations


class ToolError(Exception):
    """Anything this package reports: one line, and a hint that says what to type."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ToolDefinitionError(ToolError):
    """A function cannot become a tool: its signature or docstring does not say enough."""

    exit_code = 2


class PolicyError(ToolError):
    """A policy file cannot be used."""

    exit_code = 2


class ToolInputError(ToolError):
    """No such tool, or arguments it cannot take."""

    exit_code = 2


class ToolFailedError(ToolError):
    """The tool ran and failed."""


class BrokerError(ToolFailedError):
    """A file is outside the root, protected, or not a plain file."""

    exit_code = 5


class MissingError(BrokerError):
    """There is no such file."""


class ToolDeniedError(ToolError):
    """Policy or user said no; the tool did not run."""

    exit_code = 5


class ToolTimeoutError(ToolError):
    """The tool outran its limit."""

    exit_code = 7


class SandboxError(ToolError):
    """A program cannot be run safely here, so it was not run."""

    exit_code = 5


class LandlockError(SandboxError):
    """The kernel took no Landlock ruleset; nothing is restricted that was promised to be."""


class SeccompError(SandboxError):
    """The kernel took no seccomp filter; nothing is restricted that was promised to be."""
