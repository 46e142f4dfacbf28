"""The scorer agrees with the published rules of BFCL, one hand-made case for each rule."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks._bfcl import CATEGORIES, NO_CALL, Call, Question, data_folder, questions, score


def function(name: str = "f", required: tuple[str, ...] = (), **types: Any) -> dict[str, Any]:
    properties = {key: kind if isinstance(kind, dict) else {"type": kind} for key, kind in types.items()}
    return {
        "name": name,
        "description": "",
        "parameters": {"type": "dict", "properties": properties, "required": list(required)},
    }


def array(inner: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": inner}}


def wrong(kind: Any, accepted: list[Any], value: Any) -> str | None:
    """Return what is wrong with one value of one parameter."""
    question = Question("q", "simple_python", "?", [function(a=kind)], [{"f": {"a": accepted}}])
    return score(question, [("f", {"a": value})])


@pytest.mark.parametrize(
    ("kind", "accepted", "value"),
    [
        ("integer", [5], 5),
        ("float", [5.0], 5),
        ("float", [5], 5.0),
        ("boolean", [True], True),
        ("string", ["New York, NY"], "new york ny"),
        ("string", ["2024-01-02"], "2024/01/02"),
        ("string", ["it's"], 'IT"S'),
        ("string", ["x^2 * y"], "x2y"),
        ("string", ["a", "b"], "B"),
        ("any", ["x"], "X"),
        ("string", [7, ""], 7),
        (array("integer"), [[1, 2]], [1, 2]),
        (array("string"), [["New York"], ["LA"]], ["l.a"]),
        (array("float"), [[1, 2]], [1, 2]),
        ({"type": "tuple", "items": {"type": "float"}}, [[1.5, 2.5]], [1.5, 2.5]),
        (array("integer"), [[1], ""], []),
        ("dict", [{"x": [1, 2], "y": ["", "b"]}], {"x": 2}),
        ("dict", ["", {"x": ["New York"]}], {"x": "new york"}),
        (array("dict"), [[{"x": [1]}, {"x": [2]}]], [{"x": 1}, {"x": 2}]),
    ],
)
def test_these_values_are_right(kind: Any, accepted: list[Any], value: Any) -> None:
    assert wrong(kind, accepted, value) is None


@pytest.mark.parametrize(
    ("kind", "accepted", "value", "why"),
    [
        ("integer", [5], 5.0, "wrong type"),
        ("integer", [1], True, "wrong type"),
        ("integer", [5], "5", "wrong type"),
        ("integer", [5], 6, "wrong value"),
        ("float", [5.0], "5", "wrong type"),
        ("boolean", [True], False, "wrong value"),
        ("string", ["a b"], "a;b", "wrong value"),
        ("string", ["a"], ["a"], "wrong type"),
        ("string", ["Rome"], None, "wrong type"),
        ("any", [5], 6, "wrong value"),
        ("string", [7, ""], "7", "wrong value"),
        (array("integer"), [[1, 2]], [2, 1], "wrong value"),
        (array("integer"), [[1, 2]], [1, "2"], "wrong type"),
        (array("float"), [[1.0, 2.0]], [1, 2], "wrong type"),
        (array("string"), [["a"]], "a", "wrong type"),
        ("dict", [{"x": [1]}], {"x": 1, "y": 2}, "wrong value"),
        ("dict", [{"x": [1], "y": [2]}], {"x": 1}, "wrong value"),
        (array("dict"), [[{"x": [1]}, {"x": [2]}]], [{"x": 2}, {"x": 1}], "wrong value"),
        (array("dict"), [[{"x": [1]}]], [{"x": 1}, {"x": 1}], "wrong value"),
    ],
)
def test_these_values_are_wrong(kind: Any, accepted: list[Any], value: Any, why: str) -> None:
    assert wrong(kind, accepted, value) == why


@pytest.mark.parametrize(
    ("calls", "why"),
    [
        ([("f", {"a": 1})], None),
        ([("f", {"a": 1, "b": 2})], None),
        ([("f", {"a": 1, "b": 3})], "wrong value"),
        ([("f", {"b": 2})], "missing parameter"),
        ([("f", {"a": 1, "c": 2})], "unexpected parameter"),
        ([("g", {"a": 1})], "wrong function"),
        ([("f", {"a": 1})] * 2, "wrong number of calls"),
        ([], "no call"),
    ],
)
def test_what_may_be_left_out_and_what_may_not(calls: list[Call], why: str | None) -> None:
    """`b` may be left out: `""` is among its answers. The schema knows `c`, but no answer does."""
    known = function(required=("a",), a="integer", b="integer", c="integer")
    question = Question("q", "simple_python", "?", [known], [{"f": {"a": [1], "b": [2, ""]}}])
    assert score(question, calls) == why


def test_an_optional_parameter_is_required_where_the_answer_says_so() -> None:
    question = Question("q", "simple_python", "?", [function(a="integer")], [{"f": {"a": [1]}}])
    assert score(question, [("f", {})]) == "missing parameter"


def test_among_several_functions_the_answered_one_counts() -> None:
    several = [function("g", a="integer"), function("f", a="integer")]
    question = Question("q", "multiple", "?", several, [{"f": {"a": [1]}}])
    assert score(question, [("f", {"a": 1})]) is None
    assert score(question, [("g", {"a": 1})]) == "wrong function"


@pytest.mark.parametrize(
    ("calls", "why"),
    [
        ([("f", {"a": 1}), ("f", {"a": 2}), ("g", {"a": 1})], None),
        ([("g", {"a": 1}), ("f", {"a": 2}), ("f", {"a": 1})], None),
        ([("f", {"a": 1}), ("f", {"a": 1}), ("g", {"a": 1})], "no match"),
        ([("f", {"a": 1}), ("f", {"a": 2})], "wrong number of calls"),
    ],
)
def test_parallel_calls_match_in_any_order_each_once(calls: list[Call], why: str | None) -> None:
    several = [function("f", a="integer"), function("g", a="integer")]
    answers: list[dict[str, dict[str, list[Any]]]] = [{"f": {"a": [1]}}, {"f": {"a": [2]}}, {"g": {"a": [1]}}]
    assert score(Question("q", "parallel_multiple", "?", several, answers), calls) == why


def test_irrelevance_is_right_where_nothing_is_called() -> None:
    question = Question("q", NO_CALL, "?", [function()], [])
    assert score(question, []) is None
    assert score(question, [("f", {})]) == "called"


@pytest.mark.slow
def test_the_published_answers_are_right() -> None:
    folder = data_folder()
    if not folder.is_dir():
        pytest.skip("BFCL is not in ../shared/data; AGENTKIT_DATA says where it is")
    asked = [each for category in CATEGORIES for each in questions(category, folder)]
    assert len(asked) == 1240
    assert [each.id for each in asked if score(each, published(each)) is not None] == []


def published(question: Question) -> list[Call]:
    """Return the answer of the data: the first accepted value of each parameter that has to be there."""
    calls: list[Call] = []
    for answer in question.answers:
        for name, accepted in answer.items():
            schema = next(each for each in question.functions if each["name"] == name)["parameters"]
            needed = {
                key for key, values in accepted.items() if "" not in values or key in schema["required"]
            }
            values = {key: next(each for each in accepted[key] if each != "") for key in needed}
            calls.append((name, {key: plain(value) for key, value in values.items()}))
    return calls


def plain(value: Any) -> Any:
    """Return an answer as a value: inside objects, too, each member lists what is accepted."""
    if isinstance(value, dict):
        return {key: plain(each[0]) for key, each in value.items() if "" not in each}
    return (
        [plain(each) if isinstance(each, dict) else each for each in value]
        if isinstance(value, list)
        else value
    )
