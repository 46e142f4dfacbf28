"""Attacks on the files of a closed or crashed vault, and kills of a process that writes one; each returns counts.

An attack is *undetected* when the vault opens, verifies, and yet holds something else than was acknowledged last. One
that is refused, or that changes nothing, is not.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from agentkit_memory import HashEmbedder, KdfParameters, NewRecord, StoreError, Vault

PAGE = 4096
PASSPHRASE = b"correct horse battery staple"
EMBEDDER = HashEmbedder(64)
FILES = ("vault.json", "vault.db", "head.sealed")


@dataclass
class Counts:
    """What was tried, what was refused, and what went through."""

    tried: int = 0
    refused: int = 0
    undetected: int = 0


class Target:
    """A vault with a history: an older state of every file, a newest one, and a crashed one."""

    def __init__(self, folder: Path, records: int = 150) -> None:
        self.folder = folder / "vault"
        self.older, self.newest = folder / "older", folder / "newest"
        vault = _create(self.folder)
        _add(vault, [f"record {number} " + "filler " * 60 for number in range(records)])
        vault.delete([record.id for record in vault.records(limit=20)])
        vault.close()
        shutil.copytree(self.folder, self.older)
        vault = _open(self.folder)
        _add(vault, [f"newer {number} " + "filler " * 60 for number in range(20)])
        vault.delete([record.id for record in vault.records(limit=40)])
        self.texts = _texts(vault)
        vault.close()
        shutil.copytree(self.folder, self.newest)

    def crash(self, folder: Path) -> None:
        """From now on attack the vault as a crash leaves it: a log with six commits beside the database."""
        self._reset()
        vault = _open(self.folder)
        for number in range(6):
            _add(vault, [f"late {number}"])
        self.texts = _texts(vault)
        shutil.copytree(self.folder, folder)
        vault.close()
        shutil.rmtree(self.folder)
        self.folder = folder
        self.newest = folder.with_name("crashed")
        shutil.copytree(folder, self.newest)

    def attack(self, counts: Counts, name: str, data: bytes) -> None:
        """Put `data` in place of a file, try to open the vault, and put everything back."""
        self._reset()
        (self.folder / name).write_bytes(data)
        counts.tried += 1
        try:
            vault = _open(self.folder)
        except StoreError:
            counts.refused += 1
            return
        try:
            if _texts(vault) != self.texts:
                counts.undetected += 1
        except StoreError:
            counts.refused += 1
        finally:
            vault.close()

    def _reset(self) -> None:
        for path in self.folder.iterdir():
            path.unlink()
        for path in self.newest.iterdir():
            shutil.copy(path, self.folder)

    def read(self, name: str) -> bytes:
        """Return the newest bytes of a file."""
        return (self.newest / name).read_bytes()


def flips(target: Target, number: int, chosen: random.Random, names: tuple[str, ...] = FILES) -> Counts:
    """Flip single bits, spread over the files by their size."""
    counts = Counts()
    contents = {name: target.read(name) for name in names}
    sizes = [len(contents[name]) for name in names]
    for _ in range(number):
        (name,) = chosen.choices(names, sizes)
        changed = bytearray(contents[name])
        changed[chosen.randrange(len(changed))] ^= 1 << chosen.randrange(8)
        target.attack(counts, name, bytes(changed))
    return counts


def cuts(target: Target, name: str, step: int = 1) -> Counts:
    """Cut a file at every page border and one byte to either side."""
    counts = Counts()
    good = target.read(name)
    for border in range(0, len(good) + 1, PAGE * step):
        for size in (border - 1, border, border + 1):
            if 0 <= size < len(good):
                target.attack(counts, name, good[:size])
    return counts


def pages(target: Target, number: int, chosen: random.Random) -> Counts:
    """Exchange two pages, or put an older copy of one back."""
    counts = Counts()
    new, old = target.read("vault.db"), (target.older / "vault.db").read_bytes()
    last = min(len(new), len(old)) // PAGE
    while counts.tried < number:
        first, second = (chosen.randrange(last) * PAGE for _ in range(2))
        source = new if chosen.random() < 0.5 else old
        changed = bytearray(new)
        changed[first : first + PAGE] = source[second if source is new else first :][:PAGE]
        if source is new:
            changed[second : second + PAGE] = new[first : first + PAGE]
        if bytes(changed) != new:
            target.attack(counts, "vault.db", bytes(changed))
    return counts


def swaps(target: Target, folder: Path) -> Counts:
    """Put in each file of another vault, and each older file of this one."""
    counts = Counts()
    _create(folder / "other").close()
    for source in (folder / "other", target.older):
        for name in FILES:
            data = (source / name).read_bytes()
            if data != target.read(name):
                target.attack(counts, name, data)
    return counts


def downgrades(target: Target) -> Counts:
    """Weaken the header: every number of it lowered or raised, every slot dropped."""
    counts = Counts()
    header = json.loads(target.read("vault.json"))
    changes = []
    for field, values in {"memory_kib": (8, 32, 1 << 30), "passes": (0, 2, 99), "lanes": (0, 2, 99)}.items():
        for value in values:
            slot = {**header["slots"][0], "kdf": {**header["slots"][0]["kdf"], field: value}}
            changes.append({**header, "slots": [slot]})
    changes += [{**header, "version": 0}, {**header, "version": 2}, {**header, "slots": []}]
    for change in changes:
        target.attack(counts, "vault.json", (json.dumps(change, sort_keys=True, indent=1) + "\n").encode())
    return counts


WRITER = """
import random, sys
from pathlib import Path
from agentkit_memory import HashEmbedder, NewRecord, Vault

folder, passphrase, seed = Path(sys.argv[1]), sys.argv[2].encode(), int(sys.argv[3])
embedder, chosen, own = HashEmbedder(64), random.Random(seed), []

def opened():
    return Vault.open(folder, passphrase=passphrase, allow_weak_kdf=True)

vault = opened()
print("ready", flush=True)
while True:
    what = chosen.choice(("add", "add", "add", "delete", "forget", "rotate", "close"))
    if what == "add":
        texts = [f"seed {seed} {chosen.random()} {part}" for part in range(3)]
        ids = vault.add([NewRecord(text) for text in texts], embedder.embed(texts))
        own += [ids]
        print("added", *ids, flush=True)
    elif what in ("delete", "forget") and own:
        ids = own.pop(chosen.randrange(len(own)))
        print("deleting", *ids, flush=True)
        vault.delete(ids) if what == "delete" else vault.forget(ids)
        print("deleted", *ids, flush=True)
    elif what == "rotate":
        vault.rotate(passphrase)
        vault = opened()
    elif what == "close":
        vault.close()
        vault = opened()
"""


def kills(folder: Path, number: int, chosen: random.Random) -> tuple[int, int]:
    """Kill a writing process `number` times at random moments; return how often, and how many kills lost something."""
    _create(folder).close()
    kept: set[str] = set()
    gone: set[str] = set()
    lost = 0
    for seed in range(number):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), PASSPHRASE.decode(), str(chosen.randrange(1 << 30))],
            stdout=subprocess.PIPE,
            text=True,
        )
        with child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n", f"kill {seed}: the vault did not open"
            time.sleep(chosen.random() * 0.4)  # the moment is the attack
            child.send_signal(signal.SIGKILL)
            pending: set[str] = set()
            for line in child.stdout:
                if line.endswith("\n"):
                    what, *ids = line.split()
                    if what == "added":
                        kept |= set(ids)
                    else:
                        kept -= set(ids)
                        pending = set(ids) if what == "deleting" else set()
                        gone |= set(ids) if what == "deleted" else set()
        vault = _open(folder)
        try:
            vault.verify()
            found = {record.id for record in vault.records(limit=1_000_000)}
            half = bool(pending & found) and not pending <= found
            lost += bool(kept - found or gone & found or half or len(found) % 3)
            gone |= pending - found
            kept |= pending & found
        finally:
            vault.close()
    return number, lost


def _create(folder: Path) -> Vault:
    return Vault.create(
        folder,
        passphrase=PASSPHRASE,
        embedder=EMBEDDER.name,
        dimensions=64,
        kdf=KdfParameters.for_tests(),
        allow_weak_kdf=True,
    )


def _open(folder: Path) -> Vault:
    return Vault.open(folder, passphrase=PASSPHRASE, allow_weak_kdf=True)


def _add(vault: Vault, texts: list[str]) -> None:
    vault.add([NewRecord(text) for text in texts], EMBEDDER.embed(texts))


def _texts(vault: Vault) -> list[str]:
    return [record.text for record in vault.records(limit=1_000_000)]
