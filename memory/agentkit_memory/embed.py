"""What turns texts into vectors: the protocol, and a deterministic embedder for tests."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


TITLE_PIECES: Final = 32
"""Word pieces of a title that are embedded with its text."""


class Embedder(Protocol):
    """Turns texts into unit vectors; the same text gives the same vector."""

    name: str
    """Which model; vectors of two names are never compared."""
    dimensions: int
    max_pieces: int
    """Word pieces after which a text is cut."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector a text, as (n, dimensions) float32."""
        ...


@runtime_checkable
class CountsPieces(Protocol):
    """An embedder that can say how many word pieces a text has."""

    def count_pieces(self, text: str) -> int:
        """Return how many word pieces `text` has."""
        ...


def approximate_pieces(text: str) -> int:
    """Return about how many word pieces `text` has, rather too many than too few."""
    return sum(1 + len(word) // 6 for word in re.findall(r"\w+|[^\w\s]", text))


def embedding_text(embedder: Embedder, title: str, text: str) -> str:
    """Return what is embedded for a record: its title, shortened to `TITLE_PIECES`, and its text under it."""
    count = embedder.count_pieces if isinstance(embedder, CountsPieces) else approximate_pieces
    words = title.split()
    while words and count(" ".join(words)) > TITLE_PIECES:
        words.pop()
    return f"{' '.join(words)}\n{text}" if words else text


class HashEmbedder:
    """Embeds a text by hashing its words: texts that share words are near, and no model is needed.

    Shipped for tests and examples; it knows nothing of meaning.
    """

    max_pieces = 1 << 20

    def __init__(self, dimensions: int = 64) -> None:
        self.dimensions = dimensions
        self.name = f"hash-{dimensions}"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector a text, as (n, dimensions) float32."""
        import numpy as np

        vectors = np.zeros((len(texts), self.dimensions), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            for word in re.findall(r"\w+", text.lower()) or [""]:
                digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
                place = int.from_bytes(digest[:7], "little") % self.dimensions
                vector[place] += 1.0 if digest[7] & 1 else -1.0
            if not vector.any():  # signs cancelled out
                vector[0] = 1.0
        return np.ascontiguousarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))

    def count_pieces(self, text: str) -> int:
        """Return how many words the text has: its stand-in for word pieces."""
        return len(re.findall(r"\w+", text))
