"""The verbs that measure: `models tune`, `models quantise`, `bench quant`. None of them needs the core or the vault."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentkit.cli.options import Json
from agentkit.cli.output import Output, size
from agentkit.errors import ConfigError

if TYPE_CHECKING:
    from agentkit.models.tune import Tuning

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
    forget: Annotated[bool, typer.Option("--forget", help="Undo what tuning did here.")] = False,
    as_json: Json = False,
) -> None:
    """Find out how a model runs best on this machine, and run it so from then on; takes minutes."""
    from agentkit.models.profile import as_tuned, forget_tuning, read_profile
    from agentkit.models.store import ModelStore
    from agentkit.models.tune import TUNED_LEVELS
    from agentkit.models.tune import tune as find
    from agentkit.paths import Home
    from agentkit.spawn import LocalSpawner

    output = Output(as_json=as_json)
    store = ModelStore(Home.default().models)
    if forget:
        model = store.get(name)
        forget_tuning(store, model)
        output.json({"name": name, "tuned": False})
        output.line(f"{name} runs as it came")
        if read_profile(store, model) is not None:
            output.note(
                f"but for levers that tuning leaves alone: `agentkit models levers {name}` shows them"
            )
        return
    with output.meter(f"tuning {name}", unit="steps") as meter:
        try:
            found = find(
                store,
                name,
                LocalSpawner(),
                levels=TUNED_LEVELS if levels is None else _levels(levels),
                max_perplexity_change=max_loss / 100,
                rounds=rounds,
                step=meter.show,
            )
        except KeyboardInterrupt:
            output.note("what was measured is kept for an hour: the same command goes on from there")
            raise
    _show(name, found, max_loss, output)
    if "adapters" in as_tuned(store, name, untuned=True)[1] and "adapters" not in as_tuned(store, name)[1]:
        output.note("the agent adapter was not measured with this variant, which runs without it")


def _show(name: str, found: Tuning, max_loss: float, output: Output) -> None:
    """Show what was measured, what was chosen, and what that brings."""
    best, rows, said = found.best, [], []
    chosen = [each for each in found.candidates if (each.level, each.levers) == (best.level, best.levers)]
    last = {id(each): each for each in (found.came, found.before, best)}
    for each in (*found.candidates, *last.values()):
        change, speed = each.perplexity_change, each.speed
        final = id(each) in last
        is_chosen = each is best or (not final and bool(chosen) and each is chosen[-1])
        said.append({**asdict(each), "chosen": is_chosen, "beside_each_other": final})
        rows.append(
            (
                each.label,
                f"{speed.prefill:.0f}" if speed else "-",
                f"{speed.generate:.0f}" if speed else "-",
                f"{change:+.1%}" if change is not None else "?",
                size(each.file_bytes) if each.file_bytes else "-",
                each.why or ("chosen" if is_chosen else ""),
            )
        )
    gains = {
        label: {
            "prefill": best.speed.prefill / each.speed.prefill,
            "generate": best.speed.generate / each.speed.generate,
        }
        for label, each in (("as_it_came", found.came), ("until_now", found.before))
        if best.speed and each.speed
    }
    output.json(
        {
            "name": name,
            "perplexity": found.perplexity,
            "max_loss_percent": max_loss,
            "candidates": said,
            "chosen": {
                **asdict(best.levers),
                "level": best.level,
                "perplexity_change": best.perplexity_change,
            },
            "gain": gains,
        }
    )
    output.rows(("tried", "prefill tok/s", "generate tok/s", "perplexity", "size", ""), rows)
    levers = best.levers
    source = f"as {best.level}, made here," if best.level else "from the file as it came,"
    output.note(
        f"{name} runs {source} with {levers.threads} thread{'s' * (levers.threads > 1)}, flash attention "
        f"{'on' if levers.flash_attention else 'off'}, weights {'' if levers.repack else 'not '}rearranged, "
        f"{levers.batch_tokens} tokens at once; perplexity {best.perplexity_change or 0:+.1%}"
    )
    for label, gain in gains.items():
        if label == "as_it_came" or found.before is not found.came:
            output.note(
                f"against the model {label.replace('_', ' ')}, it reads prompts {gain['prefill']:.2f} times and "
                f"writes {gain['generate']:.2f} times as fast"
            )
    output.note(f"`agentkit models tune {name} --forget` undoes it")


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
    from agentkit.models.quant_plot import plot
    from agentkit.models.quant_table import BENCH_LEVELS, quant_table
    from agentkit.models.store import ModelStore
    from agentkit.paths import Home
    from agentkit.spawn import LocalSpawner

    output = Output(as_json=as_json)
    if svg is not None and not svg.parent.is_dir():
        raise ConfigError(f"{svg.parent}: no such folder")
    with output.meter(f"measuring {name}", unit="steps") as meter:
        rows = quant_table(
            ModelStore(Home.default().models),
            name,
            LocalSpawner(),
            levels=BENCH_LEVELS if levels is None else _levels(levels),
            rounds=rounds,
            step=meter.show,
            leave_out=lambda level, why: output.note(f"{level} is left out: {why}"),
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
