"""Requests about folders: index one, watch it, list them, let go of one."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkit.core.server import Handler, Session
from agentkit.errors import IndexingError, NotFoundError

if TYPE_CHECKING:
    from agentkit.core.service import Service
    from agentkit.indexing.reading import Reader
    from agentkit.indexing.sync import IndexEvent, Sync
    from agentkit.models.embedding import WorkerEmbedder

CHECK_SECONDS = 0.2


class IndexOps:
    """`index`, `folders`, `unindex`."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._working = threading.Lock()  # one writer of the index at a time
        self._reader: Reader | None = None
        self._watches = 0
        self._counting = threading.Lock()
        self._ending = threading.Event()

    def table(self) -> dict[str, Handler]:
        """Return the requests answered here."""
        return {"index": self._index, "folders": self._folders, "unindex": self._unindex}

    def watching(self) -> bool:
        """Whether a client waits for changes of a folder."""
        return self._watches > 0

    def stop_watching(self) -> None:
        """End every watch: the vault is about to be closed."""
        self._ending.set()
        with self._working:
            self._ending = threading.Event()

    def close(self) -> None:
        """End the reader worker."""
        self._ending.set()
        if self._reader is not None:
            self._reader.close()

    def _index(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        root = Path(request["path"])
        if not root.is_absolute():
            raise IndexingError("the core needs the whole path of a folder")
        if not root.exists():
            raise NotFoundError(
                f"no such file or folder: {root}", hint="check the spelling; nothing was changed"
            )
        vault = self._service.vault
        watch = bool(request.get("watch"))
        changes: queue.SimpleQueue[set[Path]] = queue.SimpleQueue()
        if not watch:
            return self._pass(lambda sync: sync.run(root), session, root)
        from agentkit.indexing.watch import Watcher

        watcher = Watcher(root, changes.put)  # before the first pass, so that no change falls between the two
        watcher.start()
        ending = self._ending
        with self._counting:
            self._watches += 1
        try:
            summary = self._pass(lambda sync: sync.run(root), session, root)
            session.emit(
                {"type": "Watching", "path": str(root), "mode": watcher.mode, "reason": watcher.reason}
            )
            while not ending.is_set() and self._service.unlocked and self._service.vault is vault:
                session.check()
                try:
                    changed = changes.get(timeout=CHECK_SECONDS)
                except queue.Empty:
                    continue
                self._pass(partial(_follow, changed), session, root)
            return summary
        finally:
            watcher.stop()
            with self._counting:
                self._watches -= 1

    def _pass(
        self, work: Callable[[Sync], Iterable[IndexEvent]], session: Session, root: Path
    ) -> Mapping[str, Any]:
        summary: dict[str, Any] = {"path": str(root)}
        with self._working, self.bulk() as bulk:
            for event in work(self._sync(bulk)):
                wire = {"type": type(event).__name__, **_plain(asdict(event))}
                session.emit(wire)
                if wire["type"] == "IndexFinished":
                    summary |= {key: value for key, value in wire.items() if key != "type"}
            if summary.get("removed"):
                self._service.runs.forget_prompts()  # they may hold what the removed files said
        return summary

    def _sync(self, bulk: WorkerEmbedder) -> Sync:
        from agentkit.indexing.reading import Reader
        from agentkit.indexing.sync import Sync

        if self._reader is None:
            self._reader = Reader(self._service.launcher)
        return Sync(self._service.vault, self._service.embedder(), self._reader, bulk=bulk)

    @contextmanager
    def bulk(self) -> Iterator[WorkerEmbedder]:
        """Lend the bulk embedder for one pass: half a gigabyte is not kept for the next folder."""
        from agentkit.models.embedding import WorkerEmbedder

        service = self._service
        light = service.embedder(any_vault=True)
        bulk = WorkerEmbedder(
            service.model_path(light.name), service.launcher, name=light.name, dimensions=light.dimensions
        )
        try:
            yield bulk
        finally:
            bulk.close()

    def _folders(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        vault = self._service.vault
        listed = []
        for root in vault.roots():
            files = vault.files(root)
            listed.append(
                {
                    "path": root,
                    "files": len(files),
                    "chunks": sum(state.chunks for state in files.values()),
                    "skipped": {path: state.error for path, state in files.items() if state.error},
                }
            )
        return {"folders": listed}

    def _unindex(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        from agentkit_memory import Filter

        vault, root = self._service.vault, os.path.abspath(request["path"])  # noqa: PTH100 - not through links
        with self._working, self._service.runs.forgetting():
            gone = vault.forget(where=Filter(kinds=("document",), under=root))
            for path in vault.files(root):  # those without a passage: empty ones, and what could not be read
                vault.remove_file(path)
            vault.remove_root(root)
        found = {name: value for name, value in asdict(gone).items() if name != "ids"}
        return {"path": root, **found, "forgotten": len(gone.ids) - gone.derived, "proven": gone.proven}


def _follow(changed: set[Path], sync: Sync) -> Iterable[IndexEvent]:
    return sync.sync_paths(sorted(changed))


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return `value` with paths as text, ready for the wire."""
    match value:
        case dict():
            return {key: _plain(each) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case Path():
            return str(value)
    return value
