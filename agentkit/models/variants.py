"""Variants of a stored model: the same weights in another quantisation, made on this machine.

A variant is a model of the store like any other; its manifest's `source` names the hash of what it was made from and
both quantisations. It is made in a private area and moved into place by one rename: a full disk, a crash or Ctrl-C
leaves nothing of it.
"""

from __future__ import annotations

from pathlib import Path

from agentkit.errors import ConfigError, LimitError, ModelError
from agentkit.models.disk import SPARE_BYTES, disk_errors, require_space
from agentkit.models.gguf import GGUFHeader, read_header
from agentkit.models.gguf_types import FILE_TYPES
from agentkit.models.manifest import StoredModel, made_from
from agentkit.models.measuring import Beat, Measured
from agentkit.models.store import ModelStore
from agentkit.models.threads import default_threads
from agentkit.spawn import Spawner

LEVELS = ("F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_0", "Q4_K_M", "Q4_0", "IQ4_NL", "Q3_K_M", "Q2_K")
"""Finest first. Those below need importance data that a machine at home does not have."""
_BITS = {
    "F16": (16.0, 16.0), "BF16": (16.0, 16.0), "Q8_0": (8.5, 8.5), "Q6_K": (6.5, 8.5), "Q5_K_M": (5.5, 8.5),
    "Q5_0": (5.5, 6.0), "Q4_K_M": (4.5, 8.5), "Q4_0": (4.5, 6.0), "IQ4_NL": (4.5, 6.0), "Q3_K_M": (3.4, 8.5),
    "Q2_K": (2.6, 8.5),
}  # fmt: skip
"""The least and the most a weight takes: where a row does not divide into the blocks of a type, a finer one is used."""


def check_level(level: str) -> str:
    """Return `level` as it is written here.

    Raises:
        ConfigError: There is none of that name.
    """
    upper = level.strip().upper()
    if upper not in LEVELS:
        raise ConfigError(f"{level[:40]!r} is no quantisation level", hint=f"choose from {', '.join(LEVELS)}")
    return upper


def variant_name(name: str, level: str) -> str:
    """Return what the variant of a model is called in the store."""
    return f"{name}-{level.lower()}"


def least_bytes(header: GGUFHeader, level: str) -> int:
    """Return the least that the weights of a model can take at `level`."""
    return int(header.parameters * _BITS[level][0] / 8)


def requantise(
    source: Path, target: Path, level: str, spawner: Spawner, beat: Beat | None = None
) -> GGUFHeader:
    """Write the model file `source` to the new file `target` at `level`, in a child process.

    Raises:
        ModelError: The model cannot be written at that level; nothing is left of `target`.
        LimitError: The disk is full; nothing is left of `target`.
        WorkerLostError: llama.cpp crashed; nothing is left of `target`.
    """
    header = read_header(source)
    needed = int(header.parameters * _BITS[level][1] / 8) + header.file_bytes - header.tensor_bytes
    require_space(target.parent, needed)
    number = next(number for number, name in FILE_TYPES.items() if name == level)
    try:
        with Measured(source, spawner, writes=[target.parent]) as worker:
            worker.ask(
                "quantise", "quantised", beat, target=str(target), file_type=number, threads=default_threads()
            )
        return read_header(target)
    except BaseException as error:  # Ctrl-C included: half a model is of no use to anyone
        target.unlink(missing_ok=True)
        if isinstance(error, ModelError) and _is_full(target.parent):
            raise LimitError(
                f"{target.parent}: the disk is full; what was begun is removed", hint="free some space"
            ) from None
        raise


def make_variant(
    store: ModelStore, name: str, level: str, spawner: Spawner, beat: Beat | None = None
) -> StoredModel:
    """Make and store the variant of a stored model; return the one that is there, if it was made of the same file.

    Raises:
        ConfigError: The model is not one GGUF file, or another model has the variant's name.
        ModelRefusedError: The model is not what came in.
        ModelError: llama.cpp cannot make it.
        LimitError: The disk is full.
    """
    parent = store.get(name)
    level = check_level(level)
    if parent.path.suffix != ".gguf":
        raise ConfigError(f"model {name} is no GGUF file, and cannot be quantised")
    said = made_from(level, read_header(parent.path).quantisation, parent.sha256)
    wanted = variant_name(name, level)
    for each in store.entries():
        if each.name == wanted and each.source == said:
            return store.verify(wanted)
    store.verify(name)  # what is made of a changed file would carry the hash of another
    with disk_errors(store.folder), store.staging() as staged:
        file = f"{parent.path.stem[:120]}.{level}.gguf"
        requantise(parent.path, staged / file, level, spawner, beat)
        return store.add_gguf(staged, file, name=wanted, source=said)


def _is_full(folder: Path) -> bool:
    import shutil

    return shutil.disk_usage(folder).free < SPARE_BYTES
