"""The stage of the demonstration: the notes, a folder to throw away, the adapter, and a second client that watches."""

from __future__ import annotations

import os
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agentkit.client import CoreClient
from agentkit.errors import AgentkitError, NotFoundError
from agentkit.paths import Home

WATCH_SECONDS = 30.0


class StepFailedError(AgentkitError):
    """A step did not show what it had to show."""


def find_notes() -> Path:
    """Return the folder of example notes.

    Raises:
        NotFoundError: It is not beside this installation.
    """
    folder = Path(__file__).resolve().parents[2] / "examples" / "notes"
    if not folder.is_dir():
        raise NotFoundError(
            "the example notes are not part of this installation",
            hint="run `make demo` in a checkout of the repository",
        )
    return folder


@contextmanager
def throw_away_folder() -> Iterator[Path]:
    """Yield a private folder that is removed at the end, in the user's cache or where temporary files go."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "agentkit"
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = tempfile.mkdtemp(prefix="demo-", dir=cache)
    except OSError:
        folder = tempfile.mkdtemp(prefix="agentkit-demo-")
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def other_models(folder: Path) -> Iterator[None]:
    """Let every home use the models in `folder` while the block runs."""
    before = os.environ.get("AGENTKIT_MODELS")
    os.environ["AGENTKIT_MODELS"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["AGENTKIT_MODELS"]
        else:
            os.environ["AGENTKIT_MODELS"] = before


def has_adapter(home: Home) -> bool:
    """Return whether the default model, as it was tuned, runs with an adapter.

    Raises:
        ModelMissingError: It is not in the store.
    """
    from agentkit.models.catalogue import AGENT, DEFAULT_CHAT
    from agentkit.models.profile import as_tuned
    from agentkit.models.store import ModelStore

    _, options = as_tuned(ModelStore(home.models), DEFAULT_CHAT)
    return AGENT in options.get("adapters", {})


def adapter_of(core: CoreClient) -> str:
    """Return the adapter that the engine of a core has loaded.

    Raises:
        StepFailedError: It is not the one that agentkit comes with.
    """
    from agentkit.models.catalogue import CATALOGUE, DEFAULT_CHAT

    engines = core.request("status")["engine"] or {}
    loaded = [each["sha256"] for engine in engines.values() for each in engine["adapters"].values()]
    shipped = CATALOGUE[DEFAULT_CHAT].adapter
    if shipped is None or shipped.sha256 not in loaded:
        raise StepFailedError("the model ran without its adapter")
    return Path(shipped.file).stem


class Watched:
    """The events of `index --watch`, as another client of the same core gets them."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def wait_for(self, kind: str, path: str) -> None:
        """Return when an event of this kind about `path` has come; an empty path is any.

        Raises:
            StepFailedError: It did not come in time.
        """
        deadline = time.monotonic() + WATCH_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            try:
                event = self.events.get(timeout=left)
            except queue.Empty:
                break
            if event["type"] == kind and path in ("", event.get("path")):
                return
        raise StepFailedError(f"the watcher said nothing for {WATCH_SECONDS:.0f} s")


@contextmanager
def watching(client: CoreClient, folder: Path) -> Iterator[Watched]:
    """Watch `folder` over a connection of its own while the block runs; the connection is closed then."""
    watched = Watched()

    def follow() -> None:
        try:
            for event in client.stream("index", path=str(folder), watch=True):
                watched.events.put(event)
        except AgentkitError:
            return  # the connection was closed: the block has ended

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield watched
    finally:
        client.close()
        thread.join(10)


def read_all(
    stream: Generator[dict[str, Any], None, dict[str, Any]], show: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Show every event of a stream and return its result."""
    try:
        while True:
            show(next(stream))
    except StopIteration as done:
        result: dict[str, Any] = done.value
        return result
