"""Downloads go on where they broke off, never mix two versions of a file, and keep nothing that is wrong."""

from __future__ import annotations

import fcntl
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentkit.errors import FetchError, HashMismatchError, LimitError
from agentkit.fetcher.https import Fetched, check_url, download
from agentkit.fetcher.request import UrlRequest

if TYPE_CHECKING:
    from tests.agentkit.models.store.conftest import Reply, Server

CONTENT = bytes(range(256)) * 4000  # 1 MB: several reads
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = CONTENT[::-1]


@pytest.fixture
def request_(tmp_path: Path, server: Server) -> UrlRequest:
    (tmp_path / "staged").mkdir()
    return UrlRequest(
        folder=str(tmp_path / "staged"),
        downloads=str(tmp_path / "downloads"),
        url=f"{server.url}/tiny.gguf?token=s3cret",
        file="tiny.gguf",
        attempts=3,
        retry_seconds=0.001,
        allow_loopback_http=True,
    )


def fetch(request: UrlRequest) -> Fetched:
    return download(request, lambda event: None)


def left(request: UrlRequest) -> set[str]:
    return {path.suffix for path in Path(request.downloads).iterdir()}


def ranges(server: Server) -> list[str | None]:
    return [asked.get("Range") for asked in server.asked]


def test_a_whole_file_arrives(server: Server, reply: type[Reply], request_: UrlRequest) -> None:
    server.replies = [reply(CONTENT)]
    events: list[dict[str, object]] = []
    fetched = download(request_, events.append)
    assert fetched.path.read_bytes() == CONTENT
    assert (fetched.size, fetched.sha256, fetched.announced) == (len(CONTENT), SHA256, False)
    assert fetched.path.stat().st_mode & 0o777 == 0o600
    assert events[-1]["done"] == events[-1]["total"] == len(CONTENT)
    assert left(request_) == set()


def test_nothing_about_us_is_told(server: Server, reply: type[Reply], request_: UrlRequest) -> None:
    server.replies = [reply(CONTENT)]
    fetch(request_)
    (asked,) = server.asked
    assert set(asked) == {"path", "Host", "User-Agent", "Accept", "Accept-Encoding", "Connection"}
    assert (asked["User-Agent"], asked["Accept-Encoding"]) == ("agentkit", "identity")


def test_a_broken_connection_is_resumed(server: Server, reply: type[Reply], request_: UrlRequest) -> None:
    server.replies = [reply(CONTENT, cut=300_000), reply(CONTENT, cut=200_000), reply(CONTENT)]
    assert fetch(request_).path.read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=300000-", "bytes=500000-"]
    assert [asked.get("If-Range") for asked in server.asked] == [None, '"one"', '"one"']


def test_another_process_goes_on_where_the_first_ended(
    server: Server, reply: type[Reply], request_: UrlRequest
) -> None:
    server.replies = [reply(CONTENT, cut=300_000), reply(b"", status=503)]
    with pytest.raises(
        FetchError, match="answers 503, 3 times; 300000 bytes have arrived and are kept"
    ) as caught:
        fetch(request_)
    assert caught.value.hint is not None
    assert "goes on from there" in caught.value.hint
    assert left(request_) == {".part", ".json"}
    server.replies, server.asked = [reply(CONTENT)], []
    assert fetch(request_).path.read_bytes() == CONTENT
    assert ranges(server) == ["bytes=300000-"]


def test_a_changed_file_is_begun_anew(server: Server, reply: type[Reply], request_: UrlRequest) -> None:
    server.replies = [reply(CONTENT, cut=300_000), reply(OTHER, etag='"two"')]
    assert fetch(request_).path.read_bytes() == OTHER
    assert ranges(server) == [None, "bytes=300000-"]


def test_a_file_whose_announced_hash_changed_is_begun_anew(
    server: Server, reply: type[Reply], request_: UrlRequest
) -> None:
    ours = {"X-Linked-Etag": f'"{SHA256}"'}
    theirs = {"X-Linked-Etag": f'"{hashlib.sha256(OTHER).hexdigest()}"'}
    server.replies = [reply(CONTENT, cut=300_000, headers=ours), reply(OTHER, headers=theirs)]
    assert fetch(request_).path.read_bytes() == OTHER
    assert ranges(server) == [None, "bytes=300000-", None]


def test_a_server_without_ranges_is_begun_anew(
    server: Server, reply: type[Reply], request_: UrlRequest
) -> None:
    server.replies = [reply(CONTENT, cut=300_000, ranges=False), reply(CONTENT, ranges=False)]
    assert fetch(request_).path.read_bytes() == CONTENT


def test_a_server_that_answers_another_range_is_not_believed(
    server: Server, reply: type[Reply], request_: UrlRequest
) -> None:
    server.replies = [reply(CONTENT, cut=300_000), reply(CONTENT, shift=10), reply(CONTENT)]
    assert fetch(request_).path.read_bytes() == CONTENT


def test_a_range_past_the_end_is_begun_anew(server: Server, reply: type[Reply], request_: UrlRequest) -> None:
    server.replies = [reply(CONTENT, cut=300_000), reply(CONTENT[:1000])]
    assert fetch(request_).path.read_bytes() == CONTENT[:1000]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_validator_only_a_known_hash_lets_it_go_on(
    server: Server, reply: type[Reply], request_: UrlRequest, etag: str | None
) -> None:
    for sha256, expected in ((None, [None]), (SHA256, ["bytes=300000-"])):
        request = replace(request_, sha256=sha256, attempts=1)
        server.replies = [reply(CONTENT, etag=etag, cut=300_000), reply(b"", status=503)]
        with pytest.raises(FetchError):
            fetch(replace(request, attempts=2))
        server.replies, server.asked = [reply(CONTENT, etag=etag)], []
        assert fetch(request).path.read_bytes() == CONTENT
        assert ranges(server) == expected


@pytest.mark.parametrize("announced", [True, False])
def test_a_wrong_hash_is_refused_and_removed(
    server: Server, reply: type[Reply], request_: UrlRequest, announced: bool
) -> None:
    headers = {"X-Linked-Etag": f'"{"0" * 64}"'} if announced else {}
    server.replies = [reply(CONTENT, headers=headers)]
    with pytest.raises(HashMismatchError, match="instead of 000"):
        fetch(request_ if announced else replace(request_, sha256="0" * 64))
    assert left(request_) == set()
    assert list(Path(request_.folder).iterdir()) == []


def test_a_hash_announced_before_a_redirect_counts(
    server: Server, reply: type[Reply], request_: UrlRequest
) -> None:
    linked = {"Location": "/elsewhere", "X-Linked-Etag": f'"{SHA256}"'}
    server.replies = [reply(status=302, headers=linked), reply(CONTENT, etag='"cdn"')]
    assert fetch(request_).announced
    assert [asked["path"] for asked in server.asked] == ["/tiny.gguf?token=s3cret", "/elsewhere"]


@pytest.mark.parametrize(
    "location",
    ["http://example.org/x", "file:///etc/passwd", "ftp://127.0.0.1/x", "https://user:pw@127.0.0.1/x"],
)
def test_a_redirect_elsewhere_is_not_followed(
    server: Server, reply: type[Reply], request_: UrlRequest, location: str
) -> None:
    server.replies = [reply(status=302, headers={"Location": location})]
    with pytest.raises(FetchError):
        fetch(request_)
    assert list(Path(request_.folder).iterdir()) == []


def test_a_redirect_in_a_circle_ends(server: Server, reply: type[Reply], request_: UrlRequest) -> None:
    server.replies = [reply(status=302, headers={"Location": "/tiny.gguf"})]
    with pytest.raises(FetchError):
        fetch(request_)
    assert len(server.asked) < 20


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/x.gguf",
        "file:///etc/passwd",
        "ftp://x/y",
        "//x/y",
        "https://u:p@x/y",
        "https:///x",
    ],
)
def test_only_https_is_fetched(request_: UrlRequest, url: str) -> None:
    with pytest.raises(FetchError):
        fetch(replace(request_, url=url))
    with pytest.raises(FetchError):
        check_url("http://127.0.0.1/x")


def test_an_announced_size_over_the_limit_is_refused_at_once(
    server: Server, reply: type[Reply], request_: UrlRequest
) -> None:
    server.replies = [reply(CONTENT)]
    with pytest.raises(LimitError, match=f"{len(CONTENT)} bytes, over the limit of 1000"):
        fetch(replace(request_, limit_bytes=1000))
    assert sum(path.stat().st_size for path in Path(request_.downloads).iterdir()) == 0


def test_an_unannounced_size_over_the_limit_is_cut_off(
    server: Server, reply: type[Reply], request_: UrlRequest
) -> None:
    server.replies = [reply(CONTENT, length=None)]
    with pytest.raises(LimitError, match="more than 300000 bytes arrived"):
        fetch(replace(request_, limit_bytes=300_000))
    assert left(request_) == set()


def test_a_disk_too_small_is_seen_before_the_first_byte(
    server: Server, reply: type[Reply], request_: UrlRequest
) -> None:
    server.replies = [reply(CONTENT, length=1 << 39)]
    with pytest.raises(LimitError, match="the disk has"):
        fetch(request_)


@pytest.mark.parametrize(("status", "asked"), [(404, 1), (401, 1), (410, 1), (500, 3), (429, 3)])
def test_only_what_may_pass_is_tried_again(
    server: Server, reply: type[Reply], request_: UrlRequest, status: int, asked: int
) -> None:
    server.replies = [reply(status=status)]
    with pytest.raises(FetchError, match=str(status)):
        fetch(request_)
    assert len(server.asked) == asked


def test_compressed_content_is_refused(server: Server, reply: type[Reply], request_: UrlRequest) -> None:
    server.replies = [reply(CONTENT, headers={"Content-Encoding": "gzip"})]
    with pytest.raises(FetchError, match="another encoding"):
        fetch(request_)


def test_nobody_listening_is_an_error_with_a_way_out(server: Server, request_: UrlRequest) -> None:
    server.close()
    with pytest.raises(FetchError, match="connection refused, 3 times") as caught:
        fetch(request_)
    assert caught.value.hint is not None
    assert "agentkit models import" in caught.value.hint
    assert server.url not in caught.value.message


def test_two_processes_never_write_one_part(server: Server, reply: type[Reply], request_: UrlRequest) -> None:
    server.replies = [reply(CONTENT, cut=300_000), reply(status=503)]
    with pytest.raises(FetchError):
        fetch(request_)
    (part,) = Path(request_.downloads).glob("*.part")
    with part.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(FetchError, match="another process is downloading it"):
            fetch(request_)
    server.replies = [reply(CONTENT)]
    assert fetch(request_).path.read_bytes() == CONTENT


@pytest.mark.parametrize("sidecar", [b"", b"[]", b"{}", b'{"validator": 3}', b"\xff"])
def test_a_damaged_sidecar_costs_the_part_and_nothing_else(
    server: Server, reply: type[Reply], request_: UrlRequest, sidecar: bytes
) -> None:
    server.replies = [reply(CONTENT, cut=300_000), reply(status=503)]
    with pytest.raises(FetchError):
        fetch(request_)
    (path,) = Path(request_.downloads).glob("*.json")
    path.write_bytes(sidecar)
    server.replies, server.asked = [reply(CONTENT)], []
    assert fetch(request_).path.read_bytes() == CONTENT
    assert ranges(server) == [None]


def test_a_secret_in_the_address_is_not_written_down(
    server: Server, reply: type[Reply], request_: UrlRequest
) -> None:
    server.replies = [reply(CONTENT, cut=300_000), reply(status=404)]
    with pytest.raises(FetchError) as caught:
        fetch(request_)
    assert "s3cret" not in f"{caught.value.message} {caught.value.hint}"
    for path in Path(request_.downloads).iterdir():
        assert b"s3cret" not in path.read_bytes()
        assert "s3cret" not in path.name
