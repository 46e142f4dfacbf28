"""Whatever happens to the worker, the caller gets a typed error and the next call works."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from agentkit.errors import (
    AgentkitError,
    ConfigError,
    EngineError,
    ModelError,
    NotFoundError,
    WorkerHungError,
    WorkerLostError,
)
from agentkit.messages import Message
from agentkit.models.base import Sampling, finish
from agentkit.models.engine import Engine
from agentkit.models.gguf import read_header
from agentkit.spawn import LocalChild, LocalSpawner

pytestmark = [pytest.mark.model, pytest.mark.slow]
QUESTION = [Message.user("Tell me about a fox.")]
SHORT = Sampling(max_tokens=4)


class DoomedSpawner(LocalSpawner):
    """Starts workers of which the first few get a signal before they have read the model."""

    def __init__(self, doomed: int, signal_number: signal.Signals) -> None:
        self.started = 0
        self._doomed = doomed
        self._signal = signal_number

    def spawn(
        self,
        module: str,
        arguments: Sequence[str] = (),
        *,
        idle: bool = False,
        extra: Mapping[str, str] | None = None,
    ) -> LocalChild:
        child = super().spawn(module, arguments, idle=idle, extra=extra)
        self.started += 1
        if self.started <= self._doomed:
            os.kill(child.pid, self._signal)
        return child


@pytest.fixture
def start(smollm2_path: Path) -> Iterator[Callable[..., Engine]]:
    engines: list[Engine] = []

    def make(spawner: LocalSpawner | None = None, **options: object) -> Engine:
        engines.append(Engine(smollm2_path, spawner or LocalSpawner(), context_tokens=512, **options))  # type: ignore[arg-type]
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def test_a_killed_worker_is_reported_and_replaced(start: Callable[..., Engine]) -> None:
    engine = start()
    whole = finish(engine.complete(QUESTION, sampling=SHORT)).text
    stream = engine.complete(QUESTION, sampling=Sampling(max_tokens=300))
    next(stream)
    first = engine.describe()["worker_pid"]
    os.kill(first, signal.SIGKILL)
    with pytest.raises(WorkerLostError, match="signal 9") as caught:
        finish(stream)
    assert caught.value.hint is not None
    assert finish(engine.complete(QUESTION, sampling=SHORT)).text == whole
    assert engine.describe()["worker_pid"] != first


def test_a_worker_killed_between_calls_is_replaced(start: Callable[..., Engine]) -> None:
    engine = start()
    first = engine.describe()["worker_pid"]
    os.kill(first, signal.SIGKILL)
    with contextlib.suppress(WorkerLostError):  # whether the loss is noticed before the call is chance
        engine.count_text("not counted before")
    assert engine.count_text("one two") == 2


def test_a_worker_that_hangs_is_ended_and_replaced(start: Callable[..., Engine]) -> None:
    engine = start()
    stream = engine.complete(QUESTION, sampling=Sampling(max_tokens=300))
    next(stream)
    engine._hang_seconds = 0.3
    os.kill(engine.describe()["worker_pid"], signal.SIGSTOP)
    with pytest.raises(WorkerHungError, match=r"0\.3 s"):
        finish(stream)
    engine._hang_seconds = 30
    assert finish(engine.complete(QUESTION, sampling=SHORT)).text


def test_a_worker_that_takes_nothing_is_ended_and_replaced(start: Callable[..., Engine]) -> None:
    """A request that is larger than the socket's buffer waits in the sending, and so does all that comes behind it."""
    engine = start()
    pid = engine.describe()["worker_pid"]
    channel = engine._connected()._child.channel
    engine._hang_seconds = 0.3
    os.kill(pid, signal.SIGSTOP)
    errors: list[AgentkitError] = []

    def run(ask: Callable[[], object]) -> None:
        try:
            ask()
        except AgentkitError as error:
            errors.append(error)

    large = [Message.user("word " * 80_000)]
    asks: list[Callable[[], object]] = [
        lambda: finish(engine.complete(large, sampling=SHORT)),
        lambda: engine.count_text("not counted before"),
    ]
    threads = [threading.Thread(target=run, args=(ask,), daemon=True) for ask in asks]
    threads[0].start()
    while threads[0].is_alive() and not channel._sending.locked():
        threads[0].join(0.001)
    threads[1].start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert isinstance(errors[0], WorkerHungError)
    assert errors[0].message == "the engine worker took nothing for 0.3 s and was ended"
    assert all(isinstance(error, WorkerLostError) for error in errors[1:])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    engine._hang_seconds = 30
    assert finish(engine.complete(QUESTION, sampling=SHORT)).text


def test_a_worker_that_had_nothing_to_do_is_not_taken_for_hung(start: Callable[..., Engine]) -> None:
    engine = start(hang_seconds=2.0)
    engine.describe()
    pid = engine.describe()["worker_pid"]
    threading.Event().wait(2.2)
    assert finish(engine.complete(QUESTION, sampling=SHORT)).text
    assert engine.describe()["worker_pid"] == pid


def test_a_build_that_crashes_is_used_without_rearranged_weights(
    start: Callable[..., Engine], tmp_path: Path
) -> None:
    cache = tmp_path / "probe.json"
    spawner = DoomedSpawner(1, signal.SIGSEGV)
    engine = start(spawner, probe_cache=cache)
    said = engine.describe()
    assert said["repack"] is False
    assert "crashed" in said["fallback"]
    assert finish(engine.complete(QUESTION, sampling=SHORT)).text
    again = LocalSpawner()
    assert start(again, probe_cache=cache).describe()["repack"] is False


def test_a_worker_that_always_crashes_is_an_error_and_blames_nothing(
    start: Callable[..., Engine], tmp_path: Path
) -> None:
    cache = tmp_path / "probe.json"
    spawner = DoomedSpawner(2, signal.SIGILL)
    engine = start(spawner, probe_cache=cache)
    with pytest.raises(WorkerLostError, match="crashes when it loads"):
        engine.describe()
    assert not cache.exists()
    assert engine.describe()["repack"] is True


def test_an_outside_kill_is_no_crash(start: Callable[..., Engine], tmp_path: Path) -> None:
    engine = start(DoomedSpawner(1, signal.SIGKILL), probe_cache=tmp_path / "probe.json")
    with pytest.raises(WorkerLostError):
        engine.describe()
    assert engine.describe()["repack"] is True


@pytest.mark.parametrize("damage", ["truncated", "noise", "empty", "text"])
def test_a_damaged_file_is_refused(smollm2_path: Path, tmp_path: Path, damage: str) -> None:
    data = bytearray(smollm2_path.read_bytes())
    match damage:
        case "truncated":
            data = data[: len(data) // 2]
        case "noise":
            data[5_000:200_000] = bytes(195_000)
        case "empty":
            data = bytearray()
        case "text":
            data = bytearray(b"this is not a model\n" * 100)
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    engine = Engine(path, LocalSpawner())
    with pytest.raises(ModelError):
        engine.describe()
    engine.close()


def test_what_the_header_check_lets_through_is_still_a_typed_error(
    smollm2_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(smollm2_path.read_bytes()[:50_000_000])
    whole = read_header(smollm2_path)
    monkeypatch.setattr("agentkit.models.gguf.read_header", lambda path: whole)
    engine = Engine(path, LocalSpawner())
    with pytest.raises(AgentkitError):
        engine.describe()
    engine.close()


def test_a_context_over_the_trained_length_is_refused_with_the_numbers(smollm2_path: Path) -> None:
    engine = Engine(smollm2_path, LocalSpawner(), context_tokens=10_000)
    with pytest.raises(ConfigError, match=r"10000 tokens.*1 to 8192"):
        engine.describe()
    engine.close()


def test_a_worker_ends_with_its_owner_even_in_the_middle_of_a_prompt(start: Callable[..., Engine]) -> None:
    engine = start()
    engine.describe()
    lost: list[EngineError] = []

    def read() -> None:
        try:
            finish(engine.complete([Message.user("word " * 400)], sampling=SHORT))
        except EngineError as error:
            lost.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    while not engine.running:
        reader.join(0.005)
    child = engine._connected()._child
    child.channel.close()  # as the kernel does when the owner dies
    reader.join()
    assert isinstance(lost[0], WorkerLostError)
    assert child.exit_status() == 0  # it went by itself


def test_a_missing_file_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        Engine(tmp_path / "absent.gguf", LocalSpawner(), name="absent").describe()
    assert caught.value.hint == "agentkit models pull absent"


def test_a_closed_engine_leaves_no_process_and_starts_again(start: Callable[..., Engine]) -> None:
    engine = start()
    pid = engine.describe()["worker_pid"]
    engine.close()
    engine.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert engine.describe()["worker_pid"] != pid
