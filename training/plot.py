"""The losses of a training run as a picture (pure)."""

from __future__ import annotations

import math
from collections.abc import Sequence

WIDTH, HEIGHT, LEFT, BOTTOM = 760, 360, 60, 40
_GRID = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


def plot(losses: Sequence[float], window: int = 25) -> str:
    """Return an SVG: the step to the right, the loss upwards on a logarithmic scale, and its running mean."""
    if not losses:
        raise ValueError("there is nothing to show")
    means = [
        sum(losses[max(0, at - window) : at + 1]) / len(losses[max(0, at - window) : at + 1])
        for at in range(len(losses))
    ]
    low, high = max(min(losses), 1e-4), max(losses)

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - 20) * step / max(1, len(losses) - 1)

    def y(loss: float) -> float:
        share = (math.log(max(loss, low)) - math.log(low)) / max(1e-9, math.log(high) - math.log(low))
        return 20 + (HEIGHT - 20 - BOTTOM) * (1 - share)

    def line(values: Sequence[float], colour: str, width: float) -> str:
        points = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in enumerate(values))
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for value in _GRID:
        if low <= value <= high:
            parts.append(f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - 20}" stroke="#ddd"/>')
            parts.append(f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    parts += [line(losses, "#c8d6e8", 1), line(means, "#1f5fa8", 2)]
    parts.append(
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 10}" text-anchor="middle">step, of {len(losses)}</text>'
    )
    parts.append(f'<text x="{LEFT}" y="14">loss on the tokens to be written</text></svg>')
    return "\n".join(parts) + "\n"
