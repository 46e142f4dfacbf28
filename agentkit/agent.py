"""`Agent`: what a Python program uses.

The agent runs in the core service of the user's home, so that several programs and the command line share one
vault and one warm model. Your own tools run here, in your process, with your rights; their results travel back
labelled. Nothing here locks or changes your process. `agentkit.Loop` is the same loop over any `Model` object in
this process: for tests, and for those who want no service.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agentkit.client import Answerer, CoreClient
from agentkit.errors import AgentkitError, CoreError, LockedError, NotFoundError
from agentkit.events import Approval, Decision, Event, Finished, from_wire
from agentkit.models.base import Sampling
from agentkit.passphrase import Passphrase, find_passphrase
from agentkit.paths import Home, whole_path
from agentkit.typed_output import Form, form_of
from agentkit_tools import Tool, Toolbox

Approve = Callable[[Approval], Decision]


@dataclass(frozen=True, slots=True)
class Found:
    """One search result."""

    id: str
    text: str
    source: str
    place: str
    kind: str
    score: float


class Agent:
    """An assistant over the documents and memory of one home."""

    def __init__(
        self,
        *,
        tools: Iterable[Tool] = (),
        builtin_tools: Iterable[str] | None = None,
        pinned_tools: Iterable[str] = (),
        model: str | None = None,
        votes: int | None = None,
        approve: Approve | None = None,
        conversation: str | None = None,
        sampling: Sampling | Mapping[str, Any] | None = None,
        home: str | Path | None = None,
        passphrase: Passphrase = None,
    ) -> None:
        """Describe the agent; nothing is started until it is used.

        Args:
            tools: Your own tools; they run in this process.
            builtin_tools: Names of the built-in tools to offer; `None` offers all.
            pinned_tools: Names of the tools that every prompt shows, in its stable front; of the others, up to three
                that are near the request are shown, as far as the budget of tokens allows.
            model: Name of a chat model in the store; `None` is the default.
            votes: How often a doubtful call is asked for again, 0 to 16; of all of them the one counts that what was
                said backs best, without the values that nobody spoke of where the tool does without them. 0 is off;
                `None` is 4 with the adapter that the default model comes with, which was measured, and off otherwise.
            approve: Asked before a call that the policy wants approved; absent means deny.
            conversation: Continue the conversation of this name; `None` keeps none after the turn.
            sampling: How tokens are drawn: levers by name, or a `Sampling`, of which those count that are not at its
                defaults. The others are as the agent has them: greedy, at most 320 tokens, and in plain talk a
                `repeat_penalty` of 1.15.
            home: Another home than the user's.
            passphrase: Text, or a function that returns it; by default the file named by
                `AGENTKIT_PASSPHRASE_FILE`, then the keyring.
        """
        self._tools = Toolbox(tools)
        self._builtin = None if builtin_tools is None else list(builtin_tools)
        self._pinned = list(pinned_tools)
        self._model = model
        self._votes = votes
        self._approve = approve
        self._conversation = conversation
        self._sampling = sampling
        self._home = Home(Path(home).expanduser().absolute()) if home is not None else Home.default()
        self._passphrase = passphrase
        self._client: CoreClient | None = None

    def run(
        self,
        text: str,
        *,
        tool_choice: str | Mapping[str, str] = "auto",
        output: type | Mapping[str, Any] | None = None,
    ) -> Iterator[Event]:
        """Answer `text`, calling tools as needed; yield what happens as it happens.

        Closing the iterator stops the turn.

        Args:
            text: What you say.
            tool_choice: `auto`, `none`, `required` (a call comes first), or `{"name": TOOL}` (that one does).
            output: A pydantic model, another type pydantic can validate, or a JSON Schema: the answer is written
                once more in this form, as `Finished.output`.

        Raises:
            ConfigError: There is no such tool, or `output` has no usable schema.
            OutputError: The answer could not be brought into that form.
            LockedError: The vault is locked and no passphrase was found.
            ModelMissingError: The model is not in the store.
            ContextOverflowError: System prompt, tools and `text` alone exceed the window.
            EngineError: The engine failed; the next turn starts a new one.
        """
        form = None if output is None else form_of(output)
        yield from self._turn(text, mode="agent", tool_choice=tool_choice, form=form)

    def ask(self, text: str) -> Finished:
        """Answer `text` from the indexed documents and memories only, with the passages it rests on.

        Returns:
            The end of the turn; `ending` is `NOT_FOUND` when the documents do not hold the answer.
        """
        for event in self._turn(text, mode="ask"):
            if isinstance(event, Finished):
                return event
        raise CoreError("the core ended a turn without its end")

    def index(self, path: str | Path) -> dict[str, Any]:
        """Index a file or folder; unchanged files cost nothing.

        Returns:
            How many files were `indexed`, `unchanged`, `removed`, `renamed` and `skipped`.
        """
        return self._request("index", path=whole_path(path))

    def search(
        self,
        text: str,
        *,
        k: int = 8,
        kinds: Iterable[str] = (),
        under: str | Path | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        origins: Iterable[str] = (),
        privacies: Iterable[str] = (),
    ) -> list[Found]:
        """Find the passages and memories nearest to `text`, best first.

        Args:
            text: What to look for.
            k: Results at most, 1 to 100.
            kinds: Only of these: `document`, `memory`, `round`.
            under: Only documents under this path.
            since: Only what was said, or a file changed, from then on.
            until: Only what was said, or a file changed, before.
            origins: Only what these wrote: `user`, `model`, `tool`, `document`.
            privacies: Only what is this private: `public`, `private`, `secret`.

        Raises:
            ConfigError: `k` is out of range, or there is no such origin or privacy.
        """
        hits = self._request(
            "search",
            text=text,
            k=k,
            kinds=list(kinds),
            under="" if under is None else whole_path(under),
            since=since and since.timestamp(),
            until=until and until.timestamp(),
            origins=list(origins),
            privacies=list(privacies),
        )["hits"]
        return [
            Found(
                **{name: hit["record"][name] for name in ("id", "text", "source", "place", "kind")},
                score=hit["score"],
            )
            for hit in hits
        ]

    def remember(self, text: str) -> str:
        """Store a fact and return its id."""
        return str(self._request("remember", text=text)["id"])

    def forget(self, *ids: str) -> int:
        """Delete records and return how many there were."""
        return int(self._request("forget", ids=list(ids))["forgotten"])

    def close(self) -> None:
        """Close the connection; the core goes on for others."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def __enter__(self) -> Self:
        """Return the agent."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    # --- how it travels --------------------------------------------------------------------------------------

    def _turn(
        self,
        text: str,
        *,
        mode: str,
        tool_choice: str | Mapping[str, str] = "auto",
        form: Form | None = None,
    ) -> Generator[Event, None, None]:
        stream = self._stream(
            "run",
            lambda question: self._answer(question, form),
            text=text,
            mode=mode,
            conversation=self._conversation,
            model=self._model,
            sampling=_chosen(self._sampling),
            builtin_tools=self._builtin,
            pinned_tools=self._pinned,
            tools=[_describe(each) for each in self._tools],
            tool_choice=tool_choice if isinstance(tool_choice, str) else dict(tool_choice),
            votes=self._votes,
            form=None if form is None else form.schema,
        )
        for wire in stream:
            event = from_wire(wire)
            if form is not None and isinstance(event, Finished) and event.output is not None:
                event = replace(event, output=form.read(event.output))
            if not isinstance(event, Approval):  # approvals come as questions
                yield event

    def _answer(self, question: dict[str, Any], form: Form | None) -> Mapping[str, Any]:
        """Answer the core: approve a call, take or refuse an output, or run one of the caller's own tools."""
        if "approval" in question:
            approval = from_wire(question["approval"])
            if self._approve is None or not isinstance(approval, Approval):
                return {"decision": Decision.NOBODY.value}
            return {"decision": Decision(self._approve(approval)).value}
        if "output" in question:
            return {"wrong": None if form is None else _wrong(form, question["output"])}
        call = question["call"]
        output = self._tools.call(call["name"], call["arguments"])
        return {
            "text": output.text,
            "is_error": output.is_error,
            "origin": output.origin,
            "privacy": output.privacy,
        }

    def _request(self, op: str, **fields: Any) -> dict[str, Any]:
        client = self._connected()
        try:
            return client.request(op, **fields)
        except LockedError:  # nobody had asked anything for a while
            ensure_unlocked(client, self._passphrase)
            return client.request(op, **fields)

    def _stream(self, op: str, answer: Answerer, **fields: Any) -> Iterator[dict[str, Any]]:
        client, begun = self._connected(), False
        try:
            for event in client.stream(op, answer=answer, **fields):
                begun = True
                yield event
        except LockedError:  # nobody had asked anything for a while
            if begun:
                raise
            ensure_unlocked(client, self._passphrase)
            yield from client.stream(op, answer=answer, **fields)

    def _connected(self) -> CoreClient:
        if self._client is None:
            client = CoreClient.connect(self._home)
            try:
                ensure_unlocked(client, self._passphrase)
            except AgentkitError:
                client.close()
                raise
            self._client = client
        return self._client


def ensure_unlocked(client: CoreClient, passphrase: Passphrase = None) -> None:
    """Open the vault if it is locked, and make one if there is none.

    Raises:
        LockedError: It is locked and no passphrase was found.
    """
    try:
        client.request("unlock", passphrase=None)  # already open, or by the keyring
    except LockedError:
        given = find_passphrase(passphrase)
        if given is None:
            raise
        client.request("unlock", passphrase=given)
    except NotFoundError:
        given = find_passphrase(passphrase)
        if given is None:
            raise
        client.request("init", passphrase=given)


def _wrong(form: Form, value: object) -> str | None:
    """Return what the caller's type says is wrong with a value."""
    try:
        form.read(value)
    except ValueError as error:
        return str(error)
    return None


def _chosen(sampling: Sampling | Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the levers that were chosen; of a `Sampling` nobody can tell a default from a choice like it."""
    if isinstance(sampling, Sampling):
        levers = {each.name: getattr(sampling, each.name) for each in fields(Sampling)}
        sampling = {name: value for name, value in levers.items() if value != getattr(Sampling(), name)}
    return dict(sampling) if sampling else None


def _describe(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "capabilities": sorted(tool.capabilities),
        "origin": tool.origin,
        "privacy": tool.privacy,
        "timeout_seconds": tool.timeout_seconds,
    }
