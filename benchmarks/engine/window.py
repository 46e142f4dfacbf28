"""A book read through a sliding window: what is moved in the cache against what is computed again.

Teacher-forced: each token is predicted from the true ones before it. Both sides drop the same tokens at the same place;
only what stays is moved on one side and computed again on the other, so the ratio is what moving costs in perplexity.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from statistics import median
from typing import Any

from agentkit.models.levers import Levers
from agentkit.models.measuring import Measured
from agentkit.models.sliding import SINK_TOKENS, Window
from agentkit.models.threads import default_threads
from agentkit.spawn import LocalSpawner
from benchmarks._data import data_folder
from benchmarks.engine.sides import model_path

TOKENS = 50_000
QUICK_TOKENS = 6_000
WINDOW_TOKENS = 1024
BOOK = "sherlock_holmes_1661.txt"


def book() -> Path:
    """Return where the text lies."""
    return data_folder() / "gutenberg" / BOOK


def measure(*, quick: bool) -> dict[str, Any]:
    """Return the ratio of the perplexities, and how memory and time a token grow while the window moves."""
    if not book().is_file():
        return {"window_skipped": "the book is not in ../shared/data; AGENTKIT_DATA says where it is"}
    text = book().read_text(encoding="utf-8")
    moved = Run(text, quick=quick, shift=True)
    again = Run(text, quick=quick, shift=False)
    return {
        "shift_ppl_ratio": round(math.exp(moved.loss - again.loss), 4),
        "shift_perplexity": round(math.exp(moved.loss), 3),
        "recompute_perplexity": round(math.exp(again.loss), 3),
        "shift_rss_growth": round(moved.memory_growth, 4),
        "shift_time_growth": round(moved.time_growth, 3),
        "shift_tokens": QUICK_TOKENS if quick else TOKENS,
        "shift_tokens_s": round(moved.rate, 1),
        "recompute_tokens_s": round(again.rate, 1),
    }


class Run:
    """One reading of the book."""

    def __init__(self, text: str, *, quick: bool, shift: bool) -> None:
        self.memory: list[int] = []
        """Resident bytes of the worker, chunk by chunk."""
        self._at: list[tuple[int, float]] = []
        with Measured(model_path(), LocalSpawner()) as worker:
            self._pid = worker.pid
            losses = worker.losses(
                Levers(default_threads()),
                text,
                tokens=QUICK_TOKENS if quick else TOKENS,
                window=Window(WINDOW_TOKENS, SINK_TOKENS),
                shift=shift,
                beat=self._note,
            )
        self.loss = float(losses.mean(dtype="f8"))

    def _note(self, done: int, _total: int) -> None:
        pages = int(Path(f"/proc/{self._pid}/statm").read_text(encoding="ascii").split()[1])
        self.memory.append(pages * os.sysconf("SC_PAGE_SIZE"))
        self._at.append((done, time.perf_counter()))

    @property
    def rate(self) -> float:
        """Tokens a second, from the first chunk on."""
        (first, began), (last, ended) = self._at[0], self._at[-1]
        return (last - first) / (ended - began)

    @property
    def memory_growth(self) -> float:
        """The most memory in the last quarter against the second one."""
        quarter = len(self.memory) // 4
        return max(self.memory[-quarter:]) / max(self.memory[quarter : 2 * quarter])

    @property
    def time_growth(self) -> float:
        """Time of a chunk in the last quarter against the second one; the first fills the window."""
        seconds = [after[1] - before[1] for before, after in zip(self._at, self._at[1:], strict=False)]
        quarter = len(seconds) // 4
        return median(seconds[-quarter:]) / median(seconds[quarter : 2 * quarter])
