"""Make the adapter: `python -m training` does all of it; a second run goes on where the first was broken off."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from agentkit.cli.output import Output
from agentkit.models.store import ModelStore
from agentkit.paths import Home
from training.fit import Progress, Recipe

MODEL = "smollm2-135m"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the examples, train, and write the adapter."""
    chosen = _parser().parse_args(arguments)
    output = Output()
    import torch

    from training.batches import Batch, batches
    from training.encode import Encoder, Row
    from training.export import export
    from training.fit import fit
    from training.mix import groups, trained_tools
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
    folder: Path = chosen.folder
    folder.mkdir(parents=True, exist_ok=True)
    model = chosen.model or ModelStore(Home.default().models).get(MODEL).path

    output.note(f"making {recipe.examples} and {recipe.again_examples} examples")
    encoder = Encoder(model)
    source = groups(recipe.seed, trained_tools())

    def make(examples: int) -> list[Batch]:
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

    made, again = make(recipe.examples), make(recipe.again_examples)

    began, recent = time.monotonic(), list[float]()

    def tell(progress: Progress) -> None:
        recent.append(progress.loss)
        if progress.step % 10 == 0 or progress.step == progress.steps:
            speed = progress.tokens / progress.seconds
            mean = sum(recent[-50:]) / len(recent[-50:])
            output.note(f"step {progress.step} of {progress.steps}, loss {mean:.3f}, {speed:.0f} tokens/s")

    device = chosen.device or ("cuda" if torch.cuda.is_available() else "cpu")
    network = fit(
        model,
        made,
        recipe,
        folder,
        again=again,
        tell=tell,
        until_step=chosen.until_step,
        device=device,
        compiled=chosen.compile,
    )
    if chosen.until_step is not None and chosen.until_step < len(made) + len(again):
        output.note(f"broken off after step {chosen.until_step}: the same command goes on from there")
        return 0
    target = folder / "adapter.gguf"
    export(network, target, name=f"agentkit tools for {MODEL}", quantised=recipe.rank >= 32)
    losses = [
        json.loads(line)[1] for line in (folder / "loss.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    (folder / "loss.svg").write_text(plot(losses), encoding="utf-8")
    (folder / "recipe.json").write_text(json.dumps(asdict(recipe), indent=2) + "\n", encoding="utf-8")
    output.note(f"{target}: {target.stat().st_size / 1e6:.1f} MB, after {time.monotonic() - began:.0f} s")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/training"), help="keeps state and result")
    parser.add_argument("--model", type=Path, help=f"a GGUF file; default: {MODEL} of the store")
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
