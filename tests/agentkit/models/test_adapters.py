"""LoRA adapters: they change the model by what is in the file, each request alone, and a wrong file is refused."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.core.kv_store import KvStore
from agentkit.errors import AgentkitError, ConfigError, EngineError, ModelRefusedError, NotFoundError
from agentkit.messages import Message
from agentkit.models.adapters import Adapter, Applied, FittingAdapter, applied, fitting
from agentkit.models.base import Completion, Sampling, finish
from agentkit.models.engine import Engine
from agentkit.models.gguf import read_header
from agentkit.spawn import Child, LocalSpawner
from tests.agentkit.models.gguf_writer import GGUFWriter

RANK = 2
TARGETS = tuple(
    (f"blk.{block}.{name}.weight", shape)
    for block in range(30)
    for name, shape in (("attn_q", (576, 576)), ("attn_v", (576, 192)), ("ffn_down", (1536, 576)))
)
QUESTION = [Message.user("Tell me about a fox and the sea.")]


def lora(
    targets: Sequence[tuple[str, tuple[int, int]]], *, size: float, alpha: float = 0.0, seed: int = 1
) -> bytes:
    """Return an adapter of rank 2 whose B is `size` times noise; 0 changes nothing."""
    chance = np.random.default_rng(seed)
    file = adapter_keys().f32("adapter.lora.alpha", alpha)
    for name, (row, rows) in targets:
        a = chance.normal(0, 0.05, (RANK, row)).astype(np.float32)
        b = (size * chance.normal(0, 0.05, (rows, RANK))).astype(np.float32)
        file.tensor(f"{name}.lora_a", (row, RANK), data=a.tobytes())
        file.tensor(f"{name}.lora_b", (RANK, rows), data=b.tobytes())
    return file.file()


def adapter_keys(architecture: str = "llama") -> GGUFWriter:
    file = GGUFWriter().text("general.architecture", architecture)
    return file.text("general.type", "adapter").text("adapter.type", "lora")


@pytest.fixture(scope="module")
def adapted(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Yield the default model with several adapters of it."""
    folder = tmp_path_factory.mktemp("adapters")
    files: Mapping[str, bytes] = {
        "zero": lora(TARGETS, size=0),
        "noise": lora(TARGETS, size=1),
        "twice": lora(TARGETS, size=2),
        "alpha": lora(TARGETS, size=1, alpha=2.0 * RANK),
        "strong": lora(TARGETS, size=4),
        "other": lora(TARGETS, size=4, seed=2),
        "broken": lora(TARGETS[:1], size=float("nan")),
    }
    adapters = {}
    for name, data in files.items():
        path = folder / f"{name}.gguf"
        path.write_bytes(data)
        adapters[name] = Adapter(path, hashlib.sha256(data).hexdigest())
    engine = Engine(smollm2_path, LocalSpawner(), context_tokens=1024, streams=4, adapters=adapters)
    yield engine
    engine.close()


def ask(
    engine: Engine, adapter: str | None, scale: float = 1.0, *, tokens: int = 12, alone: bool = False
) -> Completion:
    sampling = Sampling(adapter=adapter, adapter_scale=scale, max_tokens=tokens, reproducible=alone)
    return finish(engine.complete(QUESTION, sampling=sampling))


def seen(completion: Completion) -> list[tuple[int, float, float]]:
    return [(signal.token, signal.log_probability, signal.entropy) for signal in completion.signals]


@pytest.mark.model
@pytest.mark.slow
class TestEngine:
    def test_it_says_which_it_has(self, adapted: Engine) -> None:
        said = adapted.describe()["adapters"]
        assert set(said) == {"zero", "noise", "twice", "alpha", "strong", "other", "broken"}
        assert (said["noise"]["rank"], said["noise"]["tensors"]) == (RANK, len(TARGETS))
        assert len(said["noise"]["sha256"]) == 64

    def test_one_that_adds_nothing_changes_nothing(self, adapted: Engine) -> None:
        base = seen(ask(adapted, None, alone=True))
        assert seen(ask(adapted, "zero", alone=True)) == base
        assert seen(ask(adapted, "noise", 0.0, alone=True)) == base

    def test_scale_and_alpha_weigh_what_is_added(self, adapted: Engine) -> None:
        """All are powers of two, so that the same numbers come out to the last bit."""
        twice = seen(ask(adapted, "twice", alone=True))
        assert seen(ask(adapted, "noise", 2.0, alone=True)) == twice
        assert seen(ask(adapted, "alpha", alone=True)) == twice
        assert seen(ask(adapted, "noise", alone=True)) != twice
        assert twice != seen(ask(adapted, None, alone=True))

    def test_switching_back_gives_the_model_as_it_is(self, adapted: Engine) -> None:
        first = ask(adapted, None)
        changed = ask(adapted, "noise", 1.0)
        assert changed.usage.reused_tokens == 0  # what was computed without it is of no use to it
        again = ask(adapted, None)
        assert again.usage.reused_tokens == again.usage.prompt_tokens - 1
        assert again.text == first.text
        assert changed.text != first.text
        assert ask(adapted, "noise", 1.0).usage.reused_tokens == changed.usage.prompt_tokens - 1
        assert ask(adapted, "noise", 0.5).usage.reused_tokens == 0

    def test_different_ones_side_by_side_are_not_mixed_up(self, adapted: Engine) -> None:
        """What is computed beside changes the last digits, and so perhaps a word; another adapter changes much more."""
        wanted = ((None, 1.0), ("strong", 3.0), ("other", 4.0), (None, 1.0))
        alone = [ask(adapted, *each, tokens=1).signals[0].entropy for each in wanted]
        together: dict[int, float] = {}

        def run(number: int) -> None:
            together[number] = ask(adapted, *wanted[number], tokens=10).signals[0].entropy

        threads = [threading.Thread(target=run, args=(number,)) for number in range(len(wanted))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for number, each in enumerate(wanted):
            nearest = min(range(len(wanted)), key=lambda other: abs(alone[other] - together[number]))
            assert wanted[nearest] == each, (alone, together)

    def test_one_that_is_not_there_is_named_with_those_that_are(self, adapted: Engine) -> None:
        with pytest.raises(ConfigError, match="no adapter 'nose'") as caught:
            ask(adapted, "nose")
        assert "noise" in str(caught.value.hint)

    def test_weights_that_are_no_numbers_fail_that_request_alone(self, adapted: Engine) -> None:
        worker = adapted.describe()["worker_pid"]
        with pytest.raises(EngineError, match="no numbers"):
            ask(adapted, "broken")
        assert ask(adapted, None).text
        assert adapted.describe()["worker_pid"] == worker


class NoSpawner:
    """Starts nothing, and says so."""

    def spawn(
        self,
        module: str,
        arguments: Sequence[str] = (),
        *,
        idle: bool = False,
        extra: Mapping[str, str] | None = None,
    ) -> Child:
        raise AssertionError("a worker was started")


BASE = (
    GGUFWriter()
    .text("general.architecture", "llama")
    .u32("llama.block_count", 1)
    .tensor("token_embd.weight", (8, 16), size=8 * 16 * 4)
    .tensor("blk.0.attn_q.weight", (8, 4), size=8 * 4 * 4)
    .tensor("blk.0.attn_norm.weight", (8,), size=32)
    .tensor("blk.0.ffn_up_exps.weight", (8, 4, 3), size=8 * 4 * 3 * 4)
)
Q, NORM, EXPERTS = "blk.0.attn_q.weight", "blk.0.attn_norm.weight", "blk.0.ffn_up_exps.weight"


def pair(
    file: GGUFWriter, target: str, a: tuple[int, ...], b: tuple[int, ...], *, kind: int = 0
) -> GGUFWriter:
    for side, shape in (("lora_a", a), ("lora_b", b)):
        file.tensor(f"{target}.{side}", shape, kind=kind, size=4 * int(np.prod(shape)))
    return file


def test_a_saved_state_serves_only_the_adapter_it_was_computed_with(
    smollm2_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.gguf").write_bytes(lora(TARGETS, size=2))
    (tmp_path / "b.gguf").write_bytes(lora(TARGETS, size=2, seed=2))
    long = [Message.user("The fox is at home in the wood and in the town. " * 30 + "Where is it?")]

    def used(adapter: str | None, scale: float = 1.0, *, keeps: bool = False) -> str:
        """Return where the cache came from, in a fresh engine; its state is kept where `keeps` says so."""
        store = KvStore(tmp_path / "states", b"k" * 32)
        keeper = store.keeper()
        if not keeps:
            keeper.save = lambda state, file: os.close(file)  # type: ignore[method-assign]
        engine = Engine(
            smollm2_path,
            LocalSpawner(),
            sha256="1" * 64,
            context_tokens=1024,
            keeper=keeper,
            adapters={name: Adapter(tmp_path / f"{name}.gguf") for name in "ab"},
        )
        sampling = Sampling(adapter=adapter, adapter_scale=scale, max_tokens=4)
        try:
            return finish(engine.complete(long, sampling=sampling, conversation="one")).usage.cache
        finally:
            engine.close()
            store.close()

    assert used("a", keeps=True) == "cold"
    assert used("a") == "restored"
    for others in (("b", 1.0), ("a", 0.5), (None, 1.0)):
        assert "other settings" in used(*others)
        assert used("a", keeps=True) == "cold"
    assert used("a") == "restored"


def checked(folder: Path, file: bytes, base: GGUFWriter = BASE) -> FittingAdapter:
    (folder / "base.gguf").write_bytes(base.file())
    (folder / "adapter.gguf").write_bytes(file)
    return fitting("tuned", Adapter(folder / "adapter.gguf"), read_header(folder / "base.gguf"))


def test_one_that_goes_with_the_model_is_taken(tmp_path: Path) -> None:
    file = pair(adapter_keys(), Q, (8, 2), (2, 4))
    pair(file, EXPERTS, (8, 3, 3), (3, 4, 3))
    taken = checked(tmp_path, file.file())
    assert (taken.rank, taken.tensors, taken.size_bytes) == (3, 2, 4 * (16 + 8 + 72 + 36))
    assert taken.sha256 == hashlib.sha256(file.file()).hexdigest()


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        (GGUFWriter().text("general.architecture", "llama"), "no LoRA adapter"),
        (
            GGUFWriter().text("general.architecture", "llama").text("general.type", "adapter"),
            "no LoRA adapter",
        ),
        (adapter_keys("qwen2"), "qwen2, not llama"),
        (adapter_keys(), "holds no weights"),
        (adapter_keys().u32s("adapter.alora.invocation_tokens", [1]), "certain tokens"),
        (adapter_keys().u32("adapter.lora.alpha", 8), "no finite 32-bit number"),
        (adapter_keys().f32("adapter.lora.alpha", float("inf")), "no finite 32-bit number"),
        (adapter_keys().tensor(f"{Q}.lora_a", (8, 2), size=64), "half of what changes"),
        (pair(adapter_keys(), "blk.7.attn_q.weight", (8, 2), (2, 4)), "the model has no blk.7"),
        (pair(adapter_keys(), Q, (8, 2), (3, 4)), "do not go with"),
        (pair(adapter_keys(), Q, (2, 8), (4, 2)), "do not go with"),
        (pair(adapter_keys(), Q, (8, 2, 1), (2, 4)), "do not go with"),
        (pair(adapter_keys(), EXPERTS, (8, 2), (2, 4)), "do not go with"),
        (pair(adapter_keys(), Q, (8, 2), (2, 4), kind=26), "is I32"),
        (adapter_keys().tensor(NORM, (8,), size=32), "can only add"),
        (pair(adapter_keys(), NORM, (8, 2), (2, 1)), "cannot change while it runs"),
        (pair(adapter_keys(), "token_embd.weight", (2, 16), (2, 8)), "output as well"),
    ],
)
def test_one_that_does_not_is_refused(tmp_path: Path, file: GGUFWriter, problem: str) -> None:
    with pytest.raises(ModelRefusedError, match=problem) as caught:
        checked(tmp_path, file.file())
    assert caught.value.hint


def test_an_embedding_of_its_own_can_be_changed(tmp_path: Path) -> None:
    base = GGUFWriter().text("general.architecture", "llama")
    base.tensor("token_embd.weight", (8, 16), size=512).tensor("output.weight", (8, 16), size=512)
    assert (
        checked(tmp_path, pair(adapter_keys(), "token_embd.weight", (2, 16), (2, 8)).file(), base).rank == 2
    )


@given(place=st.integers(0, 10_000), flip=st.integers(1, 255), cut=st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_damaged_file_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, place: int, flip: int, cut: bool
) -> None:
    raw = bytearray(pair(adapter_keys(), Q, (8, 2), (2, 4)).file())
    place %= len(raw)
    raw[place] ^= flip
    try:
        taken = checked(tmp_path_factory.getbasetemp(), bytes(raw[:place] if cut else raw))
    except AgentkitError:
        return
    assert (taken.rank, taken.tensors) == (2, 1)


def test_a_file_that_is_not_the_one_that_was_meant_starts_no_worker(
    smollm2_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "adapter.gguf"
    path.write_bytes(lora(TARGETS[:1], size=1))
    engine = Engine(smollm2_path, NoSpawner(), adapters={"tuned": Adapter(path, "0" * 64)})
    with pytest.raises(ModelRefusedError, match="SHA-256"):
        engine.describe()
    path.unlink()
    with pytest.raises(NotFoundError, match="adapter tuned"):
        engine.describe()


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.write_bytes(b"")])
def test_what_is_no_file_is_refused(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "adapter.gguf")
    (tmp_path / "base.gguf").write_bytes(BASE.file())
    with pytest.raises((NotFoundError, ModelRefusedError)):
        fitting("tuned", Adapter(tmp_path / "adapter.gguf"), read_header(tmp_path / "base.gguf"))


def test_more_than_can_be_kept_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="17 adapters"):
        Engine(tmp_path, NoSpawner(), adapters={str(n): Adapter(tmp_path) for n in range(17)})


def test_a_scale_of_nothing_is_the_model_as_it_is() -> None:
    known = {"tuned": "f" * 64}
    assert applied(Sampling(adapter="tuned", adapter_scale=0), known) is None
    assert applied(Sampling(adapter="tuned"), known) == Applied("tuned", 1.0, "f" * 64)
    keys = {Applied("tuned", scale, "f" * 64).key for scale in (1.0, 0.5, -1.0)}
    assert len(keys) == 3
    with pytest.raises(ValueError, match="adapter_scale"):
        Sampling(adapter="tuned", adapter_scale=5)
