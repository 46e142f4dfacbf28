"""Where things lie: one home per user, everything in it private (0700)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Home:
    """The folders of one agentkit home. Nothing is created until `ensure` is called."""

    root: Path

    @classmethod
    def default(cls) -> Home:
        """Return the home of this user: `AGENTKIT_HOME`, else the XDG data folder."""
        chosen = os.environ.get("AGENTKIT_HOME")
        if chosen:
            return cls(Path(chosen).expanduser().absolute())
        data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
        return cls(Path(data).expanduser().absolute() / "agentkit")

    @property
    def vault(self) -> Path:
        """The encrypted vault: header, database, snapshot."""
        return self.root / "vault"

    @property
    def models(self) -> Path:
        """The model store; `AGENTKIT_MODELS` shares one between homes."""
        shared = os.environ.get("AGENTKIT_MODELS")
        return Path(shared).expanduser().absolute() if shared else self.root / "models"

    @property
    def states(self) -> Path:
        """Computed states of conversations, sealed."""
        return self.root / "states"

    @property
    def run(self) -> Path:
        """Sockets and process ids; holds no content."""
        return self.root / "run"

    @property
    def socket(self) -> Path:
        """Where the core listens."""
        return self.run / "core.sock"

    @property
    def workspace(self) -> Path:
        """The only folder a sandboxed tool may write."""
        return self.root / "workspace"

    @property
    def policy(self) -> Path:
        """The user's policy file."""
        return self.root / "policy.toml"

    def ensure(self) -> Home:
        """Create the folders, private to this user."""
        for folder in (self.root, self.vault, self.models, self.run, self.workspace):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self


def whole_path(path: str | Path) -> str:
    """Return a path as the vault knows it: from the root, `~` and `..` resolved, links in it as they were written."""
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - both leave links, and neither raises
