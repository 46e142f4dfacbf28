"""Where the public data lies that figures are measured on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")


def data_folder() -> Path:
    """Return `AGENTKIT_DATA`, or `../shared/data` beside the checkout; it may be absent."""
    given = os.environ.get("AGENTKIT_DATA")
    return Path(given) if given else Path(__file__).parents[2] / "shared" / "data"


def evenly(found: Sequence[Item], most: int | None) -> list[Item]:
    """Return `most` of `found`, or all: taken evenly, since those that come first may be easier."""
    count = len(found) if most is None else min(most, len(found))
    return [found[number * len(found) // count] for number in range(count)]
