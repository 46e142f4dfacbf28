"""Where a passphrase comes from: never an argument of a command, never a variable's value."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from agentkit.errors import ConfigError

Passphrase = str | Callable[[], str] | None

MAX_BYTES = 1024 * 1024


def find_passphrase(given: Passphrase) -> bytes | None:
    """Return the passphrase given, or the one in the file named by `AGENTKIT_PASSPHRASE_FILE`, or `None`.

    Raises:
        ConfigError: The file cannot be read, is empty, or others may read it.
    """
    if given is not None:
        return (given if isinstance(given, str) else given()).encode()
    named = os.environ.get("AGENTKIT_PASSPHRASE_FILE")
    return None if not named else read_passphrase_file(Path(named).expanduser())


def read_passphrase_file(path: Path) -> bytes:
    """Return the first line of `path`, byte for byte, without its line end.

    Raises:
        ConfigError: The file cannot be read, is empty or too large, or others may read it.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"the passphrase file {path}: {error.strerror}") from error
    if sys.platform != "win32" and stat.S_ISREG(mode) and mode & 0o077:
        raise ConfigError(f"others may read the passphrase file {path}", hint=f"chmod 600 {path}")
    if len(data) > MAX_BYTES:
        raise ConfigError(f"the passphrase file {path} is over {MAX_BYTES} bytes")
    line = data.split(b"\n", 1)[0].removesuffix(b"\r")
    if not line:
        raise ConfigError(f"the passphrase file {path} is empty")
    return line
