"""Say how far a long copy, download or check has come, and how fast it goes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Step = Literal["download", "copy", "check"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one step has come."""

    step: Step
    subject: str
    """The model or file."""
    done: int
    """Bytes."""
    total: int | None
    """Bytes, or `None` while nobody knows."""
    speed: float | None
    """Bytes a second over the last few seconds, or `None` at the start."""

    @property
    def seconds_left(self) -> float | None:
        """Return how long the rest takes at this speed, or `None` where that cannot be said."""
        if self.total is None or not self.speed:
            return None
        return max(0, self.total - self.done) / self.speed


OnProgress = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """Show nothing."""


class Meter:
    """Turn counts of bytes into a speed, and hold reports back to about ten a second."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, window_seconds: float = 5.0) -> None:
        self._clock = clock
        self._window_seconds = window_seconds
        self._marks: deque[tuple[float, int]] = deque()
        self._reported = float("-inf")

    def due(self, done: int) -> bool:
        """Note that `done` bytes are there; return whether a report is due."""
        now = self._clock()
        if now - self._reported < 0.1:
            return False
        self._reported = now
        self._marks.append((now, done))
        while len(self._marks) > 2 and now - self._marks[0][0] > self._window_seconds:
            self._marks.popleft()
        return True

    @property
    def speed(self) -> float | None:
        """Return bytes a second between the marks of the window."""
        if len(self._marks) < 2:
            return None
        (before, first), (now, last) = self._marks[0], self._marks[-1]
        return (last - first) / (now - before) if now > before else None
