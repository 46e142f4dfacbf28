"""The verbs for one question: `ask` answers from the documents only, `run` may use tools."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from agentkit.cli.approve import Approver
from agentkit.cli.connect import connect
from agentkit.cli.options import (
    Draw,
    Json,
    MaxTokens,
    Model,
    PolicyFile,
    Seed,
    Temperature,
    Untuned,
    Votes,
    Yes,
    sampling,
)
from agentkit.cli.output import Output
from agentkit.cli.turn import NOT_FOUND, exit_code, run_turn, show_backing, show_end, show_sources
from agentkit.cli.typed import checked, read_stdin
from agentkit.errors import ConfigError

MAX_STDIN_CHARACTERS = 200_000

Words = Annotated[
    list[str],
    typer.Argument(metavar="TEXT", help="The question; - reads it from standard input.", show_default=False),
]
ToolChoice = Annotated[
    str,
    typer.Option(
        "--tool-choice", metavar="auto|none|required|NAME", help="Whether a tool is called, or which."
    ),
]
SchemaFile = Annotated[
    Path | None,
    typer.Option(
        "--schema",
        metavar="FILE",
        help="Write the answer as JSON of the JSON Schema in FILE.",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]
Conversation = Annotated[
    str | None,
    typer.Option(
        "--conversation", "-c", metavar="NAME", help="Continue this conversation.", show_default=False
    ),
]


def ask(
    words: Words,
    model: Model = None,
    untuned: Untuned = False,
    temperature: Temperature = None,
    seed: Seed = None,
    max_tokens: MaxTokens = None,
    lever: Draw = None,
    as_json: Json = False,
) -> None:
    """Answer a question from your documents, with sources.

    Where they do not hold the answer, it says so; the exit code is then 0 too.
    """
    output = Output(as_json=as_json)
    question = text_of(words)
    with connect(output) as client:
        finished = run_turn(
            client, output, answer=Approver(output),
            text=question, mode="ask", model=model, untuned=untuned,
            sampling=sampling(temperature, seed, max_tokens, lever),
        )  # fmt: skip
    output.json(_document(question, finished))
    if finished.get("ending") == "not_found" and NOT_FOUND not in str(finished.get("text", "")).lower():
        output.line(NOT_FOUND, "bold")
    show_sources(finished, output)
    show_end(finished, output)
    _exit(finished)


def run(
    words: Words,
    conversation: Conversation = None,
    yes: Yes = False,
    policy: PolicyFile = None,
    model: Model = None,
    untuned: Untuned = False,
    temperature: Temperature = None,
    seed: Seed = None,
    max_tokens: MaxTokens = None,
    lever: Draw = None,
    tool_choice: ToolChoice = "auto",
    votes: Votes = None,
    schema: SchemaFile = None,
    as_json: Json = False,
) -> None:
    """Give the agent one task; it asks before it writes or runs anything.

    With --schema, standard output is the answer as JSON of that schema and nothing else.
    """
    form = None if schema is None else read_schema(schema)
    output = Output(as_json=as_json or form is not None)
    task = text_of(words)
    with connect(output) as client:
        finished = run_turn(
            client, output, answer=Approver(output),
            text=task, mode="agent", conversation=conversation, model=model, untuned=untuned,
            sampling=sampling(temperature, seed, max_tokens, lever),
            yes=yes, policy=None if policy is None else str(policy.absolute()), form=form,
            tool_choice=tool_choice if tool_choice in ("auto", "none", "required") else {"name": tool_choice},
            votes=votes,
        )  # fmt: skip
    if as_json or form is None:
        output.json(_document(task, finished))
    elif finished.get("output") is not None:
        output.json(finished["output"])
    show_backing(task, finished, output)
    show_end(finished, output)
    _exit(finished)


def read_schema(path: Path) -> dict[str, Any]:
    """Return the JSON Schema in a file.

    Raises:
        ConfigError: It holds something else.
    """
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path.name} is no JSON file", hint="write a JSON Schema into it") from error
    if not isinstance(schema, dict):
        raise ConfigError(
            f"{path.name} holds no JSON Schema", hint='it has to be an object: {"type": "object", ...}'
        )
    return schema


def text_of(words: Sequence[str]) -> str:
    """Return what was typed as one text, or standard input where that is a single `-`.

    Raises:
        ConfigError: There is nothing, or too much.
    """
    text = checked(" ".join(words)) if list(words) != ["-"] else read_stdin(MAX_STDIN_CHARACTERS + 1)
    if not text.strip():
        raise ConfigError("there is nothing to answer", hint="say something")
    if len(text) > MAX_STDIN_CHARACTERS:
        raise ConfigError(
            f"standard input holds more than {MAX_STDIN_CHARACTERS} characters",
            hint="save it to a file and index that",
        )
    return text


def _document(text: str, finished: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON document of one turn."""
    return {
        "request": text,
        "answer": finished.get("text", ""),
        **{k: v for k, v in finished.items() if k not in ("type", "text")},
    }


def _exit(finished: dict[str, Any]) -> None:
    code = exit_code(finished)
    if code:
        raise typer.Exit(code)
