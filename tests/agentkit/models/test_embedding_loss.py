"""Whatever the embedding worker sends instead of vectors: a typed error, and the next call starts another worker."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentkit.errors import EngineError, WorkerHungError, WorkerLostError
from agentkit.models import embedding
from agentkit.models.embedding import WorkerEmbedder
from agentkit.wire import Channel, ConnectionLost

Answer = Callable[[Channel, socket.socket, int], None]
"""Sends what a worker sends for so many texts."""


class Child:
    """A worker that says what the script has."""

    pid = 0

    def __init__(self, answer: Answer) -> None:
        ours, self._end = socket.socketpair()
        self.channel, self._theirs = Channel(ours), Channel(self._end)
        self._answer = answer
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._theirs.send({"ready": True})
            while True:
                self._answer(self._theirs, self._end, len(self._theirs.receive()["texts"]))
        except ConnectionLost:
            self._theirs.close()

    def kill(self) -> None:
        self.channel.close()
        self._thread.join()

    def exit_status(self) -> int | None:
        return 0


class Spawner:
    """Starts workers of which the first one follows the script, and the others do what they should."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = [*answers, vectors]

    def spawn(self, *_arguments: Any, **_options: Any) -> Child:
        return Child(self._answers.pop(0))


def vectors(channel: Channel, _end: socket.socket, count: int) -> None:
    channel.send({"vectors": struct.pack("<4f", 1, 0, 0, 0) * count})


def gone(*_: object) -> None:
    raise ConnectionLost("as if it had crashed")


SCRIPTS: dict[str, tuple[Answer, type[EngineError], str]] = {
    "error": (lambda channel, _end, _count: channel.send({"error": "no"}), EngineError, "sent no vectors"),
    "number": (lambda channel, _end, _count: channel.send({"vectors": 7}), EngineError, "sent no vectors"),
    "short": (lambda channel, end, count: vectors(channel, end, count - 1), EngineError, "sent no vectors"),
    "noise": (lambda _channel, end, _count: end.sendall(b"\xff" * 8), EngineError, "sent no vectors"),
    "gone": (gone, WorkerLostError, "ended"),
    "silent": (lambda _channel, _end, _count: None, WorkerHungError, "gave no answer"),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_is_no_answer_is_a_typed_error(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, kind, words = SCRIPTS[script]
    monkeypatch.setattr(embedding, "LEAST_SECONDS", 0.1)
    monkeypatch.setattr(embedding, "SECONDS_PER_TEXT", 0.0)
    embedder = WorkerEmbedder(Path("model"), Spawner(answer), name="scripted", dimensions=4)
    try:
        with pytest.raises(kind, match=words):
            embedder.embed(["one", "two"])
        assert embedder.embed(["one", "two"]).tolist() == [[1, 0, 0, 0]] * 2
    finally:
        embedder.close()
