"""Download one file over HTTPS so that any interruption costs only what had not arrived.

The part lies in `KEY.part`, what is known of it in `KEY.json`: the validator that ties the part to one version of the
file (RFC 9110 §13.1.5, If-Range), its length, and the hash the server announced. A part without validator is only
continued where a hash will tell at the end.
Source: RFC 9110 §14 (range requests); `X-Linked-Etag` and `X-Linked-Size` are Hugging Face's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import http.client
import json
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from agentkit.errors import FetchError, HashMismatchError, LimitError
from agentkit.fetcher.request import Emit, UrlRequest
from agentkit.models.disk import CHUNK_BYTES, flush_folder, require_space, write_all
from agentkit.models.progress import Meter

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
MAX_CONNECTIONS = 200
"""In all, however well each one goes."""
MAX_WAIT_SECONDS = 60.0
OFFLINE = "check the connection, or bring in a file you have: agentkit models import FILE"

_READ_BYTES = 1 << 18
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_SHA256 = re.compile(r'"?([0-9a-f]{64})"?')
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Fetched:
    """A complete file."""

    path: Path
    size: int
    sha256: str
    announced: bool
    """The server had announced this hash."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of the file on the server: the sidecar of the part."""

    validator: str | None = None
    total: int | None = None
    sha256: str | None = None


class _Retry(Exception):  # noqa: N818 - never leaves this file
    """The attempt failed in a way that another one may not."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after


def check_url(url: str, *, allow_loopback_http: bool = False) -> str:
    """Return `url` if the fetcher may go there: HTTPS, no credentials in it.

    Raises:
        FetchError: It may not.
    """
    parts = urlsplit(url)
    plain = allow_loopback_http and parts.scheme == "http" and parts.hostname in LOOPBACK
    if (parts.scheme != "https" and not plain) or not parts.hostname:
        raise FetchError(f"{parts.scheme or 'no scheme'}://{parts.hostname}: only https is fetched")
    if parts.username or parts.password:
        raise FetchError(f"{parts.hostname}: an address with a password in it is not fetched")
    return url


def download(request: UrlRequest, emit: Emit) -> Fetched:
    """Fetch the file of `request`, or the rest of it, into its folder.

    Raises:
        FetchError: The server refuses, or all attempts failed; what has arrived is kept for the next time.
        HashMismatchError: The complete file has another hash; it is removed.
        LimitError: It is over the limit, or the disk is full.
    """
    check_url(request.url, allow_loopback_http=request.allow_loopback_http)
    downloads = Path(request.downloads)
    downloads.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = hashlib.sha256(request.url.encode()).hexdigest()[:32]  # an address may hold a secret: never written
    part = downloads / f"{key}.part"
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FetchError(f"{request.file}: another process is downloading it") from None
        return _Download(request, emit, part, descriptor).run()
    finally:
        os.close(descriptor)


class _Download:
    """One file on its way."""

    def __init__(self, request: UrlRequest, emit: Emit, part: Path, descriptor: int) -> None:
        self._request = request
        self._emit = emit
        self._part = part
        self._sidecar = part.with_suffix(".json")
        self._descriptor = descriptor
        self._known = self._read_sidecar()
        self._digest = hashlib.sha256()
        self._done = 0
        self._meter = Meter()
        self._opener, self._redirects = _opener(request)

    def run(self) -> Fetched:
        """Try until the file is complete, then check it and move it into place."""
        self._take_up()
        failures = 0
        for _ in range(MAX_CONNECTIONS):
            before = self._done
            try:
                self._attempt()
                return self._finish()
            except _Retry as retry:
                failures = 1 if self._done > before else failures + 1
                if failures >= self._request.attempts:
                    raise FetchError(
                        f"{self._request.file}: {retry.reason}, {failures} times; "
                        f"{self._done} bytes have arrived and are kept",
                        hint=f"{OFFLINE}; the same command goes on from there",
                    ) from retry
                wait = self._request.retry_seconds * 2 ** (failures - 1)
                time.sleep(min(max(wait, retry.after or 0), MAX_WAIT_SECONDS))
        raise FetchError(f"{self._request.file}: broke off {MAX_CONNECTIONS} times", hint="try again later")

    def _take_up(self) -> None:
        """Hash what an earlier attempt left, so that the rest can follow."""
        trusted = self._known.validator or self._known.sha256 or self._request.sha256
        if not trusted or os.fstat(self._descriptor).st_size > self._request.limit_bytes:
            self._start_over()
            return
        while chunk := os.read(self._descriptor, CHUNK_BYTES):
            self._digest.update(chunk)
            self._done += len(chunk)

    def _start_over(self) -> None:
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._digest, self._done = hashlib.sha256(), 0

    def _attempt(self) -> None:
        if self._done and self._done == self._known.total:
            return  # complete, only never moved into place
        headers = {"User-Agent": "agentkit", "Accept": "*/*", "Accept-Encoding": "identity"}
        if self._done:
            headers["Range"] = f"bytes={self._done}-"
            if self._known.validator:
                headers["If-Range"] = self._known.validator
        self._redirects.announced = None
        question = urllib.request.Request(self._request.url, headers=headers)  # noqa: S310 - checked by check_url
        try:
            with self._opener.open(question, timeout=self._request.timeout_seconds) as answer:
                self._receive(answer)
        except urllib.error.HTTPError as error:
            with error:
                self._refused(error)
        except (http.client.HTTPException, urllib.error.URLError, ConnectionError, TimeoutError) as error:
            if isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
                raise FetchError(
                    f"{self._request.file}: the certificate of the server is not trusted",
                    hint="behind a company proxy, set SSL_CERT_FILE to its certificates",
                ) from error
            raise _Retry(_reason(error)) from error
        except OSError as error:
            if error.errno not in _FULL:
                raise _Retry(_reason(error)) from error
            raise LimitError(
                f"{self._request.file}: the disk is full after {self._done} bytes; they are kept",
                hint="free some space and type the same command again: it goes on from there",
            ) from error

    def _refused(self, error: urllib.error.HTTPError) -> None:
        """Decide what a status other than 2xx means."""
        if error.code == 416:
            self._start_over()
            raise _Retry("the server has no such range")
        if error.code in _RETRIED:
            after = error.headers.get("Retry-After", "")
            raise _Retry(f"the server answers {error.code}", float(after) if after.isdigit() else None)
        hints = {
            401: "the model asks for an account: get it with a browser, then: agentkit models import FILE",
            403: "the model asks for an account: get it with a browser, then: agentkit models import FILE",
            404: "check owner, repository, file and revision",
        }
        raise FetchError(f"{self._request.file}: the server answers {error.code}", hint=hints.get(error.code))

    def _receive(self, answer: http.client.HTTPResponse) -> None:
        """Write what the server sends to the part, checking it against what was known and asked."""
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise FetchError(f"{self._request.file}: the server sends it in another encoding")
        known = _known(answer, self._redirects.announced)
        start = _range_start(answer) if answer.status == 206 else 0
        changed = self._known.sha256 and known.sha256 and self._known.sha256 != known.sha256
        if start != self._done or changed:
            self._start_over()  # the file changed, or the server knows no ranges
            if start:
                raise _Retry("the file has changed on the server")
        if known.total is not None:
            if known.total > self._request.limit_bytes:
                raise LimitError(
                    f"{self._request.file}: {known.total} bytes, over the limit of {self._request.limit_bytes}"
                )
            require_space(self._part.parent, known.total - self._done)
        self._known = known
        self._write_sidecar()
        while chunk := answer.read1(_READ_BYTES):
            if self._done + len(chunk) > min(
                self._request.limit_bytes, known.total or self._request.limit_bytes
            ):
                self._remove()
                raise LimitError(
                    f"{self._request.file}: more than {known.total or self._request.limit_bytes} bytes arrived"
                )
            write_all(self._descriptor, chunk)
            self._digest.update(chunk)
            self._done += len(chunk)
            if self._meter.due(self._done):
                self._report()
        if known.total is not None and self._done < known.total:
            raise _Retry("the connection broke off")

    def _finish(self) -> Fetched:
        found = self._digest.hexdigest()
        wanted = self._request.sha256 or self._known.sha256
        if wanted is not None and found != wanted:
            self._remove()
            raise HashMismatchError(
                f"{self._request.file}: SHA-256 {found} instead of {wanted}; it is removed",
                hint="try once more; if it happens again, the source serves another file",
            )
        os.fsync(self._descriptor)
        target = Path(self._request.folder) / self._request.file
        self._part.rename(target)
        self._sidecar.unlink(missing_ok=True)
        flush_folder(target.parent)
        self._report()
        return Fetched(target, self._done, found, announced=self._known.sha256 == found)

    def _remove(self) -> None:
        self._part.unlink(missing_ok=True)
        self._sidecar.unlink(missing_ok=True)

    def _report(self) -> None:
        self._emit(
            {"event": "progress", "done": self._done, "total": self._known.total, "speed": self._meter.speed}
        )

    def _read_sidecar(self) -> _Known:
        try:
            fields = json.loads(self._sidecar.read_bytes()[: 1 << 16])
            return _Known(fields["validator"], fields["total"], fields["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            return _Known()  # nothing is known: the part will not be trusted

    def _write_sidecar(self) -> None:
        fresh = self._sidecar.with_suffix(".json.new")
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            write_all(descriptor, json.dumps(asdict(self._known)).encode())
        finally:
            os.close(descriptor)
        fresh.replace(self._sidecar)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to HTTPS only, and notes the hash announced on the way."""

    max_redirections = 8

    def __init__(self, *, allow_loopback_http: bool) -> None:
        self._allow_loopback_http = allow_loopback_http
        self.announced: str | None = None

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Check where it leads, and keep `X-Linked-Etag`."""
        check_url(newurl, allow_loopback_http=self._allow_loopback_http)
        self.announced = _linked(headers) or self.announced
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(request: UrlRequest) -> tuple[urllib.request.OpenerDirector, _Redirects]:
    """Return an opener that knows HTTP and HTTPS only: no file:, no ftp:, no data:, no cookies, no passwords."""
    redirects = _Redirects(allow_loopback_http=request.allow_loopback_http)
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        redirects,
    ):
        opener.add_handler(handler)
    return opener, redirects


def _known(answer: http.client.HTTPResponse, announced: str | None) -> _Known:
    etag = answer.headers.get("ETag", "")
    validator = (
        etag if etag.startswith('"') else answer.headers.get("Last-Modified")
    )  # W/ tags cannot tie a range
    return _Known(validator, _total(answer), _linked(answer.headers) or announced)


def _total(answer: http.client.HTTPResponse) -> int | None:
    if answer.status == 206:
        total = answer.headers.get("Content-Range", "").rpartition("/")[2]
    else:
        total = answer.headers.get("Content-Length", "")
    return int(total) if total.isdigit() else None


def _range_start(answer: http.client.HTTPResponse) -> int:
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", "").strip())
    if match is None:
        raise _Retry("the server answers a range without saying which")
    return int(match[1])


def _linked(headers: http.client.HTTPMessage) -> str | None:
    match = _SHA256.fullmatch(headers.get("X-Linked-Etag", ""))
    return match[1] if match else None


def _reason(error: Exception) -> str:
    """Return why a connection failed, without addresses."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return "the server does not answer"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return "the connection broke off"
