"""Families of tools: many that are alike, each from one line of words.

`families/lookup.toml` has things with facts, `formula.toml` quantities computed from others, `action.toml` things that
are done. Each entry becomes tools in the form of the catalogue. Tools of a family are asked for in the same wordings;
some of them are kept back (`kept`), for tools that are never trained on.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.phrases import articles

FAMILIES = Path(__file__).parent / "families"
_YEAR = "year 1960 2025"
_ASKING = "(Please|Could you|Can you|I'd like you to|I want you to)"
_PREPOSITION = re.compile(
    r" \(?(about|at|by|called|for|from|in|into|near|of|on|over|published|serving|since|through|to|under|with)\b"
)
_NOTES = {"percent": " in percent", "share": " as a fraction"}
"""What a kind of number needs to be told apart from the other one."""


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
    return articles(f"a {noun}")


def _is_plural(noun: str) -> bool:
    return noun.endswith("s") and not noun.endswith(("ss", "us", "is"))


# --- lookups ----------------------------------------------------------------------------------------


def _lookups(lookup: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    thing, slot = lookup["thing"], _snake(lookup["thing"])
    named = {"kind": lookup["kind"], "about": [f"The {thing}", f"Which {thing}"], "also": lookup["also"]}
    yearly = lookup.get("yearly", {})
    for fact, value in (*lookup["facts"].items(), *yearly.items()):
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
        thing_said, are = f"{{{slot}}}", "are" if _is_plural(fact) else "is"
        is_asked = f"What {are}|What's|What was" if are == "is" else "What are|What were"
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
                f"({is_asked}|Tell me|Find|Look up|Give me) the {fact} of {thing_said}{in_year}(.|?|)",
                f"(I want to know|I need|Please get me) the {fact} (of|for) {thing_said}{in_year}.",
                f"(Do you know|Can you tell me|Could you find) the {fact} of {thing_said}{in_year}?",
                f"(I wonder what|Please check what) the {fact} of {thing_said} (is|was){in_year}."
                if are == "is"
                else f"(I'm looking for|Show me) the {fact} of {thing_said}{in_year}.",
                f"{thing_said}: {fact}{in_year}?",
            ],
            "kept": [
                f"(I'd love to learn|I have to find out|Let me know) the {fact} of {thing_said}{in_year}.",
                f"For {thing_said}, what {are} the {fact}{in_year}?",
                f"(Somebody asked me about|There is a question about) the {fact} of {thing_said}{in_year}; look it up.",
            ],
            "short": [f"(What {are}|Tell me) the {fact} of the {thing}(.|?)"],
            "outcomes": _found(slot, fact, value),
            "parameters": parameters,
        }
    facts = {each: _snake(each) for each in lookup["facts"]}
    yield {
        "name": f"{slot}_details",
        "also": [f"info_on_{slot}", f"{slot}.lookup", f"{slot}_facts", f"describe_{slot}"],
        "about": [
            f"Get one fact about {_an(thing)}.",
            f"Information on {_an(thing)}: {', '.join(lookup['facts'])}.",
        ],
        "asks": [
            f"(What about|Tell me|Look up|Find out) the {{fact}} of {{{slot}}}(.|)",
            f"I (need|want) the {{fact}} of {{{slot}}}.",
            f"(Could you look up|Do you have) the {{fact}} of {{{slot}}}?",
        ],
        "kept": [
            f"(I'd love to learn|Let me know) the {{fact}} of {{{slot}}}.",
            f"About {{{slot}}}, I have to find out the {{fact}}.",
        ],
        "parameters": {
            slot: named,
            "fact": {
                "kind": "choice",
                "of": facts,
                "about": "Which fact to get",
                "also": ["property", "attribute", "field", "info"],
            },
        },
    }


def _found(slot: str, fact: str, value: str) -> list[dict[str, Any]]:
    """Return what a lookup brings: the fact, in one form or another, or that there is none."""
    kind, _, unit = value.partition(" ; ")
    are = "are" if _is_plural(fact) else "is"
    draws = {"found": _kind(kind)}
    said = f"{{found}}{_after(unit)}"
    says = f"(The {fact} of {{{slot}}} {are} {said}.|The {fact} of {{{slot}}}: {said}.)"
    name = _snake(fact)
    with_unit = f', "unit": "{unit}"' if unit else ""
    return [
        {"draws": draws, "result": f"{{found_said}}{_after(unit)}", "says": says},
        {"draws": draws, "result": f'{{"{name}": {{found}}{with_unit}}}', "says": says},
        {
            "draws": draws,
            "result": f'{{"{slot}": {{{slot}}}, "{name}": {{found}}{with_unit}, "source": "register"}}',
            "says": says,
        },
        {"result": '{"error": "not found"}', "says": f"I could not find the {fact} of {{{slot}}}."},
    ]


# --- formulas ---------------------------------------------------------------------------------------


def _formula(formula: Mapping[str, Any]) -> dict[str, Any]:
    result, inputs = formula["result"], formula["inputs"]
    parameters: dict[str, Any] = {}
    for name, unit, kind in inputs:
        about = f"The {_noun(name, unit, kind)}"
        parameters[name] = {"kind": kind, "about": [about, about.removeprefix("The ").capitalize()]}
    rest = ""
    if optional := formula.get("optional"):
        name, unit, kind, default = optional
        about = f"The {_noun(name, unit, kind)}"
        parameters[name] = {"kind": kind, "about": about, "default": default}
        rest = f"[, with {_given(name, unit)}]"
    given = [_given(name, unit) for name, unit, _ in inputs]
    stated = [_stated(name, unit) for name, unit, _ in inputs]
    snake, all_given, all_stated = _snake(result), _listed(given), _listed(stated)
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
            f"(Calculate|Compute|Find|Work out|What is) the {result} (for|with|given) {all_given}{rest}(.|?|)",
            f"(What is|Calculate) the {result} (if|when) {all_stated}{rest}(.|?)",
            f"{all_stated[0].upper()}{all_stated[1:]}. What is the {result}{rest}?",
            f"(I need|I'm after) the {result}: {', '.join(stated)}{rest}.",
        ],
        "kept": [
            f"(Determine|How large is) the {result}, given {all_given}{rest}(.|?)",
            f"(Suppose|Say) {all_stated}; what would the {result} be{rest}?",
            f"With {all_given}{rest}, (work out|tell me) the {result}.",
        ],
        "short": [f"(Calculate|What is) the {result} for {given[0]}(.|?)"] if len(given) > 1 else [],
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


def _noun(name: str, unit: str, kind: str) -> str:
    """Return what an input is, with its unit: `mass in kg`, `number of years`, `rate as a fraction`."""
    if _is_counted(name, unit):
        return f"number of {_counted(name, unit)}"
    return _spoken(name) + (f" in {unit}" if unit else _NOTES.get(kind.split()[0], ""))


def _is_counted(name: str, unit: str) -> bool:
    return bool(unit) and (_is_plural(_spoken(name)) or _spoken(name) in unit)


def _counted(name: str, unit: str) -> str:
    return _spoken(name) if _is_plural(_spoken(name)) and _spoken(name).endswith(unit) else unit


def _given(name: str, unit: str) -> str:
    """Return an input as it is said with its value: `a mass of 5 kg`, `12 years`, `scores of 4, 5 and 6`."""
    spoken = _spoken(name)
    if _is_counted(name, unit):
        return f"{{{name}}} {_counted(name, unit)}"
    return f"{spoken if _is_plural(spoken) else _an(spoken)} of {{{name}}}{_after(unit)}"


def _stated(name: str, unit: str) -> str:
    """Return an input as a statement: `the mass is 5 kg`, `the number of years is 12`."""
    spoken = _spoken(name)
    if _is_counted(name, unit):
        return f"the number of {_counted(name, unit)} is {{{name}}}"
    return f"the {spoken} {'are' if _is_plural(spoken) else 'is'} {{{name}}}{_after(unit)}"


def _spoken(name: str) -> str:
    return _SPOKEN.get(name) or name.replace("_", " ")


_SPOKEN = {
    "invested": "sum invested",
    "gained": "gain",
    "gross": "gross salary",
    "elapsed": "time elapsed",
    "driving_teeth": "driving gear",
    "driven_teeth": "driven gear",
    "percentage": "share",
    "target": "target concentration",
    "dropped": "lowest scores dropped",
}
"""Inputs whose names are no nouns, or not enough of one."""


def _after(unit: str) -> str:
    return f" {unit}" if unit else ""


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


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
    verb, lower = _either(verbs), _either([each[0].lower() + each[1:] for each in verbs])
    moves = all(map(_PREPOSITION.match, needed)) and not any(
        re.match(r"\[\w*\??\s*and ", each) for each in others
    )
    swapped = [*others, *needed] if thing and moves else [*needed, *others]
    turned = [*needed, *(reversed(others) if moves else others)]
    needs = [about[0].lower() + about[1:] for _, _, about, _, _ in action["needs"]]
    what = action.get("what", thing)
    return {
        "name": full,
        "also": [f"{noun}.{first}", f"{_snake(verbs[-1])}_{noun}", f"{noun}_{first}"],
        "about": [
            f"{verbs[0]} {what}.",
            f"{verbs[-1]} {what}.",
            f"{verbs[0]} {what}: {_listed(needs)}.",
        ],
        "asks": [
            f"{verb}{of}{''.join(needed)}{''.join(others)}{tail}.",
            f"{_ASKING} {lower}{of}{''.join(turned)}{tail}(.|?)",
            f"{verb}{of}{''.join(swapped)}{tail}(|, please|, thanks).",
            f"(I need you to|I must ask you to|Time to) {lower}{of}{''.join(needed)}{''.join(others)}{tail}.",
        ],
        "kept": [
            f"Would you {lower}{of}{''.join(needed)}{''.join(others)}{tail}?",
            f"(I'd be glad if you could|Your task is to) {lower}{of}{''.join(turned)}{tail}.",
        ],
        "short": [f"{verb}{of}(.|, please.)"] if thing else [],
        "outcomes": _listed_results(thing) if verbs[0] in _SEARCHING and _is_plural(thing) else _DONE,
        "parameters": parameters,
    }


def _either(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"({'|'.join(words)})"


_SEARCHING = ("Find", "Search for", "Recommend")
_DONE = [
    {"result": '{"ok": true}', "says": "(Done.|That is done.|It is done.)"},
    {
        "result": "error: the service does not answer",
        "says": "That did not work: the service does not answer.",
    },
]


def _listed_results(things: str) -> list[dict[str, Any]]:
    """Return what a search brings."""
    return [
        {
            "draws": {"count": "int 2 40"},
            "result": '{"count": {count}}',
            "says": f"I found {{count}} {things}.",
        },
        {
            "draws": {"names": "list 2 3 brand"},
            "result": '{"results": {names}}',
            "says": "(I found|There are) {names}.",
        },
        {"result": "[]", "says": f"I found no {things}."},
    ]


def _kind(text: str) -> dict[str, Any]:
    if text == "flag":
        return {"kind": "flag", "default": False}
    if "|" in text:
        return {"kind": "choice", "of": text.split("|")}
    return {"kind": text}
