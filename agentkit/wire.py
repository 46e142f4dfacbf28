"""Frames between our own processes: a four-byte length, then one msgpack map.

Covered: a peer that sends too much, too little, or something that is no map gets a typed error, and nothing a
peer sends is ever executed (no pickle). Open files travel beside a frame (SCM_RIGHTS).
Not covered: who the peer is; the listener checks that before the first frame.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgpack

from agentkit.errors import CoreError

MAX_FRAME_BYTES = 64 * 1024 * 1024
_HEADER = struct.Struct(">I")
_MAX_FDS = 4


class ConnectionLost(CoreError):  # noqa: N818 - a state of the wire, not a mistake
    """The other side closed the connection."""


class FrameError(CoreError):
    """The other side sent something that is not a frame."""


class Channel:
    """One stream socket that carries frames both ways; sending is safe from several threads."""

    def __init__(self, connection: socket.socket, *, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._socket = connection
        self._max_bytes = max_frame_bytes
        self._sending = threading.Lock()
        self._room = select.poll()
        self._room.register(connection, select.POLLOUT)
        self._fds: list[int] = []

    def fileno(self) -> int:
        """Return the socket's descriptor, for `select`."""
        return self._socket.fileno()

    def send(
        self, message: Mapping[str, Any], *, fds: Sequence[int] = (), timeout: float | None = None
    ) -> None:
        """Send one frame, with open files beside it.

        Args:
            message: What to send.
            fds: Open files, at most four.
            timeout: Seconds in which the other side takes nothing; `None` waits for ever.

        Raises:
            TimeoutError: It took nothing for so long. Part of the frame may be gone, so the channel is of no more use.
            ConnectionLost: The other side is gone.
            FrameError: The message is over the frame limit.
        """
        body: bytes = msgpack.packb(message, use_bin_type=True)
        if len(body) > self._max_bytes:
            raise FrameError(f"a message of {len(body)} bytes is over the limit of {self._max_bytes}")
        left = memoryview(_HEADER.pack(len(body)) + body)
        flags = 0 if timeout is None else socket.MSG_DONTWAIT
        with self._sending:
            while left:
                if timeout is not None and not self._room.poll(1000 * timeout):
                    raise TimeoutError("the other side takes nothing")
                try:
                    left = left[self._put(left, fds, flags) :]
                except OSError as error:
                    raise ConnectionLost("the other side closed the connection") from error
                fds = ()  # they went with the first byte

    def _put(self, data: memoryview, fds: Sequence[int], flags: int) -> int:
        if fds:
            return socket.send_fds(self._socket, [data], list(fds), flags)
        return self._socket.send(data, flags)

    def receive(self, timeout: float | None = None) -> dict[str, Any]:
        """Wait for the next frame.

        Args:
            timeout: Seconds without a byte; `None` waits for ever.

        Raises:
            TimeoutError: Nothing came in time.
            ConnectionLost: The other side is gone.
            FrameError: What came is not a frame.
        """
        self._socket.settimeout(timeout)
        (length,) = _HEADER.unpack(self._read(_HEADER.size))
        if length > self._max_bytes:
            raise FrameError(f"a message of {length} bytes is over the limit of {self._max_bytes}")
        try:
            message = msgpack.unpackb(self._read(length), raw=False, strict_map_key=True)
        except (ValueError, msgpack.exceptions.UnpackException) as error:
            raise FrameError("the message is not msgpack") from error
        if not isinstance(message, dict):
            raise FrameError("the message is not a map")
        return message

    def take_fds(self) -> list[int]:
        """Return the open files that came with the frames so far; the caller closes them."""
        taken, self._fds = self._fds, []
        return taken

    def close(self) -> None:
        """Close the socket, and any open file nobody took."""
        for fd in self.take_fds():
            socket.close(fd)
        with suppress(OSError):  # the other side may be first
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _read(self, count: int) -> bytes:
        parts: list[bytes] = []
        while count:
            try:
                data, fds, _, _ = socket.recv_fds(self._socket, min(count, 1 << 20), _MAX_FDS)
            except TimeoutError:
                raise
            except OSError as error:
                raise ConnectionLost("the other side closed the connection") from error
            self._fds.extend(fds)
            if not data:
                raise ConnectionLost("the other side closed the connection")
            parts.append(data)
            count -= len(data)
        return b"".join(parts)
