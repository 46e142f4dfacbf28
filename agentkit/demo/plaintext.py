"""Look for texts in files, in every spelling in which they would still be readable.

Used by `agentkit demo` and by tests to check that what agentkit writes tells nothing.
Covered: UTF-8, UTF-16 in both byte orders, base64 in all three alignments and both alphabets, hexadecimal; the
names of files as well as their contents.
Not covered: compressed text.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SPELLINGS = ("UTF-8", "UTF-16", "base64", "hexadecimal")


@dataclass(frozen=True, slots=True)
class Search:
    """What was searched, and what was found."""

    files: int
    size_bytes: int
    found: dict[str, int]
    """File to how many of the texts it holds; empty is what one hopes for."""

    @property
    def hits(self) -> int:
        """How many times a text was found in a file."""
        return sum(self.found.values())


def search(texts: Iterable[str], folder: Path, *, leave_out: Iterable[str] = ()) -> Search:
    """Search all files of a folder, and their names, for `texts`.

    Args:
        texts: What must not be readable; each at least 8 characters, or chance would find it.
        folder: Searched with all folders in it; links are not followed.
        leave_out: Names of folders directly below, which are not searched.

    Raises:
        ValueError: A text is too short.
    """
    wanted = [spellings(text) for text in texts]
    left_out = set(leave_out)
    files, size, found = 0, 0, {}
    for root, folders, names in os.walk(folder):
        if Path(root) == folder:
            folders[:] = [each for each in folders if each not in left_out]
        for name in names:
            path = Path(root, name)
            data = os.fsencode(path.relative_to(folder)) + b"\0"
            if path.is_file() and not path.is_symlink():
                data += path.read_bytes()
            files, size = files + 1, size + len(data)
            count = sum(any(spelling in data for spelling in each) for each in wanted)
            if count:
                found[str(path.relative_to(folder))] = count
    return Search(files, size, found)


def spellings(text: str) -> list[bytes]:
    """Return the byte strings of which one stands in any file that holds `text` readably."""
    if len(text) < 8:
        raise ValueError("a text of fewer than 8 characters would be found by chance")
    plain = text.encode()
    found = [plain, text.encode("utf-16-le"), text.encode("utf-16-be"), plain.hex().encode()]
    found.append(plain.hex().upper().encode())
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + plain)
        # only the characters that no neighbour of the text has a share in
        inner = encoded[(0, 2, 3)[before] : (before + len(plain)) * 8 // 6]
        found += [inner, inner.replace(b"+", b"-").replace(b"/", b"_")]
    return list(dict.fromkeys(found))
