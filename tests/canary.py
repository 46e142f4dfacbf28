"""Look for words and bytes in files as whoever has the disk would: in clear, UTF-16, base64 at any offset, and hex."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator
from pathlib import Path


def encodings(canary: bytes) -> Iterator[bytes]:
    """Yield the forms in which bytes may lie in a file."""
    yield canary
    for offset in range(3):  # base64 of the middle of a stream depends on where it falls
        encoded = base64.b64encode(b"\0" * offset + canary)
        yield encoded[4 : len(encoded) - 4]
    yield canary.hex().encode()
    yield canary.hex().upper().encode()


def needles(texts: Iterable[str], blobs: Iterable[bytes] = ()) -> set[bytes]:
    """Return what to look for: texts, each longer word of them, and bytes such as ids, vectors and keys."""
    texts = list(texts)
    plain = [text.encode(encoding) for text in texts for encoding in ("utf-8", "utf-16-le", "utf-16-be")]
    plain += [word.encode() for text in texts for word in text.split() if len(word) > 6]  # full-text terms
    return {needle for each in (*plain, *blobs) for needle in encodings(each) if len(needle) >= 6}


def hits(
    places: Iterable[Path], wanted: set[bytes], *, since: float = 0.0, but: Path | None = None
) -> list[str]:
    """Return `file: needle` for every one found in a file under `places`, not under `but`, changed after `since`."""
    found = []
    for path in (path for place in places for path in _files(place, but)):
        try:
            if path.is_symlink() or not path.is_file() or path.stat().st_mtime < since:
                continue
            data = path.read_bytes()
        except OSError:
            continue  # it is gone, or another user's
        found += [f"{path}: {needle!r}" for needle in wanted if needle in data]
    return found


def _files(place: Path, but: Path | None) -> Iterator[Path]:
    if place.is_file():
        yield place
    for folder, _, names in os.walk(place):
        if but is None or not Path(folder).is_relative_to(but):
            yield from (Path(folder, name) for name in names)
