"""What the core does when asked: the table of requests, and the state they share.

One vault, one engine, one lock around each. A request runs in its connection's thread; the engine writes the answers
of several side by side. Nothing here prints or logs.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkit.context.words import forget_words
from agentkit.core.launcher import LauncherClient
from agentkit.core.lock import Receipt
from agentkit.core.namespaces import hidden_from_debuggers
from agentkit.core.server import Handler, Session
from agentkit.errors import AgentkitError, ConfigError, LockedError, NotFoundError
from agentkit.paths import Home

if TYPE_CHECKING:
    from agentkit.core.kv_store import KvStore
    from agentkit_memory import Embedder, Vault

DEFAULT_CHAT_MODEL = "smollm2-135m"
DEFAULT_EMBEDDER = "minilm-l6-v2"
IDLE_SECONDS = 900.0
"""When nobody asked anything for so long, the vault is locked; and the core ends, unless somebody is connected."""


class Service:
    """The state of one core and its answers."""

    def __init__(
        self,
        home: Home,
        *,
        launcher: LauncherClient,
        receipt: Receipt,
        index_folder: Path | None,
        stop: Callable[[], None],
    ) -> None:
        self.home = home
        self.launcher = launcher
        self.receipt = receipt
        self.idle_seconds = _idle_seconds()
        self._index_folder = index_folder
        self._stop = stop
        self._changing = threading.Lock()
        self._vault: Vault | None = None
        self.states: KvStore | None = None
        """The sealed states of conversations, while the vault is open."""
        self._embedder: Embedder | None = None
        from agentkit.core.indexing import IndexOps
        from agentkit.core.records import RecordOps
        from agentkit.core.runs import RunOps
        from agentkit.core.vaults import VaultOps

        self.vaults, self.records, self.index, self.runs = (
            VaultOps(self),
            RecordOps(self),
            IndexOps(self),
            RunOps(self),
        )
        self._table: dict[str, Handler] = {
            "hello": self._hello,
            "status": self._status,
            "stop": self._stop_core,
            **self.vaults.table(),
            **self.records.table(),
            **self.index.table(),
            **self.runs.table(),
        }

    # --- shared state ----------------------------------------------------------------------------------------

    @property
    def vault(self) -> Vault:
        """The unlocked vault.

        Raises:
            NotFoundError: There is none yet.
            LockedError: It is locked.
        """
        if self._vault is not None:
            return self._vault
        from agentkit_memory import Vault

        if not Vault.exists(self.home.vault):
            raise NotFoundError("there is no vault in this home yet", hint="agentkit init")
        raise LockedError("the vault is locked", hint="agentkit unlock")

    @property
    def unlocked(self) -> bool:
        """Whether the vault is open."""
        return self._vault is not None

    def set_vault(self, vault: Vault | None) -> None:
        """Take the opened vault, or close the one that is open."""
        with self._changing:
            previous, self._vault = self._vault, vault
            states, self.states = self.states, None if vault is None else self._open_states(vault)
        if states is not None:
            states.close()
        if previous is not None:
            self.index.stop_watching()
            previous.close()
            forget_words()

    def _open_states(self, vault: Vault) -> KvStore | None:
        from agentkit.core.kv_store import KvStore

        try:
            return KvStore(self.home.states, vault.key_for("kv states"))
        except OSError:
            return None  # a cache that cannot be kept must not keep its owner out of the vault

    @property
    def index_folder(self) -> Path | None:
        """A folder in memory for Chroma, or `None` where the system gives us none."""
        return self._index_folder

    def embedder(self, *, any_vault: bool = False) -> Embedder:
        """Return the light embedder, loaded at the first use.

        Args:
            any_vault: Whether it matters not which model the open vault's vectors come from.

        Raises:
            EmbeddingMismatchError: They come from another; the hint says what to do.
        """
        with self._changing:
            if self._embedder is None:
                from agentkit_memory import MiniLMEmbedder

                self._embedder = MiniLMEmbedder(self.model_path(DEFAULT_EMBEDDER))
            embedder, vault = self._embedder, self._vault
        if vault is not None and not any_vault:
            vault.check_embedder(embedder.name, embedder.dimensions)
        return embedder

    def model_path(self, name: str) -> Path:
        """Return the file of a stored chat model, or the folder of a stored embedding model.

        Raises:
            ModelMissingError: It is not in the store.
        """
        from agentkit.models.store import ModelStore

        return ModelStore(self.home.models).get(name).path

    # --- requests --------------------------------------------------------------------------------------------

    def handle(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        """Answer one request; see `agentkit.core.server`."""
        op = request.pop("op")
        handler = self._table.get(op) if isinstance(op, str) else None
        if handler is None:
            raise ConfigError(
                "the core does not know this request", hint="the client and the core are of two versions"
            )
        with wrong_fields_are_usage_errors():
            return handler(request, session)

    def busy(self) -> bool:
        """Whether something runs that must not be ended for idleness."""
        return self.index.watching()

    def lock(self) -> None:
        """Lock the vault, if it is open, and end the engine, which has read from it."""
        self.runs.close()
        self.set_vault(None)

    def close(self) -> None:
        """Lock the vault and end the workers."""
        self.runs.close()
        self.index.close()
        self.set_vault(None)

    def _hello(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        return {}

    def _status(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        from agentkit import __version__
        from agentkit.core.vaults import header_summary

        return {
            "version": __version__,
            "pid": os.getpid(),
            "home": str(self.home.root),
            "rss_mb": _rss_mb(),
            "idle_seconds": self.idle_seconds,
            "receipt": self.receipt.to_wire(),
            "hidden_from_debuggers": hidden_from_debuggers(),
            "launcher": self.launcher.report(),
            "vault": header_summary(self),
            "index": self._describe_index(),
            "engine": self.runs.describe(),
            "states": None if self.states is None else self.states.describe(),
        }

    def _describe_index(self) -> dict[str, Any]:
        """Return which index answers, where it lies, and why it is not the one that was wanted."""
        vault = self._vault
        error = None if vault is None else vault.index_error
        return {
            "name": None if vault is None else vault.index_name,
            "place": "on a private tmpfs" if self._index_folder is not None else "inside the process",
            "error": None if error is None else str(error),
        }

    def _stop_core(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        self._stop()
        return {"stopped": True}


@contextmanager
def wrong_fields_are_usage_errors() -> Iterator[None]:
    """Turn a missing or mistyped field of a request into a `ConfigError` that names no value."""
    try:
        yield
    except (KeyError, TypeError) as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        if isinstance(error, AgentkitError):
            raise
        line = trace.tb_lineno if trace else 0
        file = Path(trace.tb_frame.f_code.co_filename).name if trace else "?"
        raise ConfigError(f"the request lacks a field, or has one of another type ({file}:{line})") from error


def _idle_seconds() -> float:
    """Read `AGENTKIT_IDLE_SECONDS`.

    Raises:
        ConfigError: It is no number of seconds.
    """
    given = os.environ.get("AGENTKIT_IDLE_SECONDS")
    try:
        seconds = IDLE_SECONDS if given is None else float(given)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e9:
        raise ConfigError("AGENTKIT_IDLE_SECONDS is no number of seconds", hint="AGENTKIT_IDLE_SECONDS=900")
    return seconds


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)
