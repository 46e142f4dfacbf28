"""Measure what the grammars accept, beside llguidance alone on the schemas as they are, in the same run.

`python -m benchmarks.grammar [--quick]` prints a table, then one flat JSON object. Of the suite, `total`, `pass` and
`refused` count instances, the rest says what it counts; those of a schema refused count as passed only where nothing
satisfies it. Instances are spelt canonically: keys in an order the schema allows, numbers
without exponents, `", "` and `": "`. What is not measured is null. The suite and BFCL are read from `AGENTKIT_DATA`, or
`../shared/data`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from itertools import islice, permutations, product
from typing import Any

from llguidance import LLMatcher, LLTokenizer

from agentkit.errors import ConfigError
from agentkit.messages import ToolSpec
from agentkit.models.base import CONSTRAINTS
from agentkit.models.gbnf_backend import value_rules
from agentkit.models.gbnf_matcher import Matcher
from agentkit.models.grammar import backend_for
from agentkit.models.llama import LlamaModel, Settings
from agentkit.models.normalise import InvalidError, Normalised, SchemaError, normalise
from agentkit.models.vocabulary import Vocabulary
from agentkit.paths import Home
from benchmarks._data import data_folder
from benchmarks._grammar_speed import canonical, many_tools, speeds

MODEL = ("smollm2-135m", "SmolLM2-135M-Instruct.Q4_1.gguf")
MOST_SPELLINGS = 200
TOOLS = 300
KEYS = (
    "suite_total",
    "suite_pass",
    "suite_strict_pass",
    "suite_false_accepts",
    "suite_false_rejects",
    "suite_refused",
    "suite_schemas",
    "suite_schemas_refused",
    "gbnf_suite_pass",
    "gbnf_suite_false_accepts",
    "gbnf_suite_false_rejects",
    "gbnf_suite_refused",
    "gbnf_suite_schemas_refused",
    "bfcl_gold_accepted",
    "bfcl_gold_total",
    "gbnf_bfcl_gold_accepted",
    "overhead_ratio",
    "bound_ratio",
    "forced_ratio",
    "forced_share",
    "gold_forced_share",
    "gold_cut_otherwise",
    "mask_300_tools_ms",
    "setup_300_tools_ms",
    "setup_300_again_ms",
)
BYTES = LLTokenizer("byte")
OPTIONS: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def compiled(schema: Any) -> LLMatcher | None:  # noqa: ANN401 - any JSON
    """Return the grammar of a schema by llguidance; nothing where it refuses."""
    try:
        grammar = LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=OPTIONS)
    except ValueError:
        return None
    matcher = LLMatcher(BYTES, grammar, log_level=0)
    return None if matcher.is_error() else matcher


def compiled_gbnf(form: dict[str, Any]) -> Callable[[str], bool] | None:
    """Return whether llama.cpp's grammar of a schema takes a whole text; nothing where there is none.

    It is followed by our own matcher, which agrees with llama.cpp's (`tests/agentkit/models/test_gbnf.py`).
    """
    try:
        matcher = Matcher(value_rules(form))
    except ConfigError:
        return None
    return lambda text: None in matcher.read(matcher.start, text)


def accepts(matcher: LLMatcher, text: str) -> bool:
    """Return whether the grammar takes the whole text."""
    matcher.reset()
    data = list(text.encode())
    return matcher.try_consume_tokens(data) == len(data) and matcher.is_accepting()


def spellings(value: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON
    """Yield the canonical spellings of a value: one for each order of its keys."""
    match value:
        case dict():
            for order in islice(permutations(value), 24):
                for parts in islice(product(*(list(islice(spellings(value[key]), 6)) for key in order)), 40):
                    named = zip(order, parts, strict=True)
                    pairs = (f"{json.dumps(key, ensure_ascii=False)}: {part}" for key, part in named)
                    yield "{" + ", ".join(pairs) + "}"
        case list():
            for parts in islice(product(*(list(islice(spellings(each), 6)) for each in value)), 40):
                yield "[" + ", ".join(parts) + "]"
        case float():
            if value.is_integer():
                yield str(int(value))
            yield format(Decimal(repr(value)), "f")
        case _:
            yield json.dumps(value, ensure_ascii=False)


def suite() -> dict[str, int | None]:
    """Run the JSON-Schema-Test-Suite, drafts 2020-12 and 7, without its optional parts."""
    folder = data_folder() / "jsonschema-suite" / "tests"
    if not folder.is_dir():
        print("skipped: the JSON-Schema-Test-Suite is not here: set AGENTKIT_DATA", file=sys.stderr)
        return {}
    counts = dict.fromkeys((key for key in KEYS if "suite" in key), 0)
    for draft in ("draft2020-12", "draft7"):
        for path in sorted((folder / draft).glob("*.json")):
            for case in json.loads(path.read_text(encoding="utf-8")):
                _case(case, counts, old=draft == "draft7")
    return dict(counts)


def _case(case: dict[str, Any], counts: dict[str, int], *, old: bool) -> None:
    schema = case["schema"]
    if old and isinstance(schema, dict):
        schema = {"$schema": "http://json-schema.org/draft-07/schema#", **schema}
    strict = compiled(schema) if isinstance(schema, dict) else None
    impossible = False
    normalised = matcher = second = None
    try:
        normalised = normalise(schema)
        matcher = compiled(normalised.schema)
        second = compiled_gbnf(normalised.schema)
    except SchemaError as error:
        impossible = error.message == "no value can satisfy the schema"
    counts["suite_schemas"] += 1
    counts["suite_schemas_refused"] += matcher is None
    counts["gbnf_suite_schemas_refused"] += second is None
    for test in case["tests"]:
        value, valid = test["data"], test["valid"]
        counts["suite_total"] += 1
        texts = list(islice(spellings(value), MOST_SPELLINGS))
        if strict is not None and any(accepts(strict, text) for text in texts) == valid:
            counts["suite_strict_pass"] += 1
        for prefix, takes in (
            ("", None if matcher is None else partial(accepts, matcher)),
            ("gbnf_", second),
        ):
            if normalised is None or takes is None:
                counts[f"{prefix}suite_refused"] += 1
                counts[f"{prefix}suite_pass"] += impossible and not valid
                continue
            taken = any(map(takes, texts)) and passes(normalised, value)
            counts[f"{prefix}suite_pass"] += taken == valid
            counts[f"{prefix}suite_false_accepts"] += taken and not valid
            counts[f"{prefix}suite_false_rejects"] += valid and not taken


def passes(normalised: Normalised, value: object) -> bool:
    """Return whether a value passes the final check."""
    try:
        normalised.check(value)
    except InvalidError:
        return False
    return True


def bfcl(name: str) -> Iterator[tuple[list[dict[str, Any]], dict[str, Any]]]:
    """Yield the functions and the answer of each question of one BFCL set; nothing where it is absent."""
    folder = data_folder() / "bfcl"
    file = f"BFCL_v4_{name}.json"
    if not (folder / file).is_file():
        return
    questions = (folder / file).read_text(encoding="utf-8").splitlines()
    answers = (folder / "possible_answer" / file).read_text(encoding="utf-8").splitlines()
    for question, answer in zip(questions, answers, strict=True):
        yield json.loads(question)["function"], json.loads(answer)["ground_truth"][0]


def gold(options: dict[str, list[Any]], order: list[str]) -> dict[str, Any]:
    """Return the first accepted value of each parameter, in the schema's order; those that may be left out are."""
    chosen: dict[str, Any] = {}
    for name in (*order, *(each for each in options if each not in order)):
        values = options.get(name, [""])
        if "" not in values:
            chosen[name] = _plain(values[0])
    return chosen


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return an answer as a value: inside objects, too, each member lists what is accepted."""
    if isinstance(value, dict):
        return {
            name: _plain(each[0]) if isinstance(each, list) and each else each
            for name, each in value.items()
            if not (isinstance(each, list) and "" in each)
        }
    return [_plain(each) for each in value] if isinstance(value, list) else value


def golds() -> dict[str, int]:
    """Count the gold calls of simple_python and multiple that grammar and check take."""
    accepted = second = total = 0
    for name in ("simple_python", "multiple"):
        for functions, answer in bfcl(name):
            called, options = next(iter(answer.items()))
            parameters = next(each["parameters"] for each in functions if each["name"] == called)
            value = gold(options, list(parameters.get("properties", {})))
            total += 1
            normalised = normalise(parameters, close=True)
            matcher, takes = compiled(normalised.schema), compiled_gbnf(normalised.schema)
            if not passes(normalised, value):
                continue
            texts = list(islice(spellings(value), MOST_SPELLINGS))
            accepted += matcher is not None and any(accepts(matcher, text) for text in texts)
            second += takes is not None and any(map(takes, texts))
    if not total:
        return {}
    return {
        "bfcl_gold_accepted": accepted,
        "bfcl_gold_total": total,
        "gbnf_bfcl_gold_accepted": second,
    }


def tools_of_bfcl() -> list[ToolSpec]:
    """Return the different tools of two BFCL sets."""
    tools: dict[str, ToolSpec] = {}
    for name in ("simple_python", "multiple"):
        for functions, _ in bfcl(name):
            for each in functions:
                spec = ToolSpec(each["name"], each["description"], each["parameters"])
                tools.setdefault(each["name"], spec)
    return list(tools.values())


def with_the_model(*, quick: bool) -> dict[str, Any]:
    """Measure what needs the default model: speed, and how forced text is cut into tokens."""
    path = Home.default().models.joinpath(*MODEL)
    tools = tools_of_bfcl()
    if not path.is_file() or len(tools) < TOOLS:
        print("skipped: the default model or the BFCL sets are absent", file=sys.stderr)
        return {}
    model = LlamaModel(path, Settings())
    found: dict[str, Any] = many_tools(model, tools[:TOOLS], 3 if quick else 9)
    calls = []
    for functions, answer in islice(bfcl("simple_python"), 60 if quick else 400):
        spec = ToolSpec(functions[0]["name"], "", functions[0]["parameters"])
        options = answer[spec.name]
        calls.append((spec, gold(options, list(spec.parameters.get("properties", {})))))
    for name in CONSTRAINTS:
        prefix = "" if name == CONSTRAINTS[0] else f"{name}_"
        cut = canonical(backend_for(Vocabulary(model), name), model, calls)
        found[f"{prefix}gold_forced_share"] = cut["share"]
        found[f"{prefix}gold_cut_otherwise"] = cut["calls_cut_otherwise"]
    model.close()
    cases = [(text, tool) for text, tool in islice(questions(), 6 if quick else 24)]
    return found | speeds(path, cases, 1 if quick else 3)


def questions() -> Iterator[tuple[str, ToolSpec]]:
    """Yield the requests of BFCL's simplest set, each with its tool."""
    lines = (data_folder() / "bfcl" / "BFCL_v4_simple_python.json").read_text(encoding="utf-8").splitlines()
    for line in lines:
        row = json.loads(line)
        each = row["function"][0]
        yield (
            row["question"][0][0]["content"],
            ToolSpec(each["name"], each["description"], each["parameters"]),
        )


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="benchmarks.grammar", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    quick = parser.parse_args(arguments).quick
    results: dict[str, Any] = dict.fromkeys(KEYS)
    results |= suite()
    results |= golds()
    results |= with_the_model(quick=quick)
    for name, value in results.items():
        print(f"{name:28}{'not measured' if value is None else value!s:>14}")
    print(json.dumps(results))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
