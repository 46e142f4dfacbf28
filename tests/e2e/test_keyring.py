"""The operating system's keyring: which are trusted, and a real one that opens the vault and remembers its state."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import chainer, fail, null

from agentkit.core import keyring_slot
from agentkit.errors import CoreError, LockedError, NotFoundError
from agentkit_memory import TamperedError

VAULT_ID = "ab" * 16
PASSPHRASE = b"four unrelated quiet words"


def _made(kind: Any) -> KeyringBackend:
    backend: KeyringBackend = kind()
    return backend


def _named(module: str, name: str) -> KeyringBackend:
    """Return a back-end that calls itself so, and keeps everything in clear."""
    kept: dict[tuple[str, str], str] = {}

    def get_password(self: object, service: str, username: str) -> str | None:
        return kept.get((service, username))

    def set_password(self: object, service: str, username: str, password: str) -> None:
        kept[service, username] = password

    methods = {
        "get_password": get_password,
        "set_password": set_password,
        "priority": 99,
        "__module__": module,
    }
    backend: KeyringBackend = type(name, (KeyringBackend,), methods)()
    return backend


@pytest.fixture
def installed() -> Iterator[None]:
    """Put the keyring of this process back afterwards."""
    before = keyring.get_keyring()
    yield
    keyring.set_keyring(before)


@pytest.mark.parametrize(
    "backend",
    [
        _made(null.Keyring),
        _made(fail.Keyring),
        _named("keyrings.alt.file", "PlaintextKeyring"),
        _named("keyrings.alt.file", "EncryptedKeyring"),
        _named("somewhere.else", "Keyring"),
    ],
    ids=lambda backend: f"{type(backend).__module__}.{type(backend).__name__}",
)
def test_a_keyring_that_is_not_known_to_be_secure_is_not_used(
    backend: KeyringBackend, installed: None
) -> None:
    keyring.set_keyring(backend)
    assert keyring_slot.backend() is None
    assert keyring_slot.get(VAULT_ID) is None
    assert keyring_slot.anchor(VAULT_ID, 5) is None
    with pytest.raises(NotFoundError, match="no secure keyring"):
        keyring_slot.put(VAULT_ID, bytes(32))
    keyring_slot.delete(VAULT_ID)


def test_of_several_keyrings_only_a_secure_one_is_used(
    installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, secure = (
        _named("keyrings.alt.file", "PlaintextKeyring"),
        _named("keyring.backends.SecretService", "Keyring"),
    )
    both = _made(chainer.ChainerBackend)
    monkeypatch.setattr(chainer.ChainerBackend, "backends", [plain, secure])
    keyring.set_keyring(both)
    keyring_slot.put(VAULT_ID, bytes(range(32)))
    assert keyring.get_keyring() is secure
    assert plain.get_password(keyring_slot.SERVICE, VAULT_ID) is None
    assert keyring_slot.get(VAULT_ID) == bytes(range(32))


@pytest.fixture
def secret_service(
    home: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a session bus and a keyring of this test's own; yield the bus."""
    if shutil.which("dbus-daemon") is None or shutil.which("gnome-keyring-daemon") is None:
        pytest.skip("there is no real keyring to try: install dbus and gnome-keyring")
    user = tmp_path / "user"
    for folder in (user, user / "run"):
        folder.mkdir(mode=0o700)
    environment = {
        "HOME": str(user),
        "XDG_RUNTIME_DIR": str(user / "run"),
        "XDG_DATA_HOME": str(user / "data"),
    }
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    bus = subprocess.Popen(
        ["dbus-daemon", "--session", "--nofork", "--print-address"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with bus:
        assert bus.stdout is not None
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", bus.stdout.readline().decode().strip())
        daemon = subprocess.Popen(
            ["gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with daemon:
            assert daemon.stdin is not None
            daemon.stdin.write(b"the login password")
            daemon.stdin.close()
            daemon.stdin = None
            yield bus
            daemon.kill()
        bus.kill()


@pytest.mark.model
@pytest.mark.slow
def test_a_real_keyring_opens_the_vault_and_notices_an_older_one(
    home: Any, secret_service: subprocess.Popen[bytes], core: Any, tmp_path: Path
) -> None:
    client = core.unlocked()
    client.request("remember", text="before")
    assert client.request("status")["vault"]["anchored"] is True
    client.request("keyring", on=True)
    client.request("lock")
    older = shutil.copytree(home.vault, tmp_path / "older")
    assert client.request("unlock", passphrase=None)["records"] == 1  # nobody typed anything
    client.request("remember", text="after")
    client.request("lock")
    newest = shutil.copytree(home.vault, tmp_path / "newest")
    _put(home.vault, older)
    with pytest.raises(TamperedError, match="was at"):
        client.request("unlock", passphrase=None)
    _put(home.vault, newest)
    assert client.request("unlock", passphrase=None)["records"] == 2
    client.request("keyring", on=False)
    client.request("lock")
    with pytest.raises(LockedError):
        client.request("unlock", passphrase=None)
    _put(home.vault, newest)  # its slot for the keyring is back, but not the secret
    with pytest.raises((LockedError, CoreError)):
        client.request("unlock", passphrase=None)
    client.request("unlock", passphrase=PASSPHRASE, accept_rollback=True)
    client.request("keyring", on=True)
    rotated = client.request("rotate", passphrase=PASSPHRASE)
    assert (rotated["dropped"], rotated["secret_destroyed"]) == (["keyring"], True)


def _put(vault: Path, copy: Path) -> None:
    for path in copy.iterdir():
        if path.name != "lock":
            shutil.copy(path, vault)


@pytest.mark.model
@pytest.mark.slow
def test_a_keyring_that_goes_away_keeps_nobody_out(
    secret_service: subprocess.Popen[bytes], core: Any
) -> None:
    client = core.unlocked()
    client.request("keyring", on=True)
    client.request("lock")
    secret_service.kill()
    secret_service.wait()
    vault = client.request("unlock", passphrase=PASSPHRASE)
    assert vault["anchored"] is False
    client.request("remember", text="still works")
    assert client.request("records")["total"] == 1
