"""Draw the table of quantisations: one line each, and a bar for everything that was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from xml.sax.saxutils import escape

from agentkit.models.quant_table import QuantRow

COLUMNS: tuple[tuple[str, Callable[[QuantRow], float], str], ...] = (
    ("file, MB", lambda row: row.file_bytes / 1e6, ".0f"),
    ("memory, MB", lambda row: row.memory_bytes / 1e6, ".0f"),
    ("prefill, tokens/s", lambda row: row.prefill, ".0f"),
    ("generate, tokens/s", lambda row: row.generate, ".0f"),
    ("perplexity", lambda row: row.perplexity, ".2f"),
    ("KL to the file as it came", lambda row: row.divergence, ".3f"),
)
_NAME, _COLUMN, _BAR, _LINE, _TOP = 130, 165, 100, 30, 74


def plot(rows: Sequence[QuantRow], title: str) -> str:
    """Return an SVG picture of the table; in each column the longest bar is the largest number."""
    width, height = _NAME + _COLUMN * len(COLUMNS) + 20, _TOP + _LINE * len(rows) + 40
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        "<style>text { font: 13px sans-serif; fill: #222 }</style>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(20, 30, title, size=17),
    ]
    for number, (name, value, form) in enumerate(COLUMNS):
        left = _NAME + number * _COLUMN
        lines.append(_text(left, _TOP - 12, name))
        longest = max(value(row) for row in rows) or 1.0
        for index, row in enumerate(rows):
            top, length = _TOP + index * _LINE, max(1.0, _BAR * value(row) / longest)
            colour = "#e08a7d" if row.is_reference else "#7fb0de"
            lines.append(
                f'<rect x="{left}" y="{top}" width="{length:.1f}" height="{_LINE - 10}" fill="{colour}"/>'
            )
            lines.append(_text(left + length + 6, top + 15, format(value(row), form)))
    for index, row in enumerate(rows):
        lines.append(_text(_NAME - 10, _TOP + index * _LINE + 15, row.quantisation, anchor="end"))
    lines.append(_text(20, height - 14, "red: the file as it came, which the others are made of"))
    return "\n".join([*lines, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, *, size: int = 13, anchor: str = "start") -> str:
    style = f' style="font-size: {size}px"' if size != 13 else ""
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}"{style}>{escape(text)}</text>'
