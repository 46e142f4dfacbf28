"""Every format gives its text with its place; what is no document is refused with a reason."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.errors import IndexingError
from agentkit.indexing.document import DEFAULT_LIMITS, Block, Document
from agentkit.indexing.readers import looks_binary, preload, read_document

NOTES = Path(__file__).parents[3] / "examples" / "notes"
W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def read(data: bytes | str, name: str) -> Document:
    return read_document(data.encode() if isinstance(data, str) else data, name)


def texts(document: Document) -> list[str]:
    return [block.text for block in document.blocks]


def docx(body: str, **parts: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", f"<w:document {W}><w:body>{body}</w:body></w:document>")
        for name, content in parts.items():
            archive.writestr(f"word/{name}.xml", content)
    return data.getvalue()


def test_text_keeps_paragraphs_items_and_their_lines() -> None:
    document = read("First line\nsecond line\n\n- one\n  more of one\n- two\n", "a_note.txt")
    assert document == Document(
        "a note",
        (
            Block("First line\nsecond line", "lines 1-2"),
            Block("- one\n  more of one", "lines 4-5", "list"),
            Block("- two", "line 6", "list"),
        ),
    )


def test_markdown_knows_headings_code_lists_and_tables() -> None:
    document = read(
        "---\ntitle: x\n---\n# Top\n\ntext\nmore\n\nSub\n---\n- item\n\n***\n\n```py\na = 1\n\n# no heading\n```\n"
        "\n| day | place |\n|---|---|\n| Mon | here |\n\n> quoted\n\nend <!-- aside -->",
        "a.md",
    )
    assert document.title == "Top"
    assert document.blocks == (
        Block("title: x", "line 2", "code"),
        Block("Top", "line 4", "heading", 1),
        Block("text\nmore", "lines 6-7"),
        Block("Sub", "line 9", "heading", 2),
        Block("- item", "line 11", "list"),
        Block("a = 1", "line 16", "code"),
        Block("# no heading", "line 18", "code"),
        Block("day | place", "line 21", "table"),
        Block("day: Mon, place: here", "line 23", "table"),
        Block("quoted", "line 25"),
        Block("end <!-- aside -->", "line 27"),
    )


def test_a_line_that_begins_with_code_opens_no_fence() -> None:
    document = read("```npm install``` must be run with the key 4711.\n\nMore.\n\n## Next\n", "a.md")
    assert document.blocks == (
        Block("```npm install``` must be run with the key 4711.", "line 1"),
        Block("More.", "line 3"),
        Block("Next", "line 5", "heading", 2),
    )


@pytest.mark.parametrize(
    ("line", "heading"),
    [
        ("# C#", "C#"),
        ("# C# ##  ", "C#"),
        ("## Closed ##", "Closed"),
        ("# a # b", "a # b"),
        ("#  wide  ", "wide"),
    ],
)
def test_a_heading_loses_its_closing_marks_and_nothing_else(line: str, heading: str) -> None:
    assert texts(read(line, "a.md")) == [heading]


def test_a_heading_with_a_long_gap_takes_no_time() -> None:
    assert texts(read("# a" + " " * 20_000 + "b", "a.md")) == ["a" + " " * 20_000 + "b"]


def test_code_keeps_indentation_and_lines() -> None:
    document = read("def f():\n    return 1\n\n\nx = f()\n", "tool.py")
    assert document == Document(
        "tool.py",
        (Block("def f():\n    return 1", "lines 1-2", "code"), Block("x = f()", "line 5", "code")),
    )


def test_a_table_row_says_what_its_cells_mean() -> None:
    document = read("date;kwh\n2025-01-31;284\n2025-02-28;\n", "meter.csv")
    assert document.blocks == (
        Block("date | kwh", "row 1", "table"),
        Block("date: 2025-01-31, kwh: 284", "row 2", "table"),
        Block("date: 2025-02-28", "row 3", "table"),
    )


def test_a_csv_with_an_inch_mark_keeps_its_columns() -> None:
    lines = [
        "id,item,price,stock",
        '1,"Monitor 27"" curved, black",199,4',
        '2,"Cable, 2 m",5,40',
        '3, "Desk, oak",320,1',
    ]
    assert texts(read("\n".join(lines), "stock.csv"))[1:] == [
        'id: 1, item: Monitor 27" curved, black, price: 199, stock: 4',
        "id: 2, item: Cable, 2 m, price: 5, stock: 40",
        "id: 3, item: Desk, oak, price: 320, stock: 1",
    ]


def test_an_apostrophe_in_a_csv_opens_no_quote() -> None:
    document = read("name,said,times\nO'Brien,'tis late,12\nPat,can't say,13\n", "said.csv")
    assert document.blocks[1:] == (
        Block("name: O'Brien, said: 'tis late, times: 12", "row 2", "table"),
        Block("name: Pat, said: can't say, times: 13", "row 3", "table"),
    )


def test_a_blank_first_line_hides_no_names_of_columns() -> None:
    assert read("\ndate;kwh\n2025-01-31;284\n", "meter.csv").blocks == (
        Block("date | kwh", "row 2", "table"),
        Block("date: 2025-01-31, kwh: 284", "row 3", "table"),
    )


def test_a_table_without_names_of_columns_invents_none() -> None:
    assert texts(read("1,2\n3,4\n", "n.csv")) == ["1 | 2", "3 | 4"]


def test_hostile_html_gives_only_what_a_person_would_read() -> None:
    document = read(
        """<!doctype html><html><head><title>The &amp; title</title><style>p{}</style></head><body>
        <script>alert(1)</script><nav>menu</nav><h2>Head <b>ing</b></h2>
        <p>Shown<br>below</p><p hidden>secret orders</p><div style="display: none">more orders</div>
        <template>not this</template><img src="http://x/y.png" alt="a duck">
        <table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2<script>3</script></td></tr></table>tail
        <pre>x
          y</pre></body></html>""",
        "page.html",
    )
    assert document.title == "The & title"
    assert texts(document) == [
        "Head ing", "Shown\nbelow", "a duck", "a | b", "a: 1, b: 2", "tail", "x\n          y",
    ]  # fmt: skip
    assert document.blocks[0] == Block("Head ing", "line 2", "heading", 2)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("<p>12</p><p>34</p>", "12 34"),
        ("<ul><li>10</li><li>20</li></ul>", "10 20"),
        ("<h4>12</h4>34", "12 34"),
        ("1<b>2</b>3", "123"),
        ("1<br>2", "1 2"),
    ],
)
def test_numbers_in_paragraphs_of_their_own_stay_apart(cell: str, text: str) -> None:
    document = read(
        f"<table><tr><th>a</th><th>b</th></tr><tr><td>x</td><td>{cell}</td></tr></table>", "t.html"
    )
    assert texts(document) == ["a | b", f"a: x, b: {text}"]


def test_a_cell_that_spans_rows_or_columns_stands_in_each() -> None:
    head = "<tr><th>Region</th><th>Quarter</th><th>Sales</th></tr>"
    rows = (
        "<tr><td rowspan=2>North</td><td>Q1</td><td>200</td></tr><tr><td>Q2</td><td>250</td></tr>"
        "<tr><td>South</td><td colspan=2>closed</td></tr><tr><td colspan=3>Overseas</td></tr>"
        "<tr><td>West</td><td>Q1</td><td rowspan=999>50</td></tr>"
    )
    foot = "<tfoot><tr><td>All</td><td></td><td>500</td></tr></tfoot>"
    assert texts(read(f"<table><tbody>{head}{rows}</tbody>{foot}</table>", "t.html")) == [
        "Region | Quarter | Sales",
        "Region: North, Quarter: Q1, Sales: 200",
        "Region: North, Quarter: Q2, Sales: 250",
        "Region: South, Quarter: closed, Sales: closed",
        "Region: Overseas",
        "Region: West, Quarter: Q1, Sales: 50",
        "Region: All, Sales: 500",
    ]


def test_a_cell_that_spans_a_million_columns_fills_no_memory() -> None:
    word = "word " * 50
    cells = f"<td colspan=1000000 rowspan=1000000>{word}</td><td>x</td>"
    document = read(f"<table><tr>{cells}</tr>{'<tr></tr>' * 500}</table>", "t.html")
    assert sum(map(len, texts(document))) < 2000


def test_html_nested_without_end_is_refused_not_cut() -> None:
    with pytest.raises(IndexingError, match="nested more than 2048 deep"):
        read("<div>" * 100_000 + "text", "deep.html")
    assert texts(read("<div>" * 500 + "text", "deep.html")) == ["text"]


def test_docx_gives_headings_tables_lists_and_notes() -> None:
    styles = (
        f'<w:styles {W}><w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style></w:styles>'
    )
    body = (
        '<w:p><w:pPr><w:pStyle w:val="berschrift1"/></w:pPr><w:r><w:t>A head</w:t></w:r></w:p>'
        "<w:p><w:r><w:t>One</w:t><w:tab/><w:t>two</w:t></w:r><w:del><w:r><w:delText>gone</w:delText></w:r></w:del></w:p>"
        "<w:p/><w:p><w:pPr><w:numPr/></w:pPr><w:r><w:t>item</w:t></w:r></w:p>"
        "<w:tbl>"
        + "".join(
            "<w:tr>"
            + "".join(f"<w:tc><w:p><w:r><w:t>{cell}</w:t></w:r></w:p></w:tc>" for cell in row)
            + "</w:tr>"
            for row in (("what", "limit", "excess"), ("glass", "25", "0"))
        )
        + "</w:tbl>"
    )
    notes = (
        f"<w:footnotes {W}><w:footnote><w:p><w:r><w:t>A footnote</w:t></w:r></w:p></w:footnote></w:footnotes>"
    )
    document = read(docx(body, styles=styles, footnotes=notes), "letter.docx")
    assert document.title == "A head"
    assert document.blocks == (
        Block("A head", "paragraph 1", "heading", 1),
        Block("One\ttwo", "paragraph 2"),
        Block("item", "paragraph 3", "list"),
        Block("what | limit | excess", "paragraph 4", "table"),
        Block("what: glass, limit: 25, excess: 0", "paragraph 4", "table"),
        Block("A footnote", "paragraph 5"),
    )


def test_docx_keeps_hyphens_that_break_no_line_and_leaves_out_what_was_moved_or_deleted() -> None:
    moved = "<w:moveFrom><w:r><w:t>here </w:t></w:r></w:moveFrom>"
    deleted = "<w:del><w:r><w:delText>gone</w:delText><w:tab/></w:r></w:del>"
    placed = "<w:moveTo><w:r><w:t> there</w:t></w:r></w:moveTo>"
    number = "<w:r><w:t>555</w:t><w:noBreakHyphen/><w:t>1234</w:t></w:r>"
    assert texts(read(docx(f"<w:p>{moved}{deleted}{number}{placed}</w:p>"), "a.docx")) == ["555-1234 there"]


def test_docx_cells_stand_under_their_columns() -> None:
    def cell(text: str, properties: str = "") -> str:
        return f"<w:tc><w:tcPr>{properties}</w:tcPr><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:tc>"

    wide = '<w:gridSpan w:val="2"/>'
    chosen = f"<w:sdt><w:sdtPr/><w:sdtContent>{cell('North')}</w:sdtContent></w:sdt>"
    rows = (
        cell("Region") + cell("Quarter") + cell("Sales"),
        chosen + cell("Q1") + cell("200"),
        cell("South", wide) + cell("closed"),
        cell("Overseas", '<w:gridSpan w:val="3"/>'),
    )
    table = "".join(f"<w:tr>{row}</w:tr>" for row in rows)
    assert texts(read(docx(f"<w:tbl>{table}</w:tbl>"), "a.docx")) == [
        "Region | Quarter | Sales",
        "Region: North, Quarter: Q1, Sales: 200",
        "Region: South, Quarter: South, Sales: closed",
        "Region: Overseas",
    ]


def test_docx_cells_that_are_merged_downwards_stand_in_each_of_their_rows() -> None:
    def cell(text: str, properties: str = "") -> str:
        return f"<w:tc><w:tcPr>{properties}</w:tcPr><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:tc>"

    begins, goes_on = '<w:vMerge w:val="restart"/>', "<w:vMerge/>"
    inner = f"<w:tc><w:tbl><w:tr>{cell('in')}{cell('ner')}</w:tr></w:tbl><w:p/></w:tc>"
    rows = (
        cell("Region") + cell("Quarter") + cell("Sales"),
        cell("North", begins) + cell("Q1") + inner,
        cell("", goes_on) + cell("Q2") + cell("210"),
        '<w:trPr><w:gridBefore w:val="1"/></w:trPr>' + cell("Q3") + cell("220"),
    )
    table = "".join(f"<w:tr>{row}</w:tr>" for row in rows)
    found = texts(read(docx(f"<w:tbl>{table}</w:tbl>"), "a.docx"))
    assert found[-2:] == ["Region: North, Quarter: Q2, Sales: 210", "Quarter: Q3, Sales: 220"]


def test_a_zip_bomb_is_refused_before_it_is_unpacked() -> None:
    body = "<w:p><w:r><w:t>boom boom boom boom</w:t></w:r></w:p>" * 200_000
    with pytest.raises(IndexingError, match="more than 200 times its size"):
        read(docx(body), "bomb.docx")
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as archive:
        for number in range(2_100):
            archive.writestr(str(number), b"")
    with pytest.raises(IndexingError, match="2100 entries, over the limit of 2000"):
        read(many.getvalue(), "many.docx")


def test_docx_entities_are_never_resolved(tmp_path: Path) -> None:
    outside = tmp_path / "secret.txt"
    outside.write_text("the secret")
    entities = f'<!ENTITY a "haha"><!ENTITY b "&a;&a;&a;"><!ENTITY x SYSTEM "file://{outside}">'
    laughs = f"<!DOCTYPE d [{entities}]>"
    part = f"{laughs}<w:document {W}><w:body><w:p><w:r><w:t>start &x;&b; end</w:t></w:r></w:p></w:body></w:document>"
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", part)
    try:
        found = " ".join(texts(read(data.getvalue(), "x.docx")))
    except IndexingError:
        found = ""
    assert "secret" not in found
    assert "haha" not in found


def test_pdf_keeps_each_page_apart() -> None:
    document = read((NOTES / "home" / "boiler_inspection_report.pdf").read_bytes(), "r.pdf")
    assert document.title == "Boiler inspection report, 14 Quarry Lane"
    pages = {block.place: block.text for block in document.blocks}
    assert list(pages) == ["page 1", "page 2"]
    assert "38 ppm" in pages["page 1"]
    assert "expansion vessel" in pages["page 2"]
    assert "expansion vessel" not in pages["page 1"]


@pytest.mark.parametrize(
    ("data", "text", "note"),
    [
        ("\ufeffsüß".encode(), "süß", ""),
        ("süß\r\nsauer".encode("utf-16"), "süß\nsauer", ""),
        (b"\xfe\xff" + "süß".encode("utf-16-be"), "süß", ""),
        ("süß 5 €".encode("cp1252"), "süß 5 €", "read as cp1252"),
        (b"s\x81\x8d \xff", "s\ufffd\ufffd ÿ", "read as cp1252, 2 characters could not be read"),
    ],
)
def test_encodings_are_recognised_and_guesses_are_noted(data: bytes, text: str, note: str) -> None:
    document = read(data, "a.txt")
    assert texts(document) == [text]
    assert document.notes == ((note,) if note else ())


def test_html_is_read_in_the_encoding_it_declares() -> None:
    data = '<meta charset="iso-8859-2"><p>Łódź</p>'.encode("iso-8859-2")
    assert texts(read(data, "a.html")) == ["Łódź"]


@pytest.mark.parametrize(
    ("data", "name", "reason"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00", "photo.txt", "it is a PNG picture"),
        (b"text\x00text", "a.txt", "it is a binary file"),
        (b"\x7fELF\x02\x01\x01\x00", "tool", "it is a program"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00", "old.doc", "it is an Office file of before 2007"),
        (b"%PDF-1.7\nnonsense", "a.pdf", "the PDF is damaged"),
        (b"PK\x03\x04nonsense", "a.docx", "the zip inside is damaged"),
    ],
)
def test_what_is_no_document_is_refused_with_a_reason(data: bytes, name: str, reason: str) -> None:
    with pytest.raises(IndexingError) as caught:
        read(data, name)
    assert caught.value.message == reason


def test_an_archive_is_refused_even_under_the_name_of_a_document() -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("a.txt", "text")
    with pytest.raises(IndexingError, match="it is an archive"):
        read(data.getvalue(), "a.docx")


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html", "a.csv", "a.py"])
def test_an_empty_file_is_an_empty_document(name: str) -> None:
    assert read(b"", name).blocks == ()
    assert read(b" \n\n", name).blocks == ()


def test_more_text_than_the_limit_is_refused_not_cut() -> None:
    with pytest.raises(IndexingError, match="more than 10 characters"):
        read_document(b"eleven chars", "a.txt", replace(DEFAULT_LIMITS, characters=10))
    with pytest.raises(IndexingError, match="more than 2 paragraphs"):
        read_document(b"a\n\nb\n\nc", "a.txt", replace(DEFAULT_LIMITS, blocks=2))


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=400), st.sampled_from(["a.txt", "a.md", "a.html", "a.csv", "a.py", "a.pdf", "a.docx"])
)
def test_any_bytes_are_read_or_refused(data: bytes, name: str) -> None:
    try:
        document = read(data, name)
    except IndexingError as error:
        assert error.message  # noqa: PT017 - refusing is as good as reading
    else:
        for block in document.blocks:
            block.text.encode("utf-8")
            assert "\x00" not in block.text


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="ab .#-|>`\n1", max_size=200))
def test_markdown_loses_no_letter(text: str) -> None:
    document = read(text, "a.md")
    kept = [letter for block in document.blocks for letter in block.text if letter in "ab"]
    assert kept == [letter for letter in _without_fence_words(text) if letter in "ab"]


def _without_fence_words(text: str) -> str:
    """Return `text` without the language named after an opening fence."""
    kept, fence = [], ""
    for line in text.split("\n"):
        stripped = line.strip()
        mark = stripped[: len(stripped) - len(stripped.lstrip("`"))]
        inline = "`" in stripped[len(mark) :]
        if not fence and len(mark) >= 3 and not inline and len(line) - len(line.lstrip()) <= 12:
            fence = mark
        elif fence and stripped.startswith(fence) and not stripped.strip("`"):
            fence = ""
        else:
            kept.append(line)
    return "\n".join(kept)


def test_preload_can_run_twice_and_sniffing_needs_no_parser() -> None:
    preload()
    preload()
    assert looks_binary(b"plain") == ""
    assert looks_binary(b"\x1f\x8b\x08\x00") == "a gzip archive"
