"""No invalid call leaves the worker, whatever the grammar let through."""

from __future__ import annotations

import pytest

from agentkit.messages import ToolSpec
from agentkit.models.formats.families import SMOLLM2
from agentkit.models.formats.syntax import ParsedCall
from agentkit.models.normalise import InvalidError
from agentkit.models.schema_check import check_value
from agentkit.models.validate import read_calls

PARAMETERS = {
    "type": "object",
    "properties": {"tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True}},
    "required": ["tags"],
    "additionalProperties": False,
}
TOOLS = [ToolSpec("tag", "Tag it.", PARAMETERS)]


def test_valid_calls_are_read_with_ids_of_their_own() -> None:
    markup = SMOLLM2.render_calls([ParsedCall("tag", {"tags": ["a"]})] * 2)
    calls = read_calls(SMOLLM2, markup, TOOLS, b"salt")
    assert calls is not None
    assert [call.arguments for call in calls] == [{"tags": ["a"]}] * 2
    ids = [call.id for call in calls]
    assert ids == [call.id for call in read_calls(SMOLLM2, markup, TOOLS, b"salt") or ()]
    others = [call.id for call in read_calls(SMOLLM2, markup, TOOLS, b"other") or ()]
    assert len({*ids, *others}) == 4
    assert all(len(each) == 9 and each.isalnum() for each in ids)


def test_half_a_message_has_no_calls() -> None:
    markup = SMOLLM2.render_calls([ParsedCall("tag", {"tags": ["a"]})])
    assert read_calls(SMOLLM2, markup[:-4], TOOLS, b"") is None


@pytest.mark.parametrize(
    "call",
    [
        ParsedCall("tagg", {"tags": ["a"]}),
        ParsedCall("tag", {"tags": ["secret", "secret"]}),
        ParsedCall("tag", {}),
        ParsedCall("tag", {"tags": ["a"], "more": 1}),
    ],
)
def test_invalid_calls_are_errors_that_quote_nothing(call: ParsedCall) -> None:
    with pytest.raises(InvalidError) as caught:
        read_calls(SMOLLM2, SMOLLM2.render_calls([call]), TOOLS, b"")
    assert "secret" not in str(caught.value)


def test_half_a_character_in_an_argument_is_refused() -> None:
    markup = '<tool_call>[{"name": "tag", "arguments": {"tags": ["\\ud800"]}}]</tool_call>'
    with pytest.raises(InvalidError, match="half a character"):
        read_calls(SMOLLM2, markup, TOOLS, b"")


def test_nothing_is_fetched_for_a_reference() -> None:
    with pytest.raises(InvalidError, match="cannot be used"):
        check_value(1, {"$ref": "https://example.org/schema.json"})
