"""The verb `models cache`: how a model keeps what it has read, and what that costs a token."""

from __future__ import annotations

from typing import Annotated

import typer

from agentkit.cli.options import Json
from agentkit.cli.output import Output, size

Name = Annotated[str, typer.Argument(metavar="MODEL", help="As `models list` shows it.", show_default=False)]
Keys = Annotated[str | None, typer.Option("--keys", metavar="TYPE", help="f16 or q8_0.", show_default=False)]
Values = Annotated[
    str | None,
    typer.Option("--values", metavar="TYPE", help="f16, or q8_0 with flash attention.", show_default=False),
]
Full = Annotated[
    str | None,
    typer.Option("--window", metavar="MODE", help="When it is full: recompute or shift.", show_default=False),
]


def cache(
    name: Name, keys: Keys = None, values: Values = None, window: Full = None, as_json: Json = False
) -> None:
    """Say how a model keeps keys and values and what it does when the window is full, or change it."""
    from agentkit.models.gguf import read_header
    from agentkit.models.profile import set_cache_levers
    from agentkit.models.ram_need import ram_need
    from agentkit.models.store import ModelStore
    from agentkit.paths import Home

    store = ModelStore(Home.default().models)
    model = store.get(name)
    levers = set_cache_levers(store, model, k_type=keys, v_type=values, window=window)
    need = ram_need(read_header(model.path), k_type=levers.k_type, v_type=levers.v_type)
    output = Output(as_json=as_json)
    output.json(
        {
            "name": name,
            "k_type": levers.k_type,
            "v_type": levers.v_type,
            "window": levers.window,
            "kv_bytes_per_token": need.kv_bytes_per_token,
            "context_tokens": need.context_tokens,
            "kv_bytes": need.kv_bytes,
        }
    )
    output.line(f"keys     {levers.k_type}")
    output.line(f"values   {levers.v_type}")
    output.line(f"window   {levers.window}")
    output.line(
        f"memory   {need.kv_bytes_per_token:,} bytes a token, {size(need.kv_bytes)} at {need.context_tokens} tokens"
    )
    if keys or values or window:
        output.note("it counts from the next start of the engine: `agentkit stop` ends one that runs")
