"""The verb `models levers`: how a model is run on this machine, shown or changed."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentkit.cli.options import Json
from agentkit.cli.output import Output, size
from agentkit.errors import ConfigError

if TYPE_CHECKING:
    from agentkit.models.gpu import GpuUse

Name = Annotated[str, typer.Argument(metavar="MODEL", help="As `models list` shows it.", show_default=False)]


def _option(flag: str, metavar: str, help_text: str) -> Any:  # noqa: ANN401 - what typer returns
    return typer.Option(flag, metavar=metavar, help=help_text, show_default=False)


def levers(
    name: Name,
    context: Annotated[int | None, _option("--context", "TOKENS", "The window of a conversation.")] = None,
    threads: Annotated[int | None, _option("--threads", "N", "Processor threads.")] = None,
    batch: Annotated[int | None, _option("--batch", "TOKENS", "Of a prompt, computed at once.")] = None,
    flash: Annotated[
        bool | None, typer.Option("--flash/--no-flash", help="Flash attention.", show_default=False)
    ] = None,
    repack: Annotated[
        bool | None,
        typer.Option(
            "--repack/--no-repack", help="Rearrange weights for this processor.", show_default=False
        ),
    ] = None,
    keys: Annotated[str | None, _option("--keys", "TYPE", "Keys in the cache: f16 or q8_0.")] = None,
    values: Annotated[
        str | None, _option("--values", "TYPE", "Values: f16, or q8_0 with flash attention.")
    ] = None,
    window: Annotated[
        str | None, _option("--window", "MODE", "When the window is full: recompute or shift.")
    ] = None,
    tool_format: Annotated[
        str | None, _option("--tool-format", "NAME", "How calls are written; or `auto`.")
    ] = None,
    gpu_layers: Annotated[
        str | None, _option("--gpu-layers", "N", "Layers on graphics cards; or `all`.")
    ] = None,
    gpu_split: Annotated[
        str | None, _option("--gpu-split", "MODE", "Among several cards: layer, row or none.")
    ] = None,
    gpu_shares: Annotated[str | None, _option("--gpu-shares", "LIST", "Of each card, like 3,1.")] = None,
    main_gpu: Annotated[
        int | None, _option("--main-gpu", "N", "The card for what is not split, from 0.")
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Run the model as it came again.")] = False,
    as_json: Json = False,
) -> None:
    """Say how a model is run on this machine, or change it; each option is one lever.

    docs/levers.md says what each does. `models tune` finds the best for speed; what is set here counts from the next
    start of the engine.
    """
    from agentkit.models.catalogue import AGENT, shipped_adapter
    from agentkit.models.gguf import read_header
    from agentkit.models.profile import forget_profile, levers_of, read_profile, set_levers
    from agentkit.models.ram_need import need_with
    from agentkit.models.store import ModelStore
    from agentkit.paths import Home

    store = ModelStore(Home.default().models)
    model = store.get(name)
    if reset:
        forget_profile(store, model)
    before = levers_of(store, model)
    gpu = _gpu(before.gpu, gpu_layers, gpu_split, gpu_shares, main_gpu)
    if gpu is not None:
        _check_cards(gpu)
    changes = {
        "context_tokens": context,
        "threads": threads,
        "batch_tokens": batch,
        "flash_attention": flash,
        "repack": repack,
        "k_type": keys,
        "v_type": values,
        "window": window,
        "tool_format": tool_format,
        "gpu": gpu,
    }
    now = set_levers(store, model, **{name: value for name, value in changes.items() if value is not None})
    profile = read_profile(store, model)
    variant = profile.variant if profile else None
    runs = store.get(variant or name)
    need = need_with(read_header(runs.path), now)
    shipped = shipped_adapter(*runs.origin)
    adapters = {AGENT: shipped.size_bytes} if shipped else {}
    memory = need.total_bytes + sum(adapters.values())
    output = Output(as_json=as_json)
    output.json(
        {
            "name": name,
            "variant": variant,
            **asdict(now),
            "context_tokens": need.context_tokens,
            "kv_bytes_per_token": need.kv_bytes_per_token,
            "kv_bytes": need.kv_bytes,
            "adapters": adapters,
            "memory_bytes": memory,
        }
    )
    for what, said in (
        ("runs", variant or "the file as it came"),
        ("context", f"{need.context_tokens} tokens"),
        ("threads", now.threads),
        ("batch", f"{now.batch_tokens} tokens"),
        ("flash", "on" if now.flash_attention else "off"),
        ("repack", "on" if now.repack else "off"),
        ("keys", now.k_type),
        ("values", now.v_type),
        ("window", now.window),
        ("tool format", now.tool_format),
        ("gpu", "as many layers as there are, if there is one" if now.gpu.layers is None else now.gpu.layers),
        ("cache", f"{need.kv_bytes_per_token:,} bytes a token, {size(need.kv_bytes)} in all"),
        ("adapter", ", ".join(f"{each}, {size(taken)}" for each, taken in adapters.items()) or "none"),
        ("memory", f"{size(memory)}: weights, adapter, cache and buffers"),
    ):
        output.line(f"{what:11} {said}")
    if now != before or reset:
        output.note("it counts from the next start of the engine: `agentkit stop` ends one that runs")


def _check_cards(gpu: GpuUse) -> None:
    """Refuse now what the engine would refuse when it starts."""
    from agentkit.doctor import installed_build
    from agentkit.models.gpu import check_cards, check_gpu

    check_gpu(gpu)
    build = installed_build()
    if build is not None:
        cards = [device["name"] for device in build["devices"] if "card" in device["kind"]]
        check_cards(gpu, cards, offloads=build["offloads"])


def _gpu(
    gpu: GpuUse, layers: str | None, split: str | None, shares: str | None, main: int | None
) -> GpuUse | None:
    """Return what of a model is to lie on graphics cards; `None` where nothing was said."""
    if layers is None and split is None and shares is None and main is None:
        return None
    if layers is not None:
        if layers != "all" and not layers.isdecimal():
            raise ConfigError(f"--gpu-layers {layers[:20]!r} is no number", hint="0, a number, or all")
        gpu = replace(gpu, layers=None if layers == "all" else int(layers))
    if shares is not None:
        try:
            gpu = replace(gpu, shares=tuple(float(part) for part in shares.replace(",", " ").split()))
        except ValueError:
            raise ConfigError(f"--gpu-shares {shares[:40]!r} are no numbers", hint="like 3,1") from None
    return replace(gpu, split=split or gpu.split, main=gpu.main if main is None else main)
