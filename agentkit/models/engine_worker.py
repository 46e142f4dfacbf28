"""The engine's process: `python -I -m agentkit.models.engine_worker MODEL`.

It sees prompts but no keys; it can read the model and the code it runs, write nothing, start nothing and reach
nobody. It locks itself before the first byte of the model file is read, and refuses to go on where it cannot.

Frames in: `{"id", "do": "load" | "complete" | "count" | "count_text" | "cancel", …}`.
Frames out: `{"id", "is": "progress" | "text" | "loaded" | "completed" | "counted" | "failed", …}`. A count is answered
even in the middle of a generation. `progress` says nothing but that work goes on.
"""

from __future__ import annotations

import json
import resource
import select
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkit.errors import AgentkitError, EngineError, IsolationError
from agentkit.models.base import Sampling, ToolChoice
from agentkit.models.engine_wire import error_kind, read_messages, read_tools
from agentkit.spawn import worker_channel
from agentkit.wire import Channel, ConnectionLost

if TYPE_CHECKING:
    from agentkit.models.session import Session

BEAT_SECONDS = 0.1
"""How often a long step looks for a cancel and says that it goes on."""


def lock(model: Path) -> tuple[str, ...]:
    """Give up everything but reading the model and our own code; return what was enforced, in words.

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
            enforced += landlock.restrict(read=_readable(model), write=(Path("/dev/null"),), execute=())
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


def _readable(model: Path) -> list[Path]:
    """Return what has to stay readable: the model, Python, our packages, shared libraries, facts about the machine."""
    code = [Path(sys.prefix), Path(sys.base_prefix), *map(Path, sys.path)]
    system = map(
        Path, ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/sys/devices", "/dev/null", "/dev/urandom")
    )
    facts = map(Path, ("/proc/cpuinfo", "/proc/meminfo", "/proc/self"))
    return [each.resolve() for each in (model, *code, *system, *facts) if each.exists()]


class Worker:
    """Answers frames until the channel closes."""

    def __init__(self, channel: Channel, model: Path, enforced: tuple[str, ...]) -> None:
        self._channel = channel
        self._model = model
        self._enforced = enforced
        self._session: Session | None = None
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)
        self._current: int | None = None
        self._cancelled = False
        self._last_beat = 0.0

    def run(self) -> None:
        """Answer one frame after the other."""
        while True:
            self._answer(self._channel.receive())

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
                case "cancel":
                    pass  # what it would cancel is over
        except AgentkitError as error:
            self._send(number, "failed", kind=error_kind(error), message=error.message, hint=error.hint)
        except Exception as error:  # noqa: BLE001 - a traceback could quote a prompt, so only its kind goes out
            self._send(
                number,
                "failed",
                kind="engine",
                message=f"the engine failed: {type(error).__name__}",
                hint=None,
            )

    def _load(self, number: int, request: dict[str, Any]) -> None:
        from agentkit.models.llama import Settings
        from agentkit.models.session import Session

        settings = Settings(**request["settings"])
        self._session = Session(self._model, settings, beat=lambda: self._beat(number))
        self._send(number, "loaded", lock=list(self._enforced), **self._session.describe())

    def _complete(self, number: int, request: dict[str, Any]) -> None:
        self._current, self._cancelled = number, False
        schema = request["schema"]
        try:
            outcome = self._loaded().complete(
                read_messages(request["messages"]),
                tools=read_tools(request["tools"]),
                choice=ToolChoice(*request["choice"]),
                sampling=Sampling(**{**request["sampling"], "stop": tuple(request["sampling"]["stop"])}),
                schema=None if schema is None else json.loads(schema),
                show=lambda text: self._send(number, "text", text=text),
                watch=lambda: self._watch(number),
            )
        finally:
            self._current = None
        self._send(
            number,
            "completed",
            stop=outcome.stop.value,
            calls=[[call.id, call.name, json.dumps(call.arguments)] for call in outcome.calls],
            mean_logprob=outcome.mean_logprob,
            forced_tokens=outcome.forced_tokens,
            usage=[
                outcome.prompt_tokens,
                outcome.completion_tokens,
                outcome.reused_tokens,
                outcome.prefill_seconds,
                outcome.generate_seconds,
            ],
        )

    def _watch(self, number: int) -> bool:
        """Return whether to stop; called between tokens and, in long steps, many times in between."""
        now = time.monotonic()
        if now - self._last_beat >= BEAT_SECONDS:
            self._last_beat = now
            self._send(number, "progress")
        while not self._cancelled and self._poll.poll(0):
            request = self._channel.receive()
            if request["do"] == "cancel":
                self._cancelled = request["of"] == self._current
            else:
                self._answer(request)
        return self._cancelled

    def _beat(self, number: int) -> None:
        now = time.monotonic()
        if now - self._last_beat >= BEAT_SECONDS:
            self._last_beat = now
            self._send(number, "progress")

    def _loaded(self) -> Session:
        if self._session is None:
            raise EngineError("no model is loaded")
        return self._session

    def _send(self, number: int, answer: str, **values: Any) -> None:
        self._channel.send({"id": number, "is": answer, **values})


def main() -> None:
    """Lock, then answer until the other side closes the channel."""
    channel = worker_channel()
    model = Path(sys.argv[1])
    try:
        enforced = lock(model)
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
    except ConnectionLost:
        return


if __name__ == "__main__":
    main()
