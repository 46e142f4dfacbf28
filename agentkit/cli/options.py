"""The options that several verbs share, so that they are spelt and explained once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

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


def sampling(temperature: float | None, seed: int | None, max_tokens: int | None) -> dict[str, Any] | None:
    """Return how tokens are drawn, as the core takes it; `None` where nothing was chosen."""
    chosen = {"temperature": temperature, "seed": seed, "max_tokens": max_tokens}
    return {name: value for name, value in chosen.items() if value is not None} or None
