"""A small, valid GGUF file written from the description of the format, and a web server that can misbehave."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.agentkit.models.gguf_writer import GGUFWriter, tiny_gguf


@pytest.fixture
def gguf() -> GGUFWriter:
    """Return a valid little model; add to it to make it wrong."""
    return tiny_gguf()


@pytest.fixture(scope="session")
def gguf_bytes() -> bytes:
    """Return the bytes of a valid little model."""
    return tiny_gguf().file()


@dataclass
class Reply:
    """How the server answers one request; by default well."""

    content: bytes = b""
    status: int = 200
    etag: str | None = '"one"'
    ranges: bool = True
    """Whether `Range` is understood."""
    cut: int | None = None
    """Close the connection after so many bytes."""
    stall: bool = False
    """Then wait for the client to go, instead of closing."""
    length: int | None = -1
    """The `Content-Length` to claim; -1 is the true one, `None` is none."""
    headers: dict[str, str] = field(default_factory=dict)
    shift: int = 0
    """Answer a range that starts so much later."""


class Server:
    """A real HTTP server on the loopback that does what its replies say, the last one for ever."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.replies: list[Reply] = [Reply()]
        self.asked: list[dict[str, str]] = []
        """The headers of each request, with its path under `path`."""
        self.gone = threading.Event()
        """A client left a stalled connection."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name upstream
                pass

            def do_GET(self) -> None:
                outer.asked.append({"path": self.path, **dict(self.headers.items())})
                reply = outer.replies.pop(0) if len(outer.replies) > 1 else outer.replies[0]
                self.close_connection = True
                outer.answer(self, reply)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self._http.server_address[1]}"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def answer(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        start, status, wanted = 0, reply.status, handler.headers.get("Range")
        if (
            wanted
            and reply.ranges
            and status == 200
            and handler.headers.get("If-Range") in (None, reply.etag)
        ):
            start, status = int(wanted.removeprefix("bytes=").removesuffix("-")) + reply.shift, 206
            if start >= len(reply.content):
                status = 416
        body = b"" if status == 416 else reply.content[start:]
        handler.send_response(status)
        if status == 206:
            total = len(reply.content)
            handler.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if reply.etag is not None:
            handler.send_header("ETag", reply.etag)
        if reply.length is not None:
            handler.send_header("Content-Length", str(len(body) if reply.length < 0 else reply.length))
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        try:
            handler.wfile.write(body if reply.cut is None else body[: reply.cut])
            if reply.stall:
                handler.wfile.flush()
                handler.connection.recv(1)
                self.gone.set()
        except OSError:
            self.gone.set()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    """Yield a server on the loopback."""
    running = Server()
    yield running
    running.close()


@pytest.fixture
def reply() -> type[Reply]:
    """Return `Reply`, which tests cannot import."""
    return Reply


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a fresh key and certificate for 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + signed.public_bytes(pem))
    return path


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[Server]:
    """Yield a server on the loopback that speaks HTTPS."""
    running = Server(certificate)
    yield running
    running.close()
