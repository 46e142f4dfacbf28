"""Which layers of a model lie on graphics cards, and how several cards share them (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentkit.errors import ConfigError

SPLITS = ("layer", "row", "none")
"""Whole layers to each card, the rows of each matrix, or everything on the main card."""
MAX_LAYERS = 10_000
MAX_CARDS = 16
NO_CARD_HINT = (
    "build one that does, as by CMAKE_ARGS=-DGGML_CUDA=on pip install --force-reinstall --no-binary :all: "
    "--no-deps llama-cpp-python==0.3.36, or ask for 0 layers"
)


@dataclass(frozen=True, slots=True)
class GpuUse:
    """What of a model lies on graphics cards."""

    layers: int | None = None
    """How many, from the last one on; `None`: all, where llama.cpp was built for a card, else none."""
    split: str = "layer"
    """One of `SPLITS`."""
    shares: tuple[float, ...] = ()
    """What each card gets, in proportion; empty: by their free memory."""
    main: int = 0
    """The card for what is not split; cards count from 0."""


def read_gpu(value: Mapping[str, Any]) -> GpuUse:
    """Read what `dataclasses.asdict` made of a `GpuUse`, from a worker's request or a profile.

    Raises:
        TypeError: It has another shape.
        ConfigError: A value is out of its range.
    """
    gpu = GpuUse(**{**value, "shares": tuple(value.get("shares", ()))})
    check_gpu(gpu)
    return gpu


def check_gpu(gpu: GpuUse) -> None:
    """Refuse values that no machine could follow.

    Raises:
        ConfigError: A value is out of its range, or values do not go together.
    """
    if gpu.layers is not None and not _whole(gpu.layers, MAX_LAYERS):
        raise ConfigError(
            f"{gpu.layers} layers for the graphics card are outside 0 to {MAX_LAYERS}", hint="0, or all"
        )
    if gpu.split not in SPLITS:
        raise ConfigError(
            f"there is no way to split {str(gpu.split)[:20]!r}", hint=f"choose one of {', '.join(SPLITS)}"
        )
    if not _whole(gpu.main, MAX_CARDS - 1):
        raise ConfigError(f"card {gpu.main} is outside 0 to {MAX_CARDS - 1}")
    if len(gpu.shares) > MAX_CARDS or not all(_is_share(share) for share in gpu.shares):
        raise ConfigError(f"shares are up to {MAX_CARDS} numbers from 0 to 1000000", hint="like 3,1")
    if gpu.shares and not sum(gpu.shares):
        raise ConfigError("no card has a share of the model", hint="like 3,1")
    if gpu.shares and gpu.split == "none":
        raise ConfigError("shares say nothing where the model is not split", hint="leave them out")


def check_cards(gpu: GpuUse, cards: Sequence[str], *, offloads: bool) -> None:
    """Refuse what this machine and this build of llama.cpp cannot do.

    Args:
        gpu: What is asked for.
        cards: Names of the graphics cards that llama.cpp sees.
        offloads: Whether it was built for any.

    Raises:
        ConfigError: There is no such card, or no build for one.
    """
    asked = bool(gpu.layers) or bool(gpu.shares) or gpu.main > 0
    if asked and not offloads:
        what = f"{gpu.layers} layers were" if gpu.layers else "a card was"
        raise ConfigError(
            f"this build of llama.cpp uses no graphics card, and {what} asked for", hint=NO_CARD_HINT
        )
    if asked and not cards:
        raise ConfigError("llama.cpp sees no graphics card here", hint="agentkit doctor lists what it sees")
    if gpu.main >= len(cards) > 0:
        raise ConfigError(f"there is no card {gpu.main}: llama.cpp sees {len(cards)}", hint="agentkit doctor")
    if len(gpu.shares) > len(cards) > 0:
        raise ConfigError(
            f"{len(gpu.shares)} shares for {len(cards)} graphics cards", hint="agentkit doctor lists them"
        )


def _whole(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _is_share(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1_000_000
