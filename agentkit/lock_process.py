"""Lock the process of a caller who wants it: the same egress lock the core takes.

Never called by agentkit itself on a process that is not its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from agentkit.core import lock


def lock_process(writable: Iterable[str | Path]) -> lock.Receipt:
    """Deny this process, for good, every connection, every program start and every write outside `writable`.

    Call it before starting threads; connect an `Agent` first if you want one, since no socket opens afterwards.

    Returns:
        What was enforced, and what the self-test saw.

    Raises:
        IsolationError: The kernel refused, or the self-test got out.
    """
    return lock.take([Path(each).absolute() for each in writable], namespaces="not asked for")
