"""Write an adapter as the GGUF file that llama.cpp loads, and read one back to go on from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import dequantize, quantize

from training.network import Network

_BLOCK = 32
"""Weights of one Q8_0 block."""


def export(network: Network, path: Path, *, name: str, quantised: bool = False) -> None:
    """Write the adapter of `network` to `path`, whole or not at all.

    Args:
        network: With an adapter.
        path: Of the file.
        name: Said in the file.
        quantised: Q8_0 where rows are long enough for it, half the size; else F16.
    """
    fresh = path.with_suffix(".new")
    writer = GGUFWriter(fresh, "llama")
    writer.add_type("adapter")
    writer.add_name(name)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", network.alpha)
    for tensor, down, up in network.adapter():
        for suffix, matrix in (("lora_a", down), ("lora_b", up)):
            values = matrix.detach().float().cpu().numpy()
            if quantised and values.shape[1] % _BLOCK == 0:
                kind = GGMLQuantizationType.Q8_0
                writer.add_tensor(f"{tensor}.{suffix}", quantize(values, kind), raw_dtype=kind)
            else:
                writer.add_tensor(f"{tensor}.{suffix}", values.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    fresh.replace(path)


def load(network: Network, path: Path) -> None:
    """Give `network` the adapter that `export` wrote to `path`.

    Raises:
        ValueError: It is an adapter of another rank, or of another model.
    """
    held = {tensor.name: dequantize(tensor.data, tensor.tensor_type) for tensor in GGUFReader(path).tensors}
    with torch.no_grad():
        for tensor, *matrices in network.adapter():
            for suffix, matrix in zip(("lora_a", "lora_b"), matrices, strict=True):
                values = held.get(f"{tensor}.{suffix}")
                if values is None or values.shape != matrix.shape:
                    raise ValueError(f"{path.name} holds no {tensor}.{suffix} of {tuple(matrix.shape)}")
                matrix.copy_(torch.from_numpy(np.array(values, dtype=np.float32)))
