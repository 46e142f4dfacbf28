"""What the scheduler promises beside speed, with a model of random weights in this process.

One failure is one job's; who waits can always be stopped; and whatever is done, answers soon have records again.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentkit.errors import AgentkitError, EngineError
from agentkit.messages import Message
from agentkit.models import cache_log, generate
from agentkit.models.base import NONE, Sampling, StopReason
from agentkit.models.kv_transfer import Offer
from agentkit.models.llama import Settings
from agentkit.models.sampler import Sampler
from agentkit.models.scheduler import UNRECORDED_TOKENS, Job
from agentkit.models.session import Request, Session
from tests.agentkit.models.test_odd_caches import BLOCKS, HEADS, INNER, WIDTH, Model

SHORT = Sampling(max_tokens=3, logit_bias=((2, -100.0),))
"""Random weights would perhaps end a text; this goes on."""


def plain(path: Path) -> Path:
    """Write a model with an ordinary cache."""
    model = Model("llama")
    model.u32("llama.attention.head_count_kv", HEADS)
    for number in range(BLOCKS):
        block = f"blk.{number}."
        for norm in ("attn_norm", "ffn_norm"):
            model.weights(f"{block}{norm}.weight", WIDTH)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            model.weights(f"{block}{name}.weight", WIDTH, WIDTH)
        model.weights(f"{block}ffn_gate.weight", WIDTH, INNER).weights(f"{block}ffn_up.weight", WIDTH, INNER)
        model.weights(f"{block}ffn_down.weight", INNER, WIDTH)
    model.weights("output.weight", WIDTH, 259)
    path.write_bytes(model.file())
    return path


class Asked:
    """One request, and what came of it."""

    def __init__(
        self,
        session: Session,
        text: str,
        sampling: Sampling = SHORT,
        *,
        conversation: str | None = None,
        replay: bytes | None = None,
    ) -> None:
        self.ends: list[AgentkitError | None] = []
        self.request: Request = session.prepare(
            [Message.user(text)],
            tools=(),
            choice=NONE,
            sampling=sampling,
            schema=None,
            show=lambda _text: None,
        )
        self.job = Job(self.request.generation, self.ends.append, conversation)
        if replay is not None:
            self.job.replay = session.unpack_record(replay, self.request)
        session.scheduler.submit(self.job)
        self._session = session

    def done(self) -> Asked:
        while not self.ends:
            self._session.scheduler.step(lambda: False)
        return self

    @property
    def record(self) -> bytes | None:
        return self._session.pack_record(self.request)

    @property
    def origin(self) -> str:
        return self.request.generation.outcome.origin

    @property
    def seen(self) -> list[tuple[int, float]]:
        return [(each.token, each.log_probability) for each in self.request.generation.outcome.signals]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain(tmp_path_factory.mktemp("model") / "model.gguf")


@pytest.fixture
def start(path: Path) -> Callable[[], Session]:
    return lambda: Session(path, Settings(512, 1024, streams=4), adapters={}, beat=lambda: None)


@pytest.fixture
def session(start: Callable[[], Session]) -> Session:
    return start()


def test_a_generation_that_cannot_begin_harms_no_other(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(model: Any, sampling: Sampling) -> Sampler:
        if sampling.seed == 13:
            raise ctypes.ArgumentError("a value nobody thought of")
        return Sampler(model, sampling)

    monkeypatch.setattr(generate, "Sampler", refuse)
    first = Asked(session, "one")
    session.scheduler.step(lambda: False)
    bad = Asked(session, "two", Sampling(max_tokens=3, seed=13))
    assert first.done().ends == [None]
    assert isinstance(bad.done().ends[0], EngineError)
    assert str(bad.ends[0]) == "the engine failed: ArgumentError"
    assert Asked(session, "three").done().ends == [None]
    monkeypatch.undo()
    record = Asked(session, "four", Sampling(max_tokens=3, seed=13)).done().record
    monkeypatch.setattr(generate, "Sampler", refuse)
    again = Asked(session, "four", Sampling(max_tokens=3, seed=13), replay=record)
    assert isinstance(again.done().ends[0], EngineError)
    assert Asked(session, "five").done().ends == [None]


@pytest.mark.parametrize("way", ["reproducible", "replayed"])
def test_one_that_waits_is_stopped_while_another_runs_alone(session: Session, way: str) -> None:
    sampling = Sampling(max_tokens=30, logit_bias=SHORT.logit_bias, reproducible=way == "reproducible")
    record = None if sampling.reproducible else Asked(session, "alone", sampling).done().record
    alone = Asked(session, "alone", sampling, replay=record)
    for _ in range(3):
        session.scheduler.step(lambda: False)
    waits = Asked(session, "waits")
    session.scheduler.step(lambda: False)
    waits.job.cancelled = True
    session.scheduler.step(lambda: False)
    assert (waits.ends, alone.ends) == ([None], [])
    assert waits.request.generation.stop is StopReason.CANCELLED
    assert alone.done().request.generation.stop is StopReason.LENGTH


def test_a_replay_is_stopped_within_a_batch(session: Session) -> None:
    record = Asked(session, "a" * 300).done().record
    again = Asked(session, "a" * 300, replay=record)
    session.scheduler.step(lambda: False)
    looks = []

    def cancels() -> bool:
        looks.append(1)
        again.job.cancelled = len(looks) > 1  # in the first batch, not before it
        return False

    session.scheduler.step(cancels)
    assert again.ends == [None]
    assert again.request.generation.stop is StopReason.CANCELLED


def test_one_long_conversation_has_records_past_the_limit_of_the_log(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_log, "MAX_TOKENS", 800)
    sampling = Sampling(max_tokens=10, logit_bias=SHORT.logit_bias)
    text, origins = "x" * 150, []
    for _ in range(60):
        text += "and,"
        answer = Asked(session, text, sampling, conversation="one").done()
        origins.append(answer.origin)
        assert answer.record is not None
    assert set(origins) == {"cold", "reused"}
    assert 1 < origins.count("cold") < 6
    assert Asked(session, text, sampling, replay=answer.record).done().seen == answer.seen


def test_what_goes_on_from_a_restored_state_has_records_again_before_long(
    session: Session, start: Callable[[], Session]
) -> None:
    texts = {name: name * 350 for name in "pq"}
    later = start()
    for name, text in texts.items():
        place = Asked(session, text, conversation=name).done().job.place
        assert place is not None
        saved = session.states.save(place.slot)
        assert saved is not None
        said, file = saved
        offer = Offer.read(name, [said["tokens"], said["exact"], said["shifts"]], "")
        assert offer is not None
        assert later.states.wants(offer, later.prompt([Message.user(text)], ()))
        assert later.states.restore(offer, file)
        os.close(file)
        answer = Asked(later, text, conversation=name).done()
        assert (answer.origin, answer.record) == ("restored", None)
    answers = [Asked(later, texts["p"], conversation="p").done() for _ in range(6)]
    without = [answer.origin for answer in answers if answer.record is None]
    assert without == ["reused"] * len(without)
    assert 0 < len(without) <= later.describe()["cache_tokens"] // UNRECORDED_TOKENS
    assert [answer.origin for answer in answers[len(without) :]][:2] == ["cold", "reused"]
    # the other one was dropped, too, and to restore it would lose the record of all
    prompt = later.prompt([Message.user(texts["q"])], ())
    assert offer is not None
    assert not later.states.wants(offer, prompt)
    other = Asked(later, texts["q"], conversation="q").done()
    assert (other.origin, other.record is None) == ("cold", False)
    assert Asked(later, texts["q"], replay=other.record).done().seen == other.seen
