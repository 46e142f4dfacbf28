"""Attacks on the files of a closed or crashed vault, and kills of a process that writes one; each returns counts.

An attack is *undetected* when the vault opens, verifies, and yet holds something else than was acknowledged last. One
that is refused, or that changes nothing, is not.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agentkit_memory import (
    FileState,
    HashEmbedder,
    KdfParameters,
    NewRecord,
    StoreError,
    TamperedError,
    Vault,
)
from agentkit_memory.anchor import Anchor
from agentkit_memory.snapshot import FILE as SNAPSHOT
from agentkit_memory.snapshot import Snapshot, State

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
        _keep_more(vault, "older")
        vault.close()
        shutil.copytree(self.folder, self.older)
        vault = _open(self.folder)
        _add(vault, [f"newer {number} " + "filler " * 60 for number in range(20)])
        vault.delete([record.id for record in vault.records(limit=40)])
        _keep_more(vault, "newer")
        self.contents = _contents(vault)
        self.generation = vault.generation
        vault.close()
        shutil.copytree(self.folder, self.newest)

    def crash(self, folder: Path) -> None:
        """From now on attack the vault as a crash leaves it: a log with its commits beside the database."""
        self._reset()
        vault = _open(self.folder)
        for number in range(6):
            _add(vault, [f"late {number}"])
            _keep_more(vault, f"late {number}")
        self.contents = _contents(vault)
        shutil.copytree(self.folder, folder)
        vault.close()
        shutil.rmtree(self.folder)
        self.folder = folder
        self.newest = folder.with_name("crashed")
        shutil.copytree(folder, self.newest)

    def attack(self, counts: Counts, files: Mapping[str, bytes | None], anchor: Anchor | None = None) -> None:
        """Put these in place of files (`None`: nothing), try to open the vault, and put everything back."""
        self._reset()
        for name, data in files.items():
            path = self.folder / name
            path.unlink(missing_ok=True) if data is None else path.write_bytes(data)
        counts.tried += 1
        try:
            vault = _open(self.folder, anchor)
        except StoreError:
            counts.refused += 1
            return
        try:
            if _contents(vault) != self.contents:
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
        target.attack(counts, {name: bytes(changed)})
    return counts


def cuts(target: Target, name: str, step: int = 1) -> Counts:
    """Cut a file at every page border and one byte to either side."""
    counts = Counts()
    good = target.read(name)
    for border in range(0, len(good) + 1, PAGE * step):
        for size in (border - 1, border, border + 1):
            if 0 <= size < len(good):
                target.attack(counts, {name: good[:size]})
    return counts


def snapshots(folder: Path, number: int, chosen: random.Random, step: int = 1) -> Counts:
    """Flip single bits of a sealed index and cut it; each time it must be refused before anything of it is used."""
    counts = Counts()
    vault = _create(folder / "vault")
    snapshot = Snapshot(folder / "vault", vault._access.master.subkey("snapshot"), vault.id)
    vault.close()
    files, restored = folder / "files", folder / "restored"
    files.mkdir()
    (files / "chroma.sqlite3").write_bytes(b"the same again and again " * 2000)
    (files / "data.bin").write_bytes(chosen.randbytes(200_000))
    snapshot.save(State("e", 1, 64, "engine"), files)
    path = folder / "vault" / SNAPSHOT
    good = path.read_bytes()

    def attack(data: bytes) -> None:
        path.write_bytes(data)
        shutil.rmtree(restored, ignore_errors=True)
        restored.mkdir()
        counts.tried += 1
        try:
            snapshot.restore(restored)
        except TamperedError:
            counts.refused += 1
            counts.undetected += any(restored.iterdir())
        else:
            counts.undetected += 1

    for _ in range(number):
        changed = bytearray(good)
        changed[chosen.randrange(len(changed))] ^= 1 << chosen.randrange(8)
        attack(bytes(changed))
    for border in range(0, len(good) + 1, PAGE * step):
        for size in (border - 1, border, border + 1):
            if 0 <= size < len(good):
                attack(good[:size])
    path.write_bytes(good)
    assert snapshot.restore(restored) is not None  # what was attacked is sound
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
            target.attack(counts, {"vault.db": bytes(changed)})
    return counts


def swaps(target: Target, folder: Path) -> Counts:
    """Put in files of another vault in every combination but all, and each older file of this one."""
    counts = Counts()
    _create(folder / "other").close()
    for number in range(1, (1 << len(FILES)) - 1):
        chosen = [name for bit, name in enumerate(FILES) if number >> bit & 1]
        target.attack(counts, {name: (folder / "other" / name).read_bytes() for name in chosen})
    for name in FILES:
        target.attack(counts, {name: (target.older / name).read_bytes()})
    return counts


def downgrades(target: Target) -> Counts:
    """Weaken the header: every number of it lowered or raised, every slot dropped."""
    counts = Counts()
    header = json.loads(target.read("vault.json"))
    changes = []
    for name, values in {"memory_kib": (8, 32, 1 << 30), "passes": (0, 2, 99), "lanes": (0, 2, 99)}.items():
        for value in values:
            slot = {**header["slots"][0], "kdf": {**header["slots"][0]["kdf"], name: value}}
            changes.append({**header, "slots": [slot]})
    changes += [{**header, "version": 0}, {**header, "version": 2}, {**header, "slots": []}]
    for change in changes:
        body = {name: value for name, value in change.items() if name != "checksum"}
        for checksum in (
            change["checksum"],
            hashlib.sha256(_spelt(body)).hexdigest(),
        ):  # left as it was, and mended
            target.attack(counts, {"vault.json": _spelt({**body, "checksum": checksum})})
    return counts


def _spelt(value: object) -> bytes:
    return (json.dumps(value, sort_keys=True, indent=1) + "\n").encode()


def rollbacks(target: Target) -> Counts:
    """Put older files back in every combination, and take files away, where an anchor remembers the newest."""
    counts = Counts()
    for number in range(1, 1 << len(FILES)):
        chosen = [name for bit, name in enumerate(FILES) if number >> bit & 1]
        older = {name: (target.older / name).read_bytes() for name in chosen}
        target.attack(counts, older, anchor=lambda vault_id, generation: target.generation)
        target.attack(counts, dict.fromkeys(chosen))
    return counts


WRITER = """
import os, random, shutil, sys
from pathlib import Path
from agentkit_memory import FileState, HashEmbedder, NewRecord, Vault

folder, passphrase, seed = Path(sys.argv[1]), sys.argv[2].encode(), int(sys.argv[3])
index = Path(sys.argv[4]) if len(sys.argv) > 4 else None
embedders = {size: HashEmbedder(size) for size in (32, 64)}
chosen, own, path = random.Random(seed), [], f"/f{seed}"

def opened():
    vault = Vault.open(folder, passphrase=passphrase, allow_weak_kdf=True, index_folder=index)
    if index:
        vault.warm(wait=True)
    return vault

vault = opened()
print("ready", flush=True)
while True:
    what = chosen.choice(("add", "add", "file", "say", "delete", "forget", "rotate", "reembed", "close"))
    embedder = embedders[vault.dimensions]
    texts = [f"seed {seed} {chosen.random()} {part}" for part in range(3)]
    if what == "add":
        ids = vault.add([NewRecord(text) for text in texts], embedder.embed(texts))
        own += [ids]
        print("added", *ids, flush=True)
    elif what == "file":
        old = [record.id for record in vault.records(limit=10_000) if record.source == path]
        records = [NewRecord(text, source=path, kind="document") for text in texts]
        print("deleting", *old, flush=True)
        ids = vault.replace_file(FileState(path, 1, 1, str(chosen.random()), 3), records, embedder.embed(texts))
        print("deleted", *old, flush=True)
        print("added", *ids, flush=True)
    elif what == "say":
        print("said", vault.append_message("talk", {"role": "user", "text": texts[0]}) + 1, flush=True)
    elif what in ("delete", "forget") and own:
        ids = own.pop(chosen.randrange(len(own)))
        print("deleting", *ids, flush=True)
        vault.delete(ids) if what == "delete" else vault.forget(ids)
        print("deleted", *ids, flush=True)
    elif what == "rotate":
        vault.rotate(passphrase)
        vault = opened()
    elif what == "reembed":
        for _ in vault.reembed(embedders[96 - vault.dimensions]):
            pass
    elif what == "close":
        vault.close()
        vault = opened()
"""


VECTOR_SIZES = "SELECT length(vector), count(*) FROM records JOIN vectors USING (row) GROUP BY 1"


@dataclass
class Book:
    """What a killed writer had acknowledged, and what was under way."""

    kept: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    pending: set[str] = field(default_factory=set)
    said: int = 0

    def note(self, line: str) -> None:
        """Follow one line of the writer."""
        what, *rest = line.split()
        if what == "said":
            self.said = int(rest[0])
        elif what == "added":
            self.kept |= set(rest)
        else:
            self.kept -= set(rest)
            self.pending = set(rest) if what == "deleting" else set()
            self.gone |= set(rest) if what == "deleted" else set()

    def differs(self, vault: Vault) -> bool:
        """Whether the vault lost or half did something; what was under way is settled by what it holds."""
        records = vault.records(limit=1_000_000)
        found, said = {record.id for record in records}, len(vault.conversation("talk"))
        half = bool(self.pending & found) and not self.pending <= found
        files = {record.source for record in records if record.kind == "document"}
        database = vault._access.database
        sizes = set(database.rows(VECTOR_SIZES))
        vectors = {(4 * vault.dimensions, len(records))} if records else set()
        lost = self.kept - found or self.gone & found or said - self.said not in (0, 1)
        self.gone |= self.pending - found
        self.kept |= self.pending & found
        self.pending, self.said = set(), said
        return bool(lost or half or len(found) % 3 or files != set(vault.files()) or sizes != vectors)


def kills(folder: Path, number: int, chosen: random.Random, index: Path | None = None) -> tuple[int, int]:
    """Kill a writing process `number` times at random moments; return how often, and how many kills lost something.

    Args:
        folder: Of the vault.
        number: Of kills.
        chosen: The moments.
        index: A folder in memory for Chroma's files: snapshots are sealed and restored then, too.
    """
    _create(folder).close()
    book, lost = Book(), 0
    for seed in range(number):
        if index is not None:
            shutil.rmtree(index, ignore_errors=True)
            index.mkdir(mode=0o700)
        given = [
            str(folder),
            PASSPHRASE.decode(),
            str(chosen.randrange(1 << 30)),
            *([str(index)] if index else []),
        ]
        child = subprocess.Popen([sys.executable, "-c", WRITER, *given], stdout=subprocess.PIPE, text=True)
        with child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n", f"kill {seed}: the vault did not open"
            time.sleep(chosen.random() * 0.4)  # the moment is the attack
            child.send_signal(signal.SIGKILL)
            for line in child.stdout:
                if line.endswith("\n"):
                    book.note(line)
        vault = _open(folder)
        try:
            vault.verify()
            lost += book.differs(vault)
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


def _open(folder: Path, anchor: Anchor | None = None) -> Vault:
    return Vault.open(folder, passphrase=PASSPHRASE, allow_weak_kdf=True, anchor=anchor)


def _add(vault: Vault, texts: list[str]) -> None:
    vault.add([NewRecord(text) for text in texts], EMBEDDER.embed(texts))


def _keep_more(vault: Vault, word: str) -> None:
    """Change one of everything else a vault keeps."""
    record = NewRecord(f"chunk {word}", source="/notes/a.txt", kind="document")
    state = FileState("/notes/a.txt", len(word), 1, word, 1)
    vault.replace_file(state, [record], EMBEDDER.embed([record.text]))
    vault.append_message("talk", {"role": "user", "text": word, "labels": ["user", "private", []]})
    vault.set_setting("word", word)
    vault.add_root(f"/{word}")


def _contents(vault: Vault) -> tuple[object, ...]:
    """Return all that a vault keeps."""
    return list(vault.export()), vault.files(), vault.get_setting("word"), vault.roots()
