"""A passphrase is read byte for byte from a file only its owner may read, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentkit.errors import ConfigError
from agentkit.passphrase import find_passphrase, read_passphrase_file


def write(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"four unrelated words\n", b"four unrelated words"),
        (b"a b\r\nsecond", b"a b"),
        (b"\xff\xfe bytes", b"\xff\xfe bytes"),
    ],
)
def test_the_first_line_counts_byte_for_byte(tmp_path: Path, data: bytes, expected: bytes) -> None:
    assert read_passphrase_file(write(tmp_path / "p", data)) == expected


@pytest.mark.parametrize(
    ("data", "mode"),
    [(b"", 0o600), (b"\nx", 0o600), (b"x" * (1024 * 1024 + 2), 0o600), (b"secret words", 0o644)],
)
def test_empty_huge_and_readable_by_others_are_refused(tmp_path: Path, data: bytes, mode: int) -> None:
    with pytest.raises(ConfigError) as refused:
        read_passphrase_file(write(tmp_path / "p", data, mode))
    assert "secret" not in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_passphrase_file(tmp_path / "none")


def test_the_environment_names_a_file_and_never_holds_the_passphrase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTKIT_PASSPHRASE_FILE", str(write(tmp_path / "p", b"from a file\n")))
    assert find_passphrase(None) == b"from a file"
    assert find_passphrase("given") == b"given"
    assert find_passphrase(lambda: "asked") == b"asked"
