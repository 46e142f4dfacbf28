"""One answer of the engine as it is written: a stream of text that another thread can cancel.

Covered: what comes from the worker is checked for the shape it promised; a stream that is closed or interrupted leaves
no generation running behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from typing import Any

from agentkit.errors import AgentkitError, EngineError, WorkerHungError, WorkerLostError
from agentkit.messages import ToolSpec, Usage
from agentkit.models.base import Completion, Refusal, StopReason
from agentkit.models.connection import Connection
from agentkit.models.engine_wire import read_calls, read_signals
from agentkit.models.kv_state import Misfit, Resume

CANCEL_SECONDS = 5.0


class EngineStream(Generator[str, None, Completion]):
    """One answer as it is written: a generator of text that another thread can cancel."""

    def __init__(
        self,
        request: Mapping[str, Any],
        tools: Sequence[ToolSpec],
        *,
        runs: Callable[[EngineStream], AbstractContextManager[Connection]],
        patience: Callable[[], float],
        resume: Resume | None = None,
    ) -> None:
        """Prepare; nothing is asked before the first `next`.

        Args:
            request: What to ask of the worker.
            tools: The only ones that may be called.
            runs: Gives the worker, for as long as the stream runs.
            patience: Seconds without a sign of life after which the worker is taken for hung.
            resume: The saved state of the conversation.
        """
        self._request = request
        self._tools = tools
        self._runs = runs
        self._patience = patience
        self._resume = resume
        self._cancelled = False
        self._asked: tuple[Connection, int] | None = None
        self._inner = self._run()

    def cancel(self) -> None:
        """Stop: the stream ends with what it has, and `StopReason.CANCELLED`.

        For another thread than the one that reads it, which may be waiting for the first token. Safe
        to call at any time.
        """
        self._cancelled = True
        if self._asked is not None:
            connection, number = self._asked
            with suppress(EngineError):  # the worker is gone, and the stream's reader is told so
                connection.forget(connection.send("cancel", {"of": number}))

    def send(self, value: None, /) -> str:
        """Go on to the next text."""
        return self._inner.send(value)

    def throw(self, *error: Any) -> str:
        """Raise `error` where the stream stands."""
        return self._inner.throw(*error)

    def close(self) -> None:
        """Stop, and wait until the worker has."""
        self._inner.close()

    def _run(self) -> Generator[str, None, Completion]:
        with self._runs(self) as connection, nullcontext() if self._resume is None else closing(self._resume):
            offer = {} if self._resume is None else self._resume.offer()
            number = connection.send("complete", {**self._request, **offer}, seconds=self._patience())
            self._asked = connection, number
            if self._cancelled:  # before there was anything to cancel
                self.cancel()
            shown: list[str] = []
            try:
                while True:
                    frame = connection.receive(number, self._patience())
                    match frame["is"]:
                        case "text":
                            shown.append(_text(frame))
                            yield shown[-1]
                        case "wants_state" if self._resume is not None:
                            self._resume.hand_over(connection, number)
                        case "completed":
                            misfit = "" if self._resume is None else self._resume.misfit
                            return _completion(frame, self._tools, "".join(shown), misfit)
            except MisshapenError:
                connection.kill()
                raise
            except AgentkitError:
                raise  # the worker said so, or is gone: it is not at work on this any more
            except BaseException:  # closed, or interrupted
                self._stop(connection, number)
                raise
            finally:
                self._asked = None
                connection.forget(number)

    def _stop(self, connection: Connection, number: int) -> None:
        """Stop and wait until the worker is rid of it."""
        try:
            connection.forget(connection.send("cancel", {"of": number}, seconds=CANCEL_SECONDS))
            while connection.receive(number, CANCEL_SECONDS)["is"] != "completed":
                pass
        except (WorkerLostError, WorkerHungError):
            connection.kill()  # the next call starts another worker
        except AgentkitError:
            return  # it failed in that moment: it is over all the same


def _completion(frame: Mapping[str, Any], tools: Sequence[ToolSpec], text: str, misfit: str) -> Completion:
    """Read a finished generation; the worker is not trusted with more than the shape it promised."""
    offered = {tool.name for tool in tools}
    try:
        calls = read_calls(frame["calls"])
        if any(call.name not in offered for call in calls):
            raise ValueError("a call of a tool that was not offered")
        refused = frame["refused"]
        prompt, generated, reused, prefill, generating = frame["usage"]
        mean = frame["mean_logprob"]
        return Completion(
            text=text,
            calls=calls,
            stop=StopReason(frame["stop"]),
            usage=Usage(
                int(prompt),
                int(generated),
                int(reused),
                float(prefill),
                float(generating),
                _cache(frame["cache"], misfit),
            ),
            mean_logprob=None if mean is None else float(mean),
            signals=read_signals(frame["signals"]),
            record=_record(frame["record"]),
            refused=None if refused is None else Refusal(str(refused[0]), read_calls(refused[1])),
        )
    except (KeyError, TypeError, ValueError, RecursionError):
        raise MisshapenError from None


def _record(value: object) -> bytes | None:
    if value is not None and not isinstance(value, bytes):
        raise TypeError
    return value


def _cache(said: Sequence[Any], misfit: str) -> str:
    """Say in words what was done with the cache."""
    origin, not_taken, shifts, recomputed = said
    words = [origin] if origin in ("cold", "reused", "shifted", "restored", "copied") else []
    if misfit or not_taken:
        words.append(f"saved state refused: {misfit or Misfit.ENGINE}")
    if shifts:
        words.append(f"window shifted {int(shifts)} times")
    if recomputed:
        words.append(f"window recomputed {int(recomputed)} times")
    return "; ".join(words)


def _text(frame: Mapping[str, Any]) -> str:
    text = frame.get("text")
    if not isinstance(text, str):
        raise MisshapenError
    return text


class MisshapenError(EngineError):
    """The worker is not what it should be."""

    def __init__(self) -> None:
        super().__init__("the engine worker sent an answer of another shape")
