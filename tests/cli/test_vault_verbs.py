"""Opening the vault on demand, and the verbs about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentkit.cli import connect
from agentkit.cli.connect import strength_bits

RIGHT = "four unrelated quiet words"


@pytest.fixture
def passphrase_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "passphrase"
    path.write_text(f"{RIGHT}\n")
    path.chmod(0o600)
    monkeypatch.setenv("AGENTKIT_PASSPHRASE_FILE", str(path))
    return path


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let a person at a terminal type these, one after the other."""
    answers: list[str] = []
    monkeypatch.setattr(connect, "can_ask", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda prompt: answers.pop(0))
    return answers


@pytest.mark.parametrize(
    "verb",
    [
        ["folders"], ["search", "x"], ["ask", "x"], ["run", "x"], ["chat"], ["tools", "list"], ["memory", "list"],
        ["memory", "add", "x"], ["memory", "forget", "abcd"], ["index", "."], ["unindex", "."], ["unlock"],
        ["keyring", "on"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_without_a_vault_the_hint_is_init(verb: list[str], core: Any, run: Any) -> None:
    core.vault = "absent"
    ended = run(*verb)
    assert ended.code == 3
    assert "agentkit: hint: agentkit init" in ended.err


def test_a_locked_vault_is_opened_by_the_file(core: Any, run: Any, passphrase_file: Path) -> None:
    core.vault = "locked"
    core.answers["folders"] = {"folders": []}
    assert run("folders").code == 0
    assert core.asked_for("unlock")["passphrase"] == RIGHT.encode()


def test_a_locked_vault_is_opened_by_the_keyring(core: Any, run: Any) -> None:
    core.vault, core.keyring = "locked", True
    assert run("unlock").code == 0


def test_with_nobody_to_ask_a_locked_vault_is_code_4(core: Any, run: Any) -> None:
    core.vault = "locked"
    ended = run("folders")
    assert ended.code == 4
    assert "AGENTKIT_PASSPHRASE_FILE" in ended.err


def test_a_person_has_three_tries(core: Any, run: Any, typed: list[str]) -> None:
    core.vault = "locked"
    typed += ["wrong", "wrong again", RIGHT]
    assert run("unlock").code == 0
    core.vault = "locked"
    typed += ["wrong"] * 3
    assert run("unlock").code == 4


def test_a_wrong_file_is_not_followed_by_a_question(
    core: Any, run: Any, passphrase_file: Path, typed: list[str]
) -> None:
    core.vault = "locked"
    passphrase_file.write_text("another one\n")
    assert run("unlock").code == 4
    assert typed == []


def test_a_file_others_may_read_is_refused(core: Any, run: Any, passphrase_file: Path) -> None:
    passphrase_file.chmod(0o644)
    ended = run("unlock")
    assert ended.code == 2
    assert f"chmod 600 {passphrase_file}" in ended.err


def test_init_asks_twice_and_says_how_strong_it_looks(core: Any, run: Any, typed: list[str]) -> None:
    core.vault = "absent"
    typed += ["aaaaaaaa", "bbbbbbbb"]
    ended = run("init")
    assert ended.code == 4
    assert "weak" in ended.err
    assert core.vault == "absent"
    typed += [RIGHT, RIGHT]
    assert run("init", "--json").code == 0
    assert core.asked_for("init")["passphrase"] == RIGHT.encode()


def test_init_does_not_touch_a_vault_that_is_there(core: Any, run: Any, passphrase_file: Path) -> None:
    assert run("init").code == 2
    assert not [each for each in core.asked if each["op"] == "init"]


@pytest.mark.slow
@pytest.mark.timeout(30)
def test_what_is_typed_is_not_shown(core: Any, terminal: Any) -> None:
    """The real question on a real terminal: the passphrase is not echoed."""
    core.vault = "locked"
    unlock = terminal("unlock")
    unlock.wait_for("passphrase:")
    unlock.type(f"{RIGHT}\r")
    unlock.wait_for("unlocked")
    assert unlock.end() == 0
    assert RIGHT.encode() not in unlock.shown


def test_lock_status_and_stop(core: Any, run: Any) -> None:
    assert json.loads(run("lock", "--json").out)["state"] == "locked"
    said = run("status").out
    assert "TCP over IPv4" in said
    assert "bubblewrap" in said
    assert json.loads(run("status", "--json").out)["vault"]["state"] == "locked"
    assert json.loads(run("stop", "--json").out) == {"stopped": True}
    assert not core.home.socket.exists()
    assert run("stop").out == "no core was running\n"
    assert run("lock").out == "locked\n"


@pytest.mark.parametrize(("switch", "on"), [("on", True), ("off", False)])
def test_the_keyring_is_switched(switch: str, on: bool, core: Any, run: Any) -> None:
    core.answers["keyring"] = {"state": "unlocked", "slots": []}
    assert run("keyring", switch).code == 0
    assert core.asked_for("keyring")["on"] is on


ROTATED = {
    "state": "unlocked",
    "dropped": ["keyring"],
    "keyring_secret_left": False,
    "secret_destroyed": True,
}


@pytest.mark.parametrize("verb", [["keys", "rotate"], ["memory", "forget", "abcd", "--shred"]], ids=" ".join)
@pytest.mark.parametrize("left", [False, True])
def test_what_a_rotation_dropped_is_said_and_what_it_could_not_destroy(
    verb: list[str], left: bool, core: Any, run: Any, passphrase_file: Path
) -> None:
    core.answers["forget"] = {"forgotten": 1}
    core.answers["rotate"] = ROTATED | {"keyring_secret_left": left, "secret_destroyed": not left}
    ended = run(*verb)
    assert ended.code == 0
    assert "everything is under fresh keys" in ended.out
    assert "dropped: keyring" in ended.err
    assert ("secret is destroyed" in ended.err) is not left
    assert ("could not be destroyed" in ended.err) is left


def test_the_passphrase_is_changed_only_by_who_knows_it(core: Any, run: Any, typed: list[str]) -> None:
    core.vault = "locked"
    core.answers["passphrase"] = {"state": "unlocked"}
    typed += ["wrong"]
    assert run("passphrase").code == 4
    typed += [RIGHT, "another good one", "another good one"]
    assert run("passphrase").code == 0
    assert core.asked_for("passphrase")["new"] == b"another good one"


def test_strength_is_an_upper_bound_that_grows() -> None:
    assert strength_bits("") == 0
    assert strength_bits("aaaaaaaaaaaaaaaa") < 10
    assert strength_bits("abababab") < 20
    assert strength_bits(RIGHT) > 50


@pytest.mark.slow
def test_a_passphrase_typed_in_no_utf_8_is_refused_with_a_hint(core: Any, terminal: Any) -> None:
    core.vault = "locked"
    unlock = terminal("unlock")
    unlock.wait_for("passphrase: ")
    unlock.type(b"\xff\xfe caf\xe9\r")
    assert unlock.end() == 4
    assert b"not valid UTF-8" in unlock.shown
    assert b"AGENTKIT_PASSPHRASE_FILE" in unlock.shown
    assert b"caf" not in unlock.shown


@pytest.mark.slow
def test_ctrl_c_at_the_passphrase_ends_with_its_code(core: Any, terminal: Any) -> None:
    core.vault = "locked"
    unlock = terminal("unlock")
    unlock.wait_for("passphrase: ")
    unlock.type(b"\x03")
    assert unlock.end() == 130
    assert b"Traceback" not in unlock.shown
