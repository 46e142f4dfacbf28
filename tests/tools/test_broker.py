"""The broker reads and writes beneath its root and nowhere else, by either way of resolving paths."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentkit_tools import BrokerError
from agentkit_tools.broker import MOST_BYTES, Broker, Entry


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root with a file, a folder, and every trap beside them."""
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / ".git").mkdir()
    (tmp_path / "secret").write_text("secret")
    (root / "file").write_text("text")
    (root / "folder" / "deep").write_text("deep")
    (root / "link").symlink_to("../secret")
    (root / "link-inside").symlink_to("file")
    (root / "folder-link").symlink_to("..")
    (root / "magic").symlink_to("/proc/self/root")
    os.link(tmp_path / "secret", root / "second-name")
    os.mkfifo(root / "pipe")
    return root


@pytest.fixture(params=["openat2", "chain"])
def broker(request: pytest.FixtureRequest, root: Path) -> Broker:
    """Return a broker for each way of resolving."""
    return Broker(str(root), chain=request.param == "chain")


def test_files_beneath_the_root_are_read_and_listed(broker: Broker) -> None:
    assert broker.read("file") == b"text"
    assert broker.read("./folder//deep") == b"deep"
    assert broker.entries("folder") == [Entry("deep", "file", 4)]
    names = [entry.name for entry in broker.entries()]
    assert ".git" not in names
    assert names == ["file", "folder", "folder-link", "link", "link-inside", "magic", "pipe", "second-name"]


OUTSIDE = [
    "../secret", "/etc/passwd", "folder/../../secret", "link", "folder-link/secret", "magic/etc/passwd", "second-name",
    "pipe", ".git/config", ".GIT/config", "folder/.envrc", "a\0b", "x/" * 70 + "y", "link-inside",
]  # fmt: skip


@pytest.mark.parametrize("path", OUTSIDE)
def test_what_leads_outside_or_is_no_plain_file_is_refused(broker: Broker, root: Path, path: str) -> None:
    with pytest.raises(BrokerError):
        broker.read(path)
    with pytest.raises(BrokerError):
        broker.write(path, b"attacked")
    assert (root.parent / "secret").read_text() == "secret"
    assert sorted(each.name for each in root.parent.iterdir()) == ["root", "secret"]
    assert list((root / ".git").iterdir()) == []


@pytest.mark.parametrize("path", ["missing", "folder", ".", "file/below"])
def test_what_is_no_file_says_so(broker: Broker, path: str) -> None:
    with pytest.raises(BrokerError, match=path.split("/")[0].replace(".", r"\.")):
        broker.read(path)


def test_a_file_is_replaced_whole_and_keeps_its_mode(broker: Broker, root: Path) -> None:
    (root / "file").chmod(0o750)
    before = (root / "file").stat().st_ino
    assert broker.write("file", b"new") is True
    assert (root / "file").read_text() == "new"
    assert (root / "file").stat().st_mode & 0o777 == 0o750
    assert (root / "file").stat().st_ino != before
    assert broker.write("made/on/the/way", b"x") is False
    assert broker.read("made/on/the/way") == b"x"
    assert not [path for path in root.rglob("*") if path.name.endswith(".tmp")]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(broker: Broker, root: Path) -> None:
    with pytest.raises(BrokerError, match="over the limit"):
        broker.write("file", bytes(MOST_BYTES + 1))
    with pytest.raises(BrokerError):
        broker.write("folder", b"x")
    assert (root / "file").read_text() == "text"
    assert not [path for path in root.rglob("*") if path.name.endswith(".tmp")]


def test_a_file_over_the_limit_is_not_read(broker: Broker) -> None:
    with pytest.raises(BrokerError, match="4 bytes, over the limit of 3"):
        broker.read("file", limit=3)
