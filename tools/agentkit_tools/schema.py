"""From a function's signature and docstring to a closed JSON Schema, and from JSON to its arguments.

pydantic reads the annotations, so whatever it knows (enums, literals, nested models, constraints and
descriptions in `Annotated`) can be a parameter. References are inlined: small models and grammar compilers read
one flat schema. Imported only when a tool is defined, for pydantic is heavy.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, ValidationError, create_model

from agentkit_tools.errors import ToolDefinitionError, ToolInputError

_SECTION = re.compile(r"^(Args|Arguments|Returns|Raises|Yields|Example|Examples|Note|Notes|Source):\s*$")
_ARGUMENT = re.compile(r"^(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")
_PLAIN = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Signature:
    """A function seen as a tool: description, parameters, and the check of arguments."""

    def __init__(self, function: Callable[..., Any]) -> None:
        """Read the function.

        Raises:
            ToolDefinitionError: It does not say enough to be a tool.
        """
        self._name = getattr(function, "__name__", "tool")
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise ToolDefinitionError(
                f"tool {self._name} is not a plain function", hint="remove async or yield"
            )
        self.description, described = read_docstring(inspect.getdoc(function) or "")
        if not self.description:
            raise ToolDefinitionError(
                f"tool {self._name} has no docstring", hint="say in one line what it does; a model reads it"
            )
        self._fields = self._read_parameters(function, described)
        self._model = self._make_model()
        self.parameters = self._make_schema()

    def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return `arguments` as the function takes them.

        Raises:
            ToolInputError: An argument is missing, unknown or of another type; the message names each.
        """
        try:
            checked = self._model.model_validate(dict(arguments))
        except ValidationError as error:
            problems = [
                f"{'.'.join(str(part) for part in each['loc']) or 'arguments'}: {each['msg'].lower()}"
                for each in error.errors(include_url=False, include_input=False, include_context=False)
            ]
            raise ToolInputError(
                f"{self._name} cannot take these arguments: {'; '.join(problems)}",
                hint=f"{self._name} takes {', '.join(self._fields) or 'no arguments'}",
            ) from error
        return {name: getattr(checked, f"argument_{index}") for index, name in enumerate(self._fields)}

    def _read_parameters(
        self, function: Callable[..., Any], described: Mapping[str, str]
    ) -> dict[str, tuple[Any, Any]]:
        """Return annotation and pydantic field of each parameter, in order."""
        try:
            hints = typing.get_type_hints(function, include_extras=True)
        except (NameError, TypeError) as error:
            raise ToolDefinitionError(
                f"a type in the signature of tool {self._name} cannot be found: {error}",
                hint="import it at the top of the module, not under TYPE_CHECKING",
            ) from error
        fields: dict[str, tuple[Any, Any]] = {}
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind not in _PLAIN:
                raise ToolDefinitionError(f"parameter {name} of tool {self._name} cannot be given by name")
            if name not in hints:
                raise ToolDefinitionError(
                    f"parameter {name} of tool {self._name} has no type", hint=f"write {name}: str"
                )
            default = ... if parameter.default is inspect.Parameter.empty else parameter.default
            about: dict[str, Any] = {"description": described[name]} if name in described else {}
            fields[name] = (hints[name], Field(default, alias=name, **about))
        unknown = sorted(set(described) - set(fields))
        if unknown:
            raise ToolDefinitionError(
                f"the docstring of tool {self._name} describes {unknown[0]}, which is no parameter"
            )
        return fields

    def _make_model(self) -> type[BaseModel]:
        # Names of our own, with the parameter's as alias: `json`, `copy` or `schema` would shadow pydantic's.
        fields = {f"argument_{index}": field for index, field in enumerate(self._fields.values())}
        config = ConfigDict(extra="forbid", title=self._name)
        try:
            made: type[BaseModel] = create_model(self._name, __config__=config, **fields)  # type: ignore[call-overload]
        except PydanticUserError as error:
            raise ToolDefinitionError(
                f"a parameter of tool {self._name} has a type without a schema"
            ) from error
        return made

    def _make_schema(self) -> dict[str, Any]:
        try:
            schema = self._model.model_json_schema(by_alias=True)
        except PydanticUserError as error:
            raise ToolDefinitionError(
                f"a parameter of tool {self._name} has a type without a schema"
            ) from error
        definitions = schema.pop("$defs", {})
        closed: dict[str, Any] = self._inline(schema, definitions, ())
        closed.setdefault("properties", {})
        return closed

    def _inline(self, node: Any, definitions: Mapping[str, Any], inside: tuple[str, ...]) -> Any:  # noqa: ANN401
        """Return `node` without references and titles, every object closed."""
        if isinstance(node, list):
            return [self._inline(each, definitions, inside) for each in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            name = node["$ref"].removeprefix("#/$defs/")
            if name in inside:
                raise ToolDefinitionError(f"type {name} of tool {self._name} holds itself")
            beside = {key: value for key, value in node.items() if key != "$ref"}
            return self._inline({**definitions[name], **beside}, definitions, (*inside, name))
        made: dict[str, Any] = {}
        for key, value in node.items():
            if key == "properties":  # names of parameters, not of schema keywords
                made[key] = {name: self._inline(each, definitions, inside) for name, each in value.items()}
            elif key in ("default", "const", "enum", "examples"):
                made[key] = value
            elif key != "title":
                made[key] = self._inline(value, definitions, inside)
        if "properties" in made:
            made["additionalProperties"] = False
        if made.get("description") is None:
            made.pop("description", None)
        return made


def read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Return the prose of a Google-style docstring and what its `Args:` say, by name."""
    prose: list[str] = []
    described: dict[str, str] = {}
    section = name = ""
    indent = 0
    for line in text.splitlines():
        stripped = line.strip()
        if found := _SECTION.match(line):
            section, name = found[1], ""
        elif not section:
            prose.append(stripped)
        elif section in ("Args", "Arguments") and stripped:
            depth = len(line) - len(line.lstrip())
            found = _ARGUMENT.match(stripped)
            if found and (not name or depth <= indent):
                name, indent = found[1], depth
                described[name] = found[2]
            elif name:
                described[name] = f"{described[name]} {stripped}".strip()
    paragraphs = "\n".join(prose).strip().split("\n\n")
    return "\n\n".join(" ".join(each.split()) for each in paragraphs if each.strip()), described


def check_against(parameters: Mapping[str, Any], name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return `arguments` if the JSON Schema `parameters` accepts them.

    Args:
        parameters: A closed object schema, in any dialect that tools come in.
        name: Of the tool, for the message.
        arguments: As parsed from JSON.

    Raises:
        ToolInputError: It does not; the message names the first problem and never repeats a value.
    """
    from agentkit_tools.bounded import UnusableSchemaError, first_problem
    from agentkit_tools.dialect import DialectError, standard

    try:
        schema = standard(dict(parameters), close=True)
        problem = first_problem(dict(arguments), schema)
    except (DialectError, UnusableSchemaError, TypeError) as error:
        raise ToolInputError(f"{name} has parameters that nothing can be checked against: {error}") from None
    if problem is not None:
        place = ".".join(str(part) for part in problem.absolute_path) or "arguments"
        takes = ", ".join(schema["properties"]) or "no arguments"
        raise ToolInputError(
            f"{name} cannot take these arguments: {place}: {_rule(problem)}", hint=f"{name} takes {takes}"
        )
    return dict(arguments)


def _rule(problem: Any) -> str:  # noqa: ANN401 - jsonschema has no types
    """Say which rule was broken, without the value that broke it."""
    match problem.validator:
        case "required":
            missing = [each for each in problem.validator_value if each not in problem.instance]
            return f"{missing[0]} is missing"
        case "additionalProperties":
            known = problem.schema.get("properties", {})
            return f"{next(each for each in problem.instance if each not in known)} is not known"
        case "type":
            return f"should be {problem.validator_value}"
        case "maxLength":
            return f"is longer than {problem.validator_value} characters"
    return f"breaks {problem.validator} {problem.validator_value}"
