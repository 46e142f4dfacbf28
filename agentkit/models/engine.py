"""The engine: a `Model` whose work is done by llama.cpp in a worker process.

The worker is started at the first use and again after a crash. Several threads may ask at once: the worker writes their
answers side by side, and refuses more than it can keep waiting. Counting is answered meanwhile.
Covered: whatever the worker does (crash, hang, nonsense), a caller gets a typed error, and the next call works.
Not covered: what a taken-over worker answers; a call is one of the offered tools, but its arguments are for the
toolbox to check once more.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from agentkit.errors import (
    ConfigError,
    EngineError,
    NotFoundError,
    WorkerHungError,
    WorkerLostError,
)
from agentkit.labels import join_all
from agentkit.messages import Message, ToolSpec
from agentkit.models.adapters import MAX_ADAPTERS, Adapter, FittingAdapter, applied, fitting
from agentkit.models.base import CONSTRAINTS, NONE, Sampling, ToolChoice
from agentkit.models.cache_levers import check_heads
from agentkit.models.connection import Connection
from agentkit.models.engine_wire import write_messages, write_sampling, write_tools
from agentkit.models.gpu import GpuUse
from agentkit.models.kv_state import Keeper, Resume, Shape, State
from agentkit.models.levers import Levers, check_levers, check_range
from agentkit.models.probe import library_key, must_not_repack, probe_key, remember_crash
from agentkit.models.stream import EngineStream, MisshapenError
from agentkit.models.threads import default_threads
from agentkit.spawn import ENGINE_ENVIRONMENT, Spawner

WORKER = "agentkit.models.engine_worker"
HANG_SECONDS = 30.0
"""Without a sign of life for so long, a worker is taken for hung. A working one shows several a second."""
MEMORY_SLACK = 1 << 30
"""What a worker may take beyond twice what it should need."""
_MAX_COUNTS = 4096
_MAX_SOURCES = 4096


class Engine:
    """A GGUF model in a locked worker process."""

    def __init__(
        self,
        path: Path,
        spawner: Spawner,
        *,
        name: str | None = None,
        context_tokens: int | None = None,
        cache_tokens: int | None = None,
        streams: int = 8,
        threads: int | None = None,
        flash_attention: bool = True,
        repack: bool = True,
        k_type: str = "f16",
        v_type: str = "f16",
        window: str = "recompute",
        constraint: str = CONSTRAINTS[0],
        batch_tokens: int = 512,
        tool_format: str = "auto",
        gpu: GpuUse | None = None,
        adapters: Mapping[str, Adapter] | None = None,
        probe_cache: Path | None = None,
        hang_seconds: float = HANG_SECONDS,
        sha256: str | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        """Describe the engine; the worker starts at the first use.

        Args:
            path: A GGUF file.
            spawner: Starts the worker.
            name: As in the catalogue or store; default: the file's name.
            context_tokens: Size of the window; default: 4096, or what the model was trained for if that is less.
            cache_tokens: What all conversations together may keep computed; default: one window.
            streams: How many answers may be written at once, 1 to 64; further ones wait.
            threads: Default: the physical cores this process may use.
            flash_attention: Used where the model allows it.
            repack: Rearrange weights for this processor, where that does not crash.
            k_type: How keys are kept in the cache: `f16`, or `q8_0` in about half the memory.
            v_type: How values are kept; `q8_0` needs flash attention.
            window: When a conversation outgrows the window: `recompute`, which is exact, or `shift`.
            constraint: What binds calls and values to their schemas: `llguidance`, or llama.cpp's own `gbnf`.
            batch_tokens: How much of a prompt is computed at once, 32 to 8192.
            tool_format: How calls are written: a name of docs/tool-formats.md, or `auto`, as the template shows.
            gpu: What lies on graphics cards; default: all, where llama.cpp was built for one.
            adapters: LoRA adapters of this model, up to 16, by the names that `Sampling.adapter` may ask for.
            probe_cache: A file that remembers which build and model crash when weights are rearranged.
            hang_seconds: Without a sign of life for so long, the worker is killed.
            sha256: Of the model file; without it no state is kept.
            keeper: Keeps the computed states of conversations, so that they need not be computed again.

        Raises:
            ConfigError: A number is out of its range, levers do not go together, there is no such constraint, or there
                are too many adapters.
        """
        levers = Levers(
            threads=default_threads() if threads is None else threads,
            flash_attention=flash_attention,
            repack=repack,
            batch_tokens=batch_tokens,
            k_type=k_type,
            v_type=v_type,
            window=window,
            context_tokens=context_tokens,
            tool_format=tool_format,
            gpu=gpu or GpuUse(),
        )
        check_levers(levers)
        check_range("streams", streams)
        if cache_tokens is not None:
            check_range("cache_tokens", cache_tokens)
        if constraint not in CONSTRAINTS:
            raise ConfigError(
                f"there is no constraint {constraint!r}", hint=f"use one of {', '.join(CONSTRAINTS)}"
            )
        self._path = path
        self._spawner = spawner
        self._name = name or path.stem
        self._settings = {
            **asdict(levers),
            "cache_tokens": cache_tokens,
            "streams": streams,
            "constraint": constraint,
        }
        self._memory_bytes = 0
        self._library = ""
        """The build of llama.cpp that the worker has loaded."""
        self._adapters = dict(adapters or {})
        if len(self._adapters) > MAX_ADAPTERS:
            raise ConfigError(f"{len(self._adapters)} adapters are more than {MAX_ADAPTERS}")
        self._fitting: dict[str, FittingAdapter] = {}
        self._probe_cache = probe_cache
        self._hang_seconds = hang_seconds
        self._starting = threading.Lock()
        self._connection: Connection | None = None
        self._loaded: dict[str, Any] = {}
        self._repack = self._wants_repack = repack
        self._counts: dict[bytes, int] = {}
        self._running: list[EngineStream] = []
        self._sha256 = sha256
        self._keeper = keeper
        self._sources: dict[str, tuple[str, ...]] = {}

    # --- what it is ---------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """As in the catalogue or store."""
        return self._name

    @property
    def adapters(self) -> Collection[str]:
        """Names of the adapters a request may ask for."""
        return self._adapters.keys()

    @property
    def context_tokens(self) -> int:
        """Size of the window; starts the worker, which knows it."""
        return int(self.describe()["context_tokens"])

    def describe(self) -> dict[str, Any]:
        """Return what was loaded and how: window, template, format, threads, adapters, locks; starts the worker."""
        return self._said(self._connected())

    @property
    def known(self) -> dict[str, Any]:
        """What `describe` said of the last worker: starts none, and waits for none; without one, its pid is `None`."""
        return self._said(self._connection)

    def _said(self, connection: Connection | None) -> dict[str, Any]:
        return {
            "name": self._name,
            **self._loaded,
            "adapters": {name: fitting.says() for name, fitting in self._fitting.items()},
            "fallback": None
            if self._repack or not self._wants_repack
            else "weights are not rearranged: this build of llama.cpp crashed",
            "worker_pid": connection.pid if connection is not None and connection.alive else None,
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
        tokens = frame.get("tokens")
        if not isinstance(tokens, int):
            raise MisshapenError
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
        conversation: str | None = None,
        replay: bytes | None = None,
    ) -> EngineStream:
        """Generate the next assistant message; see `Model.complete`.

        Nothing happens before the first `next`. What the stream gives can be read in any thread; it is
        written on while nobody reads it, so one thread may hold several open. What was computed for a
        `conversation` is found again by its name, in the cache or, where there is a keeper, in a saved state.

        With the `Completion.record` of an earlier answer to the same request as `replay`, that answer is computed
        again, batch by batch as it was, in a cache of its own: the same tokens come out. Other answers wait.

        Raises:
            BusyError: Too many wait for the engine.
            ConfigError: The record is damaged, or of another request or engine.
        """
        if schema is not None and tools and choice.mode != "none":
            raise ConfigError("tools and a response schema cannot bind the same text", hint="ask twice")
        sampling = sampling or Sampling()
        request = {
            "messages": write_messages(messages),
            "tools": write_tools(tools),
            "choice": [choice.mode, choice.name],
            "sampling": write_sampling(sampling),
            "schema": None if schema is None else json.dumps(schema),
            "conversation": conversation,
            "replay": replay,
        }
        resume = None
        if conversation is not None and self._keeper is not None and self._sha256 is not None:
            if conversation not in self._sources and len(self._sources) >= _MAX_SOURCES:
                self._sources.clear()  # of those that just run, no state is kept this once
            self._sources[conversation] = join_all(message.labels for message in messages).sources
            resume = Resume(self._keeper, conversation, lambda: self._shape(self._weights(sampling)))
        return EngineStream(
            request, tools, runs=self._runs, patience=lambda: self._hang_seconds, resume=resume
        )

    def _weights(self, sampling: Sampling) -> str:
        """Return what stands for the adapter a request asks for; for a worker that runs."""
        wanted = applied(sampling, {name: fits.sha256 for name, fits in self._fitting.items()})
        return "" if wanted is None else wanted.key

    def _shape(self, weights: str) -> Shape:
        """Return what a state has to be to serve here; for a worker that runs."""
        file, loaded = self._path.stat(), self._loaded
        return Shape(
            model=f"{self._sha256} {file.st_size} {file.st_mtime_ns}",
            library=self._library,
            context_tokens=loaded["context_tokens"],
            k_type=loaded["k_type"],
            v_type=loaded["v_type"],
            flash_attention=loaded["flash_attention"],
            window=loaded["window"],
            adapter=weights,
        )

    def _keep(self, frame: Mapping[str, Any], file: int) -> None:
        """Have the state of a conversation kept; what a worker says wrongly costs nothing but this state."""
        match frame:
            case {
                "conversation": str(name),
                "tokens": bytes(tokens),
                "exact": int(exact),
                "shifts": int(shifts),
                "adapter": str(weights),
            } if (sources := self._sources.get(name)) is not None and self._keeper is not None:
                state = State(name, self._shape(weights), tokens, exact, shifts, sources)
                self._keeper.save(state, file)
            case _:
                os.close(file)

    def cancel(self) -> None:
        """Stop every stream that runs; see `EngineStream.cancel`."""
        for stream in list(self._running):
            stream.cancel()

    @property
    def running(self) -> int:
        """How many streams are with the worker."""
        return len(self._running)

    @contextmanager
    def _runs(self, stream: EngineStream) -> Iterator[Connection]:
        """Note that a stream runs, and give it the worker."""
        connection = self._connected()
        self._running.append(stream)
        try:
            yield connection
        finally:
            self._running.remove(stream)

    # --- the worker ---------------------------------------------------------------------------------

    def close(self) -> None:
        """End the worker; safe to call twice. A later use starts another one."""
        with self._starting:
            if self._connection is not None:
                self._connection.kill()
                self._connection = None

    def _ask(self, what: str, values: Mapping[str, Any], answer: str) -> dict[str, Any]:
        connection = self._connected()
        number = connection.send(what, values, seconds=self._hang_seconds)
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
            key, self._library = probe_key(self._path), library_key()
            self._repack = self._repack and not must_not_repack(self._probe_cache, key)
            connection = self._start()
            if connection is None and self._repack:
                self._repack = False
                connection = self._start()
                if connection is not None:
                    remember_crash(self._probe_cache, key)
            if connection is None:
                self._repack = self._wants_repack
                raise WorkerLostError(
                    "the engine worker crashes when it loads this model", hint="agentkit doctor"
                )
            self._connection = connection
            return connection

    def _start(self) -> Connection | None:
        """Start a worker and load the model; return `None` where it crashes in that."""
        environment = {**ENGINE_ENVIRONMENT, "OPENBLAS_NUM_THREADS": "1"}
        files = [self._path, *(adapter.path for adapter in self._adapters.values())]
        arguments = [str(file.absolute()) for file in files]
        connection = Connection(
            self._spawner.spawn(WORKER, arguments, extra=environment), on_state=self._keep
        )
        try:
            wanted = {
                "settings": {**self._settings, "repack": self._repack},
                "memory_bytes": self._memory_bytes,
                "adapters": {
                    name: [str(each.path.absolute()), each.sha256] for name, each in self._fitting.items()
                },
            }
            number = connection.send("load", wanted, seconds=self._hang_seconds)
            while (frame := connection.receive(number, self._hang_seconds))["is"] != "loaded":
                pass
            connection.forget(number)
        except WorkerHungError:
            raise
        except EngineError:
            if connection.crashed:
                return None
            connection.kill()
            raise
        except BaseException:  # Ctrl-C included: a worker that nobody will ever ask is not left behind
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
        from agentkit.models.ram_need import STREAM_TOKENS, ram_need, require_ram

        settings, header = self._settings, read_header(self._path)
        check_heads(header, settings["k_type"], settings["v_type"])
        cells = settings["cache_tokens"] or settings["context_tokens"]
        self._fitting = {name: fitting(name, each, header) for name, each in self._adapters.items()}
        more = sum(each.size_bytes for each in self._fitting.values())
        header = replace(header, tensor_bytes=header.tensor_bytes + more)
        kept = {name: settings[name] for name in ("k_type", "v_type", "flash_attention")}
        kept["output_rows"] = streams = settings["streams"]
        kept["batch_tokens"] = max(settings["batch_tokens"], STREAM_TOKENS * streams)
        require_ram(self._name, header, cells, gpu_layers=settings["gpu"]["layers"], **kept)
        kept |= {"k_type": "f16", "v_type": "f16", "flash_attention": False}
        largest = ram_need(header, cells, **kept)
        adapters = sum(adapter.path.stat().st_size for adapter in self._adapters.values())
        # a reproducible answer has its own cache, and an adapter is read before it is placed
        self._memory_bytes = 2 * (largest.total_bytes + adapters) + MEMORY_SLACK
