"""Every verb about keys, backups and forgetting, typed and run to its end on a real core and a real vault."""

from __future__ import annotations

import io
import json
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agentkit.cli import connect
from agentkit.cli.app import main
from agentkit.paths import Home
from agentkit_memory import KdfParameters, Vault

pytestmark = [pytest.mark.model, pytest.mark.slow]

PASSPHRASE = "four unrelated quiet words"
MINILM = "minilm-l6-v2"
FACTS = ("the boiler was serviced by Okafor", "lena starts school in september", "the owl is of porcelain")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> Any:
        """What `--json` printed."""
        return json.loads(self.out)


Type = Callable[..., Ended]


@pytest.fixture
def passphrase_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "passphrase"
    path.write_text(PASSPHRASE)
    path.chmod(0o600)
    monkeypatch.setenv("AGENTKIT_PASSPHRASE_FILE", str(path))
    return path


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let a person at a terminal type these passphrases, one after the other."""
    answers: list[str] = []
    monkeypatch.setattr(connect, "can_ask", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda prompt: answers.pop(0))
    return answers


@pytest.fixture
def run(
    home: Home,
    core: Any,
    passphrase_file: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Type:
    """Return a function that runs one command line against the core of this test."""

    def command(*arguments: str, stdin: str = "", code: int = 0) -> Ended:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        capfd.readouterr()
        ended = main(arguments)
        said = capfd.readouterr()
        assert ended == code, said.err
        return Ended(ended, said.out, said.err)

    # As `init` would, but for a derivation that takes a third of a second here, not a whole one.
    Vault.create(
        home.vault, passphrase=PASSPHRASE.encode(), embedder=MINILM, dimensions=384, kdf=KdfParameters.floor()
    ).close()
    return command


def _remember(run: Type) -> list[str]:
    return [run("memory", "add", fact, "--json").said["id"] for fact in FACTS]


def _left(run: Type) -> set[str]:
    return {record["text"] for record in run("memory", "list", "--json").said["records"]}


def _slots(run: Type) -> list[str]:
    return [slot["name"] for slot in run("keys", "list", "--json").said["slots"]]


def test_ways_in_are_added_used_and_removed(run: Type, passphrase_file: Path, tmp_path: Path) -> None:
    _remember(run)
    database = tmp_path / "home" / "vault" / "vault.db"
    other = tmp_path / "other"
    other.write_bytes(b"\xff\xfe a second, which is no text")
    other.chmod(0o600)
    run("keys", "add", "second", "--file", str(other))
    code = run("keys", "add-recovery", "--json").said["code"]
    assert _slots(run) == ["passphrase", "second", "recovery"]
    assert run("keys", "add", "second", "--file", str(other), code=2).err.startswith("agentkit: error:")
    assert "1 to 32" in run("keys", "add", "No Name", "--file", str(other), code=2).err
    for way_in in (other.read_bytes(), code.encode(), code.lower().replace("-", " ").encode()):
        run("lock")
        passphrase_file.write_bytes(way_in)
        assert "3 records" in run("unlock").out
    before = database.read_bytes()
    run("keys", "remove", "second")
    run("lock")
    assert database.read_bytes() == before  # no record was rewritten
    passphrase_file.write_bytes(other.read_bytes())
    assert "wrong passphrase" in run("unlock", code=4).err
    passphrase_file.write_text(PASSPHRASE)
    run("keys", "remove", "recovery")
    assert "last slot" in run("keys", "remove", "passphrase", code=2).err
    assert "no slot named 'nothing'" in run("keys", "remove", "nothing", code=2).err
    assert _slots(run) == ["passphrase"]


def test_a_passphrase_is_changed_and_only_the_new_one_opens(
    run: Type, passphrase_file: Path, typed: list[str]
) -> None:
    _remember(run)
    new = "a new one of words"
    typed += ["not the old one at all", new, new]
    assert "wrong passphrase" in run("passphrase", code=4).err
    typed += [PASSPHRASE, new, "another one of words"]
    assert "differ" in run("passphrase", code=4).err
    typed += [PASSPHRASE, new, new]
    run("passphrase")
    run("lock")
    run("unlock", code=4)
    passphrase_file.write_text(new)
    assert _left(run) == set(FACTS)


HOSTILE = (
    b"\xff\xfe\x00\x80 bytes that are no text",
    "umlaut \u00e4 \U0001f600 \u202e reversed".encode(),
    b"x" * (1 << 20),
    b"  spaces kept  ",
)
REFUSED = {
    b"": "is empty",
    b"\n": "is empty",
    b"x" * ((1 << 20) + 1): "is over 1048576 bytes",
    b"short": "fewer than 8 characters",
}


@pytest.mark.long
def test_hostile_passphrases_open_what_they_were_given_for_or_are_refused(
    run: Type, passphrase_file: Path, tmp_path: Path
) -> None:
    vault, first = tmp_path / "home" / "vault", passphrase_file.read_bytes()
    other = tmp_path / "other"
    other.touch(0o600)
    for passphrase, problem in REFUSED.items():
        other.write_bytes(passphrase)
        assert problem in run("keys", "add", "second", "--file", str(other), code=2).err
    for number, passphrase in enumerate(HOSTILE):
        other.write_bytes(passphrase)
        run("keys", "add", f"hostile-{number}", "--file", str(other))
    header = (vault / "vault.json").read_bytes()
    for passphrase in HOSTILE:
        run("lock")
        passphrase_file.write_bytes(passphrase)
        run("unlock")
    for wrong in (*(passphrase[:-1] for passphrase in HOSTILE[:2]), b"spaces kept", first + b"\x00"):
        run("lock")
        passphrase_file.write_bytes(wrong)
        ended = run("unlock", code=4)
        assert wrong.decode("utf-8", "replace") not in ended.err
    assert (vault / "vault.json").read_bytes() == header


def test_rotation_says_what_it_dropped_and_keeps_the_records(run: Type, passphrase_file: Path) -> None:
    _remember(run)
    code = run("keys", "add-recovery", "--json").said["code"]
    rotated = run("keys", "rotate")
    assert "recovery" in rotated.err
    assert _slots(run) == ["passphrase"]
    assert _left(run) == set(FACTS)
    run("lock")
    passphrase_file.write_text(code)
    run("unlock", code=4)
    passphrase_file.write_text("not the passphrase")
    run("keys", "rotate", code=4)
    passphrase_file.write_text(PASSPHRASE)
    run("memory", "verify")


def test_a_copy_that_fails_or_is_given_up_leaves_nothing(
    run: Type, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("memory", "add", FACTS[0])
    copy = tmp_path / "copy"

    def stopped(source: Path, folder: Path) -> None:
        folder.mkdir()
        (folder / "vault.db.new").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Vault, "restore", stopped)
        run("memory", "backup", str(copy), code=130)
    assert not copy.exists()
    assert list(home.root.glob("backups/*")) == []
    run("stop")
    (home.root / "backups" / "left").mkdir(parents=True)  # of a client that was killed
    (home.root / "backups" / "left" / "vault.db").touch()
    run("memory", "list")
    assert list(home.root.glob("backups/*")) == []


def test_a_backup_is_restored_in_another_home(
    run: Type, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _remember(run)
    copy = tmp_path / "copy"
    run("memory", "backup", str(copy))
    assert copy.stat().st_mode & 0o777 == 0o700
    assert not any(fact.encode() in path.read_bytes() for path in copy.iterdir() for fact in FACTS)
    assert list(home.root.glob("backups/*")) == []
    before = {path: path.read_bytes() for path in copy.iterdir()}
    assert "every byte" in run("memory", "verify", str(copy)).out
    assert {path: path.read_bytes() for path in copy.iterdir()} == before
    assert "no backup" in run("memory", "verify", str(tmp_path), code=3).err
    assert "exists" in run("memory", "backup", str(copy), code=2).err
    assert "there is a vault" in run("memory", "restore", str(copy), code=2).err
    run("memory", "add", "after the backup")
    run("stop")
    monkeypatch.setenv("AGENTKIT_HOME", str(tmp_path / "elsewhere"))
    try:
        assert "restored, unlocked and verified" in run("memory", "restore", str(copy)).out
        assert _left(run) == set(FACTS)
        assert run("memory", "verify", "--json").said["verified"]
    finally:
        run("stop")
    shutil.rmtree(tmp_path / "elsewhere")


def test_an_export_in_clear_asks_twice(run: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    _remember(run)
    assert "--plain" in run("memory", "export", code=2).err
    assert "not confirmed" in run("memory", "export", "--plain", code=2).err  # nobody to ask
    monkeypatch.setattr(connect, "can_ask", lambda: True)
    for answers in ("n\n", "y\nn\n"):
        refused = run("memory", "export", "--plain", stdin=answers, code=2)
        assert refused.out == ""
    allowed = run("memory", "export", "--plain", stdin="y\ny\n")
    assert allowed.err.count("?") == 2
    assert {json.loads(line)["text"] for line in allowed.out.splitlines()} == set(FACTS)
    assert {entry["text"] for entry in run("memory", "export", "--plain", "--yes", "--json").said} == set(
        FACTS
    )


def test_forgetting_by_id_query_source_and_time(run: Type, tmp_path: Path) -> None:
    first, _, _ = _remember(run)
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "diary.md").write_text("# Tuesday\n\nThe zebrafish tank leaked onto the harpsichord.\n")
    run("index", str(folder))
    said = run("memory", "forget", first[:8])
    assert "none found" in said.out
    assert run("memory", "forget", "--query", "lena september", "--json").said["proven"]
    gone = run("memory", "forget", "--source", str(folder), "--json").said
    assert (gone["forgotten"], gone["proven"]) == (1, True)
    assert _left(run) == {FACTS[2]}
    assert run("memory", "forget", "--until", "2020-01-01", "--json").said["forgotten"] == 0
    assert run("memory", "forget", "--since", "2020-01-01", "--json").said["forgotten"] == 1
    assert "nothing to forget" in run("memory", "forget", code=2).err
    assert "no record has an id" in run("memory", "forget", "abcdef", code=3).err
    assert _left(run) == set()


def test_shredding_leaves_older_copies_to_the_passphrase_alone(run: Type, passphrase_file: Path) -> None:
    first, _, _ = _remember(run)
    code = run("keys", "add-recovery", "--json").said["code"]
    assert "fresh keys" in run("memory", "forget", first[:8], "--shred").out
    assert _left(run) == set(FACTS[1:])
    assert _slots(run) == ["passphrase"]
    run("lock")
    passphrase_file.write_text(code)
    run("unlock", code=4)  # the code opens only what was copied before, which is said
    passphrase_file.write_text(PASSPHRASE)
    run("memory", "verify")


def test_the_backup_page_can_be_followed_word_by_word(
    run: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its commands, typed one after the other: a backup here, a restore and a trial in homes that are new."""
    page = (Path(__file__).parents[2] / "docs" / "backup.md").read_text(encoding="utf-8")
    typed = [line.split("#")[0].strip("$ ") for line in page.splitlines() if line.startswith("$ agentkit ")]
    typed = [line.replace("~/", f"{tmp_path}/").split(" > ")[0].strip() for line in typed]
    made = typed.index(f"agentkit memory backup {tmp_path}/vault-2026-11-21")
    tried = len(typed) - 1 - typed[::-1].index(f"agentkit memory restore {tmp_path}/vault-2026-11-21")
    _remember(run)
    try:
        for number, line in enumerate(typed):
            if number in (made + 1, tried):
                run("stop")
                monkeypatch.setenv("AGENTKIT_HOME", str(tmp_path / f"home-{number}"))
            arguments = shlex.split(line)[1:] + (["--yes"] if "export" in line else [])
            ended = run(*arguments)
            if "search" in line or "export" in line:
                assert FACTS[0] in ended.out or "export" in line
    finally:
        run("stop")
    assert tried > made
