"""all-MiniLM-L6-v2 through sentence-transformers, for bulk. The only importer of `sentence_transformers` and `torch`.

Slow to import and quick by the thousand: in bfloat16 where the processor computes it, float32 elsewhere. Local files
only; the folder may name no code of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agentkit_memory.errors import EmbedderError
from agentkit_memory.minilm import MAX_PIECES, NAME

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH: Final = 64
_QUIET: Final = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


class SentenceTransformerEmbedder:
    """Embeds many texts at once. Safe to use from one thread at a time."""

    name = NAME
    max_pieces = MAX_PIECES

    def __init__(self, folder: Path) -> None:
        """Load the model from `folder`; importing torch takes seconds.

        Raises:
            EmbedderError: Files are missing or malformed, or torch is not installed.
        """
        _check_modules(folder / "modules.json")
        os.environ.update(_QUIET)
        try:
            from sentence_transformers import SentenceTransformer
            from transformers.utils import logging
        except ImportError as error:
            raise EmbedderError(f"sentence-transformers cannot be imported: {error}") from None
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            model = SentenceTransformer(
                str(folder),
                device="cpu",
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise EmbedderError(f"the model in {folder} cannot be loaded: {type(error).__name__}") from None
        model.max_seq_length = MAX_PIECES
        self._model = model
        self.dimensions = int(model.get_embedding_dimension() or 0)
        self.half = computes_bfloat16()
        """Whether it computes in bfloat16."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector a text, as (n, dimensions) float32."""
        import numpy as np
        import torch

        if not texts:
            return np.empty((0, self.dimensions), np.float32)
        half: Any = torch.autocast("cpu", dtype=torch.bfloat16) if self.half else nullcontext()
        with half, torch.inference_mode():
            tensor = self._model.encode(
                [text.encode("utf-8", "replace").decode() for text in texts],
                batch_size=BATCH,
                convert_to_tensor=True,
                show_progress_bar=False,
            )
        vectors = tensor.float().numpy()
        return np.ascontiguousarray(
            vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32
        )


def computes_bfloat16() -> bool:
    """Whether this processor computes in bfloat16, where it is three times as fast as float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags


def _check_modules(path: Path) -> None:
    """Refuse a model folder that would have code of its own imported.

    Raises:
        EmbedderError: `modules.json` is missing, malformed, or names anything but sentence-transformers' own modules.
    """
    try:
        modules = json.loads(path.read_bytes())
        types = [module["type"] for module in modules]
    except (OSError, ValueError, TypeError, KeyError):
        raise EmbedderError(f"modules.json in {path.parent} is missing or malformed") from None
    if not all(isinstance(each, str) and each.startswith("sentence_transformers.models.") for each in types):
        raise EmbedderError(f"the model in {path.parent} names code of its own, and was not loaded")
