"""`WorkerEmbedder`: the bulk embedder as the core sees it, in a process of its own under `SCHED_IDLE`.

The same weights as the light embedder, several times its speed on many texts, and seconds to start; who embeds
decides when that pays (`agentkit.indexing.writing`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agentkit.errors import EngineError, WorkerHungError, WorkerLostError
from agentkit.spawn import Child, Spawner
from agentkit.wire import ConnectionLost, FrameError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

START_SECONDS = 90.0
LEAST_SECONDS = 10.0
SECONDS_PER_TEXT = 2.0
BATCH_TEXTS = 256


class WorkerEmbedder:
    """An `agentkit_memory.Embedder` whose work is done by a worker, started at the first use."""

    max_pieces = 256

    def __init__(self, folder: Path, spawner: Spawner, *, name: str, dimensions: int) -> None:
        self.name = name
        self.dimensions = dimensions
        self._folder = folder
        self._spawner = spawner
        self._child: Child | None = None
        self._working = threading.Lock()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts, in batches.

        Returns:
            Shape `(len(texts), dimensions)`, float32, unit length.

        Raises:
            WorkerLostError: The worker was killed or crashed; the next call starts a new one.
            WorkerHungError: It gave no answer and was killed.
            EngineError: It sent something else than vectors, and was ended.
        """
        import numpy as np

        batches = [texts[start : start + BATCH_TEXTS] for start in range(0, len(texts), BATCH_TEXTS)]
        with self._working:
            parts = [self._batch(batch) for batch in batches]
        return np.concatenate(parts) if parts else np.empty((0, self.dimensions), np.float32)

    def close(self) -> None:
        """End the worker."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()

    def _batch(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import numpy as np

        child = self._child or self._start()
        patience = LEAST_SECONDS + SECONDS_PER_TEXT * len(texts)
        try:
            child.channel.send({"texts": list(texts)}, timeout=patience)
            vectors = child.channel.receive(timeout=patience).get("vectors")
        except ConnectionLost as error:
            self.close()
            raise WorkerLostError("the embedding worker ended while it worked", hint="try again") from error
        except TimeoutError as error:
            self.close()
            raise WorkerHungError(f"the embedding worker gave no answer for {len(texts)} texts") from error
        except FrameError:
            vectors = None
        if not isinstance(vectors, bytes) or len(vectors) != 4 * len(texts) * self.dimensions:
            self.close()
            raise EngineError(
                f"the embedding worker sent no vectors for {len(texts)} texts", hint="try again"
            )
        return np.frombuffer(vectors, "<f4").reshape(len(texts), self.dimensions).astype(np.float32)

    def _start(self) -> Child:
        self._child = self._spawner.spawn("agentkit.models.embed_worker", [str(self._folder)], idle=True)
        try:
            self._child.channel.receive(timeout=START_SECONDS)
        except (ConnectionLost, FrameError, TimeoutError) as error:
            self.close()
            raise WorkerLostError(
                "the embedding worker did not start", hint="agentkit doctor says whether torch is installed"
            ) from error
        return self._child
