"""What turns texts into vectors: the protocol, and a deterministic embedder for tests."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


TITLE_PIECES: Final = 32
"""Word pieces of a title that are embedded with its text."""
TURN_PIECES: Final = 96
"""Word pieces of a remembered fact or a turn under one vector; longer ones get several."""
MOST_VECTORS: Final = 128
"""Of one record: some 6,000 words. What comes after is found by its words only."""
_TURN: Final = re.compile(r"^(?=(?:user|assistant): )", re.MULTILINE)
_BREAKS: Final = (re.compile(r"\n"), re.compile(r"(?<=[.!?;])\s"), re.compile(r"\s"))
"""Where a long text is cut, the best place first."""


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


def embedding_texts(embedder: Embedder, kind: str, title: str, text: str) -> list[str]:
    """Return what is embedded for a record, in order: a vector is made of each, at most `MOST_VECTORS`.

    A round gives one text a turn, and a long turn or fact one for each `TURN_PIECES` or fewer. A chunk of a document
    gives one text: it was cut when it was read.
    """
    if kind == "document":
        return [embedding_text(embedder, title, text)]
    turns = [turn for turn in _TURN.split(text) if turn.strip()] if kind == "round" else [text]
    room = min(TURN_PIECES, embedder.max_pieces - TITLE_PIECES)
    pieces = (piece for turn in turns or [text] for piece in _pieces(turn, room, _counter(embedder)))
    return [embedding_text(embedder, title, piece.strip()) for piece in islice(pieces, MOST_VECTORS)]


def embed_record(embedder: Embedder, kind: str, title: str, text: str) -> NDArray[np.float32]:
    """Return the vectors of a record, (n, dimensions), as re-embedding would make them."""
    return embedder.embed(embedding_texts(embedder, kind, title, text))


def _counter(embedder: Embedder) -> Callable[[str], int]:
    return embedder.count_pieces if isinstance(embedder, CountsPieces) else approximate_pieces


def _pieces(text: str, room: int, count: Callable[[str], int]) -> Iterator[str]:
    """Yield `text` in order, halved until each part has at most `room` word pieces."""
    if len(text) < 2 or count(text) <= room:
        yield text
        return
    middle, quarter = len(text) // 2, len(text) // 4
    found = (
        [match.end() for match in pattern.finditer(text, quarter, len(text) - quarter)] for pattern in _BREAKS
    )
    cut = min(next((places for places in found if places), [middle]), key=lambda each: abs(each - middle))
    yield from _pieces(text[:cut], room, count)
    yield from _pieces(text[cut:], room, count)


def embedding_text(embedder: Embedder, title: str, text: str) -> str:
    """Return what is embedded for a text: its title, shortened to `TITLE_PIECES`, and itself under it."""
    count = _counter(embedder)
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
