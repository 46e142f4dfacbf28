"""Markdown to blocks: headings, fenced code, list items and table rows; inline marks stay as written.

Covered: ATX and setext headings, fences, bullet and numbered lists, pipe tables, quotes, front matter.
Not covered: indented code (read as a paragraph), reference links, raw HTML and comments (kept as text).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from agentkit.indexing.document import Block, place_at
from agentkit.indexing.plain import code_blocks, table_blocks, text_blocks

_HEADING = re.compile(r" {0,3}(#{1,6})\s+(.*)$")
_UNDERLINE = re.compile(r" {0,3}(=+|-{3,})\s*$")
_RULE = re.compile(r" {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$")
_FENCE = re.compile(r"\s{0,12}(`{3,}+(?!.*`)|~{3,})")  # with a backtick further on it is code within a line
_RULE_ROW = re.compile(r"\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$")
_QUOTE = re.compile(r"^\s{0,3}> ?", re.MULTILINE)


def markdown_blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of a Markdown text, with the lines they stand on."""
    lines = text.split("\n")
    held = 0  # first line not yet given out
    number = _front_matter(lines)
    if number:
        yield from code_blocks("\n".join(lines[1 : number - 1]), first_line=2)
        held = number
    while number < len(lines):
        line = lines[number]
        heading, fence = _HEADING.match(line.rstrip()), _FENCE.match(line)
        if heading and (title := _without_closing(heading[2])):
            yield from _prose(lines, held, number)
            yield Block(title, place_at("line", number + 1), "heading", len(heading[1]))
            held = number = number + 1
        elif fence:
            yield from _prose(lines, held, number)
            end = _fence_end(lines, number + 1, fence[1])
            yield from code_blocks("\n".join(lines[number + 1 : end]), first_line=number + 2)
            held = number = end + 1
        elif (
            "|" in line
            and number + 1 < len(lines)
            and "|" in lines[number + 1]
            and _RULE_ROW.match(lines[number + 1])
        ):
            yield from _prose(lines, held, number)
            end = number + 2
            while end < len(lines) and "|" in lines[end] and lines[end].strip():
                end += 1
            rows = [number, *range(number + 2, end)]
            cells = ((_cells(lines[row]), place_at("line", row + 1)) for row in rows)
            yield from table_blocks(cells, header=True)
            held = number = end
        elif number == held and _RULE.fullmatch(line):
            held = number = number + 1
        elif (
            number == held
            and line.strip()
            and number + 1 < len(lines)
            and _UNDERLINE.match(lines[number + 1])
        ):
            yield Block(
                line.strip(), place_at("line", number + 1), "heading", 1 if "=" in lines[number + 1] else 2
            )
            held = number = number + 2
        elif not line.strip():
            yield from _prose(lines, held, number)
            held = number = number + 1
        else:
            number += 1
    yield from _prose(lines, held, len(lines))


def _without_closing(title: str) -> str:
    """Return a heading's text without the run of `#` that may end it; the one of `C#` is a part of its word."""
    bare = title.rstrip("#")
    return bare.rstrip() if not bare or bare[-1].isspace() else title


def _prose(lines: list[str], start: int, end: int) -> Iterator[Block]:
    yield from text_blocks(_QUOTE.sub("", "\n".join(lines[start:end])), first_line=start + 1)


def _front_matter(lines: list[str]) -> int:
    """Return the number of lines the YAML front matter takes, both marks included."""
    if lines[0].strip() != "---":
        return 0
    for number, line in enumerate(lines[1:60], start=1):
        if line.strip() in ("---", "..."):
            return number + 1
    return 0


def _fence_end(lines: list[str], start: int, mark: str) -> int:
    for number in range(start, len(lines)):
        stripped = lines[number].strip()
        if stripped.startswith(mark) and not stripped.strip(mark[0]):
            return number
    return len(lines)


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|")
    if inner.endswith("|") and not inner.endswith("\\|"):
        inner = inner[:-1]
    return [cell.replace("\\|", "|").strip() for cell in re.split(r"(?<!\\)\|", inner)]
