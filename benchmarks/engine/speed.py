"""Reading a prompt and writing an answer, beside the peer."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from agentkit.models.threads import default_threads
from benchmarks.engine.sides import Ours, Peer, in_turn, model_path


def measure(*, quick: bool) -> dict[str, Any]:
    """Return the speed of both sides, the memory of the worker, and whether they write the same."""
    ours, peer = Ours(model_path()), Peer(model_path())
    ours.engine.describe()
    prefill: list[tuple[float, float]] = []
    generate: list[tuple[float, float]] = []
    same_text = True
    for number in range(6 if quick else 30):
        first = (lambda: ours.prefill(100 + number), lambda: peer.prefill(200 + number))  # noqa: B023 - called at once
        prefill.append(in_turn(number, *first))
        (our_rate, our_text), (peer_rate, peer_text) = in_turn(number, ours.generate, peer.generate)
        generate.append((our_rate, peer_rate))
        same_text = same_text and peer_text.startswith(our_text[:200])
    results = {
        "prefill_ratio": round(median(mine / theirs for mine, theirs in prefill), 3),
        "generate_ratio": round(median(mine / theirs for mine, theirs in generate), 3),
        "prefill_tokens_s": round(median(mine for mine, _ in prefill), 1),
        "peer_prefill_tokens_s": round(median(theirs for _, theirs in prefill), 1),
        "generate_tokens_s": round(median(mine for mine, _ in generate), 1),
        "peer_generate_tokens_s": round(median(theirs for _, theirs in generate), 1),
        "same_text_as_peer": same_text,
        **{
            f"worker_{name}_mb": value
            for name, value in memory_mb(ours.engine.describe()["worker_pid"]).items()
        },
        "threads": default_threads(),
    }
    ours.engine.close()
    return results


def memory_mb(pid: int) -> dict[str, float]:
    """Return resident memory of a process, now and at its highest."""
    values = {}
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        if name in ("VmRSS", "VmHWM", "RssAnon"):
            values[name] = round(int(rest.split()[0]) / 1024, 1)
    return values
