"""Run one request from standard input; write its events to standard output."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from agentkit.errors import AgentkitError
from agentkit.fetcher.https import download
from agentkit.fetcher.request import MAX_REQUEST_BYTES, UrlRequest, from_json
from agentkit.fetcher.wheel import fetch_wheel
from agentkit.models.disk import disk_errors

_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Read the request, fetch, say how it ended; return the exit status."""
    os.umask(0o077)
    _end_with_parent()
    request = from_json(sys.stdin.buffer.readline(MAX_REQUEST_BYTES))
    try:
        with disk_errors(Path(request.folder)):
            if isinstance(request, UrlRequest):
                fetched = download(request, _emit)
                _emit({
                    "event": "done",
                    "sha256": fetched.sha256,
                    "size_bytes": fetched.size,
                    "announced": fetched.announced,
                })  # fmt: skip
            else:
                fetch_wheel(request, _emit)
                _emit({"event": "done"})
    except AgentkitError as error:
        _emit({"event": "error", "error": type(error).__name__, "message": error.message, "hint": error.hint})
        return 1
    return 0


def _emit(event: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def _end_with_parent() -> None:
    """End, and end pip, when told to or when whoever started us is gone."""
    signal.signal(signal.SIGTERM, _stop)
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit(1)  # gone before we asked


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
