"""What a person typed behind a verb, or sent through standard input; always text that UTF-8 can hold."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TextIO

from agentkit.errors import ConfigError


def read_stdin(limit: int = -1) -> str:
    """Return what standard input holds, `limit` characters at the most.

    Raises:
        ConfigError: It is no UTF-8.
    """
    return _read(lambda stream: stream.read(limit))


def read_lines() -> Iterator[str]:
    """Yield the lines of standard input as they come.

    Raises:
        ConfigError: It is no UTF-8.
    """
    while line := _read(lambda stream: stream.readline()):
        yield line


def checked(text: str) -> str:
    """Return `text`, which came from outside.

    Raises:
        ConfigError: Bytes of it are no UTF-8; Python hands them on as halves of characters.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _not_utf8() from None
    return text


def _read(how: Callable[[TextIO], str]) -> str:
    try:
        return checked(how(sys.stdin))
    except UnicodeDecodeError:
        raise _not_utf8() from None


def _not_utf8() -> ConfigError:
    return ConfigError("the text is not UTF-8", hint="iconv -t UTF-8 converts it")
