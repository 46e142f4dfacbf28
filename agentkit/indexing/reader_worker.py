"""The reader worker: parses one open file at a time, locked away from everything else.

It imports every parser, gives up the file system, the network and the starting of programs, and only then
takes the first document. Frames in: `{"read": name}` with one open file beside it. Frames out: `ready` or
`refused` once, then for each file `began`, any number of `blocks`, and `done` or `refused`.
Covered: a parser that is taken over sees one document at a time and can send nothing but frames to the core.
Not covered: what it puts into those frames; the core checks their shape, and treats the text as untrusted.
"""

from __future__ import annotations

import os
import resource
import sys
from typing import Any

from agentkit.errors import IndexingError
from agentkit.indexing.document import Document, ReadLimits, block_to_wire
from agentkit.indexing.readers import preload, read_document
from agentkit.spawn import worker_channel
from agentkit.wire import Channel, ConnectionLost
from agentkit_tools.errors import ToolError

_BLOCKS_A_FRAME = 1000


def main() -> int:
    """Serve until the other side closes the channel; return the exit status."""
    channel = worker_channel()
    limits = ReadLimits(**channel.receive()["limits"])
    preload()
    try:
        enforced = lock(limits)
    except (OSError, ToolError) as error:
        channel.send({"refused": str(error)})
        return 5
    channel.send({"ready": list(enforced)})
    while True:
        try:
            request = channel.receive()
        except ConnectionLost:
            return 0
        fds = channel.take_fds()
        channel.send({"began": True})
        enough = _answer(channel, request, fds, limits)
        for fd in fds:
            os.close(fd)
        if not enough:
            return 0


def lock(limits: ReadLimits) -> tuple[str, ...]:
    """Give up everything but this process's memory and open files; return what was enforced, in words.

    Raises:
        OSError: The kernel refused a limit.
        ToolError: The kernel refused a lock.
    """
    for kind, most in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 16),
    ):
        resource.setrlimit(kind, (most, most))
    enforced = [f"memory {limits.memory_bytes >> 20} MB", "no file written", "no core dump"]
    if sys.platform != "linux":
        return (*enforced, f"files and network stay open: {sys.platform} has no lock for them")
    from agentkit_tools import landlock, seccomp

    if landlock.abi():
        enforced += landlock.restrict(read=(), write=(), execute=())
    else:
        enforced.append("files stay readable: this kernel has no Landlock")
    seccomp.install(seccomp.worker_profile())
    return (*enforced, "no socket, program or new process (seccomp)")


def _answer(channel: Channel, request: dict[str, Any], fds: list[int], limits: ReadLimits) -> bool:
    """Read one file and send what is in it; return whether this process may take another."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + 1 + limits.cpu_seconds
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))
    try:
        document = _read(request, fds, limits)
    except IndexingError as error:
        channel.send({"refused": error.message})
    except (MemoryError, RecursionError):
        channel.send({"refused": f"reading it takes more than {limits.memory_bytes >> 20} MB of memory"})
        return False  # what is left of the heap may be in pieces
    except Exception as error:  # noqa: BLE001 - a hostile file may make a parser fail in any way; the next is innocent
        channel.send({"refused": f"the parser failed on it ({type(error).__name__})"})
    else:
        for start in range(0, len(document.blocks), _BLOCKS_A_FRAME):
            part = document.blocks[start : start + _BLOCKS_A_FRAME]
            channel.send({"blocks": [block_to_wire(block) for block in part]})
        channel.send({"done": {"title": document.title, "notes": list(document.notes)}})
    return True


def _read(request: dict[str, Any], fds: list[int], limits: ReadLimits) -> Document:
    if len(fds) != 1 or not isinstance(request.get("read"), str):
        raise IndexingError("the request has another shape")
    data = bytearray()
    offset = 0
    while True:
        part = os.pread(fds[0], 1 << 20, offset)
        if not part:
            break
        data += part
        offset += len(part)
        if offset > limits.file_bytes:
            raise IndexingError(f"it is larger than {limits.file_bytes >> 20} MB")
    return read_document(bytes(data), request["read"], limits)


if __name__ == "__main__":
    raise SystemExit(main())
