"""Write an adapter as the GGUF file that llama.cpp loads, and read its numbers back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize

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
