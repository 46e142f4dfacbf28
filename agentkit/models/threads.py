"""How many threads the engine should use: one a physical core that this process may run on."""

from __future__ import annotations

import os
from pathlib import Path


def default_threads() -> int:
    """Return the number of physical cores among those allowed to this process; at least 1.

    Two threads on one core share its arithmetic units, so a second one would only add waiting.
    """
    cores: set[str] = set()
    for cpu in os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            cores.add(siblings.read_text(encoding="ascii").strip())
        except OSError:
            cores.add(str(cpu))
    return max(1, len(cores))
