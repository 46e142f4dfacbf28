"""What the keyring keeps for a vault, and when it is destroyed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import fail
from keyring.errors import PasswordDeleteError

from agentkit.context.words import stem
from agentkit.core import launcher
from agentkit.core.service import Service
from agentkit.errors import CoreError
from agentkit.paths import Home
from agentkit_memory import KdfParameters, Vault, WrongPassphraseError

PASSPHRASE = b"four unrelated quiet words"


class Keyring(KeyringBackend):
    """Keeps everything in this process, and calls itself a secure one."""

    priority = 99

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.kept.pop((service, username), None) is None:
            raise PasswordDeleteError("not found")


Keyring.__module__ = "keyring.backends.SecretService"


class Launcher:
    """Runs the keyring's requests here."""

    def job(self, request: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        return launcher._keyring(request)


class Opened:
    """A vault in a service of its own, as a core would have it."""

    def __init__(self, home: Home) -> None:
        self.home = home
        Vault.create(
            home.vault, passphrase=PASSPHRASE, embedder="test", dimensions=8, kdf=KdfParameters.floor()
        ).close()
        self.start()

    def start(self) -> None:
        """Begin as a core that was just started."""
        self.service = Service(
            self.home,
            launcher=Launcher(),  # type: ignore[arg-type]
            receipt=None,  # type: ignore[arg-type]
            index_folder=None,
            stop=lambda: None,
        )

    def ask(self, op: str, **fields: Any) -> Mapping[str, Any]:
        return self.service.handle({"op": op, **fields}, None)  # type: ignore[arg-type]

    def unlock(self) -> Mapping[str, Any]:
        return self.ask("unlock", passphrase=PASSPHRASE)

    def secret(self) -> bytes | None:
        """What the keyring keeps for it."""
        kept = launcher._keyring({"verb": "get", "vault_id": Vault.read_header(self.home.vault).id})["secret"]
        return None if kept is None else bytes(kept)


@pytest.fixture
def kept() -> Iterator[Keyring]:
    """Install a keyring that keeps, and put back what was there."""
    before, fresh = keyring.get_keyring(), Keyring()
    keyring.set_keyring(fresh)
    yield fresh
    keyring.set_keyring(before)


@pytest.fixture
def opened(home: Home, kept: Keyring) -> Iterator[Opened]:
    """Yield an open vault with a keyring slot."""
    vault = Opened(home)
    vault.unlock()
    vault.ask("keyring", on=True)
    yield vault
    vault.service.close()


def test_locking_and_forgetting_leave_no_word_at_hand(opened: Opened) -> None:
    stem("zinnias")
    opened.service.runs.forget_prompts()
    assert stem.cache_info().currsize == 0
    stem("zinnias")
    opened.ask("lock")
    assert stem.cache_info().currsize == 0


def test_two_clients_that_unlock_at_once_both_find_it_open(opened: Opened) -> None:
    opened.ask("lock")
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda _: opened.unlock()["state"], range(4)))
    assert said == ["unlocked"] * 4


def _copy(opened: Opened, folder: Path) -> Path:
    opened.ask("lock")
    shutil.copytree(opened.home.vault, folder)
    opened.ask("unlock", passphrase=None)  # by the keyring
    return folder


@pytest.mark.slow
def test_after_shredding_a_copy_opens_by_its_passphrase_and_no_longer_by_the_keyring(
    opened: Opened, tmp_path: Path
) -> None:
    """`forget --shred` is `rotate` after forgetting. Before it, the same copy opens with what the keyring keeps."""
    copy, before = _copy(opened, tmp_path / "copy"), opened.secret()
    Vault.open(copy, keyring_secret=before).close()
    rotated = opened.ask("rotate", passphrase=PASSPHRASE)
    assert (rotated["dropped"], rotated["secret_destroyed"]) == (["keyring"], True)
    assert opened.secret() is None
    Vault.open(copy, passphrase=PASSPHRASE).close()
    opened.ask("keyring", on=True)  # another secret, for the slot of now
    assert opened.secret() not in (None, before)
    with pytest.raises(WrongPassphraseError):
        Vault.open(copy, keyring_secret=opened.secret())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("op", "fields"),
    [
        ("rotate", {"passphrase": PASSPHRASE}),
        ("keyring", {"on": False}),
        ("remove_slot", {"name": "keyring"}),
    ],
)
def test_a_secret_that_could_not_be_destroyed_is_said_and_destroyed_at_a_later_unlocking(
    op: str, fields: dict[str, Any], opened: Opened, kept: Keyring
) -> None:
    keyring.set_keyring(fail.Keyring())  # type: ignore[no-untyped-call] # another session, without one
    said = opened.ask(op, **fields)
    assert said["keyring_secret_left"] is True
    assert said.get("secret_destroyed", False) is False
    assert opened.ask("lock")["state"] == "locked"
    assert opened.unlock()["keyring_secret_left"] is True
    keyring.set_keyring(kept)
    assert opened.secret() is not None
    opened.ask("lock")
    assert opened.unlock()["keyring_secret_left"] is False
    assert opened.secret() is None


@pytest.mark.slow
def test_a_core_killed_between_the_rotation_and_the_keyring_destroys_the_secret_when_it_is_unlocked_again(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(opened.service.runs, "forget_prompts", killed)
        with pytest.raises(Killed):
            opened.ask("rotate", passphrase=PASSPHRASE)
    assert opened.secret() is not None
    opened.start()
    assert opened.unlock()["keyring_secret_left"] is False
    assert opened.secret() is None


@pytest.mark.slow
def test_a_keyring_that_fails_keeps_nobody_out(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(self: object, request: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        raise CoreError("the keyring: it is gone")

    monkeypatch.setattr(Launcher, "job", failing)
    said = opened.ask("rotate", passphrase=PASSPHRASE)
    assert (said["state"], said["secret_destroyed"]) == ("unlocked", False)
