"""The engine: a `Model` whose work is done by llama.cpp in a worker process.

The worker is started at the first use and again after a crash. One stream runs at a time; who asks first is served
first. Counting is answered while a stream runs.
Covered: whatever the worker does (crash, hang, nonsense), a caller gets a typed error, and the next call works.
Not covered: what a taken-over worker answers; a call is one of the offered tools, but its arguments are for the
toolbox to check once more.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from agentkit.errors import (
    AgentkitError,
    BusyError,
    ConfigError,
    EngineError,
    NotFoundError,
    WorkerHungError,
    WorkerLostError,
)
from agentkit.messages import Message, ToolCall, ToolSpec, Usage
from agentkit.models.base import NONE, Completion, Sampling, StopReason, Stream, ToolChoice
from agentkit.models.connection import Connection
from agentkit.models.engine_wire import write_messages, write_tools
from agentkit.models.probe import must_not_repack, probe_key, remember_crash
from agentkit.models.threads import default_threads
from agentkit.spawn import ENGINE_ENVIRONMENT, Spawner

WORKER = "agentkit.models.engine_worker"
HANG_SECONDS = 30.0
"""Without a sign of life for so long, a worker is taken for hung. A working one shows several a second."""
CANCEL_SECONDS = 5.0
_MAX_COUNTS = 4096


class Engine:
    """A GGUF model in a locked worker process."""

    def __init__(
        self,
        path: Path,
        spawner: Spawner,
        *,
        name: str | None = None,
        context_tokens: int | None = None,
        threads: int | None = None,
        flash_attention: bool = True,
        probe_cache: Path | None = None,
        hang_seconds: float = HANG_SECONDS,
    ) -> None:
        """Describe the engine; the worker starts at the first use.

        Args:
            path: A GGUF file.
            spawner: Starts the worker.
            name: As in the catalogue or store; default: the file's name.
            context_tokens: Size of the window; default: 4096, or what the model was trained for if that is less.
            threads: Default: the physical cores this process may use.
            flash_attention: Used where the model allows it.
            probe_cache: A file that remembers which build and model crash when weights are rearranged.
            hang_seconds: Without a sign of life for so long, the worker is killed.
        """
        self._path = path
        self._spawner = spawner
        self._name = name or path.stem
        self._settings = {
            "context_tokens": context_tokens,
            "threads": threads or default_threads(),
            "flash_attention": flash_attention,
        }
        self._probe_cache = probe_cache
        self._hang_seconds = hang_seconds
        self._turns = _Turns()
        self._starting = threading.Lock()
        self._connection: Connection | None = None
        self._loaded: dict[str, Any] = {}
        self._repack = True
        self._counts: dict[bytes, int] = {}
        self._running: tuple[Connection, int] | None = None

    # --- what it is ---------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """As in the catalogue or store."""
        return self._name

    @property
    def context_tokens(self) -> int:
        """Size of the window; starts the worker, which knows it."""
        return int(self.describe()["context_tokens"])

    def describe(self) -> dict[str, Any]:
        """Return what was loaded and how: window, template, format, threads, locks; starts the worker."""
        connection = self._connected()
        return {
            "name": self._name,
            **self._loaded,
            "fallback": None
            if self._repack
            else "weights are not rearranged: this build of llama.cpp crashed",
            "worker_pid": connection.pid,
        }

    # --- counting -----------------------------------------------------------------------------------

    def count(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> int:
        """Count the tokens of the whole prompt, chat template and tool block included."""
        return self._count("count", {"messages": write_messages(messages), "tools": write_tools(tools)})

    def count_text(self, text: str) -> int:
        """Count the tokens of a bare text."""
        return self._count("count_text", {"text": text})

    def _count(self, what: str, values: Mapping[str, Any]) -> int:
        # the digest stands for the text, so that what is forgotten elsewhere is not kept here
        key = hashlib.blake2b(json.dumps([what, values]).encode(), digest_size=16).digest()
        known = self._counts.get(key)
        if known is not None:
            return known
        frame = self._ask(what, values, "counted")
        tokens = _number(frame, "tokens")
        if len(self._counts) >= _MAX_COUNTS:
            self._counts.clear()
        self._counts[key] = tokens
        return tokens

    # --- generating ---------------------------------------------------------------------------------

    def complete(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        choice: ToolChoice = NONE,
        sampling: Sampling | None = None,
        schema: dict[str, Any] | None = None,
    ) -> Stream:
        """Generate the next assistant message; see `Model.complete`.

        Nothing happens before the first `next`; from there until the generator ends, other streams wait.

        Raises:
            BusyError: This thread is in the middle of another stream of this engine.
        """
        if schema is not None and tools and choice.mode != "none":
            raise ConfigError("tools and a response schema cannot bind the same text", hint="ask twice")
        sampling = sampling or Sampling()
        request = {
            "messages": write_messages(messages),
            "tools": write_tools(tools),
            "choice": [choice.mode, choice.name],
            "sampling": {name: getattr(sampling, name) for name in Sampling.__slots__},
            "schema": None if schema is None else json.dumps(schema),
        }
        with self._turns.turn():
            connection = self._connected()
            number = connection.send("complete", request)
            shown: list[str] = []
            self._running = connection, number
            try:
                while True:
                    frame = connection.receive(number, self._hang_seconds)
                    match frame["is"]:
                        case "text":
                            shown.append(_text(frame))
                            yield shown[-1]
                        case "completed":
                            return _completion(frame, tools, "".join(shown))
            except _MisshapenError:
                connection.kill()
                raise
            except AgentkitError:
                raise  # the worker said so, or is gone: it is not at work on this any more
            except BaseException:  # closed, or interrupted
                self._stop(connection, number)
                raise
            finally:
                self._running = None
                connection.forget(number)

    def cancel(self) -> None:
        """Stop the stream that runs, if one does: it ends with what it has, and `StopReason.CANCELLED`.

        For another thread than the one that reads the stream, which may be waiting for the first token.
        """
        running = self._running
        if running is not None:
            connection, number = running
            with suppress(EngineError):  # the worker is gone, and the stream's reader is told so
                connection.forget(connection.send("cancel", {"of": number}))

    def _stop(self, connection: Connection, number: int) -> None:
        """Stop a stream and wait until the worker is free again."""
        try:
            connection.forget(connection.send("cancel", {"of": number}))
            while connection.receive(number, CANCEL_SECONDS)["is"] != "completed":
                pass
        except EngineError:
            connection.kill()  # the next call starts another worker

    # --- the worker ---------------------------------------------------------------------------------

    def close(self) -> None:
        """End the worker; safe to call twice. A later use starts another one."""
        with self._starting:
            if self._connection is not None:
                self._connection.kill()
                self._connection = None

    def _ask(self, what: str, values: Mapping[str, Any], answer: str) -> dict[str, Any]:
        connection = self._connected()
        number = connection.send(what, values)
        try:
            while True:
                frame = connection.receive(number, self._hang_seconds)
                if frame["is"] == answer:
                    return frame
        finally:
            connection.forget(number)

    def _connected(self) -> Connection:
        """Return the running worker, started and loaded if need be."""
        with self._starting:
            if self._connection is not None and self._connection.alive:
                return self._connection
            self._check_file()
            key = probe_key(self._path)
            self._repack = self._repack and not must_not_repack(self._probe_cache, key)
            connection = self._start()
            if connection is None and self._repack:
                self._repack = False
                connection = self._start()
                if connection is not None:
                    remember_crash(self._probe_cache, key)
            if connection is None:
                self._repack = True
                raise WorkerLostError(
                    "the engine worker crashes when it loads this model", hint="agentkit doctor"
                )
            self._connection = connection
            return connection

    def _start(self) -> Connection | None:
        """Start a worker and load the model; return `None` where it crashes in that."""
        environment = {**ENGINE_ENVIRONMENT, "OPENBLAS_NUM_THREADS": "1"}
        connection = Connection(self._spawner.spawn(WORKER, (str(self._path.absolute()),), extra=environment))
        try:
            number = connection.send("load", {"settings": {**self._settings, "repack": self._repack}})
            while (frame := connection.receive(number, self._hang_seconds))["is"] != "loaded":
                pass
        except WorkerHungError:
            raise
        except EngineError:
            if connection.crashed:
                return None
            connection.kill()
            raise
        except BaseException:
            connection.kill()
            raise
        self._loaded = {name: value for name, value in frame.items() if name not in ("id", "is")}
        return connection

    def _check_file(self) -> None:
        if not self._path.is_file():
            raise NotFoundError(
                f"there is no model file for {self._name}", hint=f"agentkit models pull {self._name}"
            )
        from agentkit.models.gguf import read_header
        from agentkit.models.ram_need import require_ram

        require_ram(self._name, read_header(self._path), self._settings["context_tokens"])


class _Turns:
    """One stream at a time, first come first served."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._next = 0
        self._serving = 0
        self._given_up: set[int] = set()
        self._owner: int | None = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn and hold it."""
        me = threading.get_ident()
        with self._condition:
            if self._owner == me:
                raise BusyError(
                    "this thread is in the middle of another answer of this engine",
                    hint="close that one first",
                )
            ticket, self._next = self._next, self._next + 1
            try:
                self._condition.wait_for(lambda: self._serving == ticket)
            except BaseException:  # interrupted while it waits: nobody may wait for this ticket
                self._given_up.add(ticket)
                self._advance()
                raise
            self._owner = me
        try:
            yield
        finally:
            with self._condition:
                self._owner = None
                self._given_up.add(ticket)
                self._advance()

    def _advance(self) -> None:
        while self._serving in self._given_up:
            self._given_up.remove(self._serving)
            self._serving += 1
        self._condition.notify_all()


def _completion(frame: Mapping[str, Any], tools: Sequence[ToolSpec], text: str) -> Completion:
    """Read a finished generation; the worker is not trusted with more than the shape it promised."""
    offered = {tool.name for tool in tools}
    calls = []
    try:
        for call_id, name, arguments in frame["calls"]:
            values = json.loads(arguments)
            if name not in offered or not isinstance(values, dict) or not isinstance(call_id, str):
                raise ValueError(name)
            calls.append(ToolCall(call_id, name, values))
        prompt, generated, reused, prefill, generating = frame["usage"]
        mean = frame["mean_logprob"]
        return Completion(
            text=text,
            calls=tuple(calls),
            stop=StopReason(frame["stop"]),
            usage=Usage(int(prompt), int(generated), int(reused), float(prefill), float(generating)),
            mean_logprob=None if mean is None else float(mean),
        )
    except (KeyError, TypeError, ValueError, RecursionError):
        raise _misshapen() from None


def _text(frame: Mapping[str, Any]) -> str:
    text = frame.get("text")
    if not isinstance(text, str):
        raise _misshapen()
    return text


def _number(frame: Mapping[str, Any], key: str) -> int:
    value = frame.get(key)
    if not isinstance(value, int):
        raise _misshapen()
    return value


class _MisshapenError(EngineError):
    """The worker is not what it should be."""


def _misshapen() -> _MisshapenError:
    return _MisshapenError("the engine worker sent an answer of another shape")
