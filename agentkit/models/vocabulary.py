"""A model's tokens as grammars see them: which stand for characters, which for themselves, and which end a text."""

from __future__ import annotations

from agentkit.models.llama import LlamaModel


class Vocabulary:
    """All tokens of a model."""

    def __init__(self, model: LlamaModel) -> None:
        self.model = model
        self.size = model.vocabulary_size
        self.pieces = [model.piece(token, special=True) for token in range(self.size)]
        """The bytes of each token; of one that is special, its name."""
        self.special: dict[str, int] = {}
        """Tokens no text may turn into, by their spelling."""
        self.ends = frozenset(token for token in range(self.size) if model.ends(token))
        self.specials = frozenset(token for token in range(self.size) if self._stands_alone(token))
        for token in sorted(self.specials):
            if self.pieces[token]:
                self.special[self.pieces[token].decode("utf-8", "replace")] = token

    def _stands_alone(self, token: int) -> bool:
        piece = self.pieces[token]
        bracketed = piece.startswith(b"<") and piece.endswith(b">")
        return self.model.is_control(token) or (self.model.is_user_defined(token) and bracketed)
