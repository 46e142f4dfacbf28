"""Texts written as they are, up to a mark that ends them: how one can hold that mark all the same."""

from __future__ import annotations

import re


def break_up(text: str, stop: str) -> str:
    """Return `text` with a backslash in everything that spells `stop`, or `stop` with backslashes in it.

    The first character of `stop` that is no white space is what the backslash goes behind.
    """
    return _pattern(stop).sub(lambda found: found[1] + "\\" + found[2] + found[3], text)


def join_up(text: str, stop: str) -> str:
    """Undo `break_up`."""
    return _pattern(stop).sub(lambda found: found[1] + found[2][1:] + found[3], text)


def _pattern(stop: str) -> re.Pattern[str]:
    at = len(stop) - len(stop.lstrip()) + 1
    return re.compile(rf"({re.escape(stop[:at])})(\\*)({re.escape(stop[at:])})")
