"""LoRA adapters: small files that change the weights of a model while a request runs.

llama.cpp ends the process, or leaves half of an adapter out, for files that do not go with the model. So each is read
by the bounded header reader first and compared with the model's own tensors, before the worker is told of it.
Covered: a damaged file, one for another model, one that is not the file whose hash was given.
Not covered: what an adapter makes of the model; choose one as you would choose a model.

Source: `llama_adapter_lora_init` in llama.cpp, as in llama-cpp-python 0.3.36.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Never

from agentkit.errors import ConfigError, ModelRefusedError, NotFoundError
from agentkit.models.base import Sampling
from agentkit.models.gguf import GGUFHeader, read_header
from agentkit.models.gguf_tensors import Tensor

MAX_ADAPTERS = 16
"""Of one engine; all of them are kept in memory."""
MAX_RANK = 4096
_KINDS = ("F32", "F16", "BF16", "Q8_0")
_EMBEDDING = "token_embd.weight"
"""Here A is as wide as the vocabulary; and a model without an output of its own uses it as a plain matrix besides."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter file, as it is given to an engine."""

    path: Path
    sha256: str | None = None
    """Compared at each start of the worker; `None`: not compared."""


@dataclass(frozen=True, slots=True)
class FittingAdapter:
    """An adapter file that goes with the model."""

    path: Path
    sha256: str
    size_bytes: int
    """Of its weights, in memory as in the file."""
    rank: int
    """The largest, where it differs between tensors."""
    tensors: int
    """How many tensors of the model it changes."""

    def says(self) -> dict[str, str | int]:
        """Return all of it but where the file lies."""
        return {
            "sha256": self.sha256,
            "size_bytes": self.size_bytes,
            "rank": self.rank,
            "tensors": self.tensors,
        }


@dataclass(frozen=True, slots=True)
class Applied:
    """An adapter as one request wants it; never of scale 0, which is no adapter."""

    name: str
    scale: float
    sha256: str

    @property
    def key(self) -> str:
        """What is computed under one key can be used under no other."""
        return f"{self.sha256}*{self.scale!r}"


def applied(sampling: Sampling, known: Mapping[str, str]) -> Applied | None:
    """Return the adapter a request asks for; `None` where it asks for the model as it is.

    Args:
        sampling: Of the request.
        known: The SHA-256 of each adapter, by name.

    Raises:
        ConfigError: There is no such adapter.
    """
    name = sampling.adapter
    if name is None:
        return None
    if name not in known:
        raise ConfigError(
            f"the engine has no adapter {name[:100]!r}",
            hint=f"choose one of: {', '.join(sorted(known))}" if known else "give it to Engine(adapters=…)",
        )
    return Applied(name, sampling.adapter_scale, known[name]) if sampling.adapter_scale else None


def fitting(name: str, adapter: Adapter, base: GGUFHeader) -> FittingAdapter:
    """Check an adapter file against the header of the model it is for.

    Raises:
        NotFoundError: There is no such file.
        ModelError: It cannot be read.
        ModelRefusedError: It is damaged, not what its hash says, or made for another model.
    """
    if not adapter.path.is_file():
        raise NotFoundError(f"there is no file for the adapter {name}")
    header = read_header(adapter.path)
    with adapter.path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if adapter.sha256 is not None and sha256 != adapter.sha256.lower():
        _refuse(name, f"its SHA-256 begins with {sha256[:12]}, not with {adapter.sha256[:12].lower()}")
    if header.content != "adapter" or header.adapter_type != "lora":
        _refuse(name, "it is no LoRA adapter")
    if header.architecture != base.architecture:
        _refuse(name, f"it is for a model of the kind {header.architecture}, not {base.architecture}")
    if any(key.startswith("adapter.alora.") for key in header.keys):
        _refuse(name, "it is to be switched on by certain tokens, which the engine does not do")
    ranks = _ranks(name, header, {tensor.name: tensor for tensor in base.tensors})
    return FittingAdapter(adapter.path, sha256, header.tensor_bytes, max(ranks), len(ranks))


def _ranks(name: str, header: GGUFHeader, base: Mapping[str, Tensor]) -> list[int]:
    """Check each pair of tensors against the one it changes; return their ranks."""
    pairs: dict[str, dict[str, Tensor]] = {}
    for tensor in header.tensors:
        target, _, side = tensor.name.rpartition(".")
        if side not in ("lora_a", "lora_b"):
            _refuse(name, f"it replaces {tensor.name}, and the engine can only add to weights")
        if tensor.kind not in _KINDS:
            _refuse(name, f"{tensor.name} is {tensor.kind}, none of {', '.join(_KINDS)}")
        pairs.setdefault(target, {})[side] = tensor
    if not pairs:
        _refuse(name, "it holds no weights")
    ranks = []
    for target, pair in pairs.items():
        if len(pair) < 2:
            _refuse(name, f"half of what changes {target} is missing")
        if target not in base:
            _refuse(name, f"the model has no {target}")
        if target == _EMBEDDING and "output.weight" not in base:
            _refuse(name, f"it changes {target}, which is this model's output as well")
        ranks.append(_rank(name, base[target], pair["lora_a"], pair["lora_b"]))
    return ranks


def _rank(name: str, target: Tensor, a: Tensor, b: Tensor) -> int:
    rank = b.shape[0]
    if len(target.shape) < 2 or target.kind == "NVFP4":
        _refuse(name, f"it changes {target.name}, which llama.cpp cannot change while it runs")
    row, rows, *experts = target.shape
    wanted = ((row, rank, *experts), (rank, rows, *experts))
    if target.name == _EMBEDDING:
        wanted = ((rank, rows), (rank, row))
    if (a.shape, b.shape) != wanted or rank > MAX_RANK:
        _refuse(name, f"the shapes {a.shape} and {b.shape} do not go with {target.name} of {target.shape}")
    return rank


def _refuse(name: str, problem: str) -> Never:
    raise ModelRefusedError(f"adapter {name}: {problem}", hint="give one that was made for this very model")
