"""Requests that run the agent: compose a loop for one turn, and carry its events to the client.

The loop, the policy and the built-in tools run here; the caller's own tools are called back over the connection;
commands go to the sandbox through the launcher; every message is sealed in the vault as it is said.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkit.context.words import forget_words
from agentkit.core.asked import callers_tools, read_choice, read_form, read_levers, read_votes
from agentkit.core.launcher import LaunchedSandbox
from agentkit.core.server import Handler, Session
from agentkit.core.stoppable import Stoppable
from agentkit.errors import AgentkitError, BusyError, ConfigError
from agentkit.events import Approval, Decision, Ending, Event, Finished, to_wire
from agentkit.models.base import Model, Sampling
from agentkit.models.catalogue import AGENT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agentkit.calling.selection import Selection
    from agentkit.core.service import Service
    from agentkit.loop import Loop
    from agentkit.models.engine import Engine
    from agentkit_tools import Policy, Tool, Toolbox

MODES = ("agent", "ask", "chat")
MAX_TEXT_CHARACTERS = 200_000
TALKING = Sampling(repeat_penalty=1.15, max_tokens=320)
"""Greedy, but for a penalty without which a very small model repeats itself to the end of its budget."""
CALLING = Sampling(max_tokens=320)
"""Where tools are shown, or documents: what is copied from them may repeat."""


class RunOps:
    """`run`, `tools`, `probe_egress`."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._starting = threading.Lock()
        self._engines: dict[str, Engine] = {}
        self._used: list[Engine] = []
        """By the turns that go on, each as often as it is used."""
        self._vectors: dict[str, NDArray[Any]] = {}
        """Of the descriptions of tools."""

    def table(self) -> dict[str, Handler]:
        """Return the requests answered here."""
        return {"run": self._run, "tools": self._tools, "probe_egress": self._probe_egress}

    def describe(self) -> dict[str, Any] | None:
        """Return what is known of the engine that runs, without starting or waiting for one."""
        return {name: engine.known for name, engine in self._engines.copy().items()} or None

    def forget_prompts(self, conversation: str | None = None) -> None:
        """End the engine and delete saved states, of one conversation or all.

        Its cache is a prompt, and a prompt may hold what was just forgotten.
        """
        self.close()
        forget_words()
        states = self._service.states
        if states is not None and conversation is not None:
            states.delete(conversation)
        elif states is not None:
            states.clear()

    @contextmanager
    def forgetting(self, conversation: str | None = None) -> Iterator[None]:
        """Forget prompts around whatever forgets what they were made from; see `forget_prompts`.

        Before it, so that a kill in between leaves no state that outlives its source; after it, because a turn that
        was going on may have begun another engine.
        """
        self.forget_prompts(conversation)
        try:
            yield
        finally:
            self.forget_prompts(conversation)

    def close(self) -> None:
        """End the engine, and what a turn that goes on may have begun anew."""
        with self._starting:
            engines = {*self._engines.values(), *self._used}
            self._engines = {}
        for engine in engines:
            engine.close()

    # --- the turn --------------------------------------------------------------------------------------------

    def _run(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        text, mode = request["text"], request.get("mode") or "agent"
        if mode not in MODES:
            raise ConfigError(f"the mode is none of {', '.join(MODES)}")
        if not isinstance(text, str) or not text.strip():
            raise ConfigError("there is nothing to answer", hint="say something")
        if len(text) > MAX_TEXT_CHARACTERS:
            raise ConfigError(
                f"a request of {len(text)} characters is over the limit of {MAX_TEXT_CHARACTERS}",
                hint="put it in a file and index it",
            )
        ending = ""
        _ = self._service.vault  # a locked one refuses before anything is started
        with self.using(request.get("model"), untuned=bool(request.get("untuned"))) as engine:
            for event in self._events(text, mode, engine, request, session):
                wire = to_wire(event)
                session.emit(wire)
                ending = wire.get("ending", ending)
        return {"ending": ending}

    def _events(
        self, text: str, mode: str, engine: Engine, request: dict[str, Any], session: Session
    ) -> Iterator[Event]:
        vault = self._service.vault
        threading.Thread(target=_start, args=(engine,), daemon=True).start()  # while the vault is searched
        name = str(request.get("conversation") or "") if mode != "ask" else ""
        model = Stoppable(engine, session, name or None)
        given = request.get("sampling")
        sampling, calling = read_levers(given, TALKING), read_levers(given, CALLING)
        if calling.adapter is None and AGENT in engine.adapters:
            calling = replace(calling, adapter=AGENT)
        adapted = calling.adapter == AGENT and calling.adapter_scale != 0
        from agentkit.answering.answer import Answerer
        from agentkit.recall import Recall, Relevant

        embedder = self._service.embedder()

        def answerer() -> Answerer:  # waits for the engine, which starts meanwhile
            return Answerer(  # an adapter was taught to decline; a model as it came says yes to anything
                Stoppable(engine, session, None),
                Recall(vault, embedder, kinds=("document", "memory")),
                embedder=embedder,
                sampling=calling,
                declines=adapted,
            )

        if mode == "ask":
            return answerer().run(text)
        from agentkit.calling.votes import Votes
        from agentkit.context.assemble import Context
        from agentkit.loop import Loop
        from agentkit.transcript import Transcript

        kept: list[dict[str, Any]] = []
        sink = None
        if name:
            kept = vault.conversation(name)
            sink = lambda message: vault.append_message(name, message)  # noqa: E731 - one expression, used once
        toolbox, refused = self._toolbox(text, request, session) if mode == "agent" else (_no_tools(), {})
        policy = self._policy(request)
        if mode == "agent" and policy.tools:
            policy.check_names([*toolbox.names(), *refused, *(tool.name for tool in self._builtin(""))])
        loop = Loop(
            model,
            toolbox,
            unusable=refused,
            policy=policy,
            approve=lambda approval: _approve(approval, session),
            context=Context(model, embedder=embedder),
            recall=Relevant(vault, embedder, conversation=name),
            answers=answerer() if adapted else None,
            selection=self._select(model, request, toolbox, declines=adapted),
            transcript=Transcript.load(kept, sink=sink),
            sampling=sampling,
            calling=calling,
            votes=read_votes(request, Votes() if adapted else None),
        )
        events = loop.run(text, choice=read_choice(request), form=read_form(request, session))
        return self._keeping_round(loop, events, name) if name else events

    def _keeping_round(self, loop: Loop, events: Iterator[Event], conversation: str) -> Iterator[Event]:
        """Run a turn of a kept conversation; once it is answered, store it as a round that later ones can find."""
        from agentkit.rounds import Rounds

        before, when = len(loop.transcript), datetime.now().astimezone()
        answered = False
        for event in events:
            answered = isinstance(event, Finished) and event.ending is Ending.ANSWERED
            yield event
        if answered:
            rounds = Rounds(self._service.vault, self._service.embedder(), conversation)
            rounds.keep(loop.transcript[before:], when)

    @contextmanager
    def using(self, name: str | None, *, untuned: bool = False) -> Iterator[Engine]:
        """Lend the engine of a chat model for one turn; it is started at its first use.

        It runs as `agentkit models tune` found best, unless `untuned`. One model is kept loaded: another one takes
        its place, but not while a turn uses it.

        Raises:
            BusyError: A turn uses another model, or this one tuned otherwise.
            ModelMissingError: It is not in the store.
        """
        with self._starting:
            engine = self._engine(name, untuned=untuned)
            self._used.append(engine)
        try:
            yield engine
        finally:
            with self._starting:
                self._used.remove(engine)
                ended = engine not in (*self._used, *self._engines.values())
            if ended:  # something was forgotten meanwhile, and the turn may have begun it anew
                engine.close()

    def _engine(self, name: str | None, *, untuned: bool) -> Engine:
        from agentkit.core.service import DEFAULT_CHAT_MODEL
        from agentkit.models.engine import Engine
        from agentkit.models.profile import as_tuned
        from agentkit.models.store import ModelStore

        name = name or DEFAULT_CHAT_MODEL
        key = f"{name} (untuned)" if untuned else name
        if key in self._engines:
            return self._engines[key]
        path, options = as_tuned(ModelStore(self._service.home.models), name, untuned=untuned)
        for other, engine in self._engines.items():
            if engine in self._used:
                raise BusyError(
                    f"{other} is answering, and one model is kept loaded at a time",
                    hint="wait until that answer is there, or ask the same model in the same way",
                )
        while self._engines:
            self._engines.popitem()[1].close()
        engine = Engine(
            path,
            self._service.launcher,
            name=name,
            probe_cache=self._service.home.run / "engine-probe.json",
            keeper=None if self._service.states is None else self._service.states.keeper(),
            **options,
        )
        self._engines[key] = engine
        return engine

    def _select(
        self, model: Model, request: Mapping[str, Any], toolbox: Toolbox, *, declines: bool
    ) -> Selection:
        from agentkit.calling.selection import Selection

        pins = request.get("pinned_tools") or ()
        if unknown := sorted(set(pins) - set(toolbox.names())):
            raise ConfigError(f"there is no tool {unknown[0][:80]!r} to pin", hint="agentkit tools list")
        embedder, count = self._service.embedder(), model.count_text
        return Selection(embedder, pins=pins, count=count, vectors=self._vectors, declines=declines)

    # --- tools -----------------------------------------------------------------------------------------------

    def _toolbox(
        self, text: str, request: dict[str, Any], session: Session
    ) -> tuple[Toolbox, dict[str, str]]:
        """Return the tools of a turn, and which of the caller's cannot be used, and why."""
        from agentkit_tools import Toolbox

        builtin = self._builtin(text)
        wanted = request.get("builtin_tools")
        if wanted is not None:
            unknown = sorted(set(wanted) - {tool.name for tool in builtin})
            if unknown:
                raise ConfigError(f"there is no built-in tool {unknown[0]!r}", hint="agentkit tools list")
            builtin = [tool for tool in builtin if tool.name in wanted]
        callers, refused = callers_tools(request.get("tools") or (), session)
        kept = [tool for tool in builtin if tool.name not in callers]
        return Toolbox([*kept, *callers.values()]), refused

    def _builtin(self, text: str) -> list[Tool]:
        from agentkit.memory_tools import memory_tools
        from agentkit_tools.builtin import builtin_tools

        service = self._service
        tools = builtin_tools(
            self.sandbox(),
            service.home.workspace,
            lambda: [Path(root) for root in service.vault.roots()],
            lambda: datetime.now().astimezone(),
        )
        return [*tools, *memory_tools(service.records, service.vault, service.embedder(), said=text)]

    def sandbox(self) -> LaunchedSandbox:
        """Return the sandbox behind the launcher."""
        return LaunchedSandbox(self._service.launcher, self._service.launcher.report()["sandbox"]["tier"])

    def _policy(self, request: Mapping[str, Any]) -> Policy:
        from agentkit_tools import Policy

        chosen, own = request.get("policy"), self._service.home.policy
        if chosen is not None:
            policy = Policy.load(Path(chosen))
        else:
            policy = Policy.load(own) if own.exists() else Policy.default()
        return Policy.yes(policy) if request.get("yes") else policy  # what the user denied stays denied

    def _tools(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        policy = self._policy(request)
        listed = []
        for tool in self._builtin(""):
            ruling = policy.rule(tool, {}, read_origins=frozenset())
            listed.append(
                {
                    "name": tool.name,
                    "description": tool.description,
                    "capabilities": sorted(tool.capabilities),
                    "decision": str(ruling.verdict),
                    "reason": ruling.reason,
                }
            )
        return {
            "tools": listed,
            "sandbox": self._service.launcher.report()["sandbox"],
            "workspace": str(self._service.home.workspace),
        }

    # --- proof -----------------------------------------------------------------------------------------------

    def _probe_egress(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        from agentkit.core import lock
        from agentkit_tools.sandbox import SandboxRequest

        workspace = str(self._service.home.workspace)
        result = self.sandbox().run(SandboxRequest(("python3", "-c", _SANDBOX_PROBE), workspace))
        answers = dict(line.split("=", 1) for line in result.stdout.decode().splitlines() if "=" in line)
        return {"core": lock.self_test(), "sandbox": answers, "tier": result.tier}


_SANDBOX_PROBE = """
import errno, socket
for name, family, kind, address in (
    ("TCP over IPv4", socket.AF_INET, socket.SOCK_STREAM, ("192.0.2.1", 80)),
    ("UDP over IPv4", socket.AF_INET, socket.SOCK_DGRAM, ("192.0.2.1", 53)),
    ("TCP over IPv6", socket.AF_INET6, socket.SOCK_STREAM, ("2001:db8::1", 80)),
):
    try:
        with socket.socket(family, kind) as opened:
            opened.settimeout(2)
            opened.connect(address)
        print(f"{name}=open")
    except OSError as error:
        print(f"{name}={errno.errorcode.get(error.errno, error.errno)}")
"""


def _start(model: Model) -> None:
    """Start the engine's worker; what is wrong with it is told by the first real use."""
    with suppress(AgentkitError):
        _ = model.context_tokens


def _approve(approval: Approval, session: Session) -> Decision:
    answer = session.ask({"approval": to_wire(approval)})
    try:
        return Decision(str(answer.get("decision")))
    except ValueError:
        return Decision.DENY


def _no_tools() -> Toolbox:
    from agentkit_tools import Toolbox

    return Toolbox([])
