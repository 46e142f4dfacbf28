"""The adapter that agentkit comes with for a model file."""

from __future__ import annotations

import hashlib
from pathlib import Path

from agentkit.models.catalogue import shipped_adapter


def shipped_path(model: Path) -> Path | None:
    """Return the adapter that agentkit comes with for a model file, if there is one."""
    with model.open("rb") as file:
        shipped = shipped_adapter(hashlib.file_digest(file, "sha256").hexdigest())
    return None if shipped is None else shipped.path
