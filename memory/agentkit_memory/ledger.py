"""What a vault keeps beside its records: roots, conversations, settings, and who may open it.

The part of `Vault` that needs no index and no vectors; what a method changed is on disk when it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agentkit_memory import backup, citations, recovery, state
from agentkit_memory.access import Access
from agentkit_memory.header import SlotInfo
from agentkit_memory.keys import KdfParameters
from agentkit_memory.record import ConversationInfo


class Ledger:
    """The bookkeeping of an unlocked vault."""

    def __init__(self, access: Access, clock: Callable[[], float], *, allow_weak_kdf: bool) -> None:
        self._access = access
        self._clock = clock
        self._allow_weak_kdf = allow_weak_kdf

    @property
    def generation(self) -> int:
        """How many commits the vault has seen."""
        return self._access.guard.generation

    @property
    def anchored(self) -> bool:
        """Whether an anchor outside the folder remembers the newest generation."""
        return self._access.guard.anchored

    def advance_anchor(self) -> None:
        """Let the anchor remember what was committed until now."""
        with self._access.reading():
            self._access.guard.advance_anchor()

    def verify(self) -> None:
        """Read and check every page of the database.

        Raises:
            TamperedError: Something is damaged.
        """
        with self._access.reading() as database:
            database.verify()

    def key_for(self, purpose: str) -> bytes:
        """Return a 32-byte key for files of the caller's own, which `seal` takes; another one after `rotate`.

        It can be told apart from every key of the vault itself, and tells nothing of them.
        """
        return self._access.master.subkey("caller " + purpose)

    # Roots

    def roots(self) -> list[str]:
        """Return the indexed folders, sorted."""
        with self._access.reading() as database:
            return state.roots(database)

    def add_root(self, path: str) -> None:
        """Note that a folder is indexed."""
        with self._access.transaction() as database:
            database.change("INSERT OR IGNORE INTO roots (path) VALUES (?)", (path,))

    def remove_root(self, path: str) -> None:
        """Note that a folder is no longer indexed; its files stay until they are removed."""
        with self._access.transaction() as database:
            database.change("DELETE FROM roots WHERE path = ?", (path,))

    # Conversations and settings

    def append_message(self, conversation: str, message: dict[str, Any]) -> int:
        """Add a JSON-able message at the end of a conversation; return its number, from 0."""
        with self._access.transaction() as database:
            number = state.append_message(database, conversation, message, self._clock())
            citations.note(database, citations.of_message(message))
        return number

    def conversation(self, conversation: str) -> list[dict[str, Any]]:
        """Return the messages of a conversation, oldest first; none when it does not exist."""
        with self._access.reading() as database:
            return state.messages(database, conversation)

    def conversations(self) -> list[ConversationInfo]:
        """Return every conversation, the one last used first."""
        with self._access.reading() as database:
            return state.conversations(database)

    def delete_conversation(self, conversation: str) -> int:
        """Delete a conversation's messages; return how many there were. Its rounds are records: delete them too."""
        with self._access.transaction() as database:
            return state.delete_conversation(database, conversation)

    def get_setting(self, key: str, default: Any = None) -> Any:  # noqa: ANN401 - any JSON value
        """Return a setting, or `default` when it was never set."""
        with self._access.reading() as database:
            return state.setting(database, key, default)

    def set_setting(self, key: str, value: Any) -> None:  # noqa: ANN401 - any JSON value
        """Set a small JSON-able value."""
        with self._access.transaction() as database:
            state.put_setting(database, key, value)

    # Slots

    def slots(self) -> list[SlotInfo]:
        """Return the ways to unlock this vault."""
        return list(self._access.header.slots)

    def add_keyring_slot(self, secret: bytes) -> None:
        """Let 32 random bytes open this vault too; the caller keeps them in the OS keyring. Replaces an older one."""
        self._access.rewrite_header(lambda header: header.with_keyring(secret, self._access.master))

    def remove_slot(self, name: str) -> None:
        """Remove a way to unlock; refuse (`RecordError`) one that is not there, and the last."""
        self._access.rewrite_header(lambda header: header.without(name, self._access.master))

    def change_passphrase(self, old: bytes, new: bytes) -> None:
        """Replace a passphrase. No record is rewritten; a copy of the old header still opens with the old one.

        Raises:
            WrongPassphraseError: `old` opens no slot.
        """
        self._access.rewrite_header(
            lambda header: header.with_passphrase(old, new, allow_weak_kdf=self._allow_weak_kdf)
        )

    # Upkeep

    def add_passphrase(self, name: str, passphrase: bytes, *, kdf: KdfParameters | None = None) -> None:
        """Let another passphrase open this vault too, under a slot of this name."""
        kdf = kdf or KdfParameters.tuned()
        kdf.check(allow_weak=self._allow_weak_kdf)
        self._access.rewrite_header(
            lambda header: header.with_added_passphrase(name, passphrase, kdf, self._access.master)
        )

    def add_recovery_code(self) -> str:
        """Return a fresh code that opens this vault wherever a passphrase does; replaces an older one. Shown once."""
        code = recovery.generate()
        self._access.rewrite_header(lambda header: header.with_recovery(code, self._access.master))
        return code

    # Taking it out

    def backup(self, folder: Path) -> None:
        """Write an encrypted, complete copy of the open vault into a new or empty folder.

        It opens with what opens this vault now. Where an anchor remembers a newer generation, opening it needs
        `accept_rollback`.

        Raises:
            VaultExistsError: The folder holds something.
            StorageError: The disk is full or failed.
        """
        backup.backup(self._access, folder)

    @staticmethod
    def restore(source: Path, folder: Path) -> None:
        """Copy what `backup` wrote into `folder`; needs no key. Nothing is trusted before it is opened.

        Raises:
            StorageError: It cannot be read or written.
        """
        backup.restore(source, folder)

    @staticmethod
    def check_backup(folder: Path, *, passphrase: bytes, allow_weak_kdf: bool = False) -> int:
        """Check that every byte of a backup, or of a vault that is closed, is what was written; return its generation.

        Nothing is written, and nothing said of whether it is the newest.

        Args:
            folder: What `backup` made.
            passphrase: Or a recovery code, of the time it was made.
            allow_weak_kdf: See `Vault.create`.

        Raises:
            VaultMissingError: There is none.
            WrongPassphraseError: No slot opens.
            TamperedError: Damaged, changed, incomplete, or copied while it was in use.
            NewerVaultError, WeakKeyError, StorageError: As `Vault.open`.
        """
        return backup.check(folder, passphrase, allow_weak_kdf=allow_weak_kdf)

    def export(self) -> Iterator[dict[str, Any]]:
        """Yield every record and message as a JSON-able dict, in clear and without vectors."""
        return backup.export(self._access)
