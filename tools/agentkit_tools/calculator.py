"""Arithmetic that is exact where it can be, over a parsed expression; nothing is ever evaluated as a program.

Integers, decimals and fractions are exact (0.1 + 0.2 is 0.3, 1/3 stays a third); roots, logarithms and the like
are computed to 30 digits and marked as approximate. Every size is bounded before it is computed, so no
expression can hang or fill the memory. Numbers only: no units, no names but a few functions and constants.
"""

from __future__ import annotations

import ast
import contextlib
import math
import operator
import re
from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from decimal import InvalidOperation as DecimalInvalid
from fractions import Fraction
from typing import Any

from agentkit_tools.errors import ToolFailedError, ToolInputError

MOST_CHARACTERS = 500
MOST_PARTS = 200
MOST_BITS = 13_000
"""Of an exact result: about 3,900 digits, under Python's own limit for writing an integer out."""
MOST_EXPONENT = 1000
"""Of a number such as 1e30."""
SHOWN_DIGITS = 15

Number = Fraction | Decimal
"""Exact, or approximate."""

_DECIMALS = Context(prec=30, Emax=4000, Emin=-4000)
"""No further than exact results: what is over that would be written out digit by digit to be rounded or divided."""
# what people write, and what `ast` reads
_SPELLINGS = {"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "^": "**", "√": "sqrt", "π": "pi"}  # noqa: RUF001
_THOUSANDS = re.compile(r"(?<![\d.])\d{1,3}(?:,\d{3})+(?![\d,])")
_PERCENT_OF = re.compile(r"%\s*of\b", re.IGNORECASE)
_PERCENT = re.compile(r"(?<!\s)%(?!\s*[\w(.])|%(?!\s*[+-]?[\w(.])")  # else it is what is left after dividing
_QUESTION = re.compile(r"^(?:what is|what's|calculate|compute)\s+", re.IGNORECASE)
_TIMES = re.compile(r"(?<=[\d)])(?<!\b0)\s*x\s*(?=[\d(])")
_FACTORIAL = re.compile(r"(\d+)!(?!=)")
_CONSTANTS: dict[str, Decimal] = {
    "pi": Decimal("3.14159265358979323846264338328"),
    "e": Decimal("2.71828182845904523536028747135"),
    "tau": Decimal("6.28318530717958647692528676656"),
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Number, Number], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def calculate(expression: str) -> str:
    """Return the value of an arithmetic expression, as text.

    Args:
        expression: As a person or a model writes it: `+ - * / // % ** ^`, brackets, `15% of 80`, `1,200`, `5!`,
            comparisons, `pi`, `e`, `sqrt round floor ceil abs min max sum gcd lcm factorial log ln exp sin cos tan`.

    Raises:
        ToolInputError: It is not arithmetic.
        ToolFailedError: It has no value (division by zero), or one that is too large.
    """
    source = _tidy(expression)
    try:
        tree = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ToolInputError(
            f"{expression!r} is not arithmetic", hint="write numbers and + - * / ( )"
        ) from error
    if sum(1 for _ in ast.walk(tree)) > MOST_PARTS:
        raise ToolInputError(f"the expression has over {MOST_PARTS} parts")
    with localcontext(_DECIMALS):
        try:
            if isinstance(tree, ast.Compare):
                return "true" if _compare(tree, source) else "false"
            return show(_value(tree, source))
        except ZeroDivisionError as error:
            raise ToolFailedError("division by zero has no value") from error
        except (DecimalInvalid, OverflowError, ValueError, ArithmeticError) as error:
            raise ToolFailedError(
                "the expression has no value among the real numbers, or one too large"
            ) from error


def show(value: Number) -> str:
    """Write a number for people: whole or decimal where that is exact, else the fraction and about what it is."""
    if isinstance(value, Decimal):
        return f"about {_digits(value)}"
    if value.denominator == 1:
        return str(value.numerator)
    rest = value.denominator
    for factor in (2, 5):
        while rest % factor == 0:
            rest //= factor
    decimal = _approximate(value)
    if rest == 1 and Fraction(decimal) == value:
        return f"{decimal:f}" if decimal.adjusted() > -12 else str(decimal)
    exact = f"{value.numerator}/{value.denominator}"
    return f"{exact} (about {_digits(decimal)})" if len(exact) <= 40 else f"about {_digits(decimal)}"


def _digits(value: Decimal) -> str:
    rounded = Context(prec=SHOWN_DIGITS, Emax=999_999, Emin=-999_999).plus(value)
    if not rounded:
        return "0"
    plain = rounded.normalize()
    return f"{plain:f}" if -7 < plain.adjusted() < 21 else str(plain)


def _tidy(expression: str) -> str:
    """Return what people write as what `ast` reads."""
    if len(expression) > MOST_CHARACTERS:
        raise ToolInputError(
            f"an expression of {len(expression)} characters is over the limit of {MOST_CHARACTERS}"
        )
    text = _QUESTION.sub("", expression.strip()).rstrip("=?. ").lstrip("= ")
    for written, meant in _SPELLINGS.items():
        text = text.replace(written, meant)
    if not re.search(r"[A-Za-z]\w*\s*\(", text):  # in max(1,200) the comma divides arguments
        text = _THOUSANDS.sub(lambda match: match[0].replace(",", ""), text)
    text = _PERCENT_OF.sub("/100*", text)
    text = _PERCENT.sub("/100", text)
    text = _FACTORIAL.sub(r"factorial(\1)", text)
    return _TIMES.sub("*", text)


def _value(node: ast.expr, source: str) -> Number:
    match node:
        case ast.Constant(value=bool() | str() | bytes() | complex() | None):
            pass
        case ast.Constant():
            return _literal(node, source)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, source)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand, source)
        case ast.BinOp(left=left, op=op, right=right):
            return _bounded(_binary(op, _value(left, source), _value(right, source)))
        case ast.Name(id=name) if name.lower() in _CONSTANTS:
            return _CONSTANTS[name.lower()]
        case ast.Name(id=name):
            raise ToolInputError(
                f"{name} is not a number", hint="the calculator knows numbers only, no units or names"
            )
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            function = FUNCTIONS.get(name.lower())
            if function is None:
                raise ToolInputError(f"there is no function {name}", hint=f"there are {', '.join(FUNCTIONS)}")
            least, most, compute = function
            values = [_value(each, source) for each in _arguments(arguments)]
            if not least <= len(values) <= most:
                raise ToolInputError(f"{name} takes {least} to {most} numbers, not {len(values)}")
            return _bounded(compute(*values))
    raise ToolInputError(
        "the expression holds something that is not arithmetic", hint="write numbers and + - * / ( )"
    )


def _arguments(nodes: list[ast.expr]) -> list[ast.expr]:
    """Return the arguments of a call; `sum([1, 2])` and `sum(1, 2)` are the same."""
    if len(nodes) == 1 and isinstance(nodes[0], ast.List | ast.Tuple):
        return nodes[0].elts
    return nodes


def _literal(node: ast.Constant, source: str) -> Fraction:
    if isinstance(node.value, int):
        return _bounded_exact(Fraction(node.value))
    text = (ast.get_source_segment(source, node) or "").replace("_", "").lower()
    _, _, exponent = text.partition("e")
    if exponent and abs(int(exponent)) > MOST_EXPONENT:
        raise ToolFailedError(f"an exponent over {MOST_EXPONENT} is too large")
    return Fraction(text)  # from the digits as written: 0.1 is a tenth


def _binary(op: ast.operator, left: Number, right: Number) -> Number:
    if isinstance(op, ast.Pow):
        return _power(left, right)
    compute = _OPERATORS.get(type(op))
    if compute is None:
        raise ToolInputError(
            "the expression holds an operator that is not arithmetic", hint="use + - * / // % **"
        )
    if isinstance(left, Decimal) or isinstance(right, Decimal):
        return Decimal(compute(_approximate(left), _approximate(right)))
    return Fraction(compute(left, right))


def _modulo(left: Number, right: Number) -> Number:
    """Return what is left after dividing, with the sign of the divisor, for both kinds alike."""
    return _binary(
        ast.Sub(), left, _binary(ast.Mult(), right, Fraction(math.floor(_binary(ast.Div(), left, right))))
    )


_OPERATORS: dict[type[ast.operator], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: lambda left, right: math.floor(left / right),
    ast.Mod: _modulo,
}


def _power(base: Number, exponent: Number) -> Number:
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if base in (0, 1, -1) or bits * abs(exponent.numerator) <= MOST_BITS:
            return Fraction(base**exponent.numerator)
        if base.denominator != 1:
            return _approximate(base) ** _approximate(exponent)
        raise ToolFailedError(f"the power has over {MOST_BITS} bits, too many to write out")
    if isinstance(base, Fraction) and exponent == Fraction(1, 2):
        return _sqrt(base)
    return _approximate(base) ** _approximate(exponent)


def _compare(node: ast.Compare, source: str) -> bool:
    values = [_value(each, source) for each in (node.left, *node.comparators)]
    for op, left, right in zip(node.ops, values, values[1:], strict=False):
        compare = _COMPARISONS.get(type(op))
        if compare is None:
            raise ToolInputError(
                "the expression holds a comparison that is not arithmetic", hint="use < <= == != > >="
            )
        if isinstance(left, Decimal) or isinstance(right, Decimal):
            left, right = _approximate(left), _approximate(right)
        if not compare(left, right):
            return False
    return True


def _approximate(value: Number) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(value.numerator) / Decimal(value.denominator)


def _bounded(value: Number) -> Number:
    if isinstance(value, Fraction):
        return _bounded_exact(value)
    if not value.is_finite():
        raise ToolFailedError("the result is too large")
    return value


def _bounded_exact(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MOST_BITS:
        raise ToolFailedError(f"a result has over {MOST_BITS} bits, too many to write out")
    return value


def _whole(value: Number) -> int:
    if isinstance(value, Fraction) and value.denominator == 1:
        return value.numerator
    raise ToolInputError("this function takes whole numbers")


def _sqrt(value: Number) -> Number:
    if isinstance(value, Fraction) and value >= 0:
        top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
        if top * top == value.numerator and bottom * bottom == value.denominator:
            return Fraction(top, bottom)
    return _approximate(value).sqrt()


def _factorial(value: Number) -> Number:
    count = _whole(value)
    if not 0 <= count <= 1000:
        raise ToolFailedError("a factorial is computed for whole numbers from 0 to 1000")
    return Fraction(math.factorial(count))


def _round(value: Number, places: Number = Fraction(0)) -> Number:
    """Round half away from zero, as people do."""
    scale = Fraction(10) ** max(-50, min(50, _whole(places)))
    exact = Fraction(value) * scale
    rounded = Fraction(math.floor(abs(exact) + Fraction(1, 2))) / scale
    return rounded if exact >= 0 else -rounded


def _log(value: Number, base: Number | None = None) -> Number:
    if base is None:
        return _approximate(value).log10()
    found = _approximate(value).ln() / _approximate(base).ln()
    whole = Fraction(round(found))
    if (
        isinstance(value, Fraction)
        and isinstance(base, Fraction)
        and abs(found - round(found)) < Decimal("1e-20")
    ):
        with contextlib.suppress(ToolFailedError):
            return whole if _power(base, whole) == value else found
    return found


def _by_float(compute: Callable[[float], float]) -> Callable[[Number], Number]:
    return lambda value: Context(prec=SHOWN_DIGITS).create_decimal(repr(compute(float(value))))


def _sum(*values: Number) -> Number:
    total: Number = Fraction(0)
    for value in values:
        total = _binary(ast.Add(), total, value)
    return total


FUNCTIONS: dict[str, tuple[int, int, Callable[..., Number]]] = {
    "sqrt": (1, 1, _sqrt),
    "abs": (1, 1, abs),
    "round": (1, 2, _round),
    "floor": (1, 1, lambda value: Fraction(math.floor(value))),
    "ceil": (1, 1, lambda value: Fraction(math.ceil(value))),
    "min": (1, MOST_PARTS, min),
    "max": (1, MOST_PARTS, max),
    "sum": (1, MOST_PARTS, _sum),
    "gcd": (1, MOST_PARTS, lambda *values: Fraction(math.gcd(*map(_whole, values)))),
    "lcm": (1, 20, lambda *values: Fraction(math.lcm(*map(_whole, values)))),
    "factorial": (1, 1, _factorial),
    "log": (1, 2, _log),
    "ln": (1, 1, lambda value: _approximate(value).ln()),
    "exp": (1, 1, lambda value: _approximate(value).exp()),
    "sin": (1, 1, _by_float(math.sin)),
    "cos": (1, 1, _by_float(math.cos)),
    "tan": (1, 1, _by_float(math.tan)),
}
"""Name, fewest and most numbers, and how it is computed."""
