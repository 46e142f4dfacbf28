"""The numbers a schema admits, as automata over their digits (pure).

Covered: bounds and steps of decimal numbers, exactly; numbers are written the canonical way, without `-0`.
Not covered: exponents where there is a bound or a step; steps that would take too many states, which are left out.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from agentkit.models.automaton import Automaton, TooLargeError, explore, of_pattern
from agentkit_tools.pattern import Ranges

MAX_DIGITS = 20
MAX_FRACTION = 15
MAX_STEP = 1000
_KEYWORDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_ANY_NUMBER = r"^-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?$"


class Bound(NamedTuple):
    """A number and whether it counts itself."""

    value: Decimal
    inclusive: bool


class _Digits(NamedTuple):
    """A bound as the digits it has before and after the point."""

    before: str
    after: str
    inclusive: bool


class _Read(NamedTuple):
    """What matters of the part of a number that was read."""

    negative: bool
    whole: int = 0
    """Digits before the point."""
    fraction: int = -1
    """Digits after the point; -1 before it."""
    low: int = 0
    """How what was read compares with the same digits of the lower bound: -1, 0 or 1."""
    high: int = 0
    remainder: int = 0
    zero: bool = False
    """It starts with the digit 0, so that no digit can follow before the point."""


def of_numbers(form: Mapping[str, Any], *, whole: bool) -> Automaton:
    """Return the automaton of the numbers that keep the bounds in `form`.

    Args:
        form: May hold minimum, maximum, exclusiveMinimum, exclusiveMaximum and multipleOf.
        whole: Integers only.
    """
    return _of_numbers(tuple((keyword, form[keyword]) for keyword in _KEYWORDS if keyword in form), whole)


@functools.lru_cache(maxsize=64)
def _of_numbers(bounds: tuple[tuple[str, float], ...], whole: bool) -> Automaton:
    """Do the work of `of_numbers`; most numbers have no bounds at all."""
    form = dict(bounds)
    low, high = _bounds(form)
    step = form.get("multipleOf")
    if low is None and high is None and step is None and not whole:
        return of_pattern(_ANY_NUMBER)
    if step is not None:
        try:
            return _Numbers(low, high, Decimal(str(step)), whole=whole).automaton()
        except TooLargeError:  # the step is checked after
            if not some_number(form, whole=whole):
                return Automaton(((),), frozenset())
    return _Numbers(low, high, None, whole=whole).automaton()


def some_number(form: Mapping[str, Any], *, whole: bool) -> bool:
    """Return whether any number keeps the bounds in `form`, which are those of `of_numbers`."""
    low, high = _bounds(form)
    if low is None or high is None:
        return True
    both = low.inclusive and high.inclusive
    if not whole and "multipleOf" not in form:
        return low.value < high.value or (low.value == high.value and both)
    step = Fraction(str(form.get("multipleOf", 1)))
    if whole:
        step = Fraction(step.numerator)  # the least whole number that is a multiple of it
    least, most = Fraction(low.value), Fraction(high.value)
    first = math.ceil(least / step) * step
    if first == least and not low.inclusive:
        first += step
    return first < most or (first == most and high.inclusive)


def _tightest(form: Mapping[str, Any], plain: str, exclusive: str, choose: Any) -> Bound | None:  # noqa: ANN401
    found = [
        Bound(Decimal(str(form[name])), inclusive)
        for name, inclusive in ((plain, True), (exclusive, False))
        if name in form
    ]
    values = [bound.value for bound in found]
    return next(
        (bound for bound in reversed(found) if bound.value == choose(values)), None
    )  # exclusive goes first


def _bounds(form: Mapping[str, Any]) -> tuple[Bound | None, Bound | None]:
    low = _tightest(form, "minimum", "exclusiveMinimum", max)
    return low, _tightest(form, "maximum", "exclusiveMaximum", min)


class _Numbers:
    """Follows one number digit by digit."""

    def __init__(self, low: Bound | None, high: Bound | None, step: Decimal | None, *, whole: bool) -> None:
        zero = Decimal(0)
        self._whole = whole
        self._sides: dict[bool, tuple[_Digits | None, _Digits | None]] = {}
        """For positive and negative numbers: the bounds of what follows the sign."""
        if high is None or high.value >= 0:
            least = low if low is not None and low.value >= 0 else Bound(zero, inclusive=True)
            self._sides[False] = _digits(least), high and _digits(high)
        if low is None or low.value < 0:
            below = high is not None and high.value < 0
            least = Bound(-high.value, high.inclusive) if high and below else Bound(zero, inclusive=False)
            self._sides[True] = _digits(least), low and _digits(Bound(-low.value, low.inclusive))
        self._places, self._modulus = 0, 1
        if step is not None:
            _, _, exponent = step.normalize().as_tuple()
            self._places = max(0, -int(exponent))
            self._modulus = int(step.scaleb(self._places))
            if self._modulus > MAX_STEP:
                raise TooLargeError(f"a step of more than {MAX_STEP}")
        self._most_places = min(MAX_FRACTION, self._places) if step is not None else MAX_FRACTION

    def automaton(self) -> Automaton:
        return explore(None, self._edges, self._final)

    def _edges(self, read: _Read | None) -> Iterable[tuple[Ranges, _Read | None]]:
        if read is None:
            if True in self._sides:
                yield _one("-"), _Read(negative=True)
            if False in self._sides:
                yield from self._digits(_Read(negative=False))
            return
        if read.fraction < 0:
            high = self._sides[read.negative][1]
            most = MAX_DIGITS if high is None else len(high.before)
            if not read.zero and read.whole < most:
                yield from self._digits(read)
            if read.whole and not self._whole and self._most_places:
                yield _one("."), self._pointed(read)
        elif read.fraction < self._most_places:
            yield from self._digits(read)

    def _digits(self, read: _Read) -> Iterable[tuple[Ranges, _Read]]:
        for digit in "0123456789":
            yield _one(digit), self._next(read, digit)

    def _next(self, read: _Read, digit: str) -> _Read:
        low, high = self._sides[read.negative]
        before = read.fraction < 0
        index = read.whole if before else read.fraction

        def compared(so_far: int, bound: _Digits | None) -> int:
            if bound is None or so_far:
                return so_far
            digits = bound.before if before else bound.after
            other = digits[index] if index < len(digits) else "0"
            return 0 if before and index >= len(digits) else (digit > other) - (digit < other)

        return read._replace(
            whole=read.whole + before,
            fraction=read.fraction if before else read.fraction + 1,
            low=compared(read.low, low),
            high=compared(read.high, high),
            remainder=(read.remainder * 10 + int(digit)) % self._modulus,
            zero=read.zero or (before and not read.whole and digit == "0"),
        )

    def _pointed(self, read: _Read) -> _Read:
        """Return what is known once all digits before the point are there: a longer number is a larger one."""
        low, high = self._sides[read.negative]

        def compared(so_far: int, bound: _Digits | None) -> int:
            if bound is None:
                return 0
            longer = (read.whole > len(bound.before)) - (read.whole < len(bound.before))
            return longer or so_far

        return read._replace(fraction=0, whole=0, low=compared(read.low, low), high=compared(read.high, high))

    def _final(self, read: _Read | None) -> bool:
        if read is None or not (read.whole or read.fraction > 0):
            return False
        low, high = self._sides[read.negative]
        if read.fraction < 0:
            read = self._pointed(read)

        def compared(so_far: int, bound: _Digits) -> int:
            return so_far or -(bound.after[read.fraction :].strip("0") != "")

        if low is not None:
            order = compared(read.low, low)
            if order < 0 or (order == 0 and not low.inclusive):
                return False
        if high is not None:
            order = compared(read.high, high)
            if order > 0 or (order == 0 and not high.inclusive):
                return False
        return bool(read.remainder * 10 ** (self._places - read.fraction) % self._modulus == 0)


def _digits(bound: Bound) -> _Digits:
    before, _, after = format(abs(bound.value), "f").partition(".")
    return _Digits(before, after, bound.inclusive)


def _one(character: str) -> Ranges:
    return ((ord(character), ord(character)),)
