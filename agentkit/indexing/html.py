"""HTML to blocks: what a person would read, without scripts, styles, navigation or hidden parts.

Covered: script, style, template, nav, `hidden` and `display:none` are dropped; nothing is fetched, no entity is
expanded from outside, and nesting of any depth is walked without recursion.
Not covered: text hidden by a style sheet, and layout: a table used for layout reads row by row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agentkit.errors import IndexingError
from agentkit.indexing.document import Block, BlockKind, place_at
from agentkit.indexing.plain import LONGEST_REPEATED, MOST_SPANNED, clean, code_blocks, table_blocks

if TYPE_CHECKING:
    from lxml.etree import _Element

# fmt: off
_DROPPED = frozenset({
    "script", "style", "template", "noscript", "iframe", "object", "embed", "applet", "svg", "math", "canvas",
    "audio", "video", "head", "nav", "select", "textarea", "button", "input",
})
_BREAKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "caption", "dd", "details", "div", "dl", "dt",
    "fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "html", "legend", "li", "main",
    "ol", "p", "section", "summary", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul",
})
# fmt: on
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_MOST_COLUMNS = 1000
"""Cells further right span one column and row."""
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]{2,40})""", re.IGNORECASE)

_PYTHON_NAMES = {"windows-874": "cp874", "windows-31j": "cp932"}
"""Encodings that Python knows under another name only."""


def declared_charset(data: bytes) -> str:
    """Return the encoding an HTML file declares in its first 4 KiB, as Python names it, or an empty string."""
    found = _CHARSET.search(data[:4096])
    name = found[1].decode("ascii").lower() if found else ""
    return _PYTHON_NAMES.get(name, name)


def html_title(text: str) -> str:
    """Return the text of `<title>`, or an empty string."""
    title = _parse(text).find(".//title")
    return " ".join(clean(title.text or "").split()) if title is not None else ""


def _parse(text: str) -> _Element:
    from lxml import etree

    # `huge_tree` raises the limits of libxml2; those of the worker hold in any case
    parser = etree.HTMLParser(
        no_network=True, remove_comments=True, remove_pis=True, huge_tree=True, encoding="utf-8"
    )
    try:
        tree = etree.fromstring(text.encode("utf-8"), parser)
    except etree.XMLSyntaxError as error:
        raise IndexingError("the HTML cannot be parsed") from error
    if any(entry.type == etree.ErrorTypes.ERR_RESOURCE_LIMIT for entry in parser.error_log):
        raise IndexingError("the HTML is nested more than 2048 deep")  # libxml2 dropped the rest
    if tree is None:
        return etree.Element("html")
    return tree


@dataclass
class _Gathering:
    """The text of the block being read."""

    parts: list[str] = field(default_factory=list)
    kind: BlockKind = "paragraph"
    level: int = 0
    line: int = 1

    def take(self, line: int, kind: BlockKind = "paragraph", level: int = 0) -> Iterator[Block]:
        """Yield what was gathered, if anything, and begin a block of `kind`."""
        text = "\n".join(" ".join(each.split()) for each in "".join(self.parts).split("\n")).strip()
        if text:
            yield Block(text, place_at("line", self.line), self.kind, self.level)
        self.parts, self.kind, self.level, self.line = [], kind, level, line


def html_blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of an HTML text; a place is the line its block begins on.

    Raises:
        IndexingError: It is no HTML at all.
    """
    from lxml import etree

    gathering = _Gathering()
    tree = _parse(text)
    walk = etree.iterwalk(tree, events=("start", "end"))
    for event, element in walk:
        tag = element.tag if isinstance(element.tag, str) else ""
        line = element.sourceline or 1
        if event == "start":
            if tag in _DROPPED or _is_hidden(element):
                walk.skip_subtree()
                continue
            if tag == "pre" or (tag == "table" and element.find(".//table") is None):
                yield from gathering.take(line)
                yield from (
                    _table(element) if tag == "table" else code_blocks(_visible(element), first_line=line)
                )
                walk.skip_subtree()
                continue
            if tag in _HEADINGS:
                yield from gathering.take(line, "heading", _HEADINGS[tag])
            elif tag == "li":
                yield from gathering.take(line, "list")
            elif tag in _BREAKS:
                # a paragraph at the start of a list item stays in it
                if gathering.kind != "list" or "".join(gathering.parts).strip():
                    yield from gathering.take(line)
            elif tag == "br":
                gathering.parts.append("\n")
            elif tag == "img" and element.get("alt"):
                gathering.parts.append(f" {element.get('alt')} ")
            gathering.parts.append(_flat(element.text))
        else:
            if tag in _HEADINGS or tag in _BREAKS:
                yield from gathering.take(line)
            gathering.parts.append(_flat(element.tail))
    yield from gathering.take(1)


def _flat(text: str | None) -> str:
    return re.sub(r"\s+", " ", clean(text)) if text else ""


def _is_hidden(element: _Element) -> bool:
    return element.get("hidden") is not None or bool(_HIDDEN.search(element.get("style") or ""))


def _visible(element: _Element) -> str:
    """Return all text below `element` but for what is dropped or hidden."""
    from lxml import etree

    parts: list[str] = []
    walk = etree.iterwalk(element, events=("start", "end"))
    for event, each in walk:
        if event == "start":
            if each.tag in _DROPPED or _is_hidden(each):
                walk.skip_subtree()
                continue
            if each.tag == "br" or (each is not element and _is_block(each)):
                parts.append("\n")
            parts.append(each.text or "")
        elif each is not element:
            parts.append("\n" if _is_block(each) else "")
            parts.append(each.tail or "")
    return clean("".join(parts))


def _is_block(element: _Element) -> bool:
    return element.tag in _BREAKS or element.tag in _HEADINGS


def _table(table: _Element) -> Iterator[Block]:
    rows = []
    header: bool | None = False
    below: _Below = {}
    section = None
    for index, row in enumerate(table.iter("tr")):
        if row.getparent() is not section:  # no cell reaches out of its part of the table
            section = row.getparent()
            below.clear()
        cells = [cell for cell in row if cell.tag in ("td", "th") and not _is_hidden(cell)]
        texts = _spread(cells, below)
        if _is_hidden(row):
            continue
        if index == 0:
            header = len(cells) > 1 and all(cell.tag == "th" for cell in cells)
        rows.append((texts, place_at("line", row.sourceline or 1)))
    caption = table.find("caption")
    if caption is not None and _visible(caption).strip():
        yield Block(" ".join(_visible(caption).split()), place_at("line", caption.sourceline or 1))
    yield from table_blocks(rows, header=header)


_Below = dict[int, tuple[int, str]]
"""Of cells that reach into the next row: by column, the rows left and the text to repeat."""


def _spread(cells: Sequence[_Element], below: _Below) -> list[str]:
    """Return the text of each column of a row; a cell that spans several stands in each. Updates `below`."""
    texts: list[str] = []
    reaching: _Below = {}
    left_over, last = iter(cells), max(below, default=-1)
    alone = len(cells) == 1 and not below  # the heading of a part, not a value of every column
    while True:
        column = len(texts)
        if column in below:
            rows, text = below[column]
            if rows > 1:
                reaching[column] = (rows - 1, text)
            texts.append(text)
        elif (cell := next(left_over, None)) is not None:
            text = _visible(cell)
            again = text if len(text) <= LONGEST_REPEATED else ""
            width, rows = (
                (_span(cell, "colspan"), _span(cell, "rowspan")) if column < _MOST_COLUMNS else (1, 1)
            )
            texts += [text, *["" if alone else again] * (width - 1)]
            if rows > 1:
                reaching |= dict.fromkeys(range(column, column + width), (rows - 1, again))
        elif column < last:
            texts.append("")
        else:
            break
    below.clear()
    below.update(reaching)
    return texts


def _span(cell: _Element, name: str) -> int:
    value = cell.get(name, "").strip()
    return min(max(int(value), 1), MOST_SPANNED) if re.fullmatch("[0-9]{1,6}", value) else 1
