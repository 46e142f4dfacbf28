"""The anchor: the newest generation of a vault, remembered outside its folder.

Whoever puts back an older copy of the whole vault puts back its head too; only a memory elsewhere notices. The caller
says where that is: `agentkit` keeps it in the OS keyring. Read when the vault is opened; advanced when it is opened and
closed, and whenever `Vault.advance_anchor` is called: what came after the last of these can still be rolled back.
"""

from __future__ import annotations

from typing import Protocol


class Anchor(Protocol):
    """Remembers one number a vault. It must not raise: a memory that cannot be reached returns `None`."""

    def __call__(self, vault_id: str, generation: int | None) -> int | None:
        """Remember `generation`, or with `None` only look; return what is remembered now, if anything."""
        ...
