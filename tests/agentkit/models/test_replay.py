"""An answer can be computed again to the last bit, from a record that holds no text."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.errors import ConfigError
from agentkit.messages import Message
from agentkit.models.base import Completion, Sampling, finish
from agentkit.models.cache_log import COPY, DECODE, KEEP, MAX_TOKENS, CacheLog, Record
from agentkit.models.engine import Engine
from agentkit.spawn import LocalSpawner

WARM = Sampling(temperature=0.9, top_p=0.95, seed=7, max_tokens=8)


@pytest.fixture(scope="module")
def shared(smollm2_path: Path) -> Iterator[Engine]:
    """Yield an engine of four streams."""
    engine = Engine(smollm2_path, LocalSpawner(), context_tokens=1024, streams=4)
    yield engine
    engine.close()


def ask(engine: Engine, text: str, sampling: Sampling, replay: bytes | None = None) -> Completion:
    return finish(engine.complete([Message.user(text)], sampling=sampling, replay=replay))


def seen(completion: Completion) -> list[tuple[int, float, float]]:
    return [(signal.token, signal.log_probability, signal.entropy) for signal in completion.signals]


def traffic(engine: Engine, streams: int, rounds: int, tokens: int) -> list[tuple[str, Sampling, Completion]]:
    """Ask much at once, with prompts that begin alike and samplings that differ; return all of it."""
    answers: list[tuple[str, Sampling, Completion]] = []

    def run(number: int) -> None:
        for round_ in range(rounds):
            sampling = Sampling(
                temperature=0.5 * (number % 3),
                seed=number,
                top_k=40 * (number % 2),
                max_tokens=tokens + number,
            )
            text = f"Write a story about number {number}{' and a fox' * 7 * number}, part {round_}."
            answers.append((text, sampling, ask(engine, text, sampling)))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


@pytest.mark.model
@pytest.mark.slow
class TestEngine:
    def test_what_was_written_beside_others_comes_out_again_to_the_last_bit(self, shared: Engine) -> None:
        answers = traffic(shared, 3, 2, 6)
        assert {answer.usage.cache for _, _, answer in answers} & {"reused", "copied"}
        for text, sampling, answer in answers[-3:]:
            assert answer.record is not None
            again = ask(shared, text, sampling, answer.record)
            assert (seen(again), again.text) == (seen(answer), answer.text)
            assert again.record is None

    def test_a_record_is_small_and_its_size_knows_nothing_of_the_text(self, shared: Engine) -> None:
        answer = ask(shared, "Say something about copper.", WARM)
        assert answer.record is not None
        assert len(answer.record) < 2000
        assert b"copper" not in zlib.decompress(answer.record)

    def test_it_is_of_one_request_and_one_engine(self, shared: Engine, smollm2_path: Path) -> None:
        record = ask(shared, "One?", WARM).record
        with pytest.raises(ConfigError, match="another request"):
            ask(shared, "Two?", WARM, record)
        with pytest.raises(ConfigError, match="another request"):
            ask(shared, "One?", Sampling(max_tokens=8), record)
        with pytest.raises(ConfigError, match="damaged"):
            ask(shared, "One?", WARM, b"no record")
        other = Engine(smollm2_path, LocalSpawner(), context_tokens=512, streams=4)
        with pytest.raises(ConfigError, match="other settings"):
            ask(other, "One?", WARM, record)
        other.close()
        assert ask(shared, "One?", WARM).text

    def test_it_comes_out_again_in_another_worker(self, shared: Engine, smollm2_path: Path) -> None:
        first, second = ask(shared, "A sea?", WARM), ask(shared, "A sea? And a fox?", WARM)
        shared.close()
        for text, answer in (("A sea?", first), ("A sea? And a fox?", second)):
            assert seen(ask(shared, text, WARM, answer.record)) == seen(answer)

    @pytest.mark.long
    @pytest.mark.timeout(1200)
    def test_much_traffic_comes_out_again(self, shared: Engine) -> None:
        for text, sampling, answer in traffic(shared, 6, 4, 20):
            assert answer.record is not None
            assert seen(ask(shared, text, sampling, answer.record)) == seen(answer)

    @pytest.mark.long
    @pytest.mark.timeout(1200)
    def test_a_hundred_reproducible_answers_are_one(self, shared: Engine) -> None:
        """With other answers before, after and waiting, and nothing recorded: there is nothing to say."""
        for sampling in (
            Sampling(max_tokens=12, reproducible=True),
            Sampling(temperature=1.1, seed=3, min_p=0.05, max_tokens=12, reproducible=True),
        ):
            found = set()
            for number in range(50):
                beside = threading.Thread(
                    target=ask, args=(shared, f"Number {number}?", Sampling(max_tokens=4))
                )
                beside.start()
                answer = ask(shared, "Tell me about a fox.", sampling)
                beside.join()
                assert answer.record is None
                found.add(tuple(seen(answer)))
            assert len(found) == 1


def test_equal_steps_are_one_entry_until_an_answer_begins() -> None:
    log = CacheLog()
    for _ in range(3):
        log.decoded([(0, 1, True), (2, 1, True)])
    assert log.mark() == 1
    log.decoded([(0, 1, True), (2, 1, True)])
    log.kept(2, 4)
    log.copied(0, 2, 3)
    assert log.entries() == (
        (3, DECODE, 0, 1, 1, 2, 1, 1),
        (1, DECODE, 0, 1, 1, 2, 1, 1),
        (1, KEEP, 2, 4),
        (1, COPY, 0, 2, 3),
    )
    log.clear()
    assert log.entries() == ()
    assert log.whole


def test_more_than_can_be_done_again_is_not_recorded() -> None:
    log = CacheLog()
    for _ in range(MAX_TOKENS // 512 + 1):
        log.decoded([(0, 512, False)])
    assert (log.whole, log.entries()) == (False, ())
    log.clear()
    assert log.whole


RECORD = Record(1, 1, 3, "copied", ((2, DECODE, 0, 2, 1), (1, COPY, 0, 1, 3), (1, DECODE, 1, 5, 1)))
BOUND = {"engine": "e", "request": "r"}
ROOM = {"streams": 2, "batch_tokens": 512}


def test_a_record_is_read_as_it_was_written() -> None:
    assert Record.unpack(RECORD.pack(**BOUND), **BOUND, **ROOM) == RECORD  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "entries",
    [
        ((1, DECODE, 2, 1, 1),),  # no such sequence
        ((1, DECODE, 0, 1, 1, 0, 1, 1),),  # one twice
        ((1, DECODE, 0, 0, 1),),
        ((1, DECODE, 0, 513, 1),),
        ((1, DECODE, 0, 1),),
        ((1, DECODE),),
        ((MAX_TOKENS, DECODE, 0, 512, 1),),
        ((2, KEEP, 0, 1),),
        ((1, KEEP, 0),),
        ((1, COPY, 0, 5, 1),),
        ((1, 7, 0, 1),),
        ((-1, KEEP, 0, 1),),
        ((),),
    ],
)
def test_entries_that_no_cache_can_do_are_refused(entries: tuple[tuple[int, ...], ...]) -> None:
    data = Record(0, 0, 0, "cold", entries).pack(**BOUND)
    with pytest.raises(ConfigError, match="damaged"):
        Record.unpack(data, **BOUND, **ROOM)  # type: ignore[arg-type]


@given(data=st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(zlib.compress)))
@settings(deadline=None)
def test_anything_else_is_refused_too(data: bytes) -> None:
    with pytest.raises(ConfigError, match="damaged"):
        Record.unpack(data, **BOUND, **ROOM)  # type: ignore[arg-type]


def test_a_record_that_would_swell_is_refused() -> None:
    with pytest.raises(ConfigError, match="damaged"):
        Record.unpack(zlib.compress(b" " * (64 << 20)), **BOUND, **ROOM)  # type: ignore[arg-type]
