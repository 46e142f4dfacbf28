"""A disk that is full or fails at any write: nothing acknowledged is lost, nothing half done, every error is ours.

The quick form runs with `make test`; the long one (`make test-all`) lets each single call fail.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).with_name("faulty_disk.c")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the library that lets writes fail, built here."""
    if sys.platform != "linux" or shutil.which("gcc") is None:
        pytest.skip("needs Linux and gcc")
    built = tmp_path_factory.mktemp("shim") / "faulty_disk.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", built, SOURCE, "-ldl"], check=True)
    return built


Battery = Callable[[str, int], dict[str, Any]]


@pytest.fixture
def battery(tmp_path: Path, shim: Path, tell: Callable[[str], None]) -> Battery:
    """Return what lets every so manyth call of a life fail, and tells how many did."""

    def fail(life: str, step: int) -> dict[str, Any]:
        said = _battery(life, tmp_path, shim, step)
        what = f"{said['tried']} failures over {said['calls']} calls that change files"
        tell(f"a failing disk, {life}: {what}, {len(said['wrong'])} wrong: {said['met']}")
        return said

    return fail


def _battery(life: str, folder: Path, shim: Path, step: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.attacks.disk_battery", life, folder, shim, str(step)],
        env={**os.environ, "LD_PRELOAD": str(shim)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@pytest.mark.slow
def test_a_sample_of_failing_writes_loses_nothing(battery: Battery) -> None:
    said = battery("records", 41)
    assert said["calls"] > 300
    assert said["wrong"] == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_vault_that_could_not_be_made_can_be_made_later(battery: Battery) -> None:
    said = battery("begin", 1)
    assert said["tried"] == 4 * said["calls"] > 400
    assert said["wrong"] == []


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("life", ["records", "index"])
def test_every_failing_write_loses_nothing(life: str, battery: Battery) -> None:
    said = battery(life, 1)
    assert said["tried"] >= 4 * said["calls"]
    assert said["wrong"] == []
