"""The workbench's process: `python -I -m agentkit.models.workbench_worker MODEL [FOLDER]`.

Measures, scores and requantises one model file, so that a crash of llama.cpp costs one measurement. It locks itself
before it opens the file: no network, no program, and it writes into FOLDER only.
Not covered: what it may read; it is handed no key, and has nobody to tell but its parent.

Frames in: `{"id", "do": "open" | "speed" | "score" | "slide" | "quantise", …}`.
Frames out: `{"id", "is": "progress" | "opened" | "speed" | "scored" | "slid" | "quantised" | "failed", …}`.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkit.errors import AgentkitError, EngineError
from agentkit.models.engine_wire import error_kind
from agentkit.models.gpu import read_gpu
from agentkit.models.levers import Levers
from agentkit.spawn import worker_channel
from agentkit.wire import Channel, ConnectionLost

if TYPE_CHECKING:
    from agentkit.models.workbench import Workbench


def lock(write: Sequence[Path]) -> None:
    """Give up network, programs, and writing anywhere but into `write`."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":
        return
    from agentkit_tools import landlock, seccomp

    if landlock.abi():
        landlock.restrict(write=(*write, Path("/dev/null")), execute=())
    if seccomp.supported():
        seccomp.install(seccomp.worker_profile())


class Worker:
    """Answers frames until the channel closes."""

    def __init__(self, channel: Channel, model: Path) -> None:
        self._channel = channel
        self._model = model
        self._bench: Workbench | None = None

    def run(self) -> None:
        """Answer one frame after the other."""
        while True:
            request = self._channel.receive()
            number = request["id"]
            try:
                self._answer(number, request)
            except AgentkitError as error:
                self._send(number, "failed", kind=error_kind(error), message=error.message, hint=error.hint)
            except Exception as error:  # noqa: BLE001 - the worker goes on; a traceback could quote the file
                message = f"the workbench failed: {type(error).__name__}"
                self._send(number, "failed", kind="engine", message=message, hint=None)

    def _answer(self, number: int, request: dict[str, Any]) -> None:
        from agentkit.models import workbench

        match request["do"]:
            case "open":
                if self._bench is not None:
                    self._bench.close()
                    self._bench = None
                self._bench = workbench.Workbench(
                    self._model,
                    _levers(request["levers"]),
                    context_tokens=request["context_tokens"],
                    rows=request["rows"],
                )
                self._send(number, "opened")
            case "speed":
                prefill, generate = self._opened().speed(
                    request["prefill"], request["generate"], request["seed"]
                )
                memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
                self._send(number, "speed", prefill=prefill, generate=generate, memory=memory)
            case "score":
                self._score(number, request)
            case "slide":
                self._slide(number, request)
            case "quantise":
                workbench.quantise(
                    self._model,
                    Path(request["target"]),
                    request["file_type"],
                    request["threads"],
                    lambda done, total: self._send(number, "progress", done=done, total=total),
                )
                self._send(number, "quantised")
            case _:
                raise EngineError("the workbench does not know this request")

    def _score(self, number: int, request: dict[str, Any]) -> None:
        import numpy as np

        from agentkit.models.scoring import Reference

        bench = self._opened()
        reference = None
        if request["reference"] is not None:
            tokens, values, width = request["reference"]
            reference = Reference(
                np.frombuffer(tokens, "<i4").reshape(-1, width),
                np.frombuffer(values, "<f4").reshape(-1, width),
            )
        losses, divergences, kept = bench.score(
            bench.tokenise(request["text"])[: request["tokens"]],
            reference,
            lambda done, total: self._send(number, "progress", done=done, total=total),
        )
        self._send(
            number,
            "scored",
            losses=losses.astype("<f4").tobytes(),
            divergences=divergences.astype("<f4").tobytes(),
            reference=[
                kept.tokens.astype("<i4").tobytes(),
                kept.log_probabilities.astype("<f4").tobytes(),
                kept.tokens.shape[1],
            ],
        )

    def _slide(self, number: int, request: dict[str, Any]) -> None:
        from agentkit.models.sliding import Window

        bench = self._opened()
        losses = bench.slide(
            bench.tokenise(request["text"])[: request["tokens"]],
            Window(*request["window"]),
            lambda done, total: self._send(number, "progress", done=done, total=total),
            shift=request["shift"],
        )
        self._send(number, "slid", losses=losses.astype("<f4").tobytes())

    def _opened(self) -> Workbench:
        if self._bench is None:
            raise EngineError("no model is open")
        return self._bench

    def _send(self, number: int, answer: str, **values: Any) -> None:
        self._channel.send({"id": number, "is": answer, **values})


def _levers(value: dict[str, Any]) -> Levers:
    return Levers(**{**value, "gpu": read_gpu(value["gpu"])})


def main() -> None:
    """Lock, then answer until the other side closes the channel."""
    channel = worker_channel()
    lock([Path(each) for each in sys.argv[2:]])
    try:
        Worker(channel, Path(sys.argv[1])).run()
    except ConnectionLost:
        return


if __name__ == "__main__":
    main()
