"""Let every write of a vault's life fail, one run each: `python -m tests.attacks.disk_battery LIFE FOLDER SHIM STEP`.

Runs with `faulty_disk.c` preloaded. In each run one call that changes a file fails: once (then the vault is used on),
or for good (then what lies on the disk is what a kill at that moment leaves). Afterwards the vault must open, verify,
and hold what was acknowledged: of the operation that failed all or nothing. An error of ours is an answer; any other
is counted as untyped.
"""

from __future__ import annotations

import ctypes
import errno
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from agentkit_memory import (
    FileState,
    HashEmbedder,
    KdfParameters,
    NewRecord,
    StoreError,
    Vault,
    VaultExistsError,
    WrongPassphraseError,
)

EMBEDDER = HashEmbedder(16)
WEAK = KdfParameters.for_tests()
OLD, NEW = b"the first passphrase", b"the second passphrase"
MODES = {
    "full once": (errno.ENOSPC, 0, 0),
    "full for good": (errno.ENOSPC, 1, 1),
    "failed once": (errno.EIO, 0, 1),
    "failed for good": (errno.EIO, 1, 0),
}


KEPT = {"vault.json", "vault.db", "head.sealed", "index.sealed", "lock"}
"""What may lie in a closed vault; what a failed write left, `*.new`, may stay until the next of its kind."""


@dataclass(frozen=True)
class Contents:
    """All that a vault is asked to keep."""

    texts: tuple[str, ...] = ("kept 0", "kept 1", "kept 2", "to delete", "to forget entirely")
    files: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
    setting: str = "none"
    slots: tuple[str, ...] = ("passphrase",)
    passphrase: bytes = OLD


@dataclass
class Life:
    """One vault, what it must hold, and what it may hold instead since the last operation failed."""

    folder: Path
    now: Contents = field(default_factory=Contents)
    perhaps: Contents | None = None
    vault: Vault | None = None
    index: Path | None = None
    """A folder in memory for Chroma's files, so that a snapshot is sealed."""

    def open(self) -> Vault:
        """Open it with whichever passphrase it may have by now."""
        for passphrase in dict.fromkeys((self.now.passphrase, (self.perhaps or self.now).passphrase)):
            try:
                return Vault.open(
                    self.folder, passphrase=passphrase, allow_weak_kdf=True, index_folder=self.index
                )
            except WrongPassphraseError:
                continue
        raise AssertionError("no passphrase opens it")


Step = tuple[str, Callable[[Life], None], Callable[[Contents], Contents]]


def _vault(life: Life) -> Vault:
    if life.vault is None:
        life.vault = life.open()
    return life.vault


def _open(life: Life) -> None:
    _vault(life)


def _add(life: Life) -> None:
    texts = ["added 0", "added 1"]
    _vault(life).add([NewRecord(text) for text in texts], EMBEDDER.embed(texts))


def _replace_file(life: Life) -> None:
    record = NewRecord("chunk", source="/a", kind="document")
    _vault(life).replace_file(FileState("/a", 1, 1, "d", 1), [record], EMBEDDER.embed(["chunk"]))


def _message(life: Life) -> None:
    _vault(life).append_message("talk", {"role": "user", "text": "hello"})


def _setting(life: Life) -> None:
    _vault(life).set_setting("key", "set")


def _delete(life: Life) -> None:
    vault = _vault(life)
    vault.delete([record.id for record in vault.records() if record.text == "to delete"])


def _forget(life: Life) -> None:
    vault = _vault(life)
    if not vault.forget([record.id for record in vault.records() if "forget" in record.text]).proven:
        raise AssertionError("traces are left")


def _passphrase(life: Life) -> None:
    _vault(life).change_passphrase(OLD, NEW)


def _rewrite(life: Life) -> None:
    vault = _vault(life)
    for record in vault.records():
        if record.text == "kept 0":
            vault.rewrite(record.id, "rewritten", EMBEDDER.embed(["rewritten"])[0])


def _rename_file(life: Life) -> None:
    _vault(life).rename_file("/a", "/b")


def _add_slot(life: Life) -> None:
    _vault(life).add_passphrase("second", b"another way in", kdf=WEAK)


def _recovery(life: Life) -> None:
    _vault(life).add_recovery_code()


def _remove_slot(life: Life) -> None:
    _vault(life).remove_slot("second")


def _rotate(life: Life) -> None:
    vault, life.vault = _vault(life), None
    try:
        vault.rotate(life.now.passphrase)
    finally:
        vault.close()


def _big(life: Life) -> None:
    text = "big " * 20_000
    _vault(life).add([NewRecord(text)], EMBEDDER.embed([text]))


def _reembed(life: Life) -> None:
    for _ in _vault(life).reembed(EMBEDDER):
        pass


def _backup(life: Life) -> None:
    folder = life.folder.parent / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    _vault(life).backup(folder)
    with Vault.open(folder, passphrase=life.now.passphrase, allow_weak_kdf=True) as copy:
        if contents(copy, life.now.passphrase) != life.now:
            raise AssertionError("the backup differs")


def _warm(life: Life) -> None:
    _vault(life).warm(wait=True)


def _close(life: Life) -> None:
    vault, life.vault = _vault(life), None
    vault.close()


def _without(text: str) -> Callable[[Contents], Contents]:
    return lambda now: replace(now, texts=tuple(each for each in now.texts if each != text))


def _renamed(now: Contents) -> Contents:
    return replace(now, files=tuple("/b" if each == "/a" else each for each in now.files))


def _rewritten(now: Contents) -> Contents:
    return replace(now, texts=tuple("rewritten" if each == "kept 0" else each for each in now.texts))


def _rotated(now: Contents) -> Contents:
    return replace(now, slots=("passphrase",))


def _same(now: Contents) -> Contents:
    return now


RECORDS: tuple[Step, ...] = (
    ("open", _open, _same),
    ("add", _add, lambda now: replace(now, texts=(*now.texts, "added 0", "added 1"))),
    ("replace a file", _replace_file, lambda now: replace(now, texts=(*now.texts, "chunk"), files=("/a",))),
    ("rename a file", _rename_file, _renamed),
    ("rewrite", _rewrite, _rewritten),
    ("append a message", _message, lambda now: replace(now, messages=("hello",))),
    ("set a setting", _setting, lambda now: replace(now, setting="set")),
    ("delete", _delete, _without("to delete")),
    ("forget", _forget, _without("to forget entirely")),
    ("verify", lambda life: _vault(life).verify(), _same),
    ("change the passphrase", _passphrase, lambda now: replace(now, passphrase=NEW)),
    ("add a way in", _add_slot, lambda now: replace(now, slots=(*now.slots, "second"))),
    ("make a recovery code", _recovery, lambda now: replace(now, slots=(*now.slots, "recovery"))),
    (
        "remove a way in",
        _remove_slot,
        lambda now: replace(now, slots=tuple(each for each in now.slots if each != "second")),
    ),
    ("close", _close, _same),
    ("rotate", _rotate, _rotated),
    ("add much", _big, lambda now: replace(now, texts=(*now.texts, "big " * 20_000))),
    ("re-embed", _reembed, _same),
    ("back up", _backup, _same),
    ("close again", _close, _same),
)
INDEX: tuple[Step, ...] = (
    ("load", _warm, _same),
    ("add", _add, lambda now: replace(now, texts=(*now.texts, "added 0", "added 1"))),
    ("seal the snapshot", _close, _same),
    ("load it", _warm, _same),
    ("delete", _delete, _without("to delete")),
    ("close", _close, _same),
    ("load anew", _warm, _same),
    ("rotate", _rotate, _same),
)
LIVES = {"records": RECORDS, "index": INDEX}


def contents(vault: Vault, passphrase: bytes) -> Contents:
    """Return what a vault holds."""
    return Contents(
        tuple(record.text for record in vault.records(limit=1000)),
        tuple(vault.files()),
        tuple(message["text"] for message in vault.conversation("talk")),
        vault.get_setting("key", "none"),
        tuple(slot.name for slot in vault.slots()),
        passphrase,
    )


class Disk:
    """The preloaded shim."""

    def __init__(self, shim: Path, folder: Path) -> None:
        self._library = ctypes.CDLL(str(shim))
        self._library.disk_watch(str(folder).encode())

    def fail(self, at: int, number: int = 0, for_good: int = 0, torn: int = 0) -> None:
        """Let the call `at` fail, from 1; 0 lets none fail and begins to count."""
        self._library.disk_fail(ctypes.c_long(at), number, for_good, torn)

    @property
    def count(self) -> int:
        """Calls since `fail`."""
        return int(self._library.disk_count())


def live(life: Life, steps: tuple[Step, ...], *, to_the_end: bool) -> str:
    """Go through all steps; return the step that failed first, or nothing."""
    failed = ""
    for name, act, after in steps:
        try:
            act(life)
        except StoreError:
            failed = failed or name
            life.perhaps = after(life.now)
            if not to_the_end:
                break
            if life.vault is None:
                life.vault = life.open()
            if life.perhaps != life.now:
                vault = life.vault
                if contents(vault, life.perhaps.passphrase) == life.perhaps and _opened_by(life):
                    life.now = life.perhaps
            life.perhaps = None
        else:
            life.now, life.perhaps = after(life.now), None
    return failed


def _opened_by(life: Life) -> bool:
    """Whether the passphrase that may have become the vault's is it."""
    from agentkit_memory.header import VaultHeader

    if life.perhaps is None or life.perhaps.passphrase == life.now.passphrase:
        return True
    try:
        VaultHeader.read(life.folder).unlock(passphrase=life.perhaps.passphrase, allow_weak_kdf=True)
    except WrongPassphraseError:
        return False
    return True


def check(life: Life) -> str:
    """Open the vault as the next process would; return what is wrong with it, or nothing."""
    try:
        vault = life.open()
    except (StoreError, AssertionError) as error:
        return f"it does not open: {error}"
    try:
        vault.verify()
        found = contents(vault, b"")
    except StoreError as error:
        return f"it does not verify: {error}"
    finally:
        vault.close()
    allowed = [replace(each, passphrase=b"") for each in (life.now, life.perhaps) if each is not None]
    if found not in allowed:
        return f"it holds {found}, not {allowed}"
    left = {path.name.removesuffix(".new") for path in life.folder.iterdir()} - KEPT
    return f"left behind: {sorted(left)}" if left else ""


def run(steps: tuple[Step, ...], folder: Path, shim: Path, step: int) -> dict[str, object]:
    """Let every `step`th call fail, in every mode; return the counts."""
    template = folder / "template"
    with Vault.create(
        template, passphrase=OLD, embedder=EMBEDDER.name, dimensions=16, kdf=WEAK, allow_weak_kdf=True
    ) as vault:
        vault.add([NewRecord(text) for text in Contents().texts], EMBEDDER.embed(list(Contents().texts)))
    work, index = folder / "work", Path(tempfile.mkdtemp(dir="/dev/shm")) if steps is INDEX else None
    disk = Disk(shim, work)

    def fresh() -> Life:
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(template, work / "vault")
        return Life(work / "vault", index=index)

    life = fresh()
    disk.fail(0)
    assert not live(life, steps, to_the_end=True)
    calls = disk.count
    assert not check(life)
    wrong: list[str] = []
    met: Counter[str] = Counter()
    tried = 0
    for mode, (number, for_good, torn) in MODES.items():
        for at in range(1 + tried % step, calls + 1, step):
            life = fresh()
            disk.fail(at, number, for_good, torn)
            tried += 1
            try:
                failed = live(life, steps, to_the_end=not for_good)
                if life.vault is not None:
                    life.vault.close()
                met[failed or "none: the failure was mended or did not matter"] += 1
            except Exception as error:  # noqa: BLE001 - any other error is what is counted here
                wrong.append(f"{mode} at {at}: untyped {type(error).__name__}: {error}")
            finally:
                disk.fail(0)
            if problem := check(life):
                wrong.append(f"{mode} at {at}: {problem}")
    if index:
        shutil.rmtree(index)
    return {"calls": calls, "tried": tried, "met": dict(met), "wrong": wrong}


def begin(folder: Path, shim: Path) -> dict[str, object]:
    """Let every call of making and of restoring a vault fail; the next attempt must do it."""
    template, work = folder / "template", folder / "work" / "vault"
    disk = Disk(shim, folder / "work")

    def create(where: Path) -> None:
        options = {"embedder": EMBEDDER.name, "dimensions": 16, "kdf": WEAK, "allow_weak_kdf": True}
        Vault.create(where, passphrase=OLD, **options).close()  # type: ignore[arg-type]

    create(template)
    wrong: list[str] = []
    tried, calls = 0, 0
    met: Counter[str] = Counter()
    for name, act in (("create", create), ("restore", lambda where: Vault.restore(template, where))):
        shutil.rmtree(work.parent, ignore_errors=True)
        disk.fail(0)
        act(work)
        number_of_calls = disk.count
        calls += number_of_calls
        for mode, (number, for_good, torn) in MODES.items():
            for at in range(1, number_of_calls + 1):
                what = f"{name}, {mode} at {at}"
                shutil.rmtree(work.parent, ignore_errors=True)
                disk.fail(at, number, for_good, torn)
                tried += 1
                try:
                    act(work)
                    met["none: the failure was mended or did not matter"] += 1
                except StoreError:
                    met[name] += 1
                except Exception as error:  # noqa: BLE001 - any other error is what is counted here
                    wrong.append(f"{what}: untyped {type(error).__name__}: {error}")
                finally:
                    disk.fail(0)
                try:
                    if not Vault.exists(work):
                        _again(act, work)
                    with Vault.open(work, passphrase=OLD, allow_weak_kdf=True) as vault:
                        vault.verify()
                except StoreError as error:
                    wrong.append(f"{what}: the next attempt: {error}")
    return {"calls": calls, "tried": tried, "met": dict(met), "wrong": wrong}


def _again(act: Callable[[Path], None], folder: Path) -> None:
    """Make the vault at the next attempt; where it is refused, after what its hint says."""
    try:
        act(folder)
    except VaultExistsError as error:
        if error.hint is None or "move vault.db away" not in error.hint:
            raise
        (folder / "vault.db").rename(folder / "away")
        act(folder)


if __name__ == "__main__":
    chosen, where, library, every = sys.argv[1:]
    if chosen == "begin":
        said = begin(Path(where), Path(library))
    else:
        said = run(LIVES[chosen], Path(where), Path(library), int(every))
    print(json.dumps(said))
