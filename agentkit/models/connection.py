"""Talk to a worker: requests out, and the answers of several requests sorted by number."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agentkit.errors import AgentkitError, EngineError, WorkerHungError, WorkerLostError
from agentkit.models.engine_wire import ERROR_KINDS
from agentkit.spawn import Child
from agentkit.wire import ConnectionLost, FrameError

OnState = Callable[[dict[str, Any], int], None]
SEND_SECONDS = 30.0
"""A worker takes in what is sent even while it computes."""
_EXIT_SECONDS = 5.0
_CRASHES = {signal.SIGSEGV, signal.SIGILL, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE}


class Connection:
    """One worker. Safe to use from several threads; each request has one reader.

    A thread of its own reads the channel, so the worker never waits for a slow caller.
    """

    def __init__(self, child: Child, *, on_state: OnState | None = None) -> None:
        """Begin to listen.

        Args:
            child: The worker.
            on_state: Takes a frame about the state of a conversation, and the open file with it, which it has to close.
                It is called by the thread that listens. `None`: states are let go.
        """
        self._child = child
        self._on_state = on_state
        self._lock = threading.Lock()
        self._answers: dict[int, queue.SimpleQueue[dict[str, Any] | None]] = {}
        self._last = 0
        self._heard = time.monotonic()
        self._lost = False
        self._reader = threading.Thread(target=self._read, name="engine-reader", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether requests can be sent."""
        return not self._lost

    @property
    def crashed(self) -> bool:
        """Whether the worker is gone, by a signal that says its own code failed."""
        return self._lost and -(self._wait_for_exit() or 0) in _CRASHES

    def send(
        self,
        what: str,
        values: Mapping[str, Any],
        *,
        fds: Sequence[int] = (),
        seconds: float = SEND_SECONDS,
    ) -> int:
        """Send a request, with open files beside it; return its number.

        Raises:
            WorkerLostError: The worker is gone.
            WorkerHungError: The worker took nothing for `seconds`; it was killed.
            FrameError: The request is over the limit of a frame.
        """
        with self._lock:
            self._last += 1
            number = self._last
            self._answers[number] = queue.SimpleQueue()
        try:
            if self._lost:
                raise ConnectionLost("the other side closed the connection")
            self._child.channel.send({**values, "id": number, "do": what}, fds=fds, timeout=seconds)
        except ConnectionLost:
            self.forget(number)
            raise self._lost_error() from None
        except TimeoutError:
            self.forget(number)
            raise self._hung_error(f"took nothing for {seconds:g} s") from None
        except FrameError:
            self.forget(number)
            raise
        return number

    def receive(self, number: int, seconds: float) -> dict[str, Any]:
        """Wait for the next frame of request `number`.

        Raises:
            WorkerLostError: The worker is gone.
            WorkerHungError: The worker said nothing to anybody for `seconds`; it was killed.
            AgentkitError: What the worker reports.
        """
        answers = self._answers[number]
        asked = time.monotonic()  # before that it may have had nothing to do, and was rightly silent
        while (left := max(self._heard, asked) + seconds - time.monotonic()) > 0:
            try:
                frame = answers.get(timeout=left)
            except queue.Empty:
                continue  # it may have been at work for somebody else
            break
        else:
            raise self._hung_error(f"gave no sign of life for {seconds:g} s")
        if frame is None:
            raise self._lost_error()
        if frame["is"] == "failed":
            raise _reported(frame)
        return frame

    def forget(self, number: int) -> None:
        """Drop whatever else comes for request `number`."""
        with self._lock:
            self._answers.pop(number, None)

    def kill(self) -> None:
        """End the worker; safe to call twice."""
        self._lost = True
        self._child.kill()

    def _read(self) -> None:
        try:
            while True:
                frame = self._child.channel.receive()
                self._heard = time.monotonic()
                self._take_state(frame)
                number, kind = frame.get("id"), frame.get("is")
                if not isinstance(number, int) or not isinstance(kind, str):
                    raise FrameError("the worker sent something without a number")
                with self._lock:
                    answers = self._answers.get(number)
                if answers is not None:
                    answers.put(frame)
        except (ConnectionLost, FrameError, OSError):
            self._lost = True
        with self._lock:
            for answers in self._answers.values():
                answers.put(None)

    def _take_state(self, frame: dict[str, Any]) -> None:
        """Hand on the open file that came with a frame, if it is the state of a conversation."""
        files = self._child.channel.take_fds()
        if files and frame.get("is") == "state" and self._on_state is not None and not self._lost:
            self._on_state(frame, files.pop(0))
        for file in files:
            os.close(file)

    def _wait_for_exit(self) -> int | None:
        waiting = threading.Event()
        for _ in range(int(_EXIT_SECONDS / 0.01)):
            status = self._child.exit_status()
            if status is not None:
                return status
            waiting.wait(0.01)
        return None

    def _hung_error(self, how: str) -> WorkerHungError:
        self.kill()
        return WorkerHungError(
            f"the engine worker {how} and was ended", hint="ask again: the next call starts a new one"
        )

    def _lost_error(self) -> WorkerLostError:
        status = self._wait_for_exit() if self._reader is not threading.current_thread() else None
        self.kill()
        how = "ended" if status is None or status >= 0 else f"was ended by signal {-status}"
        return WorkerLostError(f"the engine worker {how}", hint="ask again: the next call starts a new one")


def _reported(frame: Mapping[str, Any]) -> AgentkitError:
    kind, message, hint = frame.get("kind"), frame.get("message"), frame.get("hint")
    error = ERROR_KINDS.get(str(kind), EngineError)
    return error(str(message)[:500], hint=None if hint is None else str(hint)[:500])
