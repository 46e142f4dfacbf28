"""all-MiniLM-L6-v2 in numpy: the embedder for questions, ready in a fraction of a second and without torch.

The forward pass of a BERT encoder, mean pooling, unit length; float32 throughout. Token ids come from the model's own
`tokenizer.json`, because other tokenisers of the same weights go astray on non-Latin scripts. Texts of a batch lie one
after the other, without padding, so that a batch costs what its words cost; attention is taken text by text.
A text over 256 word pieces is cut there, and counted in `truncated`.
Source: Devlin et al. 2018 (BERT); Abramowitz and Stegun 7.1.26 (erf, error under 2e-7).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agentkit_memory import safetensors
from agentkit_memory.errors import EmbedderError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

NAME: Final = "minilm-l6-v2"
"""As the model catalogue calls it."""
MAX_PIECES: Final = 256
BATCH_PIECES: Final = 4096
"""Word pieces computed at once: enough for the matrix products, and under 60 MB of activations."""
_ROWS: Final = 64
"""Rows of the widest activation that fit the processor's second cache."""


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """One encoder layer. Weights are (out, in), as stored."""

    attention_in: Array
    """Query, key and value, one under the other: (3 * dimensions, dimensions)."""
    attention_in_bias: Array
    attention_out: Array
    attention_out_bias: Array
    attention_scale: Array
    attention_shift: Array
    widen: Array
    widen_bias: Array
    narrow: Array
    narrow_bias: Array
    output_scale: Array
    output_shift: Array


class MiniLMEmbedder:
    """Embeds texts with all-MiniLM-L6-v2 on the CPU. Safe to use from several threads."""

    name = NAME
    max_pieces = MAX_PIECES

    def __init__(self, folder: Path) -> None:
        """Load the model from `folder`, the layout of sentence-transformers.

        Args:
            folder: Holds `config.json`, `tokenizer.json` and `model.safetensors`.

        Raises:
            EmbedderError: A file is missing or malformed, or it is another kind of model.
        """
        import numpy as np
        from tokenizers import Tokenizer

        config = _config(folder / "config.json")
        self.dimensions: int = config["hidden_size"]
        self._heads: int = config["num_attention_heads"]
        self._epsilon: float = config["layer_norm_eps"]
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the binding raises plain `Exception`, whatever is wrong with the file
            raise EmbedderError(f"tokenizer.json in {folder} cannot be read") from error
        # We cut and pad ourselves, so that what is cut is counted.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.truncated = 0
        """How many texts were cut at 256 word pieces so far."""
        tensors = safetensors.read(folder / "model.safetensors")
        wide = config["intermediate_size"]
        size = self.dimensions

        def take(name: str, *shape: int) -> Array:
            tensor = tensors.get(name)
            if tensor is None or tensor.shape != shape:
                raise EmbedderError(f"model.safetensors has no {name} of shape {shape}")
            return tensor

        self._words = take("embeddings.word_embeddings.weight", config["vocab_size"], size)
        positions = take("embeddings.position_embeddings.weight", config["max_position_embeddings"], size)
        kinds = take("embeddings.token_type_embeddings.weight", config["type_vocab_size"], size)
        self._places: Array = positions[:MAX_PIECES] + kinds[0]
        self._scale = take("embeddings.LayerNorm.weight", size)
        self._shift = take("embeddings.LayerNorm.bias", size)
        self._layers: list[_Layer] = []
        for number in range(config["num_hidden_layers"]):
            layer = f"encoder.layer.{number}."
            inputs = [f"{layer}attention.self.{part}." for part in ("query", "key", "value")]
            self._layers.append(
                _Layer(
                    np.concatenate([take(part + "weight", size, size) for part in inputs]),
                    np.concatenate([take(part + "bias", size) for part in inputs]),
                    take(layer + "attention.output.dense.weight", size, size),
                    take(layer + "attention.output.dense.bias", size),
                    take(layer + "attention.output.LayerNorm.weight", size),
                    take(layer + "attention.output.LayerNorm.bias", size),
                    take(layer + "intermediate.dense.weight", wide, size),
                    take(layer + "intermediate.dense.bias", wide),
                    take(layer + "output.dense.weight", size, wide),
                    take(layer + "output.dense.bias", size),
                    take(layer + "output.LayerNorm.weight", size),
                    take(layer + "output.LayerNorm.bias", size),
                )
            )

    def count_pieces(self, text: str) -> int:
        """Return how many word pieces a text has, with the two the model adds."""
        return len(self._tokenizer.encode(_clean(text)).ids)

    def embed(self, texts: Sequence[str]) -> Array:
        """Return one unit vector a text, as (n, dimensions) float32."""
        import numpy as np

        encoded = self._tokenizer.encode_batch_fast([_clean(text) for text in texts])
        pieces: list[NDArray[np.intp]] = []
        for encoding in encoded:
            ids = encoding.ids
            if len(ids) > MAX_PIECES:
                self.truncated += 1
                ids = [*ids[: MAX_PIECES - 1], ids[-1]]  # the closing piece stays
            pieces.append(np.array(ids, dtype=np.intp))
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        batch: list[int] = []
        filled = 0
        for number, each in enumerate(pieces):
            if batch and filled + len(each) > BATCH_PIECES:
                vectors[batch] = self._forward([pieces[place] for place in batch])
                batch, filled = [], 0
            batch.append(number)
            filled += len(each)
        if batch:
            vectors[batch] = self._forward([pieces[place] for place in batch])
        return vectors

    def _forward(self, texts: list[NDArray[np.intp]]) -> Array:
        """Return the unit vectors of texts given as piece ids, as (n, dimensions)."""
        import numpy as np

        ends = np.cumsum([len(ids) for ids in texts])
        spans = [slice(end - len(ids), end) for ids, end in zip(texts, ends, strict=True)]
        # (pieces of all texts, dimensions)
        hidden: Array = self._words[np.concatenate(texts)]
        for span in spans:
            hidden[span] += self._places[: span.stop - span.start]
        self._normalise(hidden, self._scale, self._shift)
        for layer in self._layers:
            mixed = hidden @ layer.attention_in.T
            mixed += layer.attention_in_bias
            attended = self._attend(mixed, spans) @ layer.attention_out.T
            attended += layer.attention_out_bias
            hidden += attended
            self._normalise(hidden, layer.attention_scale, layer.attention_shift)
            wide = hidden @ layer.widen.T
            wide += layer.widen_bias
            _gelu(wide)
            narrow = wide @ layer.narrow.T
            narrow += layer.narrow_bias
            hidden += narrow
            self._normalise(hidden, layer.output_scale, layer.output_shift)
        pooled = np.stack([hidden[span].mean(axis=0) for span in spans])
        pooled /= np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), np.float32(1e-12))
        return pooled

    def _attend(self, mixed: Array, spans: list[slice]) -> Array:
        """Return self-attention within each span of `mixed`, (pieces, 3 * dimensions) -> (pieces, dimensions)."""
        import numpy as np

        heads, size = self._heads, self.dimensions // self._heads
        attended = np.empty((len(mixed), self.dimensions), np.float32)
        for span in spans:
            # Each of the three: heads first, then pieces, then what one head sees of them.
            query, key, value = mixed[span].reshape(-1, 3, heads, size).transpose(1, 2, 0, 3)
            weights = query @ key.transpose(0, 2, 1)
            weights *= np.float32(size**-0.5)
            weights -= weights.max(axis=-1, keepdims=True)
            np.exp(weights, out=weights)
            weights /= weights.sum(axis=-1, keepdims=True)
            attended[span] = (weights @ value).transpose(1, 0, 2).reshape(-1, self.dimensions)
        return attended

    def _normalise(self, rows: Array, scale: Array, shift: Array) -> None:
        """Layer normalisation in place."""
        import numpy as np

        rows -= rows.mean(axis=1, keepdims=True)
        variance = np.einsum("ij,ij->i", rows, rows)[:, None] / np.float32(rows.shape[1])
        rows /= np.sqrt(variance + np.float32(self._epsilon))
        rows *= scale
        rows += shift


def _gelu(rows: Array) -> None:
    """Apply x * (1 + erf(x / sqrt 2)) / 2 in place, a few rows at a time so that they stay in cache."""
    import numpy as np

    one, half = np.float32(1), np.float32(0.5)
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        size = np.abs(part)
        scaled = size * np.float32(0.70710678)
        t = scaled * np.float32(0.3275911)
        t += one
        np.reciprocal(t, out=t)
        tail = t * np.float32(1.061405429)
        for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
            tail += np.float32(coefficient)
            tail *= t
        scaled *= scaled
        np.negative(scaled, out=scaled)
        np.exp(scaled, out=scaled)
        tail *= scaled  # 1 - erf(|x| / sqrt 2)
        tail *= half
        tail *= size
        np.maximum(part, np.float32(0), out=part)
        part -= tail


def _config(path: Path) -> dict[str, Any]:
    """Return the model's configuration, if it is one this forward pass computes.

    Raises:
        EmbedderError: Missing, malformed, or of another kind of model.
    """
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError):
        raise EmbedderError(f"config.json in {path.parent} is missing or malformed") from None
    match config:
        case {
            "model_type": "bert",
            "hidden_act": "gelu",
            "position_embedding_type": "absolute",
            "hidden_size": int(size),
            "num_attention_heads": int(heads),
            "num_hidden_layers": int(layers),
            "intermediate_size": int(),
            "vocab_size": int(),
            "max_position_embeddings": int(places),
            "type_vocab_size": int(kinds),
            "layer_norm_eps": float(),
        } if (
            size > 0
            and heads > 0
            and size % heads == 0
            and 0 < layers <= 48
            and places >= MAX_PIECES
            and kinds > 0
        ):
            return dict(config)
    raise EmbedderError(f"the model in {path.parent} is not a BERT encoder of the MiniLM kind")


def _clean(text: str) -> str:
    """Replace lone surrogates, which have no UTF-8 form and so no word piece."""
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text
