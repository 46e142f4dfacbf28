"""Families of tools: many that are alike, each from one line of words.

`families/lookup.toml` has things with facts, `formula.toml` quantities computed from others, `action.toml` things that
are done. Each entry becomes tools in the form of the catalogue.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

FAMILIES = Path(__file__).parent / "families"
_YEAR = "year 1960 2025"
_ASKING = "(Please|Could you|Can you|I'd like you to|I want you to)"


def entries() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the domain and the catalogue entry of every tool of a family."""
    for lookup in _read("lookup"):
        yield from ((_snake(lookup["thing"]), entry) for entry in _lookups(lookup))
    for formula in _read("formula"):
        yield "formulas", _formula(formula)
    for action in _read("action"):
        yield "actions", _action(action)


def _read(name: str) -> list[dict[str, Any]]:
    content = tomllib.loads((FAMILIES / f"{name}.toml").read_text(encoding="utf-8"))
    return list(content[name])


def _snake(words: str) -> str:
    return re.sub(r"\W+", "_", words.lower()).strip("_")


def _an(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


# --- lookups ----------------------------------------------------------------------------------------


def _lookups(lookup: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    thing, slot = lookup["thing"], _snake(lookup["thing"])
    named = {"kind": lookup["kind"], "about": [f"The {thing}", f"Which {thing}"], "also": lookup["also"]}
    yearly = lookup.get("yearly", ())
    for fact in (*lookup["facts"], *yearly):
        name, parameters = _snake(fact), {slot: named}
        in_year = ""
        if fact in yearly:
            in_year = "[ (in|for) {year}]"
            parameters = {
                **parameters,
                "year": {
                    "kind": _YEAR,
                    "about": "Year it is asked for",
                    "also": ["in_year"],
                    "optional": True,
                },
            }
        thing_said = f"{{{slot}}}"
        yield {
            "name": f"get_{slot}_{name}",
            "also": [
                f"{slot}.{name}",
                f"{slot}_info.get_{name}",
                f"fetch_{name}",
                f"{name}_of_{slot}",
                f"{slot}_{name}",
            ],
            "about": [
                f"Get the {fact} of {_an(thing)}.",
                f"Look up the {fact} of {_an(thing)}.",
                f"Returns the {fact} for a given {thing}.",
            ],
            "asks": [
                f"(What is|What's|What was|Tell me|Find|Look up|Give me) the {fact} of {thing_said}{in_year}(.|?|)",
                f"(I want to know|I need|Could you find|Please get me) the {fact} (of|for) {thing_said}{in_year}.",
                f"(Do you know|Can you tell me) the {fact} of {thing_said}{in_year}?",
            ],
            "short": [f"(What is|Tell me) the {fact} of the {thing}(.|?)"],
            "outcomes": [
                {"result": '{"error": "not found"}', "says": f"I could not find the {fact} of {thing_said}."}
            ],
            "parameters": parameters,
        }
    facts = [_snake(each) for each in lookup["facts"]]
    choices = dict(zip(lookup["facts"], facts, strict=True))
    yield {
        "name": f"{slot}_details",
        "also": [f"info_on_{slot}", f"{slot}.lookup", f"{slot}_facts", f"describe_{slot}"],
        "about": [
            f"Get one fact about {_an(thing)}.",
            f"Information on {_an(thing)}: {', '.join(lookup['facts'])}.",
        ],
        "asks": [
            f"(What is|Tell me|Look up) the {{fact}} of {{{slot}}}(.|?|)",
            f"I (need|want) the {{fact}} of {{{slot}}}.",
        ],
        "parameters": {
            slot: named,
            "fact": {
                "kind": "choice",
                "of": choices,
                "about": "Which fact to get",
                "also": ["property", "attribute", "field", "info"],
            },
        },
    }


# --- formulas ---------------------------------------------------------------------------------------


def _formula(formula: Mapping[str, Any]) -> dict[str, Any]:
    result, inputs = formula["result"], formula["inputs"]
    parameters: dict[str, Any] = {}
    for name, unit, kind in inputs:
        about = f"The {_spoken(name)}" + (f" in {unit}" if unit else "")
        parameters[name] = {"kind": kind, "about": [about, about.removeprefix("The ").capitalize()]}
    rest = ""
    if optional := formula.get("optional"):
        name, unit, kind, default = optional
        about = f"The {_spoken(name)}" + (f" in {unit}" if unit else "")
        parameters[name] = {"kind": kind, "about": about, "default": default}
        rest = f"[, with a {_spoken(name)} of {{{name}}}{_after(unit)}]"
    given = [f"{_spoken(name)} of {{{name}}}{_after(unit)}" for name, unit, _ in inputs]
    stated = [f"the {_spoken(name)} is {{{name}}}{_after(unit)}" for name, unit, _ in inputs]
    snake, with_these = _snake(result), _listed(given, " and a ")
    return {
        "name": f"calculate_{snake}",
        "also": [
            f"{snake}.calculate",
            f"compute_{snake}",
            f"get_{snake}",
            f"{snake}_calculator",
            f"calc_{snake}",
        ],
        "about": [
            f"Calculate the {result}.",
            f"Compute the {result} from {_listed([_spoken(name) for name, _, _ in inputs])}.",
            f"Works out the {result} for given values.",
        ],
        "asks": [
            f"(Calculate|Compute|Find|Work out|What is) the {result} (for|with|given) a {with_these}{rest}(.|?|)",
            f"(What is|Calculate) the {result} (if|when) {_listed(stated)}{rest}(.|?)",
            f"T{_listed(stated)[1:]}. What is the {result}{rest}?",
        ],
        "short": [f"(Calculate|What is) the {result} for a {given[0]}(.|?)"] if len(given) > 1 else [],
        "outcomes": [
            {"draws": {"value": "float 1 900 1"}, "result": "{value}", "says": f"The {result} is {{value}}."},
            {
                "draws": {"value": "float 1 900 2"},
                "result": '{"result": {value}}',
                "says": f"The {result} is {{value}}.",
            },
        ],
        "parameters": parameters,
    }


def _spoken(name: str) -> str:
    return name.replace("_", " ")


def _after(unit: str) -> str:
    return f" {unit}" if unit else ""


def _listed(items: Sequence[str], last: str = " and ") -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + last + items[-1]


# --- actions ----------------------------------------------------------------------------------------


def _action(action: Mapping[str, Any]) -> dict[str, Any]:
    verbs, thing, tail = action["does"], action["object"], action.get("tail", "")
    parameters: dict[str, Any] = {}
    said: list[str] = []
    for name, kind, about, words, also in (*action["needs"], *action["may"]):
        optional = len(parameters) >= len(action["needs"])
        parameters[name] = {
            "about": about,
            "also": also,
            **_kind(kind),
            **({"optional": True} if optional else {}),
        }
        spoken = words.replace("{}", f"{{{name}}}")
        if kind == "flag":
            spoken = f"[{name}?{words}]"
        elif optional:
            spoken = f"[{spoken}]"
        said.append(spoken)
    needed, others = said[: len(action["needs"])], said[len(action["needs"]) :]
    of = f" {thing}" if thing else ""
    object_name = _snake(re.sub(r"\b(a|an|the|my)\b", "", thing))
    first = _snake(verbs[0])
    noun = object_name or _snake(action["needs"][0][0])
    full = action.get("name") or (f"{first}_{noun}" if object_name else f"{first}_{noun}_tool")
    verb = "(" + "|".join(verbs) + ")"
    lower = "(" + "|".join(each[0].lower() + each[1:] for each in verbs) + ")"
    swapped = [*others, *needed] if thing else [*needed, *others]
    return {
        "name": full,
        "also": [f"{noun}.{first}", f"{_snake(verbs[-1])}_{noun}", f"{noun}_{first}"],
        "about": [
            f"{verbs[0]}{of}{_about(action)}.",
            f"{verbs[-1]}{of}{_about(action)}.",
            f"{verbs[0]}{of}.".replace("..", ".") if thing else f"{verbs[0]} something{_about(action)}.",
        ],
        "asks": [
            f"{verb}{of}{''.join(needed)}{''.join(others)}{tail}.",
            f"{_ASKING} {lower}{of}{''.join([*needed, *reversed(others)])}{tail}(.|?)",
            f"{verb}{of}{''.join(swapped)}{tail}(|, please|, thanks).",
        ],
        "short": [f"{verb}{of}(.|, please.)"] if thing else [],
        "outcomes": [
            {"result": '{"ok": true}', "says": "(Done.|That is done.|It is done.)"},
            {
                "result": "error: the service does not answer",
                "says": "That did not work: the service does not answer.",
            },
        ],
        "parameters": parameters,
    }


def _kind(text: str) -> dict[str, Any]:
    if text == "flag":
        return {"kind": "flag", "default": False}
    if "|" in text:
        return {"kind": "choice", "of": text.split("|")}
    return {"kind": text}


def _about(action: Mapping[str, Any]) -> str:
    names = [_spoken(name) for name, *_ in action["needs"]]
    return f" by {_listed(names)}" if action["object"] else f" (give {_listed(names)})"
