"""Measure the engine worker beside `llama_cpp.Llama` with equal settings, in the same run.

`python -m benchmarks.engine [--quick] [--only PART,PART] [--json]` prints each figure beside its target, then one flat
JSON object; it exits with 1 if a figure misses its target, and with 3 if the default model is not there. Ratios are
ours to the peer's, higher is better; rounds alternate, ours first in one and the peer's in the next, and the median of
the rounds' ratios counts, so that other load hits both sides.
Each module of this package named in `PARTS` has `measure(quick=…)`, which returns figures by name.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from typing import Any

from benchmarks.engine.sides import model_path

PARTS = ("cold", "speed", "turns", "states", "window", "streams", "tuned", "background")
AT_LEAST = {
    "prefill_ratio": 0.97,
    "generate_ratio": 0.97,
    "tuned_prefill_ratio": 2.0,
    "reuse_ttft_ratio": 10.0,
    "restore_ratio": 5.0,
    "parallel8_ratio": 2.0,
    "beside_embedding_ratio": 0.7,
    "reproducible_identical": True,
    "replay_identical": True,
}
AT_MOST = {"shift_ppl_ratio": 1.02, "shift_rss_growth": 1.05, "shift_time_growth": 1.1}


def main(arguments: list[str] | None = None) -> int:
    """Run the parts asked for; 1 if a figure misses its target. What is not measured misses nothing."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.engine", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--only", metavar="PARTS", default=",".join(PARTS), help=f"of {','.join(PARTS)}")
    parser.add_argument("--json", action="store_true", help="nothing but the JSON object")
    asked = parser.parse_args(arguments)
    parts = asked.only.split(",")
    if unknown := sorted(set(parts) - set(PARTS)):
        parser.error(f"there is no part {unknown[0]!r}: choose from {', '.join(PARTS)}")
    if not model_path().is_file():
        print("the default model is not in the store: run `make setup`", file=sys.stderr)
        return 3
    results: dict[str, Any] = dict.fromkeys((*AT_LEAST, *AT_MOST))
    for part in parts:
        print(f"measuring: {part}", file=sys.stderr, flush=True)
        found = importlib.import_module(f"benchmarks.engine.{part}").measure(quick=asked.quick)
        results |= found
        if not asked.json:  # at once: a long run that is broken off has told what it knew
            for name, value in found.items():
                print(f"{name:36}{value!s:>12}  {target(name, value)}", flush=True)
    print(json.dumps(results))
    return int(any(misses(name, value) for name, value in results.items()))


def misses(name: str, value: Any) -> bool:  # noqa: ANN401 - a figure, or why there is none
    """Return whether a figure has a target and misses it."""
    if value is None:
        return False
    return (name in AT_LEAST and value < AT_LEAST[name]) or (name in AT_MOST and value > AT_MOST[name])


def target(name: str, value: Any) -> str:  # noqa: ANN401 - a figure, or why there is none
    """Return what a figure should be, and whether it is."""
    if value is None:
        return "not measured"
    verdict = "MISS" if misses(name, value) else "ok  "
    if name in AT_LEAST:
        return f"{verdict} at least {AT_LEAST[name]}"
    if name in AT_MOST:
        return f"{verdict} at most {AT_MOST[name]}"
    return ""


if __name__ == "__main__":
    raise SystemExit(main())
