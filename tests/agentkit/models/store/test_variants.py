"""A variant is there whole, under its hash and its parent's, or not at all."""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from agentkit.errors import ConfigError, LimitError, ModelError, ModelRefusedError, WorkerLostError
from agentkit.models.gguf import read_header
from agentkit.models.store import ModelStore
from agentkit.models.variants import make_variant, requantise
from agentkit.spawn import LocalChild, LocalSpawner

pytestmark = [pytest.mark.model, pytest.mark.slow]


@pytest.fixture
def store(tmp_path: Path, smollm2_path: Path) -> ModelStore:
    store = ModelStore(tmp_path / "models")
    store.import_file(smollm2_path, "parent", transfer="copy")
    return store


def left_in(store: ModelStore) -> list[str]:
    staging = store.folder / ".staging"
    return sorted([*(each.name for each in store.entries()), *(each.name for each in staging.iterdir())])


class LimitedSpawner(LocalSpawner):
    """Starts workers that may write no file longer than 20 MB: to them the disk is full there."""

    def spawn(
        self,
        module: str,
        arguments: Sequence[str] = (),
        *,
        idle: bool = False,
        extra: Mapping[str, str] | None = None,
    ) -> LocalChild:
        child = super().spawn(module, arguments, idle=idle, extra=extra)
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (20_000_000, 20_000_000))
        return child


def test_a_variant_names_its_parent_and_both_levels(store: ModelStore) -> None:
    steps: list[tuple[int, int]] = []
    parent = store.get("parent")
    made = make_variant(store, "parent", "q8_0", LocalSpawner(), lambda *step: steps.append(step))
    assert made.name == "parent-q8_0"
    assert made.source == f"quantised:Q8_0 from Q4_1 sha256:{parent.sha256}"
    assert (made.origin, parent.origin) == ((parent.sha256, "Q8_0"), (parent.sha256, None))
    assert read_header(made.path).quantisation == "Q8_0"
    assert store.verify("parent-q8_0").sha256 == made.sha256
    assert steps[-1] == (272, 272)
    assert left_in(store) == ["parent", "parent-q8_0"]
    before = made.path.stat().st_mtime_ns
    assert make_variant(store, "parent", "Q8_0", LocalSpawner()).path.stat().st_mtime_ns == before


def test_a_changed_parent_has_no_variants(store: ModelStore) -> None:
    path = store.get("parent").path
    with path.open("r+b") as file:
        file.seek(50_000_000)
        file.write(b"\xff" * 8)
    with pytest.raises(ModelRefusedError, match="not what came in"):
        make_variant(store, "parent", "Q8_0", LocalSpawner())
    assert left_in(store) == ["parent"]


def test_a_full_disk_leaves_nothing(store: ModelStore) -> None:
    with pytest.raises((ModelError, LimitError, WorkerLostError)):
        make_variant(store, "parent", "Q8_0", LimitedSpawner())
    assert left_in(store) == ["parent"]


def test_an_interrupt_in_the_middle_leaves_no_file_and_no_process(store: ModelStore) -> None:
    def interrupt(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_variant(store, "parent", "Q6_K", LocalSpawner(), interrupt)
    assert left_in(store) == ["parent"]


def test_a_worker_killed_in_the_middle_leaves_nothing(store: ModelStore) -> None:
    spawned: list[LocalChild] = []

    class Watched(LocalSpawner):
        def spawn(
            self,
            module: str,
            arguments: Sequence[str] = (),
            *,
            idle: bool = False,
            extra: Mapping[str, str] | None = None,
        ) -> LocalChild:
            spawned.append(super().spawn(module, arguments, idle=idle, extra=extra))
            return spawned[-1]

    def kill(done: int, total: int) -> None:
        if done == 100:
            os.kill(spawned[0].pid, signal.SIGKILL)

    with pytest.raises(WorkerLostError, match="signal 9"):
        make_variant(store, "parent", "Q8_0", Watched(), kill)
    assert left_in(store) == ["parent"]
    assert threading.active_count() < 5


def test_the_workbench_writes_nowhere_else(tmp_path: Path, smollm2_path: Path) -> None:
    """The folder it may write is fixed when it starts."""
    from agentkit.models.measuring import Measured

    (tmp_path / "allowed").mkdir()
    outside = tmp_path / "outside.gguf"
    with (
        Measured(smollm2_path, LocalSpawner(), writes=[tmp_path / "allowed"]) as worker,
        pytest.raises(ModelError),
    ):
        worker.ask("quantise", "quantised", target=str(outside), file_type=7, threads=1)
    assert not outside.exists()


def test_an_unknown_level_is_refused(store: ModelStore, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'Q9' is no quantisation level"):
        make_variant(store, "parent", "Q9", LocalSpawner())
    with pytest.raises(ModelRefusedError):
        (tmp_path / "junk.gguf").write_bytes(b"junk" * 100)
        requantise(tmp_path / "junk.gguf", tmp_path / "out.gguf", "Q8_0", LocalSpawner())
