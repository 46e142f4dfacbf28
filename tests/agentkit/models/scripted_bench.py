"""A workbench that computes nothing: speeds and losses are what a script says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agentkit.models.gpu import read_gpu
from agentkit.models.levers import Levers
from agentkit.models.variants import LEVELS
from agentkit.wire import Channel, ConnectionLost


class ScriptedChild:
    """A workbench that computes nothing: it says what the script has for a file and its levers."""

    pid = 0

    def __init__(self, bench: ScriptedBench, path: Path) -> None:
        ours, theirs = socket.socketpair()
        self.channel, self._theirs = Channel(ours), Channel(theirs)
        self._bench, self._path, self._levers = bench, path, Levers(1)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            while True:
                request = self._theirs.receive()
                self._theirs.send({"id": request["id"], **self._answer(request)})
        except ConnectionLost:
            self._theirs.close()

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        level = self._path.stem if self._path.stem in LEVELS else None
        match request["do"]:
            case "open":
                values = request["levers"]
                self._levers = Levers(**{**values, "gpu": read_gpu(values["gpu"])})
                return {"is": "opened"}
            case "speed":
                self._bench.measured += 1
                prefill = self._bench.speed(level, self._levers)
                if prefill is None:
                    return {"is": "failed", "kind": "engine", "message": "it failed", "hint": None}
                return {"is": "speed", "prefill": prefill, "generate": 100.0, "memory": 1}
            case "score":
                loss = np.asarray([3.0 + self._bench.losses.get(level or "", 0.0)], "<f4").tobytes()
                apart = b"" if request["reference"] is None else np.asarray([0.01], "<f4").tobytes()
                return {"is": "scored", "losses": loss, "divergences": apart, "reference": [b"", b"", 0]}
            case _:
                made = self._path.read_bytes().replace(b"tiny 0", b"tiny 1")  # it has another hash
                Path(request["target"]).write_bytes(made)
                return {"is": "quantised"}

    def kill(self) -> None:
        self.channel.close()
        self._thread.join()

    def exit_status(self) -> int | None:
        return 0


class ScriptedBench:
    """Starts scripted workbenches, and may have the user interrupt after so many measurements."""

    def __init__(self, speed: Callable[[str | None, Levers], float | None], **losses: float) -> None:
        self.speed, self.losses = speed, losses
        self.measured = 0
        self.stop_after = 10**9

    def spawn(self, module: str, arguments: Sequence[str] = (), **_: Any) -> ScriptedChild:
        if self.measured >= self.stop_after:
            raise KeyboardInterrupt
        return ScriptedChild(self, Path(arguments[0]))


def quicker(level: str | None, levers: Levers) -> float:
    """Return how fast prompts are read: Q8_0 is quickest, Q2_K too coarse, a batch of 128 a little better."""
    rate = {"Q8_0": 300.0, "F16": 200.0, "Q2_K": 900.0}.get(level or "", 100.0)
    return rate * (1.2 if levers.batch_tokens == 128 else 1) * (0.8 if not levers.flash_attention else 1)
