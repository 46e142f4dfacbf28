"""The bulk embedder's process: `python -I -m agentkit.models.embed_worker FOLDER`.

torch and sentence-transformers take seconds to import and half a gigabyte, so they live here, only while there
is much to embed, and never in the core. Locked before the first text arrives.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, TextIO

from agentkit.spawn import worker_channel
from agentkit.wire import Channel, ConnectionLost

MAX_TEXTS = 4096
AUTOGROUP = Path("/proc/self/autogroup")
NICE = 10
"""A tenth of the weight of an ordinary session: the engine keeps most of its speed, and embedding goes on."""


def main(folder: Path) -> None:
    """Answer `{"texts": […]}` with `{"vectors": float32 bytes}` until the channel closes."""
    channel = worker_channel()
    weight = _weight()
    from agentkit_tools import landlock, seccomp

    if landlock.abi() >= 1:
        landlock.restrict(write=[])  # before torch starts threads, which it would not bind
    os.environ["JOBLIB_MULTIPROCESSING"] = "0"  # it would try for a semaphore on disk, and warn
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = "/"  # else torch looks for a folder it may write; there is none
    from agentkit_memory import SentenceTransformerEmbedder

    embedder = SentenceTransformerEmbedder(folder)
    embedder.embed(["warm up"])  # what torch loads lazily must be loaded before the lock
    if weight is not None:  # not sooner: beside others at work it would start for minutes
        with weight:
            weight.write(f"{NICE}")
    seccomp.install(seccomp.worker_profile())
    channel.send({"ready": True, "name": embedder.name, "dimensions": embedder.dimensions})
    try:
        while True:
            channel.send(_answer(embedder, channel))
    except ConnectionLost:
        return


def _weight() -> TextIO | None:
    """Open what sets the weight of this session against others; `None` where the kernel has no such thing.

    To the scheduler each session is one group, and the policy `SCHED_IDLE` counts only within a group.
    """
    try:
        return AUTOGROUP.open("w")
    except OSError:
        return None


def _answer(embedder: Any, channel: Channel) -> dict[str, Any]:  # noqa: ANN401 - torch is loaded lazily
    texts = channel.receive()["texts"]
    if (
        not isinstance(texts, list)
        or len(texts) > MAX_TEXTS
        or not all(isinstance(text, str) for text in texts)
    ):
        return {"error": f"not a list of at most {MAX_TEXTS} texts"}
    return {"vectors": embedder.embed(texts).astype("<f4").tobytes()}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
