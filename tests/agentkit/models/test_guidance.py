"""Constraints by llguidance over a vocabulary of single bytes, no model needed."""

from __future__ import annotations

from llguidance import LLTokenizer, TokenizerWrapper

from agentkit.models.guidance import Guidance


class Bytes:
    """A tokeniser with a token for each byte but one, for which it says another."""

    eos_token_id, bos_token_id, unk_token_id = 0, None, 1
    special_token_ids = (0,)

    def __init__(self, missing: int) -> None:
        self.tokens = [b"\xff<end>", *(bytes([byte]) for byte in range(256) if byte != missing)]

    def __call__(self, text: str | bytes) -> list[int]:
        data = text.encode() if isinstance(text, str) else text
        return [self.tokens.index(bytes([byte])) if bytes([byte]) in self.tokens else 1 for byte in data]


def test_a_forced_text_that_begins_with_what_no_token_spells_forces_nothing() -> None:
    tokeniser = Bytes(missing="\U0006eb6c".encode()[0])
    guidance = Guidance(LLTokenizer(TokenizerWrapper(tokeniser)), len(tokeniser.tokens), {})
    constraint = guidance.value({"enum": ["\U0006eb6c"]})
    constraint.commit(tokeniser.tokens.index(b'"'))
    assert constraint.forced() == []
    assert not constraint.done
