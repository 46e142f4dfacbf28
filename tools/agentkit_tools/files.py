"""Read, list and write files for a model: text, in pieces it can hold, and only where it may.

Reading reaches the workspace and the folders the user had indexed; writing reaches the workspace alone. What a
file says is labelled `document`: somebody else may have written it.
"""

# A path a model wrote is a string until the broker has opened it:
# ruff: noqa: PTH117
from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from agentkit_tools.broker import Broker
from agentkit_tools.errors import MissingError, ToolInputError

MOST_READ_BYTES = 4 * 1024 * 1024
MOST_ENTRIES = 500
_TELLING_BYTES = 8192
"""The beginning of a file, which tells whether it is text."""


class Files:
    """The files a model may see."""

    def __init__(self, workspace: Path, roots: Callable[[], Sequence[Path]]) -> None:
        """Name the folders; nothing is opened yet.

        Args:
            workspace: May be written; relative paths start here.
            roots: Returns the folders that may be read as well.
        """
        self._workspace = workspace
        self._roots = roots

    def read(self, path: str, first_line: int = 1, lines: int = 400) -> str:
        """Return some lines of a text file, and say how many there are when there are more.

        Args:
            path: Relative to the workspace or to an indexed folder, or absolute within one of them.
            first_line: Counted from 1.
            lines: How many at most.

        Raises:
            ToolInputError: The path lies elsewhere or in several folders, or the file is not text.
            BrokerError: It cannot be read safely.
        """
        if first_line < 1 or lines < 1:
            raise ToolInputError("lines are counted from 1", hint="use first_line=1")
        folder, inside = self._place(path)
        content = Broker(str(folder)).read(inside, limit=MOST_READ_BYTES)
        if b"\0" in content[:_TELLING_BYTES]:
            raise ToolInputError(f"{path} is not text: it has {len(content)} bytes of something else")
        every = content.decode("utf-8", errors="replace").splitlines()
        shown = every[first_line - 1 : first_line - 1 + lines]
        text = "\n".join(shown)
        if len(shown) < len(every):
            text += f"\n[lines {first_line} to {first_line + len(shown) - 1} of {len(every)}]"
        return text or "[the file is empty]"

    def entries(self, path: str = ".") -> str:
        """Return what lies in a folder, one line each: name, then size; folders end in `/`.

        The folders that may be read stand below what lies in the workspace.

        Args:
            path: As to `read`.

        Raises:
            ToolInputError: The path lies elsewhere.
            BrokerError: It cannot be read safely.
        """
        folder, inside = self._place(path)
        entries = Broker(str(folder)).entries(inside)
        lines = [
            f"{entry.name}/" if entry.kind == "folder" else f"{entry.name}  {_size(entry.size)}"
            for entry in entries[:MOST_ENTRIES]
        ]
        if len(entries) > MOST_ENTRIES:
            lines.append(f"[{MOST_ENTRIES} of {len(entries)} are shown]")
        is_top = os.path.normpath(path or ".") == "."
        lines = lines or [
            f"[the workspace is empty: {self._workspace}]" if is_top else "[the folder is empty]"
        ]
        if is_top:
            lines += [f"{root}/  indexed" for root in self._roots()]
        return "\n".join(lines)

    def write(self, path: str, content: str) -> str:
        """Create or replace a file of the workspace, and say so.

        Args:
            path: Relative to the workspace, or absolute within it.
            content: The whole text.

        Raises:
            ToolInputError: The path lies outside the workspace.
            BrokerError: It cannot be written safely.
        """
        path, data = self._writable(path), content.encode("utf-8")
        replaced = Broker(str(self._workspace)).write(path, data)
        return f"{'replaced' if replaced else 'created'} {path} ({_size(len(data))})"

    def append(self, path: str, text: str) -> str:
        """Add lines to the end of a text file of the workspace, made where there is none, and say so.

        The file is replaced whole, with the lines, or stays as it was. What another program writes to it in that
        moment is lost.

        Args:
            path: As to `write`.
            text: A line, or several.

        Raises:
            ToolInputError: The path lies outside the workspace, or the file is not text.
            BrokerError: It cannot be read or written safely.
        """
        path, broker = self._writable(path), Broker(str(self._workspace))
        try:
            before = broker.read(path)
        except MissingError:
            before = b""
        if b"\0" in before[:_TELLING_BYTES]:
            raise ToolInputError(f"{path} is not text: nothing can be added to it")
        end = b"\r\n" if b"\r\n" in before[:_TELLING_BYTES] else b"\n"
        lines = [line.encode("utf-8") for line in text.splitlines()]
        gap = end if before and not before.endswith(b"\n") else b""
        existed = broker.write(path, before + gap + end.join([*lines, b""]))
        added = "1 line" if len(lines) == 1 else f"{len(lines)} lines"
        return f"added {added} to {path}" if existed else f"created {path} with {added}"

    def _writable(self, path: str) -> str:
        """Return `path` relative to the workspace."""
        inside = _inside(path, self._workspace) if os.path.isabs(path) else path
        if not inside or inside == ".":
            raise ToolInputError("only files of the workspace can be written", hint="use a relative path")
        return inside

    def _place(self, path: str) -> tuple[Path, str]:
        """Return the folder that allows `path`, and the path in it; the broker decides whether it can be read there."""
        if not os.path.isabs(path):
            return self._holder(path), path
        for folder in (self._workspace, *self._roots()):
            inside = _inside(path, folder)
            if inside is not None:
                return folder, inside
        raise ToolInputError(
            f"{path} is in no folder that may be read",
            hint="use a path of the workspace or of an indexed folder",
        )

    def _holder(self, path: str) -> Path:
        """Return the folder a relative path stands in: the workspace, or else the one indexed folder that has it."""
        if os.path.lexists(self._workspace / path) or ".." in Path(path).parts:
            return self._workspace
        roots = self._roots()
        holders = [root for root in roots if os.path.lexists(root / path)]
        if not holders:
            raise ToolInputError(
                f"there is no {path} in the workspace{' or an indexed folder' if roots else ''}",
                hint=f"the workspace is {self._workspace}",
            )
        if len(holders) > 1:
            raise ToolInputError(f"{path} is in {len(holders)} indexed folders", hint="give its whole path")
        return holders[0]


def _inside(path: str, folder: Path) -> str | None:
    """Return `path` relative to `folder`, by its words alone: the broker decides where it really leads."""
    try:
        return str(Path(path).relative_to(folder))
    except ValueError:
        return None


def _size(count: int) -> str:
    if count < 10_000:
        return f"{count} bytes"
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
