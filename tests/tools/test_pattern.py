"""Patterns match as ECMA-262 says, and no pattern takes long."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit_tools.matching import found_in
from agentkit_tools.pattern import PatternError

ALIKE = (
    "^a+$", "a", "^(a+)+$", "^a|b$", "(^a$)|(^b$)", "[^0-9]-x", r"^\w{2,3}?$", r"^[a-z]+(\.[a-z]+)*$", "^$", "",
    "a{0}", "[a-]", r"[\w-]", "^(?:ab|c)$", "^[$]{2}$", "a||b", "^(a|)b$", r"\d\d", r"a.b", r"^\s*$",
)  # fmt: skip


@pytest.mark.parametrize("pattern", ALIKE)
@given(text=st.text("abc1-.x$ \n", max_size=6))
def test_it_finds_what_python_finds(pattern: str, text: str) -> None:
    """Where the two languages agree: ASCII, and `$` at the very end."""
    same = pattern.replace("$", r"\Z").replace(r"[\Z]", "[$]")
    assert found_in(pattern, text) == bool(re.search(same, text, re.ASCII))


@pytest.mark.parametrize(
    "pattern",
    [
        "^(?=a)",
        r"(a)\1",
        r"\bx",
        "a^b",
        "(a$)+",
        r"\p{L}",
        "(",
        "a)",
        "*a",
        "a**",
        "(a{1000}){1000}",
        "[b-a]",
    ],
)
def test_what_is_not_regular_or_too_large_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        found_in(pattern, "x")


@pytest.mark.parametrize(
    ("pattern", "text"),
    [("^(a+)+$", "a" * 4000 + "!"), ("(x+x+)+y", "x" * 4000), ("^(a|b)*a(a|b){900}$", "ab" * 2000 + "!")],
)
@pytest.mark.slow
def test_no_pattern_takes_long(pattern: str, text: str) -> None:
    started = time.monotonic()
    try:
        assert not found_in(pattern, text)
    except PatternError as error:
        assert "too long" in str(error)  # noqa: PT017 - either is an answer
    assert time.monotonic() - started < 1
