"""PDF text, page by page, through pdfium.

Covered: a page is never merged with another, so that a citation names the page.
Not covered: scans (refused: they hold no text), columns read across, and tables, which come as lines.
"""

from __future__ import annotations

from collections.abc import Iterator

from agentkit.errors import IndexingError
from agentkit.indexing.document import Block, ReadLimits, place_at
from agentkit.indexing.plain import clean

_SOFT_HYPHENS = ("\x02", "\ufffe", "\xad")
"""What pdfium writes where a word is broken at the end of a line."""


class Pdf:
    """An open PDF."""

    def __init__(self, data: bytes, limits: ReadLimits) -> None:
        """Open `data`.

        Raises:
            IndexingError: Damaged, encrypted, or too many pages.
        """
        import pypdfium2

        try:
            self._document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            reason = "the PDF needs a password" if "password" in str(error).lower() else "the PDF is damaged"
            raise IndexingError(reason) from error
        if len(self._document) > limits.pages:
            raise IndexingError(f"the PDF has {len(self._document)} pages, over the limit of {limits.pages}")

    def title(self) -> str:
        """Return the title in the document's properties, or an empty string."""
        return " ".join(clean(self._document.get_metadata_value("Title")).split())

    def blocks(self) -> Iterator[Block]:
        """Yield the text of each page, a block for each run of lines.

        Raises:
            IndexingError: A page cannot be read, or no page holds text.
        """
        import pypdfium2

        found = False
        for index in range(len(self._document)):
            try:
                page = self._document[index]
                text_page = page.get_textpage()
                text = text_page.get_text_range()
            except pypdfium2.PdfiumError as error:
                raise IndexingError(f"page {index + 1} of the PDF is damaged") from error
            text_page.close()
            page.close()
            for run in _runs(text):
                found = True
                yield Block(run, place_at("page", index + 1))
        if not found:
            raise IndexingError("the PDF holds no text: it looks like a scan")

    def close(self) -> None:
        """Free it."""
        self._document.close()


def _runs(text: str) -> Iterator[str]:
    text = text.replace("\r\n", "\n")
    for mark in _SOFT_HYPHENS:
        text = text.replace(f"{mark}\n", "").replace(mark, "")
    run: list[str] = []
    for line in [*clean(text).split("\n"), ""]:
        if line.strip():
            run.append(" ".join(line.split()))
        elif run:
            yield "\n".join(run)
            run = []
