"""Where the public data lies that figures are measured on."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder() -> Path:
    """Return `AGENTKIT_DATA`, or `../shared/data` beside the checkout; it may be absent."""
    given = os.environ.get("AGENTKIT_DATA")
    return Path(given) if given else Path(__file__).parents[2] / "shared" / "data"
