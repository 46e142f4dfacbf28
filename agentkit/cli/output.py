"""The one place that writes to a terminal.

Standard output carries data only: the answer, the rows, or with `--json` one JSON document (JSON lines where a
verb streams). Progress, notes, warnings, questions and errors go to standard error. Without a terminal there is no
colour, no bar and no box: plain lines, and tab-separated rows. `NO_COLOR` and `TERM=dumb` are honoured.

Covered: what a document, a model or a tool wrote can neither move the cursor, change colours or the window title,
write to the clipboard, nor reorder what is shown: escape sequences, control and bidirectional characters are removed
(`clean`), or made visible where each character counts (`visible`).
Not covered: letters that look alike.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

# CSI, then the strings a terminal may act on (title, clipboard, device control), then the rest of ESC.
_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_].*?(?:\x07|\x1b\\|\x9c)|\x1b[ -/]*[0-~]", re.DOTALL
)
# C0 without tab and newline, DEL, C1, direction marks and overrides, invisible tags, half characters
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f\ud800-\udfff]"
)
_LINE_ENDS = re.compile("\r\n|[\u2028\u2029]")
_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
PIPE_CLOSED = 141
"""Exit code when the reader of our standard output went away: what a shell shows for SIGPIPE."""


def clean(text: str) -> str:
    """Return `text` as it may be shown: without anything a terminal would act on but tab and newline."""
    return _UNSAFE.sub("", _SEQUENCE.sub("", _LINE_ENDS.sub("\n", text)))


def visible(text: str) -> str:
    r"""Return `text` with each character that cannot be seen written out, as `\x1b`: nothing is left out."""
    return _UNSAFE.sub(_escaped, text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def to_json(value: object, *, indent: int | None = None) -> str:
    """Return `value` as JSON that a terminal shows without acting on it."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=str)
    return _UNSAFE.sub(_json_escape, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


class Meter(Protocol):
    """Shows how far something is."""

    def show(self, done: int, total: int, label: str = "") -> None:
        """Say that `done` of `total` are done; `label` is what is worked on now."""
        ...


class Output:
    """Standard output and standard error of one command."""

    def __init__(
        self, *, as_json: bool = False, stdout: IO[str] | None = None, stderr: IO[str] | None = None
    ) -> None:
        self.as_json = as_json
        self._out = stdout if stdout is not None else sys.stdout
        self._err = stderr if stderr is not None else sys.stderr

    # --- data: standard output ---------------------------------------------------------------------------------

    @property
    def is_terminal(self) -> bool:
        """Whether data goes to a person, who wants columns and colours."""
        return self._out.isatty()

    def line(self, text: str = "", style: str = "") -> None:
        """Write one line of data; nothing with `--json`."""
        if not self.as_json:
            self._write(self._out, self._styled(self._out, clean(text), style) + "\n")

    def piece(self, text: str) -> None:
        """Write part of a line of data at once, as a model speaks; nothing with `--json`."""
        if not self.as_json:
            self._write(self._out, clean(text))

    def json(self, value: object) -> None:
        """Write the one JSON document of the command; nothing without `--json`."""
        if self.as_json:
            self._write(self._out, to_json(value, indent=2) + "\n")

    def json_line(self, value: object) -> None:
        """Write one JSON document on a line of its own; nothing without `--json`."""
        if self.as_json:
            self._write(self._out, to_json(value) + "\n")

    def rows(self, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Write a table: columns on a terminal, tab-separated lines without heads otherwise."""
        if self.as_json:
            return
        cells = [[clean(str(cell)) for cell in row] for row in rows]
        if not self.is_terminal:
            for row in cells:
                self._write(self._out, "\t".join(" ".join(cell.split()) for cell in row) + "\n")
            return
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold")
        for head in heads:
            table.add_column(head)
        for row in cells:
            table.add_row(*(Text(cell) for cell in row))
        Console(file=self._out, highlight=False, no_color=not _has_colour(self._out)).print(table)

    # --- everything else: standard error -----------------------------------------------------------------------

    def note(self, text: str = "", style: str = "dim") -> None:
        """Tell the person something that is not data."""
        self._write(self._err, self._styled(self._err, clean(text), style) + "\n")

    def exactly(self, text: str, style: str = "") -> None:
        """Show `text` character by character, so that a person can judge it; nothing is left out."""
        for line in visible(text).split("\n"):
            self._write(self._err, self._styled(self._err, f"  | {line}", style) + "\n")

    def warn(self, text: str) -> None:
        """Warn."""
        self._label("warning", text, "yellow")

    def error(self, text: str, hint: str | None = None) -> None:
        """Write `agentkit: error: …`, and the hint that says what to type."""
        self._label("error", text, "red")
        if hint:
            self._label("hint", hint, "cyan")

    def question(self, text: str) -> None:
        """Write the question, without a line end, to which a person answers."""
        self._write(self._err, self._styled(self._err, clean(text), "bold") + " ")

    @contextmanager
    def meter(self, title: str, *, unit: str = "") -> Iterator[Meter]:
        """Show progress on standard error while the block runs.

        Args:
            title: What goes on.
            unit: `bytes` adds speed and time left; `steps` names the step in a log, too; anything else is counted.
        """
        if not self._err.isatty() or os.environ.get("TERM") == "dumb":
            yield _PlainMeter(self, title, unit)
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        counted: list[ProgressColumn] = [MofNCompleteColumn(), TimeRemainingColumn()]
        if unit == "bytes":
            counted = [DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()]
        console = Console(file=self._err, no_color=not _has_colour(self._err))
        with Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            *counted,
            TextColumn("{task.fields[label]}", markup=False, style="dim"),
            console=console,
            transient=True,
        ) as progress:
            yield _BarMeter(progress, progress.add_task(clean(title), total=None, label=""))

    # --- how ---------------------------------------------------------------------------------------------------

    def _label(self, label: str, text: str, style: str) -> None:
        lines = " ".join(clean(text).split())
        self._write(self._err, f"agentkit: {self._styled(self._err, label, style)}: {lines}\n")

    @staticmethod
    def _styled(stream: IO[str], text: str, style: str) -> str:
        if not style or not text or not _has_colour(stream):
            return text
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"

    @staticmethod
    def _write(stream: IO[str], text: str) -> None:
        try:
            stream.write(text)
            stream.flush()
        except UnicodeEncodeError:
            encoding = getattr(stream, "encoding", None) or "ascii"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            stream.flush()
        except BrokenPipeError:
            _forget_pipe(stream)
            raise SystemExit(PIPE_CLOSED) from None


class _PlainMeter:
    """One line for each tenth: for logs and pipes."""

    def __init__(self, output: Output, title: str, unit: str) -> None:
        self._output, self._title, self._unit = output, title, unit
        self._began = time.monotonic()
        self._tenth = 0 if unit != "bytes" else -1

    def show(self, done: int, total: int, label: str = "") -> None:
        tenth = done * 10 // total if total else -1
        if tenth <= self._tenth:
            return
        self._tenth = tenth
        if self._unit != "bytes":
            step = (
                f": {clean(label)}" if self._unit == "steps" else ""
            )  # anything else could be a file of the user's
            self._output.note(f"{self._title}: {done} of {total}{step}")
            return
        seconds = max(time.monotonic() - self._began, 1e-6)
        speed = done / seconds
        left = f", {(total - done) / speed:.0f} s left" if speed and done < total else ""
        self._output.note(f"{self._title}: {size(done)} of {size(total)}, {size(int(speed))}/s{left}")


class _BarMeter:
    """A bar that is wiped when it is done."""

    def __init__(self, progress: Any, task: Any) -> None:  # noqa: ANN401 - rich is imported only where it is shown
        self._progress, self._task = progress, task

    def show(self, done: int, total: int, label: str = "") -> None:
        self._progress.update(self._task, completed=done, total=total or None, label=clean(label))


def size(count: int) -> str:
    """Return a number of bytes for people: `98.4 MB`."""
    number = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def excerpt(text: str, limit: int = 300) -> str:
    """Return the beginning of `text` on one line, and `…` where it goes on."""
    line = " ".join(clean(text).split())
    return line if len(line) <= limit else line[:limit].rsplit(" ", 1)[0] + " …"


def place_of(source: Mapping[str, Any]) -> str:
    """Return where a passage stands: its path, and the page or lines where they are known."""
    where = str(source.get("source") or source.get("kind") or "memory")
    return f"{where}, {source['place']}" if source.get("place") else where


def tier_of(sandbox: Mapping[str, Any]) -> str:
    """Return which sandbox it is, and why that one where there is a reason."""
    return f"{sandbox['tier']}: {sandbox['reason']}" if sandbox.get("reason") else str(sandbox["tier"])


def _has_colour(stream: IO[str]) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _forget_pipe(stream: IO[str]) -> None:
    """Let the interpreter flush into nothing at its end instead of complaining."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError):
        return  # not a real file: a test's buffer
