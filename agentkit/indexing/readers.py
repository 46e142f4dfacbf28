"""Any file to a `Document`: choose by content first, by name second.

Runs only in the reader worker, on one file at a time; `preload` imports everything a reader may need, so that
the worker can give up the file system before it sees the first document.
Covered: what is no text is refused with a reason, and what is over a limit is refused, never cut.
"""

from __future__ import annotations

import codecs
import contextlib
from collections.abc import Iterator
from pathlib import PurePosixPath

from agentkit.errors import IndexingError
from agentkit.indexing.document import DEFAULT_LIMITS, Block, Document, ReadLimits
from agentkit.indexing.docx import docx_blocks, docx_title, is_docx, open_zip
from agentkit.indexing.html import declared_charset, html_blocks, html_title
from agentkit.indexing.markdown import markdown_blocks
from agentkit.indexing.pdf import Pdf
from agentkit.indexing.plain import clean, code_blocks, csv_blocks, decode, has_bom, text_blocks

__all__ = ["Block", "Document", "ReadLimits", "looks_binary", "preload", "read_document"]

_MARKDOWN = frozenset({".md", ".markdown", ".mdown", ".mkd"})
_HTML = frozenset({".html", ".htm", ".xhtml"})
_TABLES = frozenset({".csv", ".tsv"})
_PROSE = frozenset({"", ".txt", ".text", ".rst", ".adoc", ".org", ".eml", ".tex", ".nfo"})
_FOREIGN = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"SQLite format 3\x00", "a database"),
    (b"GGUF", "a model"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office file of before 2007"),
)
_HEAD_BYTES = 8192
# fmt: off
_PRELOADED_CODECS = (
    "utf_8", "utf_16", "utf_16_le", "utf_16_be", "utf_32_le", "utf_32_be", "ascii", "latin_1", "cp437",
    "cp866", "cp874", "cp932", "cp949", "cp950", *(f"cp{number}" for number in range(1250, 1259)),
    *(f"iso8859_{number}" for number in range(1, 17) if number != 12), "tis_620", "koi8_r", "koi8_u", "mac_roman",
    "mac_cyrillic", "shift_jis", "euc_jp", "gb2312", "gb18030", "gbk", "big5", "big5hkscs",
    "euc_kr", "johab",
)
"""What a page may declare; there is no ISO 8859-12."""
# fmt: on


def preload() -> None:
    """Import every parser and codec a document may need."""
    import pypdfium2
    from lxml import etree

    for name in _PRELOADED_CODECS:
        codecs.lookup(name)
    # once through each parser: both load more on first use
    etree.fromstring(b"<p>x</p>", etree.HTMLParser())
    with contextlib.suppress(pypdfium2.PdfiumError):  # no PDF, of course, but the library is up
        pypdfium2.PdfDocument(b"%PDF-1.4")


def looks_binary(head: bytes) -> str:
    """Say what a file is whose first bytes are no text we read; empty when it may be a document."""
    if head.startswith((b"%PDF", b"PK\x03\x04")) or has_bom(head):
        return ""
    for magic, name in _FOREIGN:
        if head.startswith(magic) and (b"\x00" in head or magic != b"MZ"):
            return name
    return "a binary file" if b"\x00" in head else ""


def read_document(data: bytes, name: str, limits: ReadLimits = DEFAULT_LIMITS) -> Document:
    """Read one file.

    Args:
        data: All of it.
        name: Its file name; decides between formats that are all text, and stands in for a missing title.
        limits: What it may cost.

    Raises:
        IndexingError: It is no document, damaged, or over a limit.
    """
    suffix = PurePosixPath(name.lower()).suffix
    head = data[:_HEAD_BYTES]
    foreign = looks_binary(head)
    if foreign:
        raise IndexingError(f"it is {foreign}")
    if b"%PDF" in head[:1024] and not data[:1].isalpha():
        pdf = Pdf(data, limits)
        try:
            return _gather(pdf.blocks(), pdf.title(), name, limits)
        finally:
            pdf.close()
    if head.startswith(b"PK\x03\x04"):
        with open_zip(data, limits) as archive:
            if not is_docx(archive):
                raise IndexingError("it is an archive, or an Office file that is not read yet")
            return _gather(docx_blocks(archive), docx_title(archive), name, limits)
    text, note = decode(data, declared_charset(data) if suffix in _HTML else "")
    notes = (note,) if note else ()
    start = text[:256].lstrip().lower()
    if suffix in _HTML or start.startswith(("<!doctype html", "<html")):
        return _gather(html_blocks(text), html_title(text), name, limits, notes)
    if suffix in _MARKDOWN:
        return _gather(markdown_blocks(text), "", name, limits, notes)
    if suffix in _TABLES:
        return _gather(csv_blocks(text), "", name, limits, notes)
    if suffix in _PROSE and not start.startswith("#!"):
        return _gather(text_blocks(text), "", name, limits, notes)
    return _gather(code_blocks(text), name, name, limits, notes)


def _gather(
    blocks: Iterator[Block], title: str, name: str, limits: ReadLimits, notes: tuple[str, ...] = ()
) -> Document:
    kept: list[Block] = []
    characters = 0
    for block in blocks:
        characters += len(block.text)
        if characters > limits.characters:
            raise IndexingError(f"it holds more than {limits.characters} characters of text")
        if len(kept) >= limits.blocks:
            raise IndexingError(f"it holds more than {limits.blocks} paragraphs or rows")
        kept.append(block)
    return Document(_title(title, kept, name), tuple(kept), notes)


def _title(title: str, blocks: list[Block], name: str) -> str:
    """Return the given title, else a top heading near the start, else the file's name in words."""
    if not title:
        title = next((block.text for block in blocks[:5] if block.kind == "heading" and block.level <= 2), "")
    if not title:
        title = PurePosixPath(name).stem.replace("_", " ").replace("-", " ")
    return " ".join(clean(title).split())[:200]
