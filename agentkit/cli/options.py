"""The options that several verbs share, so that they are spelt and explained once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from agentkit.errors import ConfigError

Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", metavar="NAME", help="A chat model of the store.", show_default=False),
]
Untuned = Annotated[
    bool, typer.Option("--untuned", help="Run the model as it came, not as `models tune` found best.")
]
Temperature = Annotated[
    float | None,
    typer.Option(
        help="0 takes the likeliest token each time; higher varies more. [default: 0]", show_default=False
    ),
]
Seed = Annotated[int | None, typer.Option(help="Draw the same tokens again.", show_default=False)]
MaxTokens = Annotated[int | None, typer.Option(help="The longest answer, in tokens.", show_default=False)]
Draw = Annotated[
    list[str] | None,
    typer.Option(
        "--lever",
        metavar="NAME=VALUE",
        help="Any other way to draw tokens, like top_p=0.9 (docs/levers.md).",
        show_default=False,
    ),
]
Votes = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Ask N times more, at most 16, where a call is doubtful, and keep the one that the request backs best;"
        " 0 is off. With the adapter of the default model it is 4.",
        show_default=False,
    ),
]
Yes = Annotated[
    bool,
    typer.Option("--yes", help="Approve every call the policy would ask about; what it denies stays denied."),
]
PolicyFile = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        metavar="FILE",
        help="Rule on tool calls by this file.",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]


def sampling(
    temperature: float | None, seed: int | None, max_tokens: int | None, levers: list[str] | None = None
) -> dict[str, Any] | None:
    """Return how tokens are drawn, as the core takes it; `None` where nothing was chosen.

    Raises:
        ConfigError: A lever is not of the form NAME=VALUE, there is none of that name, or its value is no number.
    """
    chosen: dict[str, Any] = {"temperature": temperature, "seed": seed, "max_tokens": max_tokens}
    for each in levers or ():
        name, value = _lever(each)
        chosen[name] = value
    return {name: value for name, value in chosen.items() if value is not None} or None


def _lever(text: str) -> tuple[str, float | bool]:
    from dataclasses import fields

    from agentkit.models.base import Sampling

    known = {each.name: each.default for each in fields(Sampling) if isinstance(each.default, (int, float))}
    name, sign, value = text.partition("=")
    if name == "alternatives":
        raise ConfigError(
            "--lever alternatives has no effect: no verb shows them",
            hint="Engine.complete has them in Python: docs/levers.md, What the model thought of it",
        )
    del known["alternatives"]
    if name not in known or not sign:
        raise ConfigError(
            f"--lever {text[:40]!r} is no lever with a value", hint=f"one of {', '.join(known)}"
        )
    switch = isinstance(known[name], bool)
    try:
        if switch:
            return name, {"true": True, "false": False}[value]
        return name, float(value) if isinstance(known[name], float) else int(value)
    except (KeyError, ValueError):
        what = "true or false" if switch else "a number"
        raise ConfigError(f"--lever {name} takes {what}, not {value[:20]!r}") from None
