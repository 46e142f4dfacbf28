"""Which files of a folder are to be indexed: the walk, and the rules it goes by.

Hidden files, folders of tools and what `.agentkitignore` names are passed over in silence; keys, password stores,
FIFOs and files over the limit are reported with a reason. Symbolic links are never followed, so that a folder
never brings in what lies outside it.
`.agentkitignore` stands in the indexed folder and holds one `fnmatch` pattern a line: with a slash it is matched
against the path below the folder, without one against each name; `name/` is for folders only; `#` comments.
Not covered: `!` patterns and ignore files further down.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

IGNORE_FILE = ".agentkitignore"
_IGNORE_BYTES = 64 << 10

_TOOL_FOLDERS = frozenset({"node_modules", "__pycache__", "site-packages", "lost+found", "CVS"})
_TRANSIENT = ("*~", "~$*", "*.tmp", "*.temp", "*.part", "*.crdownload", "*.swp", "#*#")
_SECRETS = (
    "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "*.pem", "*.key", "*.p12", "*.pfx", "*.ppk", "*.kdbx", "*.kdb",
    "*.jks", "*.keystore", "*.gpg", "*.asc", "*.age", "*.env", "*.ovpn",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """A file the rules do not pass over."""

    path: Path
    size: int
    mtime_ns: int
    refused: str = ""
    """Why it is not to be read; empty when it is."""


@dataclass
class Folder:
    """An indexed folder, or a single indexed file, and its rules as they stand now."""

    root: Path
    file_bytes: int
    """Files over this are refused."""
    unreadable: list[Path] = field(default_factory=list)
    """Folders the walk could not look into: nothing is known of what lies there."""

    def __post_init__(self) -> None:
        self._patterns = _read_patterns(self.root)

    def wants(self, path: Path, *, is_folder: bool = False) -> bool:
        """Tell whether the rules let `path`, which lies below the root, in by its name."""
        relative = path.relative_to(self.root).parts
        return all(
            self._passes("/".join(relative[: depth + 1]), part, is_folder or depth + 1 < len(relative))
            for depth, part in enumerate(relative)
        )

    def files(self, start: Path | None = None) -> Iterator[Found]:
        """Yield the files at or below `start`, or of the whole folder, in the order of their paths."""
        start = start or self.root
        try:
            if any(each.is_symlink() for each in start.parents if self.root in each.parents):
                return  # what lies behind a link lies elsewhere, whoever asks for it
            state = start.lstat() if start != self.root else start.stat()
        except FileNotFoundError:
            return
        except OSError:
            self.unreadable.append(start)
            return
        if not stat.S_ISDIR(state.st_mode):
            if not stat.S_ISLNK(state.st_mode):
                yield self._found(start, state)
            return
        left = self._look_into(start)
        while left:  # by hand: folders may lie deeper than Python's stack
            entry = left.pop()
            path = Path(entry.path)
            try:
                is_folder = entry.is_dir(follow_symlinks=False)
                if entry.is_symlink() or not self._passes_below(path, is_folder=is_folder):
                    continue
                if is_folder:
                    left += self._look_into(path)
                else:
                    yield self._found(path, entry.stat(follow_symlinks=False))
            except FileNotFoundError:
                continue  # it went while we looked
            except OSError:
                self.unreadable.append(path)

    def _look_into(self, folder: Path) -> list[os.DirEntry[str]]:
        """Return the entries of a folder, last name first; note it when it cannot be looked into."""
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name, reverse=True)
        except FileNotFoundError:
            return []
        except OSError:
            self.unreadable.append(folder)
            return []

    def knows_nothing_of(self, path: Path) -> bool:
        """Tell whether `path` lies where the walk could not look."""
        return any(path == each or each in path.parents for each in self.unreadable)

    def _found(self, path: Path, state: os.stat_result) -> Found:
        refused = ""
        if not stat.S_ISREG(state.st_mode):
            refused = "it is not a regular file"
        elif any(fnmatchcase(path.name.lower(), pattern) for pattern in _SECRETS):
            refused = "it looks like a key or a password store"
        elif state.st_size > self.file_bytes:
            refused = f"it is larger than {self.file_bytes >> 20} MB: {state.st_size >> 20} MB"
        elif not is_utf8(path):
            refused = "its name is not UTF-8"
        return Found(path, state.st_size, state.st_mtime_ns, refused)

    def _passes_below(self, path: Path, *, is_folder: bool) -> bool:
        """Judge the last name of `path`; the names above were judged on the way."""
        return self._passes("/".join(path.relative_to(self.root).parts), path.name, is_folder)

    def _passes(self, relative: str, name: str, is_folder: bool) -> bool:
        if name.startswith(".") or (is_folder and name in _TOOL_FOLDERS):
            return False
        if not is_folder and any(fnmatchcase(name, pattern) for pattern in _TRANSIENT):
            return False
        for pattern, folders_only in self._patterns:
            if folders_only and not is_folder:
                continue
            if fnmatchcase(relative if "/" in pattern else name, pattern.removeprefix("/")):
                return False
        return True


def _read_patterns(root: Path) -> list[tuple[str, bool]]:
    """Return (pattern, folders only) of each line of the ignore file, if there is one."""
    try:
        fd = os.open(root / IGNORE_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return []
    with os.fdopen(fd, "rb") as file:
        text = file.read(_IGNORE_BYTES).decode("utf-8", errors="replace")
    lines = (line.strip() for line in text.splitlines())
    return [(line.rstrip("/"), line.endswith("/")) for line in lines if line and line[0] not in "#!"]


def is_utf8(path: Path) -> bool:
    """Tell whether a path can be written down; Linux allows any bytes in a name."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
