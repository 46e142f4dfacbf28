"""What a tuning has measured so far, kept beside the model so that an interrupted one goes on where it was.

    models/NAME/tuning.jsonl    {"for": KEY, "began": SECONDS}, then one {"what": …, "values": […]} a line

Notes of other weights, another processor or build, and those older than an hour are left aside: the machine may
have had something else to do then. What is damaged is measured again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

NOTES = "tuning.jsonl"
MAX_AGE_SECONDS = 3600.0
_MAX_BYTES = 1 << 20


class TuningNotes:
    """Numbers by name."""

    def __init__(self, folder: Path, key: str, now: float) -> None:
        """Read the notes in `folder`, or begin new ones.

        Args:
            folder: Of the model.
            key: What the notes are for; see `agentkit.models.profile.profile_key`.
            now: Seconds since 1970.
        """
        self._path = folder / NOTES
        began, self._known = _read(self._path, key, now)
        self._path.unlink(missing_ok=True)  # written again, for its last line may be half a one
        self._path.touch(mode=0o600)
        self._write({"for": key, "began": began})
        for what, values in self._known.items():
            self._write({"what": what, "values": values})

    def recall(self, what: str) -> tuple[float, ...] | None:
        """Return what was noted of `what`."""
        return self._known.get(what)

    def note(self, what: str, values: Sequence[float]) -> None:
        """Keep `values`, from now on and for the next run."""
        self._known[what] = tuple(values)
        self._write({"what": what, "values": list(values)})

    def forget(self) -> None:
        """Remove them: the tuning is over."""
        self._path.unlink(missing_ok=True)

    def _write(self, line: Mapping[str, object]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _read(path: Path, key: str, now: float) -> tuple[float, dict[str, tuple[float, ...]]]:
    """Return when the notes were begun, and what is in them up to the first damage."""
    began, known = now, dict[str, tuple[float, ...]]()
    try:
        with path.open("rb") as file:
            lines = file.read(_MAX_BYTES).splitlines()
        head = json.loads(lines[0])
        if head["for"] != key or not 0 <= now - head["began"] <= MAX_AGE_SECONDS:
            return now, known
        began = float(head["began"])
        for line in lines[1:]:
            said = json.loads(line)
            values = tuple(float(value) for value in said["values"])
            if all(map(math.isfinite, values)):
                known[str(said["what"])] = values
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
        return began, known
    return began, known
