"""Word documents to blocks, from the zip itself: paragraphs, headings, lists, tables and notes.

Covered: zip bombs, by the declared and by the true size; XML entities and outside references, which are never
resolved; deleted and moved-away revisions and the second copy that text boxes carry, which are left out.
Not covered: comments, headers and footers, pictures, page numbers (Word lays pages out when it opens a file).
Source: ECMA-376 part 1, §17 (WordprocessingML).
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING

from agentkit.errors import IndexingError
from agentkit.indexing.document import Block, ReadLimits, place_at
from agentkit.indexing.plain import LONGEST_REPEATED, MOST_SPANNED, clean, table_blocks

if TYPE_CHECKING:
    from lxml.etree import _Element

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_AROUND_CELLS = frozenset({f"{_W}sdt", f"{_W}sdtContent", f"{_W}customXml"})
"""What may stand between a row and its cells."""
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_LEFT_OUT = frozenset({_FALLBACK, f"{_W}del", f"{_W}moveFrom"})
_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_MAIN = "word/document.xml"


def open_zip(data: bytes, limits: ReadLimits) -> zipfile.ZipFile:
    """Open a zip that is no bomb.

    Raises:
        IndexingError: It is damaged, encrypted, or larger inside than the limits allow.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise IndexingError("the zip inside is damaged") from error
    entries = archive.infolist()
    if len(entries) > limits.zip_entries:
        raise IndexingError(f"the zip holds {len(entries)} entries, over the limit of {limits.zip_entries}")
    total = 0
    for entry in entries:
        total += entry.file_size
        if entry.flag_bits & 1:
            raise IndexingError("the document is encrypted")
        if entry.file_size > limits.zip_entry_bytes or total > limits.zip_total_bytes:
            raise IndexingError(f"the zip unpacks to more than {limits.zip_entry_bytes >> 20} MB an entry")
        if entry.file_size > (1 << 20) and entry.file_size > limits.zip_ratio * max(entry.compress_size, 1):
            raise IndexingError(f"the zip unpacks to more than {limits.zip_ratio} times its size")
    return archive


def is_docx(archive: zipfile.ZipFile) -> bool:
    """Tell whether a zip is a Word document."""
    return {_MAIN, "[Content_Types].xml"} <= set(archive.namelist())


def docx_title(archive: zipfile.ZipFile) -> str:
    """Return the title in the document's properties, or an empty string."""
    if "docProps/core.xml" not in archive.namelist():
        return ""
    for element in _elements(archive, "docProps/core.xml", _TITLE):
        return " ".join(clean(element.text or "").split())
    return ""


def docx_blocks(archive: zipfile.ZipFile) -> Iterator[Block]:
    """Yield the blocks of the body, then its foot- and endnotes.

    Raises:
        IndexingError: A part of it is not well formed.
    """
    levels = _heading_levels(archive)
    number = 0
    for part in (_MAIN, "word/footnotes.xml", "word/endnotes.xml"):
        if part not in archive.namelist():
            continue
        for element in _elements(archive, part, f"{_W}p", f"{_W}tbl"):
            if element.tag == f"{_W}tbl":
                rows = [(columns, place_at("paragraph", number + 1)) for columns in _rows(element)]
                number += 1
                named = element.find(f"{_W}tr/{_W}trPr/{_W}tblHeader") is not None
                wide = bool(rows) and len(rows[0][0]) > 2
                yield from table_blocks(rows, header=True if named else None if wide else False)
                continue
            text = _text(element).strip()
            if not text:
                continue
            number += 1
            style = element.find(f"{_W}pPr/{_W}pStyle")
            level = levels.get(style.get(f"{_W}val", "") if style is not None else "", 0)
            listed = element.find(f"{_W}pPr/{_W}numPr") is not None
            place = place_at("paragraph", number)
            if level:
                yield Block(" ".join(text.split()), place, "heading", level)
            else:
                yield Block(text, place, "list" if listed else "paragraph")


def _elements(archive: zipfile.ZipFile, part: str, *tags: str) -> Iterator[_Element]:
    """Yield the outermost elements of `tags` in a part, and free each after use."""
    from lxml import etree

    try:
        with archive.open(part) as stream:
            parse = etree.iterparse(
                _Bounded(stream, archive.getinfo(part).file_size),
                events=("start", "end"),
                resolve_entities=False,
                no_network=True,
                load_dtd=False,
                huge_tree=False,
                remove_comments=True,
                remove_pis=True,
            )
            inside = 0
            for event, element in parse:
                if element.tag not in tags:
                    continue
                inside += 1 if event == "start" else -1
                if event == "end" and inside == 0:
                    yield element
                    element.clear()
                    while element.getprevious() is not None:
                        del element.getparent()[0]
    except (
        etree.XMLSyntaxError,
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        EOFError,
        OSError,
    ) as error:
        raise IndexingError("a part of the document is damaged") from error


class _Bounded:
    """A stream that ends where its zip entry said it would."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream = stream
        self._left = size

    def read(self, count: int = -1) -> bytes:
        data = self._stream.read(min(count if count >= 0 else self._left, self._left))
        self._left -= len(data)
        return data


def _rows(table: _Element) -> Iterator[list[str]]:
    """Yield the columns of each row of a table, and of the tables in it."""
    above: dict[_Element | None, list[str]] = {}
    for row in table.iter(f"{_W}tr"):
        holder = next(row.iterancestors(f"{_W}tbl"), None)
        above[holder] = _columns(row, above.get(holder, []))
        yield above[holder]


def _columns(row: _Element, above: Sequence[str]) -> list[str]:
    """Return the text of each column of a row; a cell that spans several stands in each, and in each of its rows."""
    cells = list(_cells(row))
    texts = [""] * (_number(row.find(f"{_W}trPr/{_W}gridBefore")) or 0)
    for cell in cells:
        text = _text(cell)
        merged = cell.find(f"{_W}tcPr/{_W}vMerge")
        if merged is not None and merged.get(f"{_W}val") != "restart" and not text.strip():
            held = next(iter(above[len(texts) : len(texts) + 1]), "")
            text = held if len(held) <= LONGEST_REPEATED else ""
        again = text if len(cells) > 1 and len(text) <= LONGEST_REPEATED else ""
        texts += [text, *[again] * ((_number(cell.find(f"{_W}tcPr/{_W}gridSpan")) or 1) - 1)]
    return texts


def _cells(row: _Element) -> Iterator[_Element]:
    left = list(reversed(row))
    while left:  # by hand: content controls may nest deeper than Python's stack
        element = left.pop()
        if element.tag == f"{_W}tc":
            yield element
        elif element.tag in _AROUND_CELLS:
            left += reversed(element)


def _number(element: _Element | None) -> int:
    """Return a count of columns; 0 where there is none."""
    value = element.get(f"{_W}val", "") if element is not None else ""
    return min(int(value), MOST_SPANNED) if re.fullmatch("[0-9]{1,6}", value) else 0


def _text(element: _Element) -> str:
    from lxml import etree

    parts: list[str] = []
    walk = etree.iterwalk(element, events=("start", "end"))
    for event, each in walk:
        if event == "start":
            if each.tag in _LEFT_OUT:
                walk.skip_subtree()
            elif each.tag == f"{_W}t":
                parts.append(each.text or "")
            elif each.tag == f"{_W}tab":
                parts.append("\t")
            elif each.tag == f"{_W}noBreakHyphen":
                parts.append("-")
            elif each.tag in (f"{_W}br", f"{_W}cr"):
                parts.append("\n")
        elif each.tag == f"{_W}p" and each is not element:
            parts.append("\n")
    return clean("".join(parts))


def _heading_levels(archive: zipfile.ZipFile) -> dict[str, int]:
    """Return the heading level of each style id; ids are translated in localised Word, names are not."""
    levels: dict[str, int] = {}
    if "word/styles.xml" not in archive.namelist():
        return levels
    for style in _elements(archive, "word/styles.xml", f"{_W}style"):
        name = style.find(f"{_W}name")
        words = (name.get(f"{_W}val", "") if name is not None else "").lower().split()
        if words == ["title"]:
            levels[style.get(f"{_W}styleId", "")] = 1
        elif len(words) == 2 and words[0] == "heading" and words[1] in "123456789":
            levels[style.get(f"{_W}styleId", "")] = min(int(words[1]), 6)
    return levels
