"""The whole path on real parts: one locked core, many clients, the real vault, models and sandbox."""

from __future__ import annotations

import base64
import fcntl
import os
import re
import select
import signal
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field, field_validator

from agentkit import Agent, Ending, Finished, TextDelta, ToolDenied, ToolFinished, tool
from agentkit.errors import BusyError, ConfigError, CoreError, LockedError, NotFoundError, WorkerLostError
from agentkit.events import Approval, Decision, Prompted
from agentkit_memory.errors import WrongPassphraseError

pytestmark = [pytest.mark.model, pytest.mark.slow]

PASSPHRASE = "four unrelated quiet words"
FACT = "My sister Annegret collects porcelain owls."


def test_the_core_locks_itself_before_it_answers(core: Any) -> None:
    receipt = core.connect().request("status")["receipt"]
    assert receipt["seccomp"] is True
    assert set(receipt["self_test"].values()) <= {"EACCES", "EPERM"}
    assert "TCP over IPv4" in receipt["self_test"]


def test_a_core_that_serves_hides_from_debuggers_and_leaves_no_core_file(core: Any) -> None:
    status = core.connect().request("status")
    assert status["hidden_from_debuggers"] is True
    limits = Path(f"/proc/{status['pid']}/limits").read_text()
    assert re.search(r"^Max core file size +0 +0 ", limits, flags=re.MULTILINE)
    if os.getuid() != 0:  # the kernel gives the files of such a process to root
        assert Path(f"/proc/{status['pid']}/mem").stat().st_uid == 0


def test_what_was_acknowledged_survives_kill_9_and_is_found_by_meaning(core: Any) -> None:
    core.unlocked().request("remember", text=FACT)
    core.kill()
    client = core.connect()
    with pytest.raises(LockedError):
        client.request("search", text="owls")
    with pytest.raises(WrongPassphraseError):
        client.request("unlock", passphrase=b"not the passphrase")
    client.request("unlock", passphrase=PASSPHRASE.encode())
    hits = client.request("search", text="Who likes china birds?")["hits"]
    assert hits[0]["record"]["text"] == FACT
    assert hits[0]["record"]["origin"] == "user"


def test_a_search_is_restricted_by_time_and_labels(core: Any, tmp_path: Path) -> None:
    core.unlocked()
    old, notes = datetime(2020, 1, 1).astimezone(), tmp_path / "notes.md"
    notes.write_text("Birds eat seeds.\n")
    os.utime(notes, (old.timestamp(), old.timestamp()))
    with Agent(home=core.home.root, passphrase=PASSPHRASE) as agent:
        agent.index(tmp_path / "folder" / ".." / "notes.md")
        agent.remember(FACT)
        later = old + timedelta(1)
        facts: list[dict[str, Any]] = [{"origins": ["user"]}, {"kinds": ["memory"]}, {"since": later}]
        for options in facts:
            assert [hit.text for hit in agent.search("birds", **options)] == [FACT]
        files: list[dict[str, Any]] = [{"origins": ["document"]}, {"until": later}, {"under": notes}]
        for options in files:
            assert {hit.kind for hit in agent.search("birds", **options)} == {"document"}
        assert agent.search("birds", privacies=["secret"]) == []
        with pytest.raises(ConfigError, match="no such origin"):
            agent.search("birds", origins=["nobody"])


def test_a_client_that_is_silent_does_not_keep_the_vault_open(
    core: Any, home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTKIT_IDLE_SECONDS", "1")
    client = core.unlocked()
    pid = client.request("status")["pid"]
    with Agent(home=home.root, passphrase=PASSPHRASE) as agent, (home.vault / "lock").open() as held:
        agent.remember(FACT)
        fcntl.flock(held, fcntl.LOCK_EX)  # waits until the core lets go of the vault
        fcntl.flock(held, fcntl.LOCK_UN)
        status = client.request("status")
        assert (status["pid"], status["vault"]["state"]) == (pid, "locked")
        with pytest.raises(LockedError):
            client.request("records")
        assert [found.text for found in agent.search("owls", k=1)] == [FACT]  # opens it again
        fcntl.flock(held, fcntl.LOCK_EX)
        fcntl.flock(held, fcntl.LOCK_UN)
        assert agent.ask("What does Annegret collect?").ending in set(Ending)


def test_without_a_vault_the_hint_says_what_to_type(core: Any) -> None:
    with pytest.raises(NotFoundError) as missing:
        core.connect().request("search", text="anything")
    assert missing.value.hint == "agentkit init"


def test_a_killed_core_is_a_typed_error_and_leaves_no_process(core: Any) -> None:
    client = core.unlocked()
    client.request("status")
    core.kill()
    with pytest.raises(CoreError):
        client.request("status")
    assert core.connect().request("status")["vault"]["state"] == "locked"


def test_nothing_of_it_lies_on_the_disk_in_clear(core: Any, notes: Path, tmp_path: Path) -> None:
    client = core.unlocked()
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "diary.md").write_text("# Tuesday\n\nThe zebrafish tank leaked onto the harpsichord.\n")
    client.request("index", path=str(folder))
    client.request("remember", text=FACT)
    client.request("search", text="harpsichord")
    vector = client.request("status")["vault"]["id"]
    assert vector
    core.kill()
    needles = ["zebrafish tank leaked", "porcelain owls", PASSPHRASE, "diary.md"]
    forms = [
        form
        for needle in needles
        for form in (needle.encode(), needle.encode("utf-16-le"), base64.b64encode(needle.encode())[:-4])
    ]
    for path in core.home.root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            assert not [form for form in forms if form in data], path.name


def test_two_clients_work_side_by_side_while_one_watches(core: Any, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("The ferry to Oban leaves at nine.\n")
    watcher = core.unlocked()
    seen: list[dict[str, Any]] = []
    watching, changed, stop = threading.Event(), threading.Event(), threading.Event()

    def watch() -> None:
        stream = watcher.stream("index", path=str(folder), watch=True)
        for event in stream:
            seen.append(event)
            if event["type"] == "Watching":
                watching.set()
            if event["type"] == "FileIndexed" and watching.is_set():
                changed.set()
                break
        stream.close()
        stop.set()

    thread = threading.Thread(target=watch)
    thread.start()
    assert watching.wait(30)
    other = core.connect()
    assert other.request("search", text="ferry")["hits"]
    (folder / "a.md").write_text("The ferry to Oban leaves at half past ten.\n")
    assert changed.wait(30)
    hit = other.request("search", text="When does the ferry leave?")["hits"][0]
    assert "half past ten" in hit["record"]["text"]
    thread.join(10)
    assert stop.is_set()


def test_a_question_is_answered_with_its_source_or_refused(core: Any, notes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "lease.md").write_text(
        "# Lease\n\nThe rent is 1,140 euros a month. The deposit was paid in March.\n"
    )
    (folder / "trip.md").write_text("# Trip\n\nWe fly to Lisbon on 3 May with seats 14A and 14B.\n")
    with Agent(home=core.home.root, passphrase=PASSPHRASE) as agent:
        agent.index(folder)
        answer = agent.ask("How much is the rent?")
        assert "1,140" in answer.text
        assert answer.evidence[0].source.endswith("lease.md")
        refused = agent.ask("What is the boiling point of tungsten?")
        assert refused.ending is Ending.NOT_FOUND
        *_, talked = agent.run("How much is the rent?")  # an agent with all its tools says the same
        assert isinstance(talked, Finished)
        assert (talked.text, talked.evidence[0].source) == (answer.text, answer.evidence[0].source)
        *_, unknown = agent.run("What is my blood type?")
        assert isinstance(unknown, Finished)
        assert unknown.ending is Ending.NOT_FOUND


def test_the_callers_tool_runs_in_the_caller_and_its_result_is_labelled(core: Any) -> None:
    called: list[str] = []

    @tool
    def stock_level(product: str) -> str:
        """Tell how many pieces of a product are in stock.

        Args:
            product: Name of the product.
        """
        called.append(product)
        return "there are 42 pieces in stock"

    with Agent(tools=[stock_level], builtin_tools=[], home=core.home.root, passphrase=PASSPHRASE) as agent:
        events = list(agent.run("Use the stock_level tool to tell how many lamps are in stock."))
    finished = [event for event in events if isinstance(event, ToolFinished)]
    assert called
    assert finished[0].where == "client"
    assert "42" in finished[0].text
    assert isinstance(events[-1], Finished)


def test_a_pinned_tool_is_shown_whatever_is_asked(core: Any) -> None:
    @tool
    def stock_level(product: str) -> str:
        """Tell how many pieces of a product are in stock."""
        return "there are 42 pieces in stock"

    for pins, reasons in (((), {}), (["stock_level"], {"stock_level": "pinned"})):
        with Agent(
            tools=[stock_level],
            builtin_tools=[],
            pinned_tools=pins,
            home=core.home.root,
            passphrase=PASSPHRASE,
        ) as agent:
            prompted = next(event for event in agent.run("Good morning!") if isinstance(event, Prompted))
        assert prompted.reasons == reasons
    with (
        Agent(pinned_tools=["nothing"], home=core.home.root, passphrase=PASSPHRASE) as agent,
        pytest.raises(ConfigError, match="no tool 'nothing' to pin"),
    ):
        list(agent.run("Good morning!"))


def test_a_call_the_model_doubts_is_asked_for_again_where_the_agent_has_votes(core: Any) -> None:
    @tool
    def pick(number: int) -> str:
        """Pick one of a hundred lamps by its number."""
        return "picked"

    read = []
    for votes, conversation in ((0, None), (3, "kept")):
        with Agent(
            tools=[pick],
            builtin_tools=[],
            votes=votes,
            conversation=conversation,
            home=core.home.root,
            passphrase=PASSPHRASE,
        ) as agent:
            *_, last = agent.run("Pick some lamp or other, whichever you like.", tool_choice="required")
        assert isinstance(last, Finished)
        read.append(last.usage.prompt_tokens)
    assert read[1] > 1.5 * read[0]
    with (
        Agent(votes=17, home=core.home.root, passphrase=PASSPHRASE) as agent,
        pytest.raises(ConfigError, match="from 0 to 16"),
    ):
        list(agent.run("Good morning!"))


def test_a_model_whose_adapter_is_switched_off_is_asked_once_unless_told_otherwise(core: Any) -> None:
    @tool
    def pick(number: int) -> str:
        """Pick one of a hundred lamps by its number."""
        return "picked"

    read = []
    for votes in (None, 0, 3):
        with Agent(
            tools=[pick],
            builtin_tools=[],
            votes=votes,
            sampling={"adapter_scale": 0},
            home=core.home.root,
            passphrase=PASSPHRASE,
        ) as agent:
            *_, last = agent.run("Pick some lamp or other, whichever you like.", tool_choice="required")
        assert isinstance(last, Finished)
        read.append(last.usage.prompt_tokens)
    assert read[0] == read[1]
    assert read[2] > 1.5 * read[1]


@pytest.mark.parametrize("text", ["", " \n\t "])
def test_where_nothing_is_said_there_is_nothing_to_answer(core: Any, text: str) -> None:
    with Agent(home=core.home.root, passphrase=PASSPHRASE) as agent:
        for ask in (agent.ask, lambda text: list(agent.run(text))):
            with pytest.raises(ConfigError, match="nothing to answer") as caught:
                ask(text)
            assert caught.value.hint


def test_an_answer_comes_out_as_a_value_of_the_callers_type_after_the_tool_it_chose(core: Any) -> None:
    class Stock(BaseModel):
        pieces: int = Field(description="how many pieces are in stock")

        @field_validator("pieces")
        @classmethod
        def is_counted(cls, value: int) -> int:
            seen.append(value)
            return value

    seen: list[int] = []

    @tool
    def stock_level(product: str) -> str:
        """Tell how many pieces of a product are in stock."""
        return "there are 42 pieces in stock"

    choice = {"name": "stock_level"}
    with Agent(tools=[stock_level], builtin_tools=[], home=core.home.root, passphrase=PASSPHRASE) as agent:
        events = list(agent.run("How many lamps are in stock?", tool_choice=choice, output=Stock))
        with pytest.raises(ConfigError, match="no tool 'nothing'"):
            list(agent.run("How many lamps?", tool_choice={"name": "nothing"}))
        with pytest.raises(ConfigError, match="a tool choice is"):
            list(agent.run("How many lamps?", tool_choice="perhaps"))
    assert any(isinstance(event, ToolFinished) for event in events)
    done = events[-1]
    assert isinstance(done, Finished)
    assert isinstance(done.output, Stock)
    assert done.output.pieces == 42
    assert seen[0] == 42


def test_a_calculation_goes_through_the_tool(core: Any) -> None:
    with Agent(home=core.home.root, passphrase=PASSPHRASE) as agent:
        events = list(agent.run("What is 17 * 23?"))
    results = [event.text for event in events if isinstance(event, ToolFinished)]
    assert any("391" in text for text in results)


def test_code_runs_only_after_approval_and_only_in_the_sandbox(core: Any) -> None:
    request = "Run this Python: print(6 * 7)"
    with Agent(home=core.home.root, passphrase=PASSPHRASE) as agent:
        assert [event for event in agent.run(request) if isinstance(event, ToolDenied)]
    asked: list[Approval] = []

    def approve(approval: Approval) -> Decision:
        asked.append(approval)
        return Decision.ALLOW

    with Agent(approve=approve, home=core.home.root, passphrase=PASSPHRASE) as agent:
        ran = [event for event in agent.run(request) if isinstance(event, ToolFinished)]
    assert asked[0].call.arguments["code"].strip() == "print(6 * 7)"
    assert "42" in ran[0].text
    assert ran[0].where in ("bubblewrap", "landlock")


def test_a_conversation_goes_on_after_a_restart(core: Any) -> None:
    core.unlocked()
    with Agent(conversation="kitchen", home=core.home.root, passphrase=PASSPHRASE) as agent:
        list(agent.run("Hello, my cat is called Moritz."))
    core.kill()
    with Agent(conversation="kitchen", home=core.home.root, passphrase=PASSPHRASE) as agent:
        list(agent.run("And the dog is called Max."))
    messages = core.unlocked().request("conversation", id="kitchen")["messages"]
    said = [message["text"] for message in messages if message["role"] == "user"]
    assert said == ["Hello, my cat is called Moritz.", "And the dog is called Max."]
    assert all(message["labels"] for message in messages)


def test_neither_core_nor_sandbox_can_open_a_socket(core: Any) -> None:
    answers = core.unlocked().request("probe_egress")
    assert set(answers["core"].values()) <= {"EACCES", "EPERM"}
    assert answers["sandbox"]
    assert "open" not in answers["sandbox"].values()


def test_a_killed_engine_is_a_typed_error_and_the_next_turn_works(core: Any) -> None:
    with Agent(home=core.home.root, passphrase=PASSPHRASE, builtin_tools=[]) as agent:
        turn = agent.run("Tell me a long story about a lighthouse.")
        with pytest.raises(WorkerLostError):
            for event in turn:
                if isinstance(event, TextDelta):
                    (engine,) = core.connect().request("status")["engine"].values()
                    os.kill(engine["worker_pid"], signal.SIGKILL)
        last = list(agent.run("Say hello."))[-1]
    assert isinstance(last, Finished)
    assert last.ending is Ending.ANSWERED


def test_a_core_nobody_needs_ends_and_locks_the_vault(core: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKIT_IDLE_SECONDS", "0.2")
    client = core.unlocked()
    watched = os.pidfd_open(client.request("status")["pid"])
    client.close()
    assert select.select([watched], [], [], 20)[0], "the core is still there"
    os.close(watched)
    monkeypatch.delenv("AGENTKIT_IDLE_SECONDS")
    assert core.connect().request("status")["vault"]["state"] == "locked"


def test_another_model_waits_for_the_answer_that_goes_on(core: Any) -> None:
    client = core.unlocked()
    told = client.stream(
        "run", text="Tell a long story about a fox.", mode="chat", sampling={"max_tokens": 60}
    )
    events = [next(told)]
    other = core.connect()
    with pytest.raises(BusyError, match="one model is kept loaded") as caught:
        list(other.stream("run", text="Good morning!", mode="chat", untuned=True))
    assert caught.value.hint
    events += told
    assert (events[-1]["type"], events[-1]["ending"]) == ("Finished", "answered")
    again = list(other.stream("run", text="Good morning!", mode="chat", untuned=True))
    assert again[-1]["type"] == "Finished"


def test_the_status_loads_no_model(core: Any) -> None:
    client = core.unlocked()
    list(client.stream("run", text="Good morning!", mode="chat", sampling={"max_tokens": 2}))
    ((name, engine),) = client.request("status")["engine"].items()
    ended = os.pidfd_open(engine["worker_pid"])
    os.kill(engine["worker_pid"], signal.SIGKILL)
    assert select.select([ended], [], [], 20)[0]
    os.close(ended)
    while client.request("status")["engine"][name]["worker_pid"] is not None:  # it is told in a moment
        pass
    assert client.request("status")["engine"][name]["context_tokens"] == engine["context_tokens"]


def test_a_setting_that_makes_no_sense_is_told_before_anything_starts(
    core: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTKIT_IDLE_SECONDS", "soon")
    with pytest.raises(ConfigError, match="AGENTKIT_IDLE_SECONDS"):
        core.connect()
    monkeypatch.delenv("AGENTKIT_IDLE_SECONDS")


def test_a_killed_launcher_ends_the_core_and_the_next_one_serves(core: Any) -> None:
    client = core.unlocked()
    client.request("remember", text=FACT)
    pid = int(client.request("status")["pid"])
    (launcher,) = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    ended = os.pidfd_open(pid)
    os.kill(launcher, signal.SIGKILL)
    with pytest.raises(CoreError, match="launcher is gone"):
        client.request("tools")
    assert select.select([ended], [], [], 20)[0], "a core without a launcher is still there"
    os.close(ended)
    assert core.unlocked().request("search", text="owls")["hits"]
