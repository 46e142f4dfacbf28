"""The bulk embedder in its worker: the light one's vectors, locked, and replaced when it is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from agentkit.errors import WorkerLostError
from agentkit.models.embedding import WorkerEmbedder
from agentkit.spawn import LocalSpawner
from agentkit_memory import MiniLMEmbedder

pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.timeout(180)]

TEXTS = ["The rent is due on the first.", "", "Ein Wort zum Mietvertrag. " * 40, "雨が降っています。"]


@pytest.fixture(scope="module")
def bulk(minilm_path: Path) -> Iterator[WorkerEmbedder]:
    embedder = WorkerEmbedder(minilm_path, LocalSpawner(), name="minilm-l6-v2", dimensions=384)
    yield embedder
    embedder.close()


def test_its_vectors_are_those_of_the_light_embedder(bulk: WorkerEmbedder, minilm_path: Path) -> None:
    light = MiniLMEmbedder(minilm_path)
    assert (bulk.name, bulk.dimensions) == (light.name, light.dimensions)
    cosines = np.sum(bulk.embed(TEXTS) * light.embed(TEXTS), axis=1)
    assert cosines.min() > 0.999
    assert bulk.embed([]).shape == (0, 384)


def test_it_has_no_network_and_yields_to_everything_else(bulk: WorkerEmbedder) -> None:
    bulk.embed(["awake"])
    assert bulk._child is not None
    pid = bulk._child.pid
    assert os.sched_getscheduler(pid) == os.SCHED_IDLE
    group = Path(f"/proc/{pid}/autogroup")
    assert not group.exists() or group.read_text().endswith("nice 10\n")
    assert "Seccomp:\t2" in Path(f"/proc/{pid}/status").read_text()


def test_a_killed_worker_is_a_typed_error_and_the_next_call_starts_another(bulk: WorkerEmbedder) -> None:
    bulk.embed(["awake"])
    assert bulk._child is not None
    os.kill(bulk._child.pid, signal.SIGKILL)
    with pytest.raises(WorkerLostError):
        bulk.embed(["lost"])
    assert bulk.embed(["found"]).shape == (1, 384)
