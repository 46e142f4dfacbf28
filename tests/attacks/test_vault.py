"""Nothing done to a vault's files goes unnoticed, and no kill loses what was acknowledged.

The quick form runs with `make test`; the long one (`make test-all`) has the counts that SECURITY.md names.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attacks import vault_battery as battery


@pytest.mark.slow
def test_a_sample_of_every_attack_is_noticed(tmp_path: Path, tell: Callable[[str], None]) -> None:
    _attack(tmp_path, tell, flips=150, log_flips=25, pages=60, step=7)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_attack_is_noticed(tmp_path: Path, tell: Callable[[str], None]) -> None:
    _attack(tmp_path, tell, flips=20_000, log_flips=1_000, pages=1_000, step=1)


def _attack(
    folder: Path, tell: Callable[[str], None], *, flips: int, log_flips: int, pages: int, step: int
) -> None:
    chosen = random.Random(11)
    target = battery.Target(folder)
    rounds = {
        "bit flips": battery.flips(target, flips, chosen),
        "cuts of the database": battery.cuts(target, "vault.db", step),
        "cuts of the header": battery.cuts(target, "vault.json"),
        "cuts of the head": battery.cuts(target, "head.sealed"),
        "page swaps and replays": battery.pages(target, pages, chosen),
        "file swaps and replays": battery.swaps(target, folder),
        "downgrades": battery.downgrades(target),
        "roll-backs and removals, with an anchor": battery.rollbacks(target),
        "bit flips and cuts of the sealed index": battery.snapshots(
            folder / "index", log_flips, chosen, step
        ),
    }
    target.crash(folder / "crash")
    crashed = ("vault.db-wal", "vault.db", "head.sealed")
    rounds["bit flips after a crash"] = battery.flips(target, log_flips, chosen, crashed)
    rounds["cuts of the log"] = battery.cuts(target, "vault.db-wal", step)
    for name, counts in rounds.items():
        tell(f"{name}: {counts.tried} tried, {counts.refused} refused, {counts.undetected} undetected")
    assert {name: counts.undetected for name, counts in rounds.items() if counts.undetected} == {}
    assert rounds["bit flips"].refused == flips


def _killed(tell: Callable[[str], None], what: str, said: tuple[int, int]) -> tuple[int, int]:
    tell(f"kill -9 {what}: {said[0]} times, of which {said[1]} lost something")
    return said


@pytest.mark.slow
def test_some_kills_lose_nothing(tmp_path: Path, tell: Callable[[str], None]) -> None:
    assert _killed(tell, "at work", battery.kills(tmp_path / "vault", 5, random.Random(3))) == (5, 0)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_two_hundred_kills_lose_nothing(tmp_path: Path, tell: Callable[[str], None]) -> None:
    assert _killed(tell, "at work", battery.kills(tmp_path / "vault", 200, random.Random(4))) == (200, 0)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_two_hundred_kills_while_snapshots_are_sealed_lose_nothing(
    tmp_path: Path, tell: Callable[[str], None]
) -> None:
    if not Path("/dev/shm").is_mount():
        pytest.skip("there is no tmpfs at /dev/shm: mount one")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        index = Path(memory) / "index"
        said = battery.kills(tmp_path / "vault", 200, random.Random(5), index)
        assert _killed(tell, "while snapshots are sealed", said) == (200, 0)
