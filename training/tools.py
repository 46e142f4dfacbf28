r"""Tools for training: read from the catalogue, and each time shown under other names and in other words.

A tool of the catalogue says what it is for, what it takes, and how people ask for it:

    [[tool]]
    name = "reserve_room"
    also = ["hotel.reserve", "bookHotelRoom"]
    about = ["Reserve a hotel room in a city.", "Book a room in a hotel."]
    asks = ["(Book|Reserve) (me |)a[ {size}] room in {city} for {nights} nights[breakfast? with breakfast]."]
    parameters.city = { kind = "city", about = "City of the hotel", also = ["location", "town"] }
    parameters.nights = { kind = "int 2 14", about = "Number of nights" }
    parameters.size = { kind = "choice", of = ["single", "double"], about = "Size of the room", optional = true }
    parameters.breakfast = { kind = "flag", about = "Whether breakfast is included", default = false }

A parameter that is an object has `fields`, each of a kind, and a phrase that says them:

    parameters.stay = { kind = "object", fields = { city = "city", from = "date" }, said = "{city} from {from}", ... }

What has a `default` is optional. Every required parameter stands in every ask, outside of `[...]`. Three more keys may
be there: `kept`, asks that are kept back from the training; `short`, requests that leave out something required; and
`outcomes`, what comes back and how to say it (`{price}` of a result is JSON, `{price_said}` plain text):

    outcomes = [{ draws.price = "money 60 300", result = '{"price": {price}}', says = "It costs {price} a night." }]

A tool that brings a text has `looks`, in which somebody asks what stands there (`{question}`, or `{inside}` a
sentence), and `frames`, what is around `{text}` as it comes back:

    looks = ["{question} It's in {path}.", "According to {path}, {inside}"]
    frames = ["{text}", "From: {who}\n\n{text}"]

Covered: a catalogue that breaks these rules is refused with the name of the tool.
"""

from __future__ import annotations

import functools
import json
import random
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentkit.messages import ToolSpec
from training.families import entries
from training.kinds import Kind, KindError, Value, kind, kind_of
from training.phrases import Phrase, PhraseError, check_slots

CATALOGUE = Path(__file__).parent / "catalogue"
_KEYS = {"name", "also", "about", "asks", "kept", "parameters", "short", "outcomes", "looks", "frames"}
QUESTIONS = frozenset({"question", "inside"})
"""Slots for a question on the text a tool brings: by itself, and within a sentence."""
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_FLAG = Kind({"type": "boolean"}, lambda rng: Value("", rng.random() < 0.5))


class CatalogueError(ValueError):
    """The catalogue breaks its own rules."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a tool takes."""

    name: str
    kind: Kind
    about: tuple[str, ...]
    also: tuple[str, ...]
    optional: bool
    flag: bool
    default: Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call of a tool may bring, and how that is said."""

    draws: Mapping[str, Kind]
    result: str
    says: Phrase


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool of the catalogue."""

    name: str
    domain: str
    also: tuple[str, ...]
    about: tuple[str, ...]
    asks: tuple[Phrase, ...]
    parameters: Mapping[str, Parameter]
    short: tuple[Phrase, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    kept: tuple[Phrase, ...] = ()
    """Asks that are never trained on."""
    looks: tuple[Phrase, ...] = ()
    """Questions on the text it brings."""
    frames: tuple[str, ...] = ()
    """What is around the text as it comes back."""

    @property
    def needs_nothing(self) -> bool:
        """Whether it can be called without any value."""
        return all(each.optional for each in self.parameters.values())


@dataclass(frozen=True, slots=True)
class Shown:
    """A tool as one example shows it."""

    tool: Tool
    spec: ToolSpec
    names: Mapping[str, str]
    """Of the parameters: from the catalogue's to the shown."""

    def arguments(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return `values`, by the catalogue's names, as the shown tool takes them, in the order of its schema."""
        return {shown: values[name] for name, shown in self.names.items() if name in values}


@functools.cache
def catalogue(folder: Path = CATALOGUE) -> tuple[Tool, ...]:
    """Return all tools, in a fixed order.

    Raises:
        CatalogueError: One breaks the rules.
    """
    tools: dict[str, Tool] = {}
    for domain, entry in (*_written(folder), *entries()):
        tool = _read(entry, domain)
        if tool.name in tools:
            raise CatalogueError(f"{domain}: there is a second {tool.name}")
        tools[tool.name] = tool
    return tuple(tools.values())


def _written(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(folder.glob("*.toml")):
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise CatalogueError(f"{path.name}: {error}") from None
        yield from ((path.stem, entry) for entry in content.get("tool", ()))


def _read(entry: Mapping[str, Any], domain: str) -> Tool:
    name = str(entry.get("name", "?"))
    try:
        if not _NAME.fullmatch(name):
            raise CatalogueError("its name is not in lower case with underscores")
        parameters = {each: _parameter(each, what) for each, what in entry.get("parameters", {}).items()}
        asks = tuple(map(Phrase, entry["asks"]))
        needed = {each.name for each in parameters.values() if not each.optional}
        kept = tuple(map(Phrase, entry.get("kept", ())))
        for ask in (*asks, *kept):
            if missing := needed - ask.required:
                raise CatalogueError(f"{ask.text!r} does not give {', '.join(sorted(missing))}")
        check_slots((*asks, *kept), parameters)
        if len(asks) < 2 or not entry["about"]:
            raise CatalogueError("it needs two asks and a description at least")
        short = tuple(map(Phrase, entry.get("short", ())))
        if any(needed <= each.required for each in short):
            raise CatalogueError("a short request leaves nothing out")
        outcomes = tuple(_outcome(each, needed) for each in entry.get("outcomes", ()))
        looks, frames = tuple(map(Phrase, entry.get("looks", ()))), tuple(entry.get("frames", ()))
        _check_looks(looks, frames, parameters, needed)
        if unknown := set(entry) - _KEYS:
            raise CatalogueError(f"there is no {', '.join(sorted(unknown))}")
    except (CatalogueError, KindError, PhraseError, KeyError) as error:
        raise CatalogueError(f"{domain}, {name}: {error}") from None
    also, about = tuple(entry.get("also", ())), _texts(entry["about"])
    return Tool(name, domain, also, about, asks, parameters, short, outcomes, kept, looks, frames)


def _check_looks(
    looks: Sequence[Phrase], frames: Sequence[str], parameters: Mapping[str, Parameter], needed: set[str]
) -> None:
    if bool(looks) != bool(frames) or any(frame.count("{text}") != 1 for frame in frames):
        raise CatalogueError("a text needs looks and frames, and stands once in each of these")
    check_slots(looks, {*parameters, *QUESTIONS})
    for look in looks:
        if not needed <= look.required or len(QUESTIONS & look.required) != 1:
            raise CatalogueError(f"{look.text!r} does not give one question and {', '.join(sorted(needed))}")


def _outcome(what: Mapping[str, Any], needed: set[str]) -> Outcome:
    draws = {name: kind_of(each) for name, each in what.get("draws", {}).items()}
    says = Phrase(what["says"])
    check_slots([says], {*needed, *draws})
    return Outcome(draws, what["result"], says)


def _parameter(name: str, what: Mapping[str, Any]) -> Parameter:
    if unknown := set(what) - {"kind", "of", "fields", "said", "about", "also", "optional", "default"}:
        raise CatalogueError(f"parameter {name} has {', '.join(sorted(unknown))}")
    flag = what["kind"] == "flag"
    return Parameter(
        name,
        _FLAG if flag else kind(what["kind"], what.get("of"), what.get("fields"), what.get("said", "")),
        _texts(what["about"]),
        tuple(what.get("also", ())),
        optional=bool(what.get("optional")) or "default" in what or flag,
        flag=flag,
        default=what.get("default"),
    )


def _texts(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def show(tool: Tool, rng: random.Random, *, plain: float = 0.4) -> Shown:
    """Return `tool` under one of its names, in one of its wordings and spellings.

    Args:
        tool: Of the catalogue.
        rng: Decides.
        plain: How often it keeps the catalogue's own names.
    """
    style = _STYLES[0] if rng.random() < plain else rng.choice(_STYLES)
    name = tool.name if rng.random() < plain else rng.choice((tool.name, *tool.also))
    if "." not in name and name.lower() == name:
        name = style(name) if rng.random() < 0.8 else f"{tool.domain}.{style(name)}"
    python = rng.random() < 0.15  # types by their names in Python, as some write them
    names: dict[str, str] = {}
    properties: dict[str, Any] = {}
    for parameter in _order(tool, rng):
        taken = {*properties, *(style(each) for each in tool.parameters if each != parameter.name)}
        named = [each for each in (parameter.name, *parameter.also) if style(each) not in taken]
        shown = style(rng.choice((parameter.name, *named)))
        names[parameter.name] = shown
        properties[shown] = _property(parameter, rng, python=python)
    if rng.random() < _UNSPOKEN_SHARE:
        extra = rng.choice(_unspoken())
        known = {*names, *tool.parameters, *(each for one in tool.parameters.values() for each in one.also)}
        if extra.name not in known and style(extra.name) not in properties:
            properties[style(extra.name)] = _property(extra, rng, python=python)
    schema = {
        "type": "object",
        "properties": properties,
        "required": [names[each] for each in names if not tool.parameters[each].optional],
        "additionalProperties": False,
    }
    return Shown(tool, ToolSpec(name, rng.choice(tool.about), schema, beside=True), names)


def _order(tool: Tool, rng: random.Random) -> list[Parameter]:
    """Return the parameters to show: all that are required, and most of the others, in that order."""
    required = [each for each in tool.parameters.values() if not each.optional]
    optional = [each for each in tool.parameters.values() if each.optional]
    others = [each for each in optional if rng.random() < 0.9]
    if rng.random() < 0.25:
        rng.shuffle(required)
    return required + others


def _property(parameter: Parameter, rng: random.Random, *, python: bool) -> dict[str, Any]:
    schema = dict(parameter.kind.schema)
    about = rng.choice(parameter.about)
    note = schema.pop("description", "")
    if note:
        about = f"{about}, {note}"
    elif (
        "enum" not in schema
        and schema["type"] in ("string", "integer", "number")
        and rng.random() < _EXAMPLE_SHARE
    ):
        about = rng.choice(("{}, e.g. {}", "{} (e.g. {})", "{}, for example {}")).format(
            about, parameter.kind.draw(rng).json
        )
    if parameter.default is not None and rng.random() < 0.6:
        about = rng.choice(("{}. Default is {}", "{}. Default is {}", "{}, {} by default")).format(
            about, _spelt(parameter.default)
        )
    elif parameter.optional and not parameter.flag and rng.random() < 0.25:
        about = rng.choice(("{} (optional)", "Optional: {}")).format(about)
    if python:
        schema["type"] = {"number": "float"}.get(schema["type"], schema["type"])
    if "items" in schema:
        schema["items"] = {key: value for key, value in schema["items"].items() if key != "description"}
    shown = {**schema, "description": f"{about}." if rng.random() < 0.5 else about}
    if parameter.default is not None and rng.random() < 0.3:
        shown["default"] = parameter.default
    return shown


def _spelt(default: object) -> str:
    return json.dumps(default) if isinstance(default, bool) else str(default)


_EXAMPLE_SHARE = 0.2
"""How often a description gives an example, which is not to be taken for what was said."""
_UNSPOKEN_SHARE = 0.2
"""How often a tool takes one thing more, of which no request speaks: what nobody spoke of is to be left out."""


@functools.cache
def _unspoken() -> tuple[Parameter, ...]:
    """Return what any tool may take, and no request speaks of."""
    return tuple(_parameter(name, what) for name, what in _UNSPOKEN.items())


_UNSPOKEN: Mapping[str, Mapping[str, Any]] = {
    "timeout": {"kind": "int 1 60", "about": "Seconds to wait for an answer", "default": 30},
    "retries": {"kind": "int 0 5", "about": "How often to try again", "default": 3},
    "verbose": {"kind": "flag", "about": "Say more about how it went", "default": False},
    "cached": {"kind": "flag", "about": "Whether an older result will do", "default": True},
    "page": {"kind": "int 1 20", "about": "Page of the results", "default": 1},
    "callback_url": {"kind": "url", "about": "Address to call when it is done", "optional": True},
    "request_id": {"kind": "code RQ 5", "about": "Number of this request, for the log", "optional": True},
    "user_id": {"kind": "code U 4", "about": "On whose behalf it is done", "optional": True},
    "region_code": {"kind": "any", "of": ["EU", "US"], "about": "Data center to use", "optional": True},
    "output_format": {
        "kind": "choice",
        "of": ["json", "text"],
        "about": "Form of the result",
        "default": "json",
    },
    "tags": {"kind": "list 1 2 adjective", "about": "Labels to file the result under", "optional": True},
    "test_mode": {"kind": "flag", "about": "Do nothing, only check the request", "default": False},
    "api_version": {"kind": "any", "of": ["v1", "v2"], "about": "Version of the service", "default": "v2"},
}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _pascal(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _same(name: str) -> str:
    return name


_STYLES = (_same, _same, _same, _camel, _camel, _pascal)
