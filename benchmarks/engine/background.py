"""What is left of an answer's speed while the bulk embedder works through documents behind it.

The embedder runs under `SCHED_IDLE`: it gets what the engine leaves. For comparison it runs at ordinary priority too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

from agentkit.models.embedding import WorkerEmbedder
from agentkit.paths import Home
from agentkit.spawn import LocalChild, LocalSpawner
from benchmarks._noise import noise
from benchmarks.engine.sides import Ours, model_path

TEXT_WORDS = 120
BATCH = 32


class OrdinarySpawner(LocalSpawner):
    """Starts workers at ordinary priority, whatever is asked for."""

    def spawn(
        self,
        module: str,
        arguments: Sequence[str] = (),
        *,
        idle: bool = False,  # noqa: ARG002 - that is the point
        extra: Mapping[str, str] | None = None,
    ) -> LocalChild:
        """Start `python -I -m module arguments`; see `Spawner.spawn`."""
        return super().spawn(module, arguments, idle=False, extra=extra)


def measure(*, quick: bool) -> dict[str, Any]:
    """Return the ratios, and documents a second; nothing where the embedding model is not in the store."""
    folder = Home.default().models / "minilm-l6-v2"
    if not folder.is_dir():
        return {"beside_embedding_ratio": None}
    ours = Ours(model_path())
    ours.generate()
    quiet = WorkerEmbedder(folder, LocalSpawner(), name="minilm-l6-v2", dimensions=384)
    loud = WorkerEmbedder(folder, OrdinarySpawner(), name="minilm-l6-v2", dimensions=384)
    ratios: dict[str, list[float]] = {"quiet": [], "loud": []}
    embedded: list[float] = []
    try:
        for _ in range(2 if quick else 5):
            for name, embedder in (("quiet", quiet), ("loud", loud)):
                alone = ours.generate()[0]
                with busy(embedder, embedded if name == "quiet" else []):
                    ratios[name].append(ours.generate()[0] / alone)
    finally:
        for embedder in (quiet, loud):
            embedder.close()
        ours.engine.close()
    return {
        "beside_embedding_ratio": round(median(ratios["quiet"]), 3),
        "beside_ordinary_embedding_ratio": round(median(ratios["loud"]), 3),
        "embedded_beside_docs_s": round(median(embedded), 1) if embedded else 0.0,
    }


@contextmanager
def busy(embedder: WorkerEmbedder, rates: list[float]) -> Iterator[None]:
    """Keep an embedder at work while the block runs; add how many texts a second it managed."""
    texts = [noise(TEXT_WORDS, number) for number in range(BATCH)]
    embedder.embed(texts[:1])
    over = threading.Event()
    counted = 0

    def work() -> None:
        nonlocal counted
        while not over.is_set():
            embedder.embed(texts)
            counted += len(texts)

    thread = threading.Thread(target=work)
    started = time.perf_counter()
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        rates.append(counted / (time.perf_counter() - started))
