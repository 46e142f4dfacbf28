"""The Berkeley Function-Calling Leaderboard: its questions, and its rules for whether a call answers one.

`score` agrees with the published AST rules for Python, odd ones included: types are compared before values and one
level deep; text is compared without case, spaces and `,./-_*^`; a value may instead be of the type of the first
listed answer; a parameter may be left out only where `""` is among its answers.
Source: gorilla, berkeley-function-call-leaderboard, `ast_checker.py` (Apache-2.0), version 4.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import _data

CATEGORIES = ("simple_python", "multiple", "parallel", "parallel_multiple", "irrelevance")
NO_CALL = "irrelevance"
"""The category whose questions none of the functions can answer."""
_TYPES: dict[str, type] = {
    "string": str,
    "integer": int,
    "float": float,
    "boolean": bool,
    "array": list,
    "tuple": list,
    "dict": dict,
    "any": str,
}
_IGNORED = re.compile(r"[ ,./\-_*^]")

Call = tuple[str, Mapping[str, Any]]
"""Which function, with which arguments."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question of the leaderboard."""

    id: str
    category: str
    text: str
    functions: list[dict[str, Any]]
    """As they stand in the data: their types have names of Python."""
    answers: list[dict[str, dict[str, list[Any]]]]
    """One for each call: the function, and what is accepted for each of its parameters."""


def data_folder() -> Path:
    """Return where BFCL lies; it may be absent."""
    return _data.data_folder() / "bfcl"


def questions(category: str, folder: Path) -> list[Question]:
    """Return the questions of one category, in the order of the data.

    Raises:
        OSError: They are not there.
    """
    file = f"BFCL_v4_{category}.json"
    asked = [json.loads(line) for line in (folder / file).read_text(encoding="utf-8").splitlines()]
    answers: dict[str, list[dict[str, dict[str, list[Any]]]]] = {}
    if category != NO_CALL:
        for line in (folder / "possible_answer" / file).read_text(encoding="utf-8").splitlines():
            answer = json.loads(line)
            answers[answer["id"]] = answer["ground_truth"]
    return [
        Question(
            each["id"],
            category,
            each["question"][0][-1]["content"],
            each["function"],
            answers.get(each["id"], []),
        )
        for each in asked
    ]


def score(question: Question, calls: Sequence[Call]) -> str | None:
    """Return what is wrong with `calls` as the answer to `question`, in a word or two; nothing where it is right."""
    if question.category == NO_CALL:
        return "called" if calls else None
    if not calls:
        return "no call"
    if len(calls) != len(question.answers):
        return "wrong number of calls"
    left = list(calls)
    for answer in question.answers:
        (name, accepted), *_ = answer.items()
        function = next(each for each in question.functions if each["name"] == name)
        wrong = [_wrong(function, accepted, call) for call in left]
        if None not in wrong:
            return wrong[0] if len(question.answers) == 1 else "no match"
        del left[wrong.index(None)]
    return None


def _wrong(function: Mapping[str, Any], accepted: Mapping[str, list[Any]], call: Call) -> str | None:
    name, arguments = call
    properties: Mapping[str, Any] = function["parameters"]["properties"]
    if name != function["name"]:
        return "wrong function"
    if any(each not in arguments for each in function["parameters"]["required"]):
        return "missing parameter"
    for parameter, value in arguments.items():
        if parameter not in properties or parameter not in accepted:
            return "unexpected parameter"
        if wrong := _wrong_value(properties[parameter], value, accepted[parameter]):
            return wrong
    if any(each not in arguments and "" not in values for each, values in accepted.items()):
        return "missing parameter"
    return None


def _wrong_value(parameter: Mapping[str, Any], value: Any, accepted: list[Any]) -> str | None:  # noqa: ANN401 - JSON
    kind = parameter["type"]
    expected = _TYPES[kind]
    inner = _TYPES[parameter["items"]["type"]] if kind in ("array", "tuple") else None
    if kind == "float" and type(value) is int:
        value = float(value)
    other_type = _typed(value, accepted, expected, inner)
    if other_type is None:
        return "wrong type"
    if other_type:
        right = value in accepted
    elif expected is dict:
        right = any(_same_object(value, each) for each in accepted)
    elif expected is list and inner is dict:
        right = any(_same_objects(value, each) for each in accepted)
    elif expected is str:
        right = _plain(value) in [_plain(each) for each in accepted if isinstance(each, str)]
    elif expected is list:
        right = [_plain(each) for each in value] in [[_plain(each) for each in one] for one in accepted]
    else:
        right = value in accepted
    return None if right else "wrong value"


def _typed(value: Any, accepted: list[Any], expected: type, inner: type | None) -> bool | None:  # noqa: ANN401 - JSON
    """Return `None` for a wrong type, else whether the accepted answers are of another type than the schema's."""
    first: type | None = next((type(each) for each in accepted if each != ""), None)
    if type(value) is not expected:
        return True if first is not None and type(value) is first else None
    lists = [each for each in accepted if isinstance(each, list)]
    elements = value if isinstance(value, list) else []
    right = (
        inner is None
        or len(lists) < len(accepted)  # an answer that is no list says nothing of the elements
        or any(all(_typed(each, one, inner, None) is not None for each in elements) for one in lists)
    )
    return first is not None and first is not expected if right else None


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a text as it is compared; anything else as it is."""
    return _IGNORED.sub("", value).lower().replace("'", '"') if isinstance(value, str) else value


def _same_object(value: Mapping[str, Any], accepted: Any) -> bool:  # noqa: ANN401 - JSON
    if not isinstance(accepted, dict):
        return False
    return all(
        key in accepted and _plain(each) in [_plain(one) for one in accepted[key]]
        for key, each in value.items()
    ) and all(key in value or "" in each for key, each in accepted.items())


def _same_objects(values: Sequence[Mapping[str, Any]], accepted: Any) -> bool:  # noqa: ANN401 - JSON
    return len(values) == len(accepted) and all(
        isinstance(value, Mapping) and _same_object(value, one)
        for value, one in zip(values, accepted, strict=True)
    )
