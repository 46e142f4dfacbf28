"""A model's tokens as grammars see them: which stand for characters, which for themselves, and which end a text."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import cached_property

from agentkit.models.llama import LlamaModel


class Vocabulary:
    """All tokens of a model."""

    def __init__(self, model: LlamaModel) -> None:
        self.model = model
        self.size = model.vocabulary_size
        self.specials = frozenset(token for token in range(self.size) if self._stands_alone(token))
        self.special: dict[str, int] = {}
        """Tokens no text may turn into, by their spelling."""
        for token in sorted(self.specials):
            if piece := model.piece(token, special=True):
                self.special[piece.decode("utf-8", "replace")] = token

    @cached_property
    def pieces(self) -> list[bytes]:
        """The bytes of each token; of one that is special, its name."""
        return [self.model.piece(token, special=True) for token in range(self.size)]

    @cached_property
    def ends(self) -> frozenset[int]:
        """Tokens that end a text."""
        return frozenset(token for token in range(self.size) if self.model.ends(token))

    def _stands_alone(self, token: int) -> bool:
        if self.model.is_control(token):
            return True
        if not self.model.is_user_defined(token):
            return False
        piece = self.model.piece(token, special=True)
        return piece.startswith(b"<") and piece.endswith(b">")


class Prefixes:
    """Tokens by what they begin with."""

    def __init__(self, pieces: Iterable[tuple[bytes, int]]) -> None:
        self._sorted = sorted(pieces)

    def longer(self, start: bytes) -> Sequence[tuple[bytes, int]]:
        """Return the tokens that begin with `start` and go on, each with its bytes before it."""
        low = bisect_left(self._sorted, (start + b"\x00", 0))
        return self._sorted[low : bisect_left(self._sorted, (start + b"\xff", 0), low)]
