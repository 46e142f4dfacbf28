"""What reaches a terminal: nothing a terminal would act on, and data apart from everything else."""

from __future__ import annotations

import io
import json
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentkit.cli.output import Output, clean, excerpt, size, to_json, visible

ATTACKS = {
    "colour": ("\x1b[31mred\x1b[0m", "red"),
    "cursor": ("a\x1b[2J\x1b[1;1Hb", "ab"),
    "title": ("a\x1b]0;owned\x07b", "ab"),
    "clipboard": ("a\x1b]52;c;aGk=\x1b\\b", "ab"),
    "device control": ("a\x1bP1$r0m\x1b\\b", "ab"),
    "single C1": ("a\x9b31mb", "a31mb"),
    "carriage return": ("allow\rdeny ", "allowdeny "),
    "backspace": ("rm\x08\x08ls", "rmls"),
    "override": ("a\u202egnp.exe\u202c", "agnp.exe"),
    "isolate": ("a\u2066b\u2069", "ab"),
    "tags": ("a\U000e0041\U000e0042b", "ab"),
    "half a character": ("a\ud800b", "ab"),
    "unfinished": ("a\x1b]0;t", "a0;t"),
    "line separator": ("a\u2028b\r\nc", "a\nb\nc"),
    "ordinary": ("Zoë — 日本語 \t ok\n", "Zoë — 日本語 \t ok\n"),
}


@pytest.mark.parametrize(("text", "shown"), ATTACKS.values(), ids=ATTACKS.keys())
def test_clean_removes_what_a_terminal_would_act_on(text: str, shown: str) -> None:
    assert clean(text) == shown


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("\x1b[]0m;\x07\x9b\u202e"))))
@example("\x1b\x1b[[mm")
def test_nothing_a_terminal_acts_on_survives(text: str) -> None:
    for shown in (clean(text), visible(text), to_json(text)):
        for character in shown:
            assert character in "\t\n" or unicodedata.category(character) not in ("Cc", "Cs")
            assert not 0x202A <= ord(character) <= 0x202E


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_stream_in_pieces_is_as_safe_as_the_whole(one: str, other: str) -> None:
    assert "\x1b" not in clean(one) + clean(other)


@given(st.text())
def test_what_is_made_visible_is_never_left_out(text: str) -> None:
    assert len(visible(text)) >= len(text)


@given(st.recursive(st.none() | st.text() | st.integers(), st.lists))
def test_json_is_the_same_value(value: object) -> None:
    assert json.loads(to_json(value)) == value


def written(*, as_json: bool) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    output = Output(as_json=as_json, stdout=out, stderr=err)
    output.line("data", "bold")
    output.rows(("a", "b"), [("x\ty", "two\nlines"), (1, 2)])
    output.json({"data": 1})
    output.note("a note")
    output.warn("a warning\nof two lines")
    with output.meter("work") as meter:
        for done in range(101):
            meter.show(done, 100, "file")
    return out.getvalue(), err.getvalue()


def test_without_a_terminal_there_are_plain_lines_and_tabs() -> None:
    out, err = written(as_json=False)
    assert out == "data\nx y\ttwo lines\n1\t2\n"
    assert err.startswith("a note\nagentkit: warning: a warning of two lines\nwork: 10 of 100\n")
    assert err.count("work:") == 10
    assert "\x1b" not in out + err


def test_with_json_standard_output_is_one_document() -> None:
    out, err = written(as_json=True)
    assert json.loads(out) == {"data": 1}
    assert "a note" in err


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "ascii"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variable", "value", "coloured"), [("X", "", True), ("NO_COLOR", "1", False), ("TERM", "dumb", False)]
)
def test_colour_can_be_switched_off(
    variable: str, value: str, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(variable, value)
    stream = Terminal()
    Output(stdout=stream, stderr=stream).line("text", "red")
    assert ("\x1b[31m" in stream.getvalue()) is coloured


def test_a_table_takes_no_markup_from_its_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    Output(stdout=stream, stderr=stream).rows(("name",), [("[bold red]x[/]",)])
    assert "[bold red]x[/]" in stream.getvalue()


def test_a_reader_that_went_away_ends_the_command_quietly() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with pytest.raises(SystemExit) as ended:
        Output(stdout=Closed()).line("x")
    assert ended.value.code == 141


def test_sizes_and_excerpts_read_well() -> None:
    assert [size(each) for each in (12, 98_362_432, 5_000_000_000_000)] == ["12 B", "98.4 MB", "5.0 TB"]
    assert excerpt("one\n two  three", 8) == "one two …"
