"""Bring any JSON Schema into the one small form that grammars are made of, and check values against the rest.

The form holds `anyOf`, `enum`, `$ref` to `$defs`, and plain objects, arrays, strings and numbers: references are
followed, `allOf`, `oneOf`, `if` and `not` are merged or loosened. It never forbids what the schema allows (but for
the bounds named here, and unknown names where objects are to be closed), and what it cannot say is listed in
`after_checks` and checked once the value is whole.
Covered: OpenAI, pydantic, MCP and BFCL dialects (`dict`, `float`, `tuple`, `any`, `nullable`), draft 7 and 2020-12,
recursion; any input ends within a bounded number of steps, as a schema or as a `SchemaError`.
Not covered: references that leave the schema; nothing is ever fetched.
Source: JSON Schema core and validation, drafts 7 and 2020-12.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

from agentkit.models.schema_check import InvalidError as InvalidError
from agentkit.models.schema_check import check_value
from agentkit.models.schema_form import build_form
from agentkit.models.schema_shapes import MAX_STRING as MAX_STRING
from agentkit.models.schema_shapes import SchemaError as SchemaError
from agentkit_tools.dialect import DialectError, standard

MAX_CHARACTERS = 1_000_000
MAX_KEPT = 4096
"""Schemas whose form is kept: more than any set of tools, for who goes through more of them keeps none."""


@dataclass(frozen=True, slots=True)
class Normalised:
    """A schema in the form that grammars are made of."""

    schema: dict[str, Any]
    """In the form; as JSON Schema 2020-12, the looser half of `check`."""
    source: Any
    """As given, in standard words; the stricter half of `check`."""
    after_checks: tuple[str, ...] = ()
    """What only `check` holds, as words: `uniqueItems at #/properties/tags`."""

    def check(self, value: object) -> None:
        """Check a whole value against everything the schema says.

        Raises:
            InvalidError: The value is not of the schema.
        """
        for schema in (self.source, self.schema):
            check_value(value, schema)


def normalise(
    schema: Any,  # noqa: ANN401 - any JSON
    *,
    close: bool = False,
    formats: bool | None = None,
    is_object: bool | None = None,
) -> Normalised:
    """Return `schema` in the form that grammars are made of.

    Args:
        schema: An object or a boolean.
        close: Objects take no names their schema does not list: for the parameters of tools, where a mistyped
            name would otherwise pass as an additional one.
        formats: Bind `format`, too; JSON Schema itself takes it for a remark. Default: as `close`.
        is_object: It is an object's, as that of a tool's parameters, whether it says so or not. Default: as `close`.

    Raises:
        SchemaError: No value satisfies it, it is malformed or too large, or it refers to what is not in it.
    """
    try:
        text = json.dumps(schema, allow_nan=False)
        if len(text) > MAX_CHARACTERS:
            raise SchemaError(f"the schema is longer than {MAX_CHARACTERS} characters")
        return _normalised(
            text, close, close if formats is None else formats, close if is_object is None else is_object
        )
    except (RecursionError, ValueError, TypeError, OverflowError, AttributeError, KeyError) as error:
        raise SchemaError(f"the schema is malformed ({type(error).__name__})") from None


@functools.lru_cache(maxsize=MAX_KEPT)
def _normalised(text: str, close: bool, formats: bool, is_object: bool) -> Normalised:
    """Do the work of `normalise`; the text of a schema is its key, since values cannot be hashed."""
    try:
        source = standard(json.loads(text), close=close, is_object=is_object)
        form, notes = build_form(source, close=close, formats=formats)
        return Normalised(form, source, notes)
    except DialectError as error:
        raise SchemaError(str(error)) from None
    except (RecursionError, ValueError, TypeError, OverflowError, AttributeError, KeyError) as error:
        raise SchemaError(f"the schema is malformed ({type(error).__name__})") from None
