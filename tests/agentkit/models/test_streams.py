"""Several answers at once: side by side, fairly, each on its own, and never more than can be kept waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentkit.core.server import Session
from agentkit.core.stoppable import Stoppable
from agentkit.errors import AgentkitError, BusyError, Cancelled, ConfigError
from agentkit.messages import Message, ToolSpec
from agentkit.models.base import REQUIRED, Completion, Sampling, StopReason, finish
from agentkit.models.engine import Engine
from agentkit.models.scheduler import MAX_WAITING
from agentkit.models.stream import EngineStream
from agentkit.spawn import LocalSpawner
from agentkit.wire import Channel

pytestmark = [pytest.mark.model, pytest.mark.slow]
LONG = Sampling(max_tokens=200)
STORY = "Write a long story about a fox."


class Reader:
    """Reads a stream in a thread of its own."""

    def __init__(self, stream: EngineStream) -> None:
        self.stream = stream
        self.pieces: list[tuple[float, str]] = []
        self.completion: Completion | None = None
        self.error: AgentkitError | None = None
        self.first = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        try:
            while True:
                piece = next(self.stream)
                self.pieces.append((time.monotonic(), piece))
                self.first.set()
        except StopIteration as end:
            self.completion = end.value
        except AgentkitError as error:
            self.error = error
        self.first.set()

    def joined(self, seconds: float | None = None) -> None:
        self._thread.join(seconds)

    def done(self) -> Completion:
        self._thread.join()
        assert self.completion is not None, self.error
        return self.completion


def say(engine: Engine, text: str, sampling: Sampling = LONG) -> Reader:
    return Reader(engine.complete([Message.user(text)], sampling=sampling))


def test_answers_are_written_side_by_side(engine: Engine) -> None:
    readers = [say(engine, f"{STORY} It is number {n}.", Sampling(max_tokens=40)) for n in range(4)]
    completions = [reader.done() for reader in readers]
    for reader, completion in zip(readers, completions, strict=True):
        assert "".join(text for _, text in reader.pieces) == completion.text
    last_start = max(reader.pieces[0][0] for reader in readers)
    assert all(reader.pieces[-1][0] > last_start for reader in readers)


def test_a_long_prompt_does_not_stall_who_writes(engine: Engine) -> None:
    writer = say(engine, STORY)
    writer.first.wait()
    asked = time.monotonic()
    reading = say(engine, "word " * 500, Sampling(max_tokens=1))
    reading.done()
    ended = time.monotonic()
    writer.stream.cancel()
    writer.done()
    meanwhile = [when for when, _ in writer.pieces if asked < when < ended]
    assert len(meanwhile) >= 3  # as one batch, the prompt would have let nothing through


def test_cancelling_one_leaves_the_others_alone(engine: Engine) -> None:
    prompt = "Name the months of the year."
    alone = say(engine, prompt, Sampling(max_tokens=24)).done()
    doomed = say(engine, STORY)
    doomed.first.wait()
    other = say(engine, prompt, Sampling(max_tokens=24))
    doomed.stream.cancel()
    assert doomed.done().stop is StopReason.CANCELLED
    assert doomed.done().text
    assert other.done().text[:20] == alone.text[:20]
    assert other.done().stop is not StopReason.CANCELLED


def test_one_that_waits_can_be_cancelled_and_one_that_never_began(engine: Engine) -> None:
    first = say(engine, STORY, Sampling(max_tokens=900))
    first.first.wait()
    waiting = say(engine, "Who waits?", Sampling(max_tokens=900))  # the cache has no room for both
    while engine.running < 2:
        waiting.first.wait(0.005)
    waiting.stream.cancel()
    assert waiting.done().stop is StopReason.CANCELLED
    assert waiting.done().text == ""
    first.stream.cancel()
    first.done()
    stream = engine.complete([Message.user(STORY)], sampling=LONG)
    stream.cancel()
    assert finish(stream).stop is StopReason.CANCELLED


def test_one_that_waits_for_a_reproducible_answer_can_be_cancelled(engine: Engine) -> None:
    alone = say(engine, STORY, Sampling(max_tokens=900, reproducible=True))
    alone.first.wait()
    waiting = say(engine, "Who waits?")
    while engine.running < 2:
        waiting.first.wait(0.005)
    waiting.stream.cancel()
    waiting.joined(30)
    assert waiting.done().stop is StopReason.CANCELLED
    assert alone.completion is None  # it goes on meanwhile
    alone.stream.cancel()
    assert alone.done().stop is StopReason.CANCELLED


def test_one_that_cannot_be_bound_disturbs_nobody(engine: Engine) -> None:
    writer = say(engine, STORY, Sampling(max_tokens=60))
    writer.first.wait()
    with pytest.raises(ConfigError):
        finish(engine.complete([Message.user("x")], schema={"$ref": "#/nowhere"}, sampling=LONG))
    assert writer.done().stop is StopReason.LENGTH


def test_a_bound_call_and_free_text_share_a_batch(engine: Engine, tools: tuple[ToolSpec, ...]) -> None:
    writer = say(engine, STORY, Sampling(max_tokens=60))
    stream = engine.complete(
        [Message.user("What is the weather in Oslo?")], tools=tools, choice=REQUIRED, sampling=LONG
    )
    completion = finish(stream)
    assert {call.name for call in completion.calls} <= {tool.name for tool in tools}
    assert completion.calls
    assert writer.done().text


def test_a_shared_beginning_is_computed_once(engine: Engine) -> None:
    system = Message.system("You know all about ships. " * 20)
    prefix = engine.count([system])
    readers = [
        Reader(engine.complete([system, Message.user(f"Ship {n}?")], sampling=Sampling(max_tokens=4)))
        for n in range(3)
    ]
    reused = sorted(reader.done().usage.reused_tokens for reader in readers)
    assert reused[1] > prefix - 10
    assert reused[2] > prefix - 10


def test_conversations_do_not_push_each_other_out(engine: Engine) -> None:
    systems = [Message.system(f"You are called {name}. " * 15) for name in ("Ada", "Bob", "Cem")]
    for turn in range(2):
        for system in systems:
            stream = engine.complete([system, Message.user("Hello?")], sampling=Sampling(max_tokens=4))
            usage = finish(stream).usage
            if turn:
                assert usage.reused_tokens == usage.prompt_tokens - 1


@pytest.fixture
def narrow(smollm2_path: Path) -> Iterator[Engine]:
    engine = Engine(smollm2_path, LocalSpawner(), context_tokens=512, streams=1)
    yield engine
    engine.close()


def test_more_than_can_wait_are_told_that_the_engine_is_busy(narrow: Engine) -> None:
    first = say(narrow, STORY, Sampling(max_tokens=400))
    first.first.wait()
    rest = [say(narrow, f"Number {n}?", Sampling(max_tokens=1)) for n in range(MAX_WAITING + 3)]
    while len(refused := [reader.error for reader in rest if reader.error is not None]) < 3:
        rest[0].joined(0.005)
    assert all(isinstance(error, BusyError) and f"{MAX_WAITING} wait" in error.message for error in refused)
    for reader in [first, *rest]:
        reader.stream.cancel()
    assert first.done().stop is StopReason.CANCELLED


@pytest.mark.parametrize("streams", [0, 65])
def test_a_number_of_streams_out_of_range_is_refused(smollm2_path: Path, streams: int) -> None:
    with pytest.raises(ConfigError, match="1 to 64"):
        Engine(smollm2_path, LocalSpawner(), streams=streams)


@pytest.mark.parametrize("bound", [False, True])
def test_a_request_that_is_stopped_ends_at_once(
    engine: Engine, tools: tuple[ToolSpec, ...], bound: bool
) -> None:
    """While a prompt is read, or a call written, there is no next piece to stop at."""
    engine.describe()
    ours, theirs = channels()
    session = Session(ours)
    model = Stoppable(engine, session)
    options = {"tools": tools, "choice": REQUIRED} if bound else {}
    text = "word " * (100 if bound else 700)
    stream = model.complete([Message.user(text)], sampling=LONG, **options)  # type: ignore[arg-type]
    ended: list[float] = []

    def run() -> None:
        with pytest.raises(Cancelled):
            finish(stream)
        ended.append(time.monotonic())

    thread = threading.Thread(target=run)
    thread.start()
    while not engine.running:
        thread.join(0.005)
    thread.join(0.1)
    stopped = time.monotonic()
    session.stop()
    thread.join()
    assert ended[0] - stopped < 1  # 0.1 s on an idle machine
    assert not engine.running
    theirs.close()
    ours.close()


def channels() -> tuple[Channel, Channel]:
    import socket

    ours, theirs = socket.socketpair()
    return Channel(ours), Channel(theirs)


def test_what_is_to_be_stopped_is_stopped_even_if_it_starts_too_late() -> None:
    ours, theirs = channels()
    session = Session(ours)
    stopped: list[int] = []
    stop: Callable[[], None] = lambda: stopped.append(1)  # noqa: E731 - said once
    with session.stopping(stop):
        session.stop()
    assert stopped == [1]
    with session.stopping(stop):
        assert stopped == [1, 1]
    session.stop()
    assert stopped == [1, 1]
    ours.close()
    theirs.close()
