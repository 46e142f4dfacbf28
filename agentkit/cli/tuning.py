"""The verbs that measure: `models tune`, `models quantise`, `bench quant`. None of them needs the core or the vault."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from agentkit.cli.options import Json
from agentkit.cli.output import Output, size
from agentkit.errors import ConfigError

bench = typer.Typer(help="Measure models on this machine.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="MODEL", help="As `models list` shows it.", show_default=False)]
Levels = Annotated[
    str | None,
    typer.Option("--levels", metavar="LIST", help="Like Q8_0,Q4_K_M; `none` for none.", show_default=False),
]
Rounds = Annotated[int, typer.Option(min=1, max=100, help="How often each is measured.")]


def tune(
    name: Name,
    levels: Levels = None,
    max_loss: Annotated[
        float, typer.Option("--max-loss", min=0, help="The most perplexity may rise, in per cent.")
    ] = 3.0,
    rounds: Rounds = 5,
    forget: Annotated[bool, typer.Option("--forget", help="Run the model as it came again.")] = False,
    as_json: Json = False,
) -> None:
    """Find out how a model runs best on this machine, and run it so from then on; takes minutes."""
    from agentkit.models.profile import forget_profile
    from agentkit.models.store import ModelStore
    from agentkit.models.tune import TUNED_LEVELS
    from agentkit.models.tune import tune as find
    from agentkit.paths import Home
    from agentkit.spawn import LocalSpawner

    output = Output(as_json=as_json)
    store = ModelStore(Home.default().models)
    if forget:
        forget_profile(store, store.get(name))
        output.json({"name": name, "tuned": False})
        output.line(f"{name} runs as it came")
        return
    with output.meter(f"tuning {name}") as meter:
        found = find(
            store,
            name,
            LocalSpawner(),
            levels=TUNED_LEVELS if levels is None else _levels(levels),
            max_perplexity_change=max_loss / 100,
            rounds=rounds,
            step=meter.show,
        )
    first = found.candidates[0].speed
    rows: list[tuple[object, ...]] = []
    said: list[dict[str, Any]] = []
    for each in found.candidates:
        chosen = each.label == found.best.label
        change = each.perplexity_change
        said.append({**asdict(each), "chosen": chosen})
        rows.append(
            (
                each.label,
                f"{each.speed.prefill:.0f}" if each.speed else "failed",
                f"{each.speed.generate:.0f}" if each.speed else "failed",
                f"{change:+.1%}" if change is not None else "?",
                size(each.file_bytes),
                "chosen" if chosen else "",
            )
        )
    output.json(
        {"name": name, "perplexity": found.perplexity, "max_loss_percent": max_loss, "candidates": said}
    )
    output.rows(("", "prefill tok/s", "generate tok/s", "perplexity", "size", ""), rows)
    if first is not None and found.best.speed is not None:
        output.note(
            f"{name} now reads prompts {found.best.speed.prefill / first.prefill:.2f} times and writes "
            f"{found.best.speed.generate / first.generate:.2f} times as fast; "
            f"`agentkit models tune {name} --forget` undoes it"
        )


def quantise(
    name: Name,
    level: Annotated[str, typer.Argument(metavar="LEVEL", help="Like Q8_0 or Q4_K_M.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Make a variant of a model in another quantisation, on this machine."""
    from agentkit.models.store import ModelStore
    from agentkit.models.variants import make_variant
    from agentkit.paths import Home
    from agentkit.spawn import LocalSpawner

    output = Output(as_json=as_json)
    with output.meter(f"{name} to {level}", unit="tensors") as meter:
        made = make_variant(ModelStore(Home.default().models), name, level, LocalSpawner(), meter.show)
    output.json({"name": made.name, "size_bytes": made.size, "sha256": made.sha256, "source": made.source})
    output.line(f"{made.name}: {size(made.size)}, sha256 {made.sha256}")


@bench.command("quant")
def quant(
    name: Name,
    levels: Levels = None,
    rounds: Rounds = 3,
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Write a picture too.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure what each quantisation of a model costs and brings; variants are made here and not kept."""
    from agentkit.models.quant_table import BENCH_LEVELS, plot, quant_table
    from agentkit.models.store import ModelStore
    from agentkit.paths import Home
    from agentkit.spawn import LocalSpawner

    output = Output(as_json=as_json)
    if svg is not None and not svg.parent.is_dir():
        raise ConfigError(f"{svg.parent}: no such folder")
    with output.meter(f"measuring {name}") as meter:
        rows = quant_table(
            ModelStore(Home.default().models),
            name,
            LocalSpawner(),
            levels=BENCH_LEVELS if levels is None else _levels(levels),
            rounds=rounds,
            step=meter.show,
        )
    if svg is not None:
        svg.write_text(plot(rows, f"{name}: what each quantisation costs and brings"), encoding="utf-8")
        output.note(f"{svg} shows it")
    output.json({"name": name, "rows": [asdict(row) for row in rows]})
    output.rows(
        (
            "quantisation",
            "file size",
            "RAM",
            "prefill tok/s",
            "generate tok/s",
            "perplexity",
            "KL to the reference",
        ),
        [
            (
                f"{row.quantisation} (as it came)" if row.is_reference else row.quantisation,
                size(row.file_bytes),
                size(row.memory_bytes),
                f"{row.prefill:.0f}",
                f"{row.generate:.0f}",
                f"{row.perplexity:.2f}",
                f"{row.divergence:.4f}",
            )
            for row in rows
        ],
    )


def _levels(text: str) -> list[str]:
    if text.strip().lower() == "none":
        return []
    return [part for part in text.replace(",", " ").split() if part]
