"""Make the adapter: `python -m training` does all of it; a second run goes on where the first was broken off.

It trains several times from one beginning, each time on examples of its own, and takes the mean; of adapters that are
made already, too (`--beside`).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from agentkit.cli.output import Output
from agentkit.models.store import ModelStore
from agentkit.paths import Home
from training.fit import Progress, Recipe
from training.tasks import Example

MODEL = "smollm2-135m"
MEMBERS = 2
QUANTISED_RANK = 32
"""From here on an adapter is written in Q8_0, to stay below 12 MB."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the examples, train, and write the adapter."""
    chosen = _parser().parse_args(arguments)
    output = Output()
    import torch

    from training.batches import Batch, batches
    from training.encode import Encoder, Row
    from training.export import export, load
    from training.fit import fit
    from training.mean import take_mean
    from training.mix import groups, trained_tools
    from training.network import Network
    from training.plot import plot

    torch.set_num_threads(chosen.threads)
    recipe = replace(
        Recipe(),
        **{
            name: value
            for name, value in vars(chosen).items()
            if value is not None and name in asdict(Recipe())
        },
    )
    model = chosen.model or ModelStore(Home.default().models).get(MODEL).path
    encoder = Encoder(model)
    began = time.monotonic()

    def make(source: Iterator[Sequence[Example]], examples: int) -> list[Batch]:
        rows: list[Row] = []
        count = 0
        while count < examples:
            group = next(source)
            row = encoder.encode(group)
            if row.length <= recipe.batch_tokens:
                rows.append(row)
                count += len(group)
        found = list(batches(rows, recipe.batch_tokens, recipe.seed))
        tokens = sum(row.length for row in rows)
        output.note(f"{count} examples of {tokens / max(1, count):.0f} tokens, in {len(found)} batches")
        return found

    def train(member: int, folder: Path) -> Network | None:
        """Return what one training comes to; `None` if it was broken off."""
        output.note(f"training {member + 1} of {chosen.members}: making its examples")
        folder.mkdir(parents=True, exist_ok=True)
        source = groups(recipe.seed + member, trained_tools())
        made, again = make(source, recipe.examples), make(source, recipe.again_examples)
        recent = list[float]()

        def tell(progress: Progress) -> None:
            recent.append(progress.loss)
            if progress.step % 10 == 0 or progress.step == progress.steps:
                speed = progress.tokens / progress.seconds
                mean = sum(recent[-50:]) / len(recent[-50:])
                output.note(
                    f"step {progress.step} of {progress.steps}, loss {mean:.3f}, {speed:.0f} tokens/s"
                )

        network = fit(
            model,
            made,
            recipe,
            folder,
            again=again,
            begin=chosen.begin,
            tell=tell,
            until_step=chosen.until_step,
            device=chosen.device or ("cuda" if torch.cuda.is_available() else "cpu"),
            compiled=chosen.compile,
        )
        if chosen.until_step is not None and chosen.until_step < len(made) + len(again):
            output.note(f"broken off after step {chosen.until_step}: the same command goes on from there")
            return None
        lines = (folder / "loss.jsonl").read_text(encoding="utf-8").splitlines()
        (folder / "loss.svg").write_text(plot([json.loads(line)[1] for line in lines]), encoding="utf-8")
        return network

    folder: Path = chosen.folder
    networks = list[Network]()
    for path in chosen.beside:
        network = Network(model, rank=recipe.rank, alpha=recipe.alpha)
        try:
            load(network, path)
        except (OSError, ValueError) as error:
            output.error(f"{path} is no adapter of this model and rank: {error}")
            return 2
        networks.append(network)
    for member in range(chosen.members):
        trained = train(member, folder / str(member + 1))
        if trained is None:
            return 0
        networks.append(trained)
    if not networks:
        output.error("there is nothing to take the mean of", hint="--members 1, or --beside ADAPTER.gguf")
        return 2
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "adapter.gguf"
    export(
        take_mean(networks),
        target,
        name=f"agentkit tools for {MODEL}",
        quantised=recipe.rank >= QUANTISED_RANK,
    )
    given = {"begin": chosen.begin and chosen.begin.name, "beside": [each.name for each in chosen.beside]}
    decided = {"members": chosen.members, **given, **asdict(recipe)}
    (folder / "recipe.json").write_text(json.dumps(decided, indent=2) + "\n", encoding="utf-8")
    output.note(f"{target}: {target.stat().st_size / 1e6:.1f} MB, after {time.monotonic() - began:.0f} s")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/training"), help="keeps state and result")
    parser.add_argument("--model", type=Path, help=f"a GGUF file; default: {MODEL} of the store")
    parser.add_argument("--members", type=int, default=MEMBERS, help="how many trainings to take the mean of")
    parser.add_argument(
        "--begin", type=Path, help="go on from this adapter; with `--examples 0` for a short round"
    )
    parser.add_argument(
        "--beside",
        type=Path,
        nargs="+",
        default=[],
        metavar="ADAPTER",
        help="adapters that are made already, to take the mean with; with `--members 0` of them alone",
    )
    parser.add_argument("--examples", type=int, help="how many to train on")
    parser.add_argument("--again-examples", type=int, help="how many more, in a second, shorter round")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--rank", type=int)
    parser.add_argument("--alpha", type=float)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--batch-tokens", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", help="where to compute; default: the GPU where there is one")
    parser.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="let torch compile the network, which takes a C++ compiler",
    )
    parser.add_argument("--until-step", type=int, help="break off there, to go on later")
    return parser


if __name__ == "__main__":
    sys.exit(main())
