"""Plain text, code and tables to blocks, and bytes to text."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from agentkit.errors import IndexingError
from agentkit.indexing.document import Block, BlockKind, place_at

_BOMS = (  # the longer first: a UTF-32 mark begins with the UTF-16 one
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ud800-\udfff\ufeff\ufffe\uffff]")
_ITEM = re.compile(r"\s{0,12}(?:[-*+\u2022\u2013]|\d{1,3}[.)]|\[[ xX]\])\s+\S")
_NUMBER = re.compile(r"[-+]?[\d.,'\s]*\d[\d.,'\s]*%?")
_MAX_HEADER_CELL = 60
MOST_SPANNED = 100
"""Columns or rows that one cell of a table is taken to span at most."""
LONGEST_REPEATED = 200
"""Characters; a longer cell is said once, however much it spans: it is layout, or it means to fill the memory."""


def has_bom(head: bytes) -> bool:
    """Tell whether `head` begins with a Unicode byte order mark."""
    return any(head.startswith(mark) for mark, _ in _BOMS)


def decode(data: bytes, declared: str = "") -> tuple[str, str]:
    r"""Return the text of `data`, and a note when its encoding had to be guessed.

    A byte order mark decides, then UTF-8, then the encoding the file declares, then Windows-1252.
    Line ends become `\n`; control characters, which are no text, are dropped.
    """
    text, note = _decode(data, declared)
    return clean(text), note


def _decode(data: bytes, declared: str) -> tuple[str, str]:
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            text = data[len(mark) :].decode(encoding, errors="replace")
            return text, _replaced(encoding, text)
    try:
        return data.decode("utf-8"), ""
    except UnicodeDecodeError:
        pass
    for encoding in filter(None, (declared, "cp1252")):
        try:
            return data.decode(encoding), f"read as {encoding}"
        except (
            UnicodeError,
            LookupError,
            OSError,
        ):  # a codec that is not loaded yet may not be read any more
            continue
    text = data.decode("cp1252", errors="replace")
    return text, _replaced("cp1252", text) or "read as cp1252"


def _replaced(encoding: str, text: str) -> str:
    count = text.count("\ufffd")
    return f"read as {encoding}, {count} characters could not be read" if count else ""


def clean(text: str) -> str:
    r"""Return `text` with `\n` line ends and without control characters or lone surrogates."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n").replace("\x0c", "\n\n"))


def text_blocks(text: str, *, first_line: int = 1) -> Iterator[Block]:
    """Split plain text at blank lines; a run of bulleted lines becomes one block an item."""
    for start, lines in _runs(text.split("\n"), first_line):
        if not any(_ITEM.match(line) for line in lines):
            yield Block("\n".join(lines), place_at("line", start, start + len(lines) - 1))
            continue
        begin, kind = 0, _line_kind(lines[0])
        for index in range(1, len(lines) + 1):
            if index == len(lines) or _ITEM.match(lines[index]):
                yield Block(
                    "\n".join(lines[begin:index]), place_at("line", start + begin, start + index - 1), kind
                )
                begin, kind = index, "list"


def _line_kind(line: str) -> BlockKind:
    return "list" if _ITEM.match(line) else "paragraph"


def code_blocks(text: str, *, first_line: int = 1) -> Iterator[Block]:
    """Split code, configuration and other text of lines at its blank lines; indentation is kept."""
    for start, lines in _runs(text.split("\n"), first_line):
        yield Block("\n".join(lines), place_at("line", start, start + len(lines) - 1), "code")


def _runs(lines: Sequence[str], first_line: int) -> Iterator[tuple[int, list[str]]]:
    """Yield each run of non-blank lines with the number of its first."""
    run: list[str] = []
    for number, line in enumerate(chain(lines, [""]), start=first_line):
        if line.strip():
            run.append(line.rstrip())
        elif run:
            yield number - len(run), run
            run = []


def csv_blocks(text: str) -> Iterator[Block]:
    """Read a table, one block a row, each cell under the name of its column.

    Raises:
        IndexingError: It is no table the `csv` module can read.
    """
    try:
        delimiter = csv.Sniffer().sniff(text[:8192], delimiters=",;\t|").delimiter
    except csv.Error:
        delimiter = ","
    try:
        # The delimiter alone: the sniffer takes an apostrophe for a quote, and a quote within quotes for their end.
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True))
    except csv.Error as error:
        raise IndexingError(
            "the table cannot be read: a cell is over 131072 characters or a quote is open"
        ) from error
    yield from table_blocks((row, place_at("row", number)) for number, row in enumerate(rows, start=1))


def table_blocks(rows: Iterable[tuple[Sequence[str], str]], *, header: bool | None = None) -> Iterator[Block]:
    """Turn rows with their places into blocks: `date: 2025-03-01, kwh: 212`.

    A row that stands alone keeps its meaning, in an embedding as in an answer. Without a header, cells are
    joined with ` | `.

    Args:
        rows: The cells of each row, and its place.
        header: Whether the first row that is not blank names the columns; `None` looks at the row.
    """
    names: Sequence[str] = ()
    first = True
    for row, place in rows:
        cells = [" ".join(cell.split()) for cell in row]
        if not any(cells):
            continue
        is_first, first = first, False
        if is_first and (_names_columns(cells) if header is None else header):
            names = cells
            yield Block(" | ".join(cells), place, "table")
        elif names:
            pairs = [
                f"{names[column]}: {cell}" if column < len(names) and names[column] else cell
                for column, cell in enumerate(cells)
                if cell
            ]
            yield Block(", ".join(pairs), place, "table")
        else:
            yield Block(" | ".join(cells), place, "table")


def _names_columns(cells: Sequence[str]) -> bool:
    return (
        len(cells) > 1
        and all(cell and len(cell) <= _MAX_HEADER_CELL and not _NUMBER.fullmatch(cell) for cell in cells)
        and len(set(cells)) == len(cells)
    )
