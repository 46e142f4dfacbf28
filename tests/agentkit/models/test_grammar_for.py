"""`grammar_for` binds a plain `llama_cpp.Llama`, as its documentation shows."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from agentkit import grammar_for
from agentkit.models.normalise import InvalidError, SchemaError

ANIMAL = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "legs": {"type": "integer", "maximum": 9}},
    "required": ["name", "legs"],
    "additionalProperties": False,
}


@pytest.mark.model
@pytest.mark.slow
def test_it_binds_a_plain_llama(smollm2_path: Path) -> None:
    """The example of the module, with a schema of its own: greedy and drawn."""
    import llama_cpp  # noqa: TID251 - what is promised is that it works with it

    llama = llama_cpp.Llama(str(smollm2_path), n_ctx=256, verbose=False)
    bound = grammar_for(ANIMAL)
    for options in ({"temperature": 0.0}, {"temperature": 1.5, "seed": 3}):
        processors = llama_cpp.LogitsProcessorList([bound.processor(llama)])
        said: Any = llama("A fox, as JSON: ", max_tokens=80, logits_processor=processors, **options)  # type: ignore[arg-type]
        value = bound.read(said["choices"][0]["text"])
        assert set(value) == {"name", "legs"}
        assert said["choices"][0]["finish_reason"] == "stop"
    llama.close()


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize("place", ["docs/grammar.md", "agentkit/models/grammar_for.py"])
def test_the_example_works_as_printed(smollm2_path: Path, place: str) -> None:
    text = (Path(__file__).parents[3] / place).read_text(encoding="utf-8")
    start = text.index("from llama_cpp import")
    code = textwrap.dedent(
        " " * 4 * (not place.startswith("docs")) + text[start : text.index('["text"])', start) + 9]
    )
    names: dict[str, Any] = {}
    exec(code.replace("model.gguf", str(smollm2_path)), names)
    assert set(names["value"]) == {"legs"}
    names["llama"].close()


def test_what_cannot_be_used_is_refused_when_it_is_given() -> None:
    with pytest.raises(SchemaError):
        grammar_for({"enum": []})


def test_reading_checks_what_no_grammar_holds() -> None:
    bound = grammar_for({"type": "array", "items": {"type": "integer"}, "uniqueItems": True})
    assert bound.after_checks == ("uniqueItems at #",)
    assert bound.read("[1, 2]") == [1, 2]
    for text in ("[1, 1]", "[1", "x"):
        with pytest.raises(InvalidError):
            bound.read(text)
