"""Measure a model file in a child process: speed, memory, perplexity, and divergence from a reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from agentkit.errors import ConfigError, EngineError
from agentkit.models.connection import Connection
from agentkit.models.gguf import read_header
from agentkit.models.levers import Levers
from agentkit.models.ram_need import default_context
from agentkit.models.sliding import SINK_TOKENS, Window
from agentkit.spawn import ENGINE_ENVIRONMENT, Spawner

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WORKER = "agentkit.models.workbench_worker"
QUIET_SECONDS = 300.0
"""A worker that says nothing for so long is taken for hung: one measurement of a large model takes a while."""
PREFILL_TOKENS = 512
GENERATE_TOKENS = 48
SCORED_TOKENS = 4096

Beat = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens a second, and the most memory the process had."""

    prefill: float
    generate: float
    memory_bytes: int

    @property
    def turn_seconds(self) -> float:
        """What a turn of 500 new prompt tokens and 100 of answer takes: the one figure levers are chosen by."""
        return 500 / self.prefill + 100 / self.generate


@dataclass(frozen=True, slots=True)
class Score:
    """How well a text was predicted."""

    loss: float
    """Mean negative log-probability of a token, in nats; perplexity is its exponential."""
    tokens: int
    divergence: float | None
    """Mean divergence from the reference, in nats; `None` for the reference itself."""
    reference: tuple[bytes, bytes, int]
    """What to hand to the next one that is compared with this."""

    @property
    def perplexity(self) -> float:
        """Return how many tokens the model wavers between, so to speak: lower is better."""
        import math

        return math.exp(self.loss)


def text() -> str:
    """Return the text that is shipped to be scored."""
    return (Path(__file__).parent / "data" / "perplexity.txt").read_text(encoding="utf-8")


class Measured:
    """One model file in a workbench worker; close it after."""

    def __init__(self, path: Path, spawner: Spawner, *, writes: Sequence[Path] = ()) -> None:
        self._path = path
        arguments = [str(each.absolute()) for each in (path, *writes)]
        environment = {**ENGINE_ENVIRONMENT, "OPENBLAS_NUM_THREADS": "1"}
        self._connection = Connection(spawner.spawn(WORKER, arguments, extra=environment))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker."""
        self._connection.kill()

    def ask(self, what: str, answer: str, beat: Beat | None = None, **values: Any) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            WorkerLostError: The worker crashed.
            WorkerHungError: It gave no sign of life.
            AgentkitError: What it reports.
        """
        number = self._connection.send(what, values, seconds=QUIET_SECONDS)
        try:
            while (frame := self._connection.receive(number, QUIET_SECONDS))["is"] != answer:
                if beat is not None:
                    with suppress(KeyError):
                        beat(frame["done"], frame["total"])
            return frame
        finally:
            self._connection.forget(number)

    def speed(self, levers: Levers, *, seed: int = 0, prefill_tokens: int = PREFILL_TOKENS) -> Speed:
        """Open the model with `levers` and measure once."""
        self.open(levers, context_tokens=2 * prefill_tokens)
        return self.again(seed, prefill_tokens=prefill_tokens)

    def open(self, levers: Levers, *, context_tokens: int = 1024, rows: int = 1) -> None:
        """Open the model, or open it again with other levers."""
        self.ask("open", "opened", levers=asdict(levers), context_tokens=context_tokens, rows=rows)

    def again(self, seed: int, *, prefill_tokens: int = PREFILL_TOKENS) -> Speed:
        """Measure what is open."""
        said = self.ask("speed", "speed", prefill=prefill_tokens, generate=GENERATE_TOKENS, seed=seed)
        return Speed(float(said["prefill"]), float(said["generate"]), int(said["memory"]))

    def score(
        self,
        levers: Levers,
        reference: Score | None = None,
        *,
        tokens: int = SCORED_TOKENS,
        beat: Beat | None = None,
    ) -> Score:
        """Score the shipped text, and compare with `reference`.

        Raises:
            EngineError: The worker sent nonsense.
        """
        import numpy as np

        from agentkit.models.scoring import CHUNK_TOKENS, WINDOW_TOKENS

        self.open(levers, context_tokens=WINDOW_TOKENS, rows=CHUNK_TOKENS)
        said = self.ask(
            "score",
            "scored",
            beat,
            text=text(),
            tokens=tokens,
            reference=None if reference is None else list(reference.reference),
        )
        losses = np.frombuffer(said["losses"], "<f4")
        divergences = np.frombuffer(said["divergences"], "<f4")
        if not losses.size or not np.isfinite(losses).all():
            raise EngineError(f"{self._path.name} predicts nothing that is a number")
        kept, values, width = said["reference"]
        return Score(
            float(losses.mean(dtype=np.float64)),
            int(losses.size),
            float(divergences.mean(dtype=np.float64)) if reference is not None else None,
            (kept, values, int(width)),
        )

    def losses(
        self,
        levers: Levers,
        text: str,
        *,
        tokens: int | None = None,
        window: Window | None = None,
        shift: bool = False,
        beat: Beat | None = None,
    ) -> NDArray[np.float32]:
        """Return the negative log-probability of each token of a text but the first, in nats; their sum is its NLL.

        The first is scored, too, where the model starts every text with a token of its own.
        At most `CHUNK_TOKENS` rows of logits exist at a time, however long the text is.

        Args:
            levers: How to run the model.
            text: Any; read as plain text, without a template.
            tokens: Score no more than the first so many, the model's own among them.
            window: What the model sees at once of a longer text; default: 4096 tokens, or what it was trained for.
            shift: Move what stays in a full window, which is quicker; else compute it again, which is exact.
            beat: Called with the tokens decoded and their total.

        Raises:
            ConfigError: The text has less than two tokens, or the window is too small to score in.
            EngineError: The worker sent nonsense.
        """
        import numpy as np

        from agentkit.models.scoring import CHUNK_TOKENS

        window = window or Window(default_context(read_header(self._path)), SINK_TOKENS)
        least = window.keep + 2 * CHUNK_TOKENS
        if window.tokens < least:
            raise ConfigError(
                f"a window of {window.tokens} tokens is too small to score in: {least} are needed"
            )
        self.open(levers, context_tokens=window.tokens, rows=CHUNK_TOKENS)
        asked = [window.tokens, window.keep]
        said = self.ask("slide", "slid", beat, text=text, tokens=tokens, window=asked, shift=shift)
        losses = np.frombuffer(said["losses"], "<f4")
        if not losses.size or not np.isfinite(losses).all():
            raise EngineError(f"{self._path.name} predicts nothing that is a number")
        return losses

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._connection.pid


def best_of(speeds: Sequence[Speed]) -> Speed:
    """Return the best of several measurements of one thing: whatever else runs only ever slows it down."""
    return Speed(
        max(each.prefill for each in speeds),
        max(each.generate for each in speeds),
        max(each.memory_bytes for each in speeds),
    )
