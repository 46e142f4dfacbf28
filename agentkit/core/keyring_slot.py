"""The vault's secret and its anchor in the operating system's keyring.

Only secure back-ends are allowed by name: a plain-text one that happens to be installed would be chosen silently.
Runs in a child of the launcher: the library opens sockets to the desktop session, which the core may not.
"""

from __future__ import annotations

from contextlib import suppress

from agentkit.errors import NotFoundError

SERVICE = "agentkit"
ANCHOR_SERVICE = "agentkit anchor"
ALLOWED_BACKENDS = frozenset(
    {
        "keyring.backends.SecretService.Keyring",
        "keyring.backends.kwallet.DBusKeyring",
        "keyring.backends.macOS.Keyring",
        "keyring.backends.Windows.WinVaultKeyring",
    }
)


def backend() -> str | None:
    """Return the name of the secure back-end in use, or `None`."""
    import keyring
    from keyring.backends.chainer import ChainerBackend

    chosen = keyring.get_keyring()
    candidates = chosen.backends if isinstance(chosen, ChainerBackend) else [chosen]
    for each in candidates:
        name = f"{type(each).__module__}.{type(each).__qualname__}"
        if name in ALLOWED_BACKENDS:
            keyring.set_keyring(each)
            return name
    return None


def get(vault_id: str) -> bytes | None:
    """Return the secret kept for `vault_id`, or `None`."""
    if backend() is None:
        return None
    import keyring

    kept = keyring.get_password(SERVICE, vault_id)
    return bytes.fromhex(kept) if kept else None


def put(vault_id: str, secret: bytes) -> None:
    """Keep `secret` for `vault_id`.

    Raises:
        NotFoundError: There is no secure keyring here.
    """
    if backend() is None:
        raise NotFoundError(
            "no secure keyring in this session", hint="use the passphrase, or log in to a desktop"
        )
    import keyring

    keyring.set_password(SERVICE, vault_id, secret.hex())


def delete(vault_id: str) -> bool:
    """Forget the secret of `vault_id`, if there is one; return whether there is none now, as far as can be seen."""
    if backend() is None:
        return False
    import keyring
    from keyring.errors import PasswordDeleteError

    with suppress(PasswordDeleteError):  # there was none
        keyring.delete_password(SERVICE, vault_id)
    return keyring.get_password(SERVICE, vault_id) is None


def anchor(vault_id: str, generation: int | None) -> int | None:
    """Remember the newest generation of `vault_id`, or with `None` only look; return what is remembered now."""
    if backend() is None:
        return None
    import keyring

    if generation is not None:
        keyring.set_password(ANCHOR_SERVICE, vault_id, str(generation))
    kept = keyring.get_password(ANCHOR_SERVICE, vault_id)
    return int(kept) if kept and kept.isdecimal() else None
