"""Start the core of one home: `python -I -m agentkit.core HOME MODELS READY_FD`.

The order is the promise (`docs/adr/0003`): scrubbed environment, listener, launcher, namespaces, no debugging,
Landlock, seccomp, self-test, and only then heavy imports and the first document or key.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from types import TracebackType

KEPT_VARIABLES = frozenset(
    {
        "AGENTKIT_HOME",
        "AGENTKIT_IDLE_SECONDS",
        "AGENTKIT_MODELS",
        "DBUS_SESSION_BUS_ADDRESS",
        "HOME",
        "LANG",
        "PATH",
        "TZ",
        "XDG_RUNTIME_DIR",
    }
)


def main(arguments: list[str]) -> int:
    """Run the core until it is stopped or nobody needs it; return the exit code."""
    from agentkit.errors import AgentkitError

    home_path, models_path, ready_fd = Path(arguments[0]), Path(arguments[1]), int(arguments[2])
    if os.fork():
        os._exit(0)  # nobody's child: the core outlives whoever started it
    sys.excepthook = _report_without_content
    threading.excepthook = lambda failed: _report_without_content(
        failed.exc_type, failed.exc_value, failed.exc_traceback
    )
    try:
        return _run(home_path, models_path, ready_fd)
    except AgentkitError as error:
        _ready(ready_fd, {"kind": type(error).__name__, "message": error.message, "hint": error.hint})
        return error.exit_code


def _run(home_path: Path, models_path: Path, ready_fd: int) -> int:
    from agentkit.core import launcher, lock, namespaces
    from agentkit.core.server import Server
    from agentkit.paths import Home
    from agentkit.spawn import clean_environment

    _scrub(home_path, models_path, clean_environment())
    home = Home(home_path).ensure()
    server = Server(home.socket)
    server.bind()
    handle = launcher.start()
    handle.on_lost = server.stop
    refused = namespaces.enter()
    no_tmpfs = (
        "no mount namespace" if refused else namespaces.private_tmpfs(home.run / "index", megabytes=2048)
    )
    namespaces.drop_capabilities()
    namespaces.hide_from_debuggers()
    writable = (home.root, models_path, Path(os.devnull))
    receipt = lock.take(writable, namespaces=refused)

    # nothing above this line has seen a document or a key; nothing below it can send one away
    from agentkit.core.service import Service

    service = Service(
        home,
        launcher=handle,
        receipt=receipt,
        index_folder=None if no_tmpfs else home.run / "index",
        stop=server.stop,
    )
    _ready(ready_fd, None)
    try:
        server.serve(service.handle, idle_seconds=service.idle_seconds, busy=service.busy, rest=service.lock)
    finally:
        service.close()
        server.close()
    return 0


def _scrub(home_path: Path, models_path: Path, quiet: dict[str, str]) -> None:
    """Keep a handful of variables, and switch off everything in our libraries that phones home."""
    kept = {name: value for name, value in os.environ.items() if name in KEPT_VARIABLES}
    os.environ.clear()
    os.environ.update(quiet)
    os.environ.update(kept)
    os.environ["AGENTKIT_HOME"] = str(home_path)
    os.environ["AGENTKIT_MODELS"] = str(models_path)
    os.chdir("/")
    os.umask(0o077)


def _ready(fd: int, error: dict[str, str | None] | None) -> None:
    """Tell whoever started us that we listen, or why not."""
    try:
        os.write(fd, json.dumps({"ready": error is None, "error": error}).encode() + b"\n")
        os.close(fd)
    except OSError:
        return  # it did not wait


def _report_without_content(
    kind: type[BaseException],
    _: BaseException | None,
    trace: TracebackType | None,
) -> None:
    """Write where it broke, never with which values: an exception's text may hold a document."""
    lines = []
    while trace is not None:
        lines.append(f"  {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}")
        trace = trace.tb_next
    sys.stderr.write("\n".join([f"agentkit core: {kind.__name__}", *lines, ""]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
