"""Requests about the vault itself: make it, open it, close it, change who may open it."""

from __future__ import annotations

import secrets
import shutil
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkit.core.records import WORTH_AN_INDEX
from agentkit.core.server import Handler, Session
from agentkit.errors import ConfigError, CoreError, LockedError, NotFoundError

if TYPE_CHECKING:
    from agentkit.core.service import Service
    from agentkit_memory import Vault

MIN_PASSPHRASE_CHARACTERS = 8
KEYRING_SECRET_BYTES = 32
TO_DESTROY = "keyring secret to destroy"
"""A setting of the vault: true from before its keyring slot is dropped until the secret is destroyed, too."""


class VaultOps:
    """`init`, `unlock`, `lock`, `passphrase`, `keyring`, the other slots, `rotate`, and taking the vault out and in."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._no_keyring = False
        self._opening = threading.Lock()
        self._copies = service.home.root / "backups"
        shutil.rmtree(self._copies, ignore_errors=True)  # of clients that ended before they took theirs

    def table(self) -> dict[str, Handler]:
        """Return the requests answered here."""
        return {
            "init": self._init,
            "unlock": self._unlock,
            "lock": self._lock,
            "passphrase": self._passphrase,
            "keyring": self._keyring,
            "add_passphrase": self._add_passphrase,
            "add_recovery": self._add_recovery,
            "remove_slot": self._remove_slot,
            "rotate": self._rotate,
            "verify": self._verify,
            "verify_backup": self._verify_backup,
            "backup": self._backup,
            "restore": self._restore,
            "export": self._export,
        }

    def _init(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        from agentkit.core.service import DEFAULT_EMBEDDER
        from agentkit_memory import Vault

        passphrase = _passphrase(request["passphrase"])
        vault = Vault.create(
            self._service.home.vault,
            passphrase=passphrase,
            embedder=DEFAULT_EMBEDDER,
            dimensions=self._service.embedder().dimensions,
            index_folder=self._service.index_folder,
            anchor=self.anchor,
        )
        self._service.set_vault(vault)
        return header_summary(self._service)

    def _unlock(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        with self._opening:  # of two clients that unlock at once, the second finds it open
            return self._open(request)

    def _open(self, request: dict[str, Any]) -> Mapping[str, Any]:
        from agentkit_memory import Vault

        service = self._service
        if service.unlocked:
            return header_summary(service)
        if not Vault.exists(service.home.vault):
            raise NotFoundError("there is no vault in this home yet", hint="agentkit init")
        given, secret = request.get("passphrase"), None
        if given is None:
            secret = self._from_keyring()
            if secret is None:
                raise LockedError("the vault is locked", hint="agentkit unlock")
        vault = Vault.open(
            service.home.vault,
            passphrase=None if given is None else _bytes(given),
            keyring_secret=secret,
            index_folder=service.index_folder,
            anchor=self.anchor,
            accept_rollback=bool(request.get("accept_rollback")),
        )
        service.set_vault(vault)
        self._destroy_secret(vault)
        if vault.count() >= WORTH_AN_INDEX:
            vault.warm()
        return header_summary(service)

    def _lock(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        self._service.lock()
        return header_summary(self._service)

    def _passphrase(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        self._service.vault.change_passphrase(_bytes(request["old"]), _passphrase(request["new"]))
        return header_summary(self._service)

    def _keyring(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        vault = self._service.vault
        if request["on"]:
            secret = secrets.token_bytes(KEYRING_SECRET_BYTES)
            # The keyring first, and read back: a slot whose secret nobody has would open for nobody.
            self._ask_keyring({"verb": "set", "vault_id": vault.id, "secret": secret})
            if self._ask_keyring({"verb": "get", "vault_id": vault.id})["secret"] != secret:
                raise CoreError(
                    "the keyring did not keep the secret", hint="nothing was changed in the vault"
                )
            vault.add_keyring_slot(secret)
        else:
            self._remove("keyring")
        return header_summary(self._service)

    def _add_passphrase(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        self._service.vault.add_passphrase(str(request["name"]), _passphrase(request["passphrase"]))
        return header_summary(self._service)

    def _add_recovery(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        return {"code": self._service.vault.add_recovery_code()}

    def _remove_slot(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        self._remove(str(request["name"]))
        return header_summary(self._service)

    def _rotate(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        service, passphrase = self._service, _bytes(request["passphrase"])
        vault = service.vault
        slots = vault.slots()
        with_keyring = any(slot.kind == "keyring" for slot in slots)
        if with_keyring:
            vault.set_setting(TO_DESTROY, True)
        service.index.stop_watching()
        vault.rotate(passphrase)
        service.runs.forget_prompts()
        service.set_vault(None)
        summary = self._unlock({"passphrase": passphrase}, session)
        kept = {slot["name"] for slot in summary["slots"]}
        return {
            **summary,
            "dropped": [slot.name for slot in slots if slot.name not in kept],
            "secret_destroyed": not summary["keyring_secret_left"] if with_keyring else None,
        }

    def _verify(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        vault = self._service.vault
        vault.verify()
        return {"verified": True, "generation": vault.generation, "anchored": vault.anchored}

    def _verify_backup(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        from agentkit_memory import Vault

        folder = Path(request["path"])
        if not Vault.exists(folder):
            raise NotFoundError(f"there is no backup of a vault in {folder}")
        generation = Vault.check_backup(folder, passphrase=_bytes(request["passphrase"]))
        return {"verified": True, "generation": generation}

    def _backup(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        # Inside the home, the only place the core may write; the client copies it to where it is wanted.
        folder = self._copies / secrets.token_hex(8)
        self._service.vault.backup(folder)
        return {"folder": str(folder)}

    def _restore(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        from agentkit_memory import Vault

        source, target = Path(request["path"]), self._service.home.vault
        if Vault.exists(target):
            raise ConfigError(
                f"there is a vault in {target} already",
                hint="move that folder away first, or use another AGENTKIT_HOME",
            )
        if not Vault.exists(source):
            raise NotFoundError(f"there is no backup of a vault in {source}")
        Vault.restore(source, target)
        return header_summary(self._service)

    def _export(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        count = 0
        for entry in self._service.vault.export():
            session.emit(entry)
            count += 1
        return {"exported": count}

    def anchor(self, vault_id: str, generation: int | None) -> int | None:
        """Remember the newest generation of the vault in the keyring, where there is one; see `Anchor`."""
        if self._no_keyring:
            return None
        try:
            answer = self._ask_keyring({"verb": "anchor", "vault_id": vault_id, "generation": generation})
        except CoreError:
            return None  # a keyring that fails must not keep its owner out of the vault
        self._no_keyring = answer["backend"] is None
        kept = answer["generation"]
        return None if kept is None else int(kept)

    def _remove(self, name: str) -> None:
        vault = self._service.vault
        if any(slot.name == name and slot.kind == "keyring" for slot in vault.slots()):
            vault.set_setting(TO_DESTROY, True)
        vault.remove_slot(name)
        self._destroy_secret(vault)

    def _destroy_secret(self, vault: Vault) -> None:
        """Destroy the secret of a keyring slot that was dropped; where that fails, the next unlocking tries again.

        Copies of the vault that were made before still have the slot, and open with the secret for as long as it lasts.
        """
        from agentkit_memory import StorageError

        if secret_left(vault):
            with suppress(CoreError, StorageError):  # neither must keep its owner out of the vault
                if self._ask_keyring({"verb": "delete", "vault_id": vault.id})["gone"]:
                    vault.set_setting(TO_DESTROY, False)

    def _from_keyring(self) -> bytes | None:
        from agentkit_memory import Vault

        header = Vault.read_header(self._service.home.vault)
        if not any(slot.kind == "keyring" for slot in header.slots):
            return None
        secret = self._ask_keyring({"verb": "get", "vault_id": header.id})["secret"]
        return bytes(secret) if secret else None

    def _ask_keyring(self, request: dict[str, Any]) -> dict[str, Any]:
        answer = self._service.launcher.job({"op": "keyring", **request}, timeout=20)
        if "error" in answer:
            raise CoreError(f"the keyring: {answer['error']}", hint=answer.get("hint"))
        return answer


def secret_left(vault: Vault) -> bool:
    """Whether the keyring may still hold the secret of a slot that was dropped."""
    return bool(vault.get_setting(TO_DESTROY)) and all(slot.kind != "keyring" for slot in vault.slots())


def header_summary(service: Service) -> dict[str, Any]:
    """Return what may be told about the vault without opening it, and its counts if it is open."""
    from agentkit_memory import Vault

    if not Vault.exists(service.home.vault):
        return {"state": "absent"}
    header = Vault.read_header(service.home.vault)
    summary: dict[str, Any] = {
        "state": "unlocked" if service.unlocked else "locked",
        "id": header.id,
        "format": header.version,
        "slots": [{"name": slot.name, "kind": slot.kind} for slot in header.slots],
    }
    if service.unlocked:
        vault = service.vault
        summary["anchored"] = vault.anchored
        summary["keyring_secret_left"] = secret_left(vault)
        summary |= {"records": vault.count(), "files": len(vault.files()), "roots": vault.roots()}
    return summary


def _passphrase(given: object) -> bytes:
    passphrase = _bytes(given)
    if len(passphrase.decode("utf-8", "replace")) < MIN_PASSPHRASE_CHARACTERS:
        raise ConfigError(
            f"the passphrase has fewer than {MIN_PASSPHRASE_CHARACTERS} characters",
            hint="four or five unrelated words are easy to remember and hard to guess",
        )
    return passphrase


def _bytes(given: object) -> bytes:
    if isinstance(given, str):
        return given.encode("utf-8", "surrogateescape")
    if isinstance(given, bytes):
        return given
    raise ConfigError("a passphrase is text or bytes")
