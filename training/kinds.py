"""Kinds of values: how a value is said in a request, and what stands for it in the call.

A kind is written as words: `int 1 20`, `float 0.5 9 1` (decimals), `money 5 900`, `city` (any list of words.toml),
`quoted message` (in quotation marks, if it is long), `list 2 4 city`, `date` or `date 2019 2024` (years), `time` or
`time 8 17` (hours), `year`, `code ORD`, ...
A `saying sums` is said in one of the ways of `sayings/sums.toml`, and holds what that way of saying it means:

    [[saying]]
    said = ["What do {count} tickets at {price} each cost?"]
    means = "{count} * {price}"
    slots = { count = "int 2 40", price = { kind = "any", of = ["12.50", "7"] } }

Without `means` it holds what was said.
A `choice` is one of a fixed list, which the schema tells; `any` is drawn from a list that the schema does not tell, and
so is a `clause`, a whole sentence. But for that, and what is quoted, a value has no article: the call for "water the
rose bed" holds `rose bed`.
An `object` has fields, each of a kind of its own, and one phrase that says them.
"""

from __future__ import annotations

import functools
import random
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from string import Formatter
from typing import Any

from training.phrases import Phrase, check_slots

_NUMBERS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_TYPES = {int: "integer", float: "number"}
SAYINGS = Path(__file__).parent / "sayings"
_BARE_WORDS = 3
_ARTICLE = re.compile(r"^(?:the|an?) (?=\S)")
_FIRST_DAY, _DAY_SPAN = date(2019, 1, 1), 3650


class KindError(ValueError):
    """There is no such kind."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value as a person says it, and as a call holds it."""

    said: str
    json: Any


@dataclass(frozen=True, slots=True)
class Kind:
    """How values of one kind are drawn, and their JSON Schema."""

    schema: Mapping[str, Any]
    draw: Callable[[random.Random], Value]
    text: str = ""
    """As it is written."""


@functools.cache
def words() -> dict[str, list[str]]:
    """Return the word lists."""
    return tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))


def kind(
    text: str,
    of: Sequence[str] | Mapping[str, Any] | None = None,
    fields: Mapping[str, Any] | None = None,
    said: str = "",
) -> Kind:
    """Return the kind written as `text`.

    Args:
        text: The kind, as words.
        of: The values of a `choice`, of `any`, `clause` or `quoted`, or what is said for each of them.
        fields: Of an `object`: the kind of each field, as words or as `{ kind = ..., of = ..., about = ... }`.
        said: How an `object` is said: a phrase whose slots are the fields. A field in `[...]` is optional.

    Raises:
        KindError: There is no such kind.
    """
    return replace(_made(text, of, fields, said), text=text)


def kind_of(what: str | Mapping[str, Any]) -> Kind:
    """Return the kind of a slot, written as words or as `{ kind = ..., of = ... }`.

    Raises:
        KindError: There is no such kind.
    """
    return kind(what) if isinstance(what, str) else kind(what["kind"], what.get("of"))


def _made(
    text: str,
    of: Sequence[str] | Mapping[str, Any] | None,
    fields: Mapping[str, Any] | None,
    said: str,
) -> Kind:
    name, *arguments = text.split()
    if of and not arguments and name in ("choice", "any", "clause", "quoted"):
        return _drawn(name, dict(of) if isinstance(of, Mapping) else {each: each for each in of})
    if name == "list":
        return _list(kind(" ".join(arguments[2:]), of, fields, said), int(arguments[0]), int(arguments[1]))
    if name == "object" and fields:
        return _object(fields, Phrase(said))
    if name in words() and not arguments:
        return Kind({"type": "string"}, lambda rng: _noun(rng.choice(words()[name])))
    if name == "quoted" and len(arguments) == 1 and arguments[0] in words():
        return Kind({"type": "string"}, lambda rng: _quoted(rng, rng.choice(words()[arguments[0]])))
    make = _KINDS.get(name)
    if make is None:
        raise KindError(f"there is no kind {text!r}")
    try:
        return make(*arguments)
    except (TypeError, ValueError) as error:
        raise KindError(f"kind {text!r}: {error}") from None


def spoken_list(items: Sequence[str], rng: random.Random) -> str:
    """Return `a, b and c` in one of its forms."""
    if len(items) == 1:
        return items[0]
    last = rng.choice((" and ", ", and ", " and ")) if len(items) > 2 else " and "
    return ", ".join(items[:-1]) + last + items[-1]


def _same(text: str) -> Value:
    return Value(text, text)


def _noun(text: str) -> Value:
    return Value(text, _ARTICLE.sub("", text))


def _quoted(rng: random.Random, text: str) -> Value:
    """Return a text in quotation marks; without them, nothing would tell where a long one ends."""
    forms = ['"{}"'] if "'" in text else ['"{}"', "'{}'"]
    if len(text.split()) <= _BARE_WORDS:
        forms.append("{}")
    return Value(rng.choice(forms).format(text), text)


def _drawn(name: str, pairs: Mapping[str, Any]) -> Kind:
    """Return the kind whose values are `pairs`, from what is said to what it means."""
    values = list(dict.fromkeys(pairs.values()))
    if name == "choice":
        return Kind({"type": "string", "enum": values}, lambda rng: Value(*rng.choice(list(pairs.items()))))
    if name == "quoted":
        return Kind({"type": "string"}, lambda rng: _quoted(rng, rng.choice(values)))
    types = {_TYPES.get(type(value), "string") for value in values}
    if len(types) > 1:
        raise KindError(f"any: its values are of the types {', '.join(sorted(types))}")
    drawn = [
        _noun(said) if name == "any" and said == means else Value(said, means)
        for said, means in pairs.items()
    ]
    return Kind({"type": types.pop()}, lambda rng: rng.choice(drawn))


def _object(fields: Mapping[str, Any], said: Phrase) -> Kind:
    if said.mentioned != set(fields):
        raise KindError(f"object: {said.text!r} does not speak of {', '.join(fields)}, each and no more")
    kinds: dict[str, Kind] = {}
    properties: dict[str, Any] = {}
    for name, what in fields.items():
        kinds[name] = kind_of(what)
        schema = dict(kinds[name].schema)
        own = None if isinstance(what, str) else what.get("about")
        about = [each for each in (own, schema.pop("description", None)) if each]
        properties[name] = {**schema, "description": ", ".join(about)} if about else schema

    def draw(rng: random.Random) -> Value:
        form = said.say(rng)
        values = {name: kinds[name].draw(rng) for name in form.slots()}
        text = form.fill({name: value.said for name, value in values.items()})
        return Value(text, {name: values[name].json for name in kinds if name in values})

    required = [name for name in fields if name in said.required]
    schema = {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
    return Kind(schema, draw)


def _list(inner: Kind, least: int, most: int) -> Kind:
    def draw(rng: random.Random) -> Value:
        wanted, drawn = rng.randint(least, most), dict[str, Value]()
        while len(drawn) < wanted:
            value = inner.draw(rng)
            drawn[value.said] = value
        said = spoken_list(list(drawn), rng)
        numeric = inner.schema["type"] in ("integer", "number")
        if numeric and rng.random() < 0.5:
            said = f"[{', '.join(drawn)}]"
        return Value(said, [each.json for each in drawn.values()])

    return Kind({"type": "array", "items": dict(inner.schema)}, draw)


@dataclass(frozen=True, slots=True)
class _Saying:
    """What can be said in several ways, all of one meaning."""

    said: tuple[Phrase, ...]
    means: str
    slots: Mapping[str, Kind]

    def draw(self, rng: random.Random) -> Value:
        """Return it in one of its ways, with values in its slots."""
        form = rng.choice(self.said).say(rng)
        values = {name: each.draw(rng) for name, each in self.slots.items()}
        text = form.fill({name: value.said for name, value in values.items()})
        held = self.means.format_map({name: value.json for name, value in values.items()})
        return Value(text, held or text)


@functools.cache
def _sayings(name: str) -> Kind:
    content = tomllib.loads((SAYINGS / f"{name}.toml").read_text(encoding="utf-8"))
    sayings = tuple(_saying(each) for each in content["saying"])
    return Kind({"type": "string"}, lambda rng: rng.choice(sayings).draw(rng))


def _saying(what: Mapping[str, Any]) -> _Saying:
    slots = {name: kind_of(each) for name, each in what.get("slots", {}).items()}
    said = tuple(map(Phrase, what["said"]))
    check_slots(said, slots)
    means = what.get("means", "")
    held = {name for _, name, _, _ in Formatter().parse(means) if name}
    for phrase in said:
        if missing := held - phrase.required:
            raise KindError(f"{phrase.text!r} does not give {', '.join(sorted(missing))}")
    return _Saying(said, means, slots)


def _int(low: str, high: str, step: str = "1") -> Kind:
    def draw(rng: random.Random) -> Value:
        number = rng.randrange(int(low), int(high) + 1, int(step))
        if 0 <= number < len(_NUMBERS) and rng.random() < 0.12:
            return Value(_NUMBERS[number], number)
        said = f"{number:,}" if abs(number) > 999 and rng.random() < 0.4 else str(number)
        return Value(said, number)

    return Kind({"type": "integer"}, draw)


def _float(low: str, high: str, decimals: str = "2") -> Kind:
    def draw(rng: random.Random) -> Value:
        exact = rng.uniform(float(low), float(high))
        number = round(exact, rng.randint(0, int(decimals)))
        if not float(low) <= number <= float(high):
            number = round(exact, int(decimals))
        if number == int(number):  # what a person calls 5 is 5 in the call as well
            return Value(str(int(number)), int(number))
        return Value(str(number), number)

    return Kind({"type": "number"}, draw)


def _money(low: str, high: str) -> Kind:
    def draw(rng: random.Random) -> Value:
        amount = rng.randint(int(low), int(high))
        if amount >= 200 and rng.random() < 0.6:
            amount -= amount % (1000 if amount >= 5000 else 50)
        said = rng.choice(("${:,}", "${}", "{:,} dollars", "{}", "{} euros", "${:,}")).format(amount)
        return Value(said, amount)

    return Kind({"type": "number"}, draw)


def _percent(low: str, high: str, decimals: str = "0") -> Kind:
    def draw(rng: random.Random) -> Value:
        number = round(rng.uniform(float(low), float(high)), int(decimals))
        plain = int(number) if number == int(number) else number
        return Value(rng.choice((f"{plain}%", f"{plain} percent", f"{plain}%")), plain)

    return Kind({"type": "number"}, draw)


def _share(low: str, high: str) -> Kind:
    """Return a percentage whose call holds the fraction: `5%` is 0.05."""

    def draw(rng: random.Random) -> Value:
        number = rng.randint(int(low), int(high))
        return Value(rng.choice((f"{number}%", f"{number} percent")), number / 100)

    return Kind({"type": "number"}, draw)


def _date(first: str = "2019", last: str = "2028") -> Kind:
    begin, span = date(int(first), 1, 1), (int(last) - int(first) + 1) * 365

    def draw(rng: random.Random) -> Value:
        day = begin + timedelta(days=rng.randrange(span))
        month = _MONTHS[day.month - 1]
        forms = (
            day.isoformat(),
            f"{month} {day.day}, {day.year}",
            f"{day.day} {month} {day.year}",
            f"{month} {day.day}{_ordinal(day.day)}, {day.year}",
        )
        return Value(rng.choice(forms), day.isoformat())

    return Kind({"type": "string", "description": "in the format YYYY-MM-DD"}, draw)


def _spoken_date() -> Kind:
    """Return a date that is copied as it was said."""

    def draw(rng: random.Random) -> Value:
        day = _FIRST_DAY + timedelta(days=rng.randrange(_DAY_SPAN))
        month = _MONTHS[day.month - 1]
        forms = ("tomorrow", "today", "next " + rng.choice(_DAYS), f"{month} {day.day}", day.isoformat())
        return _same(rng.choice(forms))

    return Kind({"type": "string"}, draw)


def _time(first: str = "0", last: str = "23") -> Kind:
    def draw(rng: random.Random) -> Value:
        hour, minute = rng.randint(int(first), int(last)), rng.choice((0, 0, 15, 30, 45))
        clock = f"{hour:02}:{minute:02}"
        twelve = f"{(hour - 1) % 12 + 1}" + (f":{minute:02}" if minute else "")
        return Value(rng.choice((clock, f"{twelve} {'am' if hour < 12 else 'pm'}")), clock)

    return Kind({"type": "string", "description": "in 24-hour format HH:MM"}, draw)


def _ordinal(day: int) -> str:
    return "th" if 10 < day < 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def _year(low: str = "1900", high: str = "2026") -> Kind:
    return Kind(
        {"type": "integer"},
        lambda rng: (lambda year: Value(str(year), year))(rng.randint(int(low), int(high))),
    )


def _of(values: Sequence[str]) -> Callable[[], Kind]:
    return lambda: Kind({"type": "string"}, lambda rng: _same(rng.choice(values)))


def _person() -> Kind:
    return Kind(
        {"type": "string"},
        lambda rng: _same(f"{rng.choice(words()['first_name'])} {rng.choice(words()['last_name'])}"),
    )


def _email() -> Kind:
    def draw(rng: random.Random) -> Value:
        first, last = rng.choice(words()["first_name"]), rng.choice(words()["last_name"])
        host = rng.choice(("example.com", "example.org", "mail.example.net"))
        return _same(f"{first}{rng.choice(('.', '_', ''))}{last}@{host}".lower())

    return Kind({"type": "string"}, draw)


def _phone() -> Kind:
    return Kind(
        {"type": "string"},
        lambda rng: _same(f"+{rng.randint(1, 99)} {rng.randint(100, 999)} {rng.randint(1000, 9999)}"),
    )


def _url() -> Kind:
    def draw(rng: random.Random) -> Value:
        page = rng.choice(words()["table"])
        return _same(
            f"https://{rng.choice(('www', 'shop', 'blog'))}.example.com/{page}/{rng.randint(1, 999)}"
        )

    return Kind({"type": "string"}, draw)


def _code(prefix: str = "ID", digits: str = "5") -> Kind:
    return Kind(
        {"type": "string"},
        lambda rng: _same(
            f"{prefix}{rng.choice(('-', '', '-'))}{rng.randrange(10 ** int(digits)):0{digits}}"
        ),
    )


def _formula() -> Kind:
    """Return a function of x in the notation of Python, said the same way."""

    def draw(rng: random.Random) -> Value:
        terms = [f"{rng.randint(2, 9)}*x**{rng.randint(2, 4)}"]
        if rng.random() < 0.7:
            terms.append(f"{rng.randint(2, 9)}*x")
        if rng.random() < 0.6:
            terms.append(str(rng.randint(1, 9)))
        formula = terms[0] + "".join(rng.choice((" + ", " - ")) + term for term in terms[1:])
        said = formula if rng.random() < 0.5 else formula.replace("**", "^").replace("*x", "x")
        return Value(said, formula)

    return Kind({"type": "string", "description": "in Python notation, for example 3*x**2"}, draw)


_KINDS: dict[str, Callable[..., Kind]] = {
    "int": _int,
    "float": _float,
    "money": _money,
    "percent": _percent,
    "share": _share,
    "date": _date,
    "day": _spoken_date,
    "time": _time,
    "year": _year,
    "month": _of(_MONTHS),
    "weekday": _of(_DAYS),
    "person": _person,
    "email": _email,
    "phone": _phone,
    "url": _url,
    "code": _code,
    "formula": _formula,
    "saying": _sayings,
}
