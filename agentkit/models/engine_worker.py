"""The engine's process: `python -I -m agentkit.models.engine_worker MODEL [ADAPTER …]`.

It sees prompts but no keys; it can read the model, its adapters and the code it runs, write nothing, start nothing
and reach nobody. It locks itself before the first byte of a model file is read, and refuses to go on where it cannot.

Frames in: `{"id", "do": "load" | "complete" | "count" | "count_text" | "cancel" | "state", …}`.
Frames out: `{"id", "is": "text" | "loaded" | "completed" | "counted" | "wants_state" | "failed", …}`, and
`{"id": 0, "is": "progress"}`, which says nothing but that work goes on. Completions run side by side.
A conversation's state goes out beside `{"id": 0, "is": "state", …}` as an open file, and comes in the same way where
"wants_state" asked for it (`agentkit.models.kv_state`).
"""

from __future__ import annotations

import json
import os
import resource
import select
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkit.errors import AgentkitError, EngineError, IsolationError
from agentkit.models.base import ToolChoice
from agentkit.models.engine_wire import (
    error_kind,
    read_messages,
    read_sampling,
    read_tools,
    write_outcome,
)
from agentkit.models.gpu import read_gpu
from agentkit.spawn import worker_channel
from agentkit.wire import Channel, ConnectionLost

if TYPE_CHECKING:
    from agentkit.models.kv_transfer import Offer
    from agentkit.models.scheduler import Job
    from agentkit.models.session import Session

BEAT_SECONDS = 0.1
"""A worker at work says something at least so often."""
FRAME_SECONDS = 0.03
"""Text of one stream goes out at most so often; of several side by side, that many times more seldom: each frame wakes
processes that take the processor from the engine."""
MAX_FRAME_SECONDS = 0.15


def lock(files: Sequence[Path]) -> tuple[str, ...]:
    """Give up everything but reading `files` and our own code; return what was enforced, in words.

    Raises:
        IsolationError: A lock that this system should have was refused.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    enforced = ["no core dump"]
    if sys.platform != "linux":
        return (*enforced, f"files and network stay open: {sys.platform} has no lock for them")
    from agentkit_tools import ToolError, landlock, seccomp

    try:
        if landlock.abi():
            devices = (Path("/dev/null"), *_cards())
            enforced += landlock.restrict(read=_readable(files), write=devices, execute=())
        else:
            enforced.append("files stay readable: this kernel has no Landlock")
        if seccomp.supported():
            seccomp.install(seccomp.worker_profile())
            enforced.append("no socket, program or new process (seccomp)")
        else:
            enforced.append("network stays open: this kernel has no seccomp")
    except ToolError as error:
        raise IsolationError(
            f"the engine worker could not lock itself: {error}", hint="agentkit doctor"
        ) from None
    return tuple(enforced)


def _cards() -> list[Path]:
    """Return the device nodes that drivers of graphics cards open, where there are any."""
    nodes = [*Path("/dev").glob("nvidia*"), Path("/dev/kfd"), Path("/dev/dri")]
    return [each for each in nodes if each.exists()]


def _readable(files: Sequence[Path]) -> list[Path]:
    """Return what has to stay readable: model files, Python, our packages, shared libraries, facts on the machine."""
    code = [Path(sys.prefix), Path(sys.base_prefix), *map(Path, sys.path)]
    system = map(
        Path, ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/sys/devices", "/dev/null", "/dev/urandom")
    )
    facts = map(
        Path, ("/proc/cpuinfo", "/proc/meminfo", "/proc/self", "/proc/driver/nvidia", "/sys/class/drm")
    )
    return [each.resolve() for each in (*files, *code, *system, *facts) if each.exists()]


def limit_memory(size: int) -> None:
    """Let this process take so much memory of its own, and no more; 0: no limit. Mapped files do not count."""
    if size and sys.platform == "linux":
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        size = size if most == resource.RLIM_INFINITY else min(size, most)
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


class Worker:
    """Answers frames until the channel closes.

    One thread: between two steps of the scheduler, and within a long one, it looks for frames. What touches the model's
    context waits in the inbox until the step is over; cancels and counts do not.
    """

    def __init__(self, channel: Channel, model: Path, enforced: tuple[str, ...]) -> None:
        self._channel = channel
        self._model = model
        self._enforced = enforced
        self._session: Session | None = None
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)
        self._inbox: deque[dict[str, Any]] = deque()
        self._jobs: dict[int, Job] = {}
        self._awaiting: dict[int, Offer] = {}
        """Jobs that wait for a saved state, and which."""
        self._files: dict[int, int] = {}
        """Open files that came with requests, by their number."""
        self._spoke = 0.0

    def run(self) -> None:
        """Answer frames, and generate in between."""
        while True:
            scheduler = None if self._session is None else self._session.scheduler
            idle = not self._inbox and not (scheduler and scheduler.busy)
            if idle:
                self._take(self._receive())
            while self._inbox:
                self._answer(self._inbox.popleft())
            if scheduler:
                scheduler.step(self._watch)

    def _watch(self) -> bool:
        """Take in what was sent meanwhile; return whether somebody who runs is to be stopped."""
        self._beat()
        cancelled = False
        while self._poll.poll(0):
            cancelled = self._take(self._receive()) or cancelled
        return cancelled

    def _receive(self) -> dict[str, Any]:
        request = self._channel.receive()
        for file in self._channel.take_fds():
            if request["id"] in self._files:
                os.close(file)
            else:
                self._files[request["id"]] = file
        return request

    def _take(self, request: dict[str, Any]) -> bool:
        """Do at once what may be done at any time, and keep the rest; return whether a job was cancelled."""
        match request["do"]:
            case "cancel":
                job = self._jobs.get(request["of"])
                if job is None:  # it is over, or has not begun
                    self._inbox = deque(
                        {**each, "cancelled": True} if each["id"] == request["of"] else each
                        for each in self._inbox
                    )
                    return False
                job.cancelled = True
                self._without_state(request["of"])
                return job.place is not None
            case "count" | "count_text":
                self._answer(request)
            case _:
                self._inbox.append(request)
        return False

    def _answer(self, request: dict[str, Any]) -> None:
        number = request["id"]
        try:
            match request["do"]:
                case "load":
                    self._load(number, request)
                case "complete":
                    self._complete(number, request)
                case "count":
                    session = self._loaded()
                    prompt = session.prompt(read_messages(request["messages"]), read_tools(request["tools"]))
                    self._send(number, "counted", tokens=len(prompt))
                case "count_text":
                    self._send(number, "counted", tokens=self._loaded().count_text(request["text"]))
                case "state":
                    self._restore(request["of"], self._files.pop(number, None))
        except AgentkitError as error:
            self._fail(number, error)
        except Exception as error:  # noqa: BLE001 - a traceback could quote a prompt, so only its kind goes out
            self._fail(number, EngineError(f"the engine failed: {type(error).__name__}"))

    def _load(self, number: int, request: dict[str, Any]) -> None:
        from agentkit.models.adapters import Adapter
        from agentkit.models.llama import Settings
        from agentkit.models.session import Session

        gpu = read_gpu(request["settings"]["gpu"])
        settings = Settings(**{**request["settings"], "gpu": gpu})
        limit_memory(request["memory_bytes"])
        adapters = {name: Adapter(Path(path), sha) for name, (path, sha) in request["adapters"].items()}
        self._session = Session(self._model, settings, adapters=adapters, beat=self._beat)
        self._send(number, "loaded", lock=list(self._enforced), **self._session.describe())

    def _complete(self, number: int, request: dict[str, Any]) -> None:
        from agentkit.models.kv_transfer import Offer
        from agentkit.models.scheduler import Job

        session, schema = self._loaded(), request["schema"]
        text = _Text(lambda text: self._send(number, "text", text=text), lambda: len(self._jobs))
        prepared = session.prepare(
            read_messages(request["messages"]),
            tools=read_tools(request["tools"]),
            choice=ToolChoice(*request["choice"]),
            sampling=read_sampling(request["sampling"]),
            schema=None if schema is None else json.loads(schema),
            show=text.show,
        )

        def done(error: AgentkitError | None) -> None:
            del self._jobs[number]
            text.flush()
            try:
                if error is not None:
                    raise error
                outcome = session.conclude(prepared)
                if request.get("saves"):  # before the answer is told: who ends the engine then loses nothing
                    self._save(job)
                said = write_outcome(outcome, session.piece)
                self._send(number, "completed", record=session.pack_record(prepared), **said)
            except ConnectionLost:
                raise
            except AgentkitError as failure:
                self._fail(number, failure)
            except Exception as failure:  # noqa: BLE001 - as in `_answer`
                self._fail(number, EngineError(f"the engine failed: {type(failure).__name__}"))

        conversation = request.get("conversation")
        cancelled = request.get("cancelled", False)
        job = Job(prepared.generation, done, conversation, adapter=prepared.adapter, cancelled=cancelled)
        if (replay := request.get("replay")) is not None:
            job.replay = session.unpack_record(replay, prepared)
        self._jobs[number] = job
        offer = Offer.read(conversation, request.get("kept"), job.weights)
        plain = not (job.replay or prepared.generation.sampling.reproducible or cancelled)
        if offer and plain and session.states.wants(offer, prepared.generation.prompt):
            self._awaiting[number] = offer
            self._send(number, "wants_state")
            return
        self._submit(number, job)

    def _submit(self, number: int, job: Job) -> None:
        try:
            self._loaded().scheduler.submit(job)
        except AgentkitError:
            del self._jobs[number]
            raise

    def _without_state(self, number: int) -> None:
        """Let a job that waits for its state go on, with what the cache holds by now."""
        if self._awaiting.pop(number, None) is None:
            return
        try:
            self._submit(number, self._jobs[number])
        except AgentkitError as error:
            self._fail(number, error)

    def _restore(self, number: int, file: int | None) -> None:
        """Put back the state that a job waits for, if it came, and let the job go on."""
        try:
            offer = self._awaiting.get(number)
            if offer is not None and file is not None and not self._loaded().states.restore(offer, file):
                self._jobs[number].generation.outcome.state_refused = True
        finally:
            if file is not None:
                os.close(file)
            self._without_state(number)

    def _save(self, job: Job) -> None:
        """Send the state of a conversation to the core, where that is worth it."""
        if job.place is None or job.conversation is None:
            return
        saved = self._loaded().states.save(job.place.slot)
        if saved is None:
            return
        said, file = saved
        try:
            self._send(0, "state", fds=[file], **said)
        finally:
            os.close(file)

    def _beat(self) -> None:
        """Say that work goes on, if nothing was said for a while."""
        if time.monotonic() - self._spoke >= BEAT_SECONDS:
            self._send(0, "progress")

    def _loaded(self) -> Session:
        if self._session is None:
            raise EngineError("no model is loaded")
        return self._session

    def _fail(self, number: int, error: AgentkitError) -> None:
        self._send(number, "failed", kind=error_kind(error), message=error.message, hint=error.hint)

    def _send(self, number: int, answer: str, *, fds: Sequence[int] = (), **values: Any) -> None:
        self._spoke = time.monotonic()
        self._channel.send({"id": number, "is": answer, **values}, fds=fds)


class _Text:
    """Text on its way out: the first at once, later pieces together, since each frame wakes two processes."""

    def __init__(self, send: Callable[[str], None], streams: Callable[[], int]) -> None:
        self._send = send
        self._streams = streams
        self._held: list[str] = []
        self._sent = 0.0

    def show(self, text: str) -> None:
        """Send `text`, or keep it for the next frame."""
        self._held.append(text)
        if time.monotonic() - self._sent >= min(FRAME_SECONDS * self._streams(), MAX_FRAME_SECONDS):
            self.flush()

    def flush(self) -> None:
        """Send what is held."""
        if self._held:
            self._sent = time.monotonic()
            self._send("".join(self._held))
            self._held.clear()


def main() -> None:
    """Lock, then answer until the other side closes the channel."""
    channel = worker_channel()
    model, *adapters = map(Path, sys.argv[1:])
    try:
        enforced = lock((model, *adapters))
    except IsolationError as error:
        request = channel.receive()
        channel.send(
            {
                "id": request["id"],
                "is": "failed",
                "kind": "isolation",
                "message": error.message,
                "hint": error.hint,
            }
        )
        return
    try:
        Worker(channel, model, enforced).run()
    except (ConnectionLost, MemoryError):
        return  # nobody listens, or too little is left to say so; either way the other side sees that we are gone


if __name__ == "__main__":
    main()
