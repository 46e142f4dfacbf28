"""Values for a passage: drawn one after another, no two of them alike.

Amounts, dates and times of one passage are written one way, as one person writes them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from training.kinds import kind, words

Draw = Callable[[random.Random, Mapping[str, str]], str]
"""Draws a value, given those drawn before it."""

_TRIES = 60
_AHEAD = re.compile(r"\b20(?:2[7-9]|[3-9]\d)\b")
"""A year that is still to come."""
_TAKEN = "taken "
"""Begins the name of what was drawn for something else, and is written the same way."""


def draw_values(draws: Mapping[str, Draw], rng: random.Random, taken: Collection[str] = ()) -> dict[str, str]:
    """Return a value of each draw, no two alike; if there are enough, none like one `taken`.

    Raises:
        ValueError: The draws leave too little room.
    """
    before = {f"{_TAKEN}{number}": value for number, value in enumerate(taken)}
    for _ in range(_TRIES):
        values: dict[str, str] = {}
        for name, one in draws.items():
            for tried in range(_TRIES):
                value = one(rng, before | values)
                others = (*taken, *values.values()) if tried < _TRIES // 2 else values.values()
                if not _AHEAD.search(value) and not any(_alike(value, other) for other in others):
                    break
            else:  # what was drawn before leaves no room
                break
            values[name] = value
        else:
            return values
    raise ValueError(f"there are too few values for {', '.join(draws)}")


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def stands_in(part: str, text: str) -> bool:
    """Return whether the words of `part` stand in `text`, in a row."""
    return f" {' '.join(_words(part))} " in f" {' '.join(_words(text))} "


def _alike(one: str, other: str) -> bool:
    """Return whether two values could be taken for one another: one holds the other, or they share a name."""
    if stands_in(one, other) or stands_in(other, one):
        return True
    if re.search(r"\d", one + other):
        return False
    names = re.compile(r"\b[A-Z]\w{3,}")
    return bool({*names.findall(one)} & {*names.findall(other)})


def draw_of(text: str | list[str]) -> Draw:
    """Return what draws the values written as `text`; besides those of kinds.py, what passages are full of.

    `human`, `human woman`; `dated 1820 1990`, a day of these years; `after born 20 40`, a year so many years after
    another value; `dated after born 20 40`; `sum 3 90 million`; `title`; a list has its values one by one.
    And what notes are full of: `noted`, a day; `days 30`, one so many days at most after
    the last; `clock 8 17`, a time of day; `cash 300 2400`, whole amounts in tens; `price 2 60`,
    with cents; `bare 2 60`, a price without its currency; `dial`, a telephone number; `secret`, a password; `pin 4`,
    that many digits; `firm`.
    """
    if isinstance(text, list):
        return lambda rng, _: rng.choice(text)
    match text.split():
        case ["human", *lists]:
            return lambda rng, _: _human(rng, lists or ("woman", "man", "first_name"))
        case ["city" | "country" as name]:  # as in running text: no `Portland, OR`, no bare `United States`
            return lambda rng, _: rng.choice(
                [each for each in words()[name] if not re.search(", |United", each)]
            )
        case ["title"]:
            return lambda rng, _: (
                f"The {rng.choice(words()['title_first'])} {rng.choice(words()['title_second'])}"
            )
        case ["sum", low, high, *unit]:
            return lambda rng, _: _sum(rng, int(low), int(high), *unit)
        case ["after", name, low, high]:
            return lambda rng, values: str(_year(values[name]) + rng.randint(int(low), int(high)))
        case ["dated", "after", name, low, high]:
            return lambda rng, values: _day(
                rng, _year(values[name]) + rng.randint(int(low), int(high)), like=values[name]
            )
        case ["dated", low, high]:
            return lambda rng, _: _day(rng, rng.randint(int(low), int(high)))
        case ["noted"]:
            return lambda rng, values: _alike_styled(rng, values, _DAYS).format(_some_day(rng))
        case ["days", most]:
            return lambda rng, values: _later(rng, values, int(most))
        case ["clock", first, last]:
            return lambda rng, values: _time(rng, values, int(first), int(last))
        case ["cash", low, high]:
            return lambda rng, values: _alike_styled(rng, values, _CURRENCIES).format(
                f"{rng.randrange(int(low), int(high) + 1, 10):,}"
            )
        case ["price", low, high]:
            return lambda rng, values: _alike_styled(rng, values, _CURRENCIES).format(
                f"{_cents(rng, low, high):.2f}"
            )
        case ["bare", low, high]:
            return lambda rng, _: f"{_cents(rng, low, high):.2f}"
        case ["dial"]:
            return lambda rng, _: f"0{rng.randint(20, 999)} {rng.randint(100, 999)} {rng.randint(1000, 9999)}"
        case ["secret"]:
            return lambda rng, _: _secret(rng)
        case ["pin", digits]:
            return lambda rng, _: "".join(rng.choice("0123456789") for _ in range(int(digits)))
        case ["firm"]:
            return lambda rng, _: f"{rng.choice(words()['surname'])} {rng.choice(words()['firm_kind'])}"
        case _:
            one = kind(text)
            return lambda rng, _: one.draw(rng).said


def _human(rng: random.Random, firsts: Sequence[str]) -> str:
    first = rng.choice(words()[rng.choice(firsts)])
    return f"{first} {rng.choice(words()[rng.choice(('surname', 'surname', 'last_name'))])}"


def _sum(rng: random.Random, low: int, high: int, unit: str = "") -> str:
    amount = rng.randint(low, high)
    if unit:
        return rng.choice(("{} {} dollars", "{} {} euros", "${} {}", "{} {} pounds")).format(amount, unit)
    amount -= amount % 10 if amount > 100 else 0
    return rng.choice(("${:,}", "{:,} euros", "{:,} dollars", "{:,} pounds")).format(amount)


def _day(rng: random.Random, year: int, like: str = "") -> str:
    day, month = rng.randint(1, 28), kind("month").draw(rng).said
    day_first = like[:1].isdigit() if like else rng.random() < 0.5
    return f"{day} {month} {year}" if day_first else f"{month} {day}, {year}"


def _year(text: str) -> int:
    return int(re.findall(r"\d{4}", text)[-1])


# --- as one person writes ---------------------------------------------------------------------------

_DAYS = {
    "{0.day} {0:%B} {0.year}": r"\d+ [A-Z][a-z]{2,} \d{4}",
    "{0.day} {0:%B}": r"\d+ [A-Z][a-z]{2,}",
    "{0:%B} {0.day}": r"[A-Z][a-z]{2,} \d{1,2}",
    "{0:%a} {0.day} {0:%b}": r"[A-Z][a-z]{2} \d+ [A-Z][a-z]{2}",
    "{0:%Y-%m-%d}": r"\d{4}-\d\d-\d\d",
    "{0:%d/%m/%Y}": r"\d\d/\d\d/\d{4}",
    "{0:%d.%m.%Y}": r"\d\d\.\d\d\.\d{4}",
}
_READ = ("%d %B %Y", "%d %B %Y", "%B %d %Y", "%a %d %b %Y", "%Y-%m-%d", "%d/%m/%Y", "%d.%m.%Y")
_CURRENCIES = {
    "{} euros": r"[\d,.]+ euros",
    "€{}": r"€[\d,.]+",
    "{} pounds": r"[\d,.]+ pounds",
    "£{}": r"£[\d,.]+",
    "${}": r"\$[\d,.]+",
    "{} EUR": r"[\d,.]+ EUR",
}
_TIMES = {"{0:02}:{1:02}": r"\d\d:\d\d", "{0}.{1:02}": r"\d+\.\d\d", "{2}": r"\d+(:\d\d)? [ap]m"}


def _alike_styled(rng: random.Random, values: Mapping[str, str], styles: Mapping[str, str]) -> str:
    """Return the style that one of `values` has, or any."""
    for style, form in styles.items():
        if any(re.fullmatch(form, value) for value in values.values()):
            return style
    return rng.choice(list(styles))


def _some_day(rng: random.Random) -> date:
    return date(2024, 1, 1) + timedelta(days=rng.choice([*range(58), *range(61, 730)]))


def _later(rng: random.Random, values: Mapping[str, str], most: int) -> str:
    """Return a day after the last of `values` that is one."""
    style = _alike_styled(rng, values, _DAYS)
    own = [value for name, value in values.items() if not name.startswith(_TAKEN)]
    before = [value for value in own if re.fullmatch(_DAYS[style], value)]
    day = _some_day(rng)
    if before:
        form = _READ[list(_DAYS).index(style)]
        text = before[-1] if re.search(r"\d{4}", before[-1]) else f"{before[-1]} 2025"
        day = datetime.strptime(text, form).replace(tzinfo=UTC).date() + timedelta(days=rng.randint(1, most))
    return style.format(day)


def _time(rng: random.Random, values: Mapping[str, str], first: int, last: int) -> str:
    hour, minute = rng.randint(first, last), rng.choice((0, 0, 15, 20, 30, 40, 45))
    twelve = f"{(hour - 1) % 12 + 1}" + (f":{minute:02}" if minute else "")
    return _alike_styled(rng, values, _TIMES).format(hour, minute, f"{twelve} {'am' if hour < 12 else 'pm'}")


def _cents(rng: random.Random, low: str, high: str) -> float:
    return rng.randint(int(low), int(high)) + rng.choice((0, 0.2, 0.49, 0.5, 0.75, 0.9, 0.95, 0.99))


def _secret(rng: random.Random) -> str:
    one, other = rng.sample(words()["secret_word"], 2)
    number = rng.randint(10, 9999)
    return rng.choice(
        (f"{one}-{other}-{number}", f"{one}{other.capitalize()}{number}", f"{one.capitalize()}_{number}")
    )
