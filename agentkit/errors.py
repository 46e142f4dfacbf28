"""The errors of agentkit.

    AgentkitError
    ├── ConfigError              a setting or file that cannot be used
    ├── NotFoundError            no such model, vault, record, file or tool
    │   └── ModelMissingError    the model is not in the store
    ├── LockedError              the vault is locked
    ├── BusyError                somebody else holds what is needed
    ├── LimitError               a size or count is over its limit
    ├── ContextOverflowError     what must be in the window does not fit
    ├── ModelError               the model file cannot be used
    │   └── ModelRefusedError    malformed, truncated or unsafe; never loaded
    ├── EngineError              the engine worker failed
    │   ├── WorkerLostError      it was killed or crashed; the next call starts a new one
    │   └── WorkerHungError      it stopped answering and was killed
    ├── OutputError              an answer could not be brought into the form asked for
    ├── IndexingError            a document or folder cannot be indexed
    ├── FetchError               a download failed
    │   └── HashMismatchError    what arrived is not what was asked for; removed
    ├── IsolationError           a lock that was promised could not be taken
    ├── CoreError                the core service cannot be reached or broke off
    └── Cancelled                the user asked to stop

`agentkit_tools` has its own small tree (`ToolError`), and so has `agentkit_memory` (`StoreError`); all three
carry `hint` and `exit_code`. A message never holds a prompt, a record, a document or a key.

Exit codes: 0 done · 1 failed · 2 wrong usage · 3 not found or not set up · 4 locked or wrong passphrase ·
5 refused by policy or isolation · 6 busy elsewhere · 7 out of space or over a limit · 130 interrupted.
"""

from __future__ import annotations


class AgentkitError(Exception):
    """Anything agentkit reports to its user: one line, and a hint that says what to type."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(AgentkitError):
    """A setting or file that cannot be used."""

    exit_code = 2


class NotFoundError(AgentkitError):
    """No such model, vault, record, file or tool."""

    exit_code = 3


class ModelMissingError(NotFoundError):
    """The model is not in the store."""


class LockedError(AgentkitError):
    """The vault is locked."""

    exit_code = 4


class BusyError(AgentkitError):
    """Somebody else holds what is needed."""

    exit_code = 6


class LimitError(AgentkitError):
    """A size or count is over its limit."""

    exit_code = 7


class ContextOverflowError(AgentkitError):
    """What must be in the window does not fit; nothing was cut to hide it."""

    exit_code = 7


class ModelError(AgentkitError):
    """The model file cannot be used."""


class ModelRefusedError(ModelError):
    """The model file is malformed, truncated or unsafe; it was never handed to the engine."""

    exit_code = 5


class EngineError(AgentkitError):
    """The engine worker failed."""


class WorkerLostError(EngineError):
    """The worker was killed or crashed; the next call starts a new one."""


class WorkerHungError(EngineError):
    """The worker stopped answering and was killed; the next call starts a new one."""


class OutputError(AgentkitError):
    """An answer could not be brought into the form asked for; the answer itself was given."""


class IndexingError(AgentkitError):
    """A document or folder cannot be indexed."""


class FetchError(AgentkitError):
    """A download failed."""


class HashMismatchError(FetchError):
    """What arrived is not what was asked for; it was removed."""

    exit_code = 5


class IsolationError(AgentkitError):
    """A lock that was promised could not be taken; the process refuses to go on."""

    exit_code = 5


class CoreError(AgentkitError):
    """The core service cannot be reached or broke off."""


class Cancelled(AgentkitError):  # noqa: N818 - not a failure: what the user asked for
    """The user asked to stop."""

    exit_code = 130
