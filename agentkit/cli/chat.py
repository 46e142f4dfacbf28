"""The verb `chat`: many turns, kept in the vault as one conversation.

Nothing typed is written anywhere but into the vault: the line editor keeps its history in memory only.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentkit.cli.approve import Approver
from agentkit.cli.ask import Conversation
from agentkit.cli.connect import connect, open_vault
from agentkit.cli.options import (
    Draw,
    Json,
    MaxTokens,
    Model,
    PolicyFile,
    Seed,
    Temperature,
    Untuned,
    Votes,
    Yes,
    sampling,
)
from agentkit.cli.output import Output
from agentkit.cli.turn import run_turn, show_backing, show_end, show_sources
from agentkit.cli.typed import read_lines
from agentkit.errors import LockedError

if TYPE_CHECKING:
    from agentkit.client import CoreClient

HELP = """/help      this list
/tools     what the agent may use
/sources   what the last answer rests on
/forget    delete this conversation and begin a new one
/bye       end; so does Ctrl-D
Ctrl-C     stops the turn that is running"""


def chat(
    conversation: Conversation = None,
    plain: Annotated[bool, typer.Option("--no-tools", help="Only talk; offer no tools.")] = False,
    yes: Yes = False,
    policy: PolicyFile = None,
    model: Model = None,
    untuned: Untuned = False,
    temperature: Temperature = None,
    seed: Seed = None,
    max_tokens: MaxTokens = None,
    lever: Draw = None,
    votes: Votes = None,
    as_json: Json = False,
) -> None:
    """Talk with the agent; the conversation is kept in the vault.

    Without a terminal, each line of standard input is one turn. With --json, each event is one line.
    """
    output = Output(as_json=as_json)
    request: dict[str, Any] = {
        "mode": "chat" if plain else "agent",
        "model": model,
        "untuned": untuned,
        "sampling": sampling(temperature, seed, max_tokens, lever),
        "votes": votes,
        "yes": yes,
        "policy": None if policy is None else str(policy.absolute()),
    }
    Chat(output, conversation or new_name(), request).run()


def new_name() -> str:
    """Return a name for a new conversation: when it began."""
    return time.strftime("%Y-%m-%d-%H%M%S")


class Chat:
    """One conversation at the terminal, or one line a turn."""

    def __init__(self, output: Output, name: str, request: dict[str, Any]) -> None:
        self._output = output
        self._name = name
        self._request = request
        self._last: dict[str, Any] = {}
        self._approver = Approver(output, on_question=output.json_line)

    def run(self) -> None:
        """Read and answer until the end of the input, or `/bye`."""
        with ExitStack() as opened:
            client = opened.enter_context(connect(self._output))
            self._output.note(f"conversation {self._name}; /help lists the commands, Ctrl-D ends")
            for line in self._lines():
                text = line.strip()
                if not text:
                    continue
                if text.startswith("/"):
                    if not self._reopening(client, partial(self._command, text, client)):
                        break
                    continue
                try:
                    self._reopening(client, partial(self._turn, client, text))
                except KeyboardInterrupt:
                    # The turn ended with its stream; a connection that broke off in mid-frame is not used again.
                    self._output.note("(stopped)", "yellow")
                    opened.close()
                    client = opened.enter_context(connect(self._output))
        if self._last:
            self._output.note(f"continue with: agentkit chat -c {self._name}")

    def _reopening(self, client: CoreClient, act: Callable[[], bool | None]) -> bool | None:
        """Act; where the vault was locked meanwhile, open it and act again. What is locked refuses before it does."""
        try:
            return act()
        except LockedError:
            self._output.note("the vault was locked: nobody had asked anything for a while")
            open_vault(client, self._output)
            return act()

    def _turn(self, client: CoreClient, text: str) -> None:
        self._last = run_turn(
            client, self._output, answer=self._approver, on_event=self._output.json_line,
            text=text, conversation=self._name, **self._request,
        )  # fmt: skip
        show_backing(text, self._last, self._output)
        show_end(self._last, self._output)
        if self._output.is_terminal:
            self._output.line()

    def _command(self, text: str, client: CoreClient) -> bool:
        """Obey one `/command`; return whether to go on."""
        match text.split()[0]:
            case "/bye" | "/exit" | "/quit":
                return False
            case "/help" | "/?":
                self._output.note(HELP)
            case "/tools":
                for tool in client.request("tools", policy=self._request["policy"], yes=self._request["yes"])[
                    "tools"
                ]:
                    self._output.note(
                        f"{tool['name']:18} {tool['decision']:6} {tool['description'].splitlines()[0]}"
                    )
            case "/sources":
                show_sources(self._last, self._output)
            case "/forget":
                client.request("forget_conversation", id=self._name)
                self._output.note(f"forgot the conversation {self._name}")
                self._name, self._last = new_name(), {}
            case unknown:
                self._output.note(f"there is no command {unknown}; /help lists them")
        return True

    def _lines(self) -> Iterator[str]:
        """Yield what is typed, one turn at a time."""
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            yield from read_lines()
            return
        ask = _line_editor()
        while True:
            try:
                yield ask()
            except KeyboardInterrupt:
                self._output.note("Ctrl-D or /bye ends")
            except EOFError:
                return


def _line_editor() -> Callable[[], str]:
    """Return a prompt with editing and a history in memory; Alt-Enter adds a line."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import InMemoryHistory
    from prompt_toolkit.key_binding import KeyBindings
    from prompt_toolkit.key_binding.key_processor import KeyPressEvent

    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    session: PromptSession[str] = PromptSession("> ", history=InMemoryHistory(), key_bindings=keys)
    return session.prompt
