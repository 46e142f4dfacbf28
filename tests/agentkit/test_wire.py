"""Frames arrive whole or as a typed error, and nothing a peer sends is executed."""

from __future__ import annotations

import os
import pickle
import socket
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.wire import Channel, ConnectionLost, FrameError

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def pair() -> tuple[Channel, Channel, socket.socket]:
    ours, theirs = socket.socketpair()
    return Channel(ours), Channel(theirs), theirs


@given(st.dictionaries(st.text(), values))
def test_what_is_sent_is_what_arrives(message: dict[str, object]) -> None:
    left, right, _ = pair()
    left.send(message)
    assert right.receive(timeout=1) == message
    left.close()
    right.close()


def test_an_open_file_travels_beside_its_frame() -> None:
    left, right, _ = pair()
    read, write = os.pipe()
    left.send({"op": "read"}, fds=[read])
    os.close(read)
    assert right.receive(timeout=1) == {"op": "read"}
    (arrived,) = right.take_fds()
    os.write(write, b"x")
    assert os.read(arrived, 1) == b"x"
    for fd in (arrived, write):
        os.close(fd)
    left.close()
    right.close()


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(struct.pack(">I", 2**31), id="larger than the limit"),
        pytest.param(struct.pack(">I", 1) + b"\xc1", id="not msgpack"),
        pytest.param(struct.pack(">I", 1) + b"\x05", id="not a map"),
        pytest.param(struct.pack(">I", 4) + b"\x81\x01\xa1x", id="keys that are no text"),
        pytest.param(struct.pack(">I", len(pickle.dumps(print))) + pickle.dumps(print), id="a pickle"),
    ],
)
def test_what_is_no_frame_is_refused(raw: bytes) -> None:
    left, right, _ = pair()
    _, theirs = left, right
    left._socket.sendall(raw)
    with pytest.raises(FrameError):
        theirs.receive(timeout=1)
    left.close()
    right.close()


def test_a_lost_peer_is_a_typed_error_on_both_ways() -> None:
    left, right, _ = pair()
    right.close()
    with pytest.raises(ConnectionLost):
        left.receive(timeout=1)
    with pytest.raises(ConnectionLost):
        for _ in range(3):
            left.send({"x": b"0" * 100_000})
    left.close()


def test_silence_is_a_timeout() -> None:
    left, right, _ = pair()
    with pytest.raises(TimeoutError):
        left.receive(timeout=0.01)
    left.close()
    right.close()


def test_a_peer_that_takes_nothing_is_a_timeout_and_one_that_is_slow_gets_all_of_it() -> None:
    left, right, theirs = pair()
    message = {"x": b"0" * 2_000_000}
    with pytest.raises(TimeoutError):
        left.send(message, timeout=0.05)
    left.close()
    right.close()
    left, right, theirs = pair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    read, write = os.pipe()
    sender = threading.Thread(target=left.send, args=(message,), kwargs={"fds": [read], "timeout": 5.0})
    sender.start()
    assert right.receive(timeout=5) == message
    sender.join()
    for fd in (*right.take_fds(), read, write):
        os.close(fd)
    left.close()
    with pytest.raises(ConnectionLost):
        left.send({}, timeout=1.0)
    right.close()
