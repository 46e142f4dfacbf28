"""Turn examples into tokens, through the very code that writes prompts at run time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agentkit.models.llama import LlamaModel, Settings
from agentkit.models.prompt import render_prompt
from agentkit.models.template import GUARD, ChatTemplate, Guard
from training.tasks import Example


@dataclass(frozen=True, slots=True)
class Branch:
    """How one example goes on behind what it shares with others; from `begin` on it is learnt, and that is not 0."""

    tokens: tuple[int, ...]
    begin: int


@dataclass(frozen=True, slots=True)
class Row:
    """Examples in tokens that begin alike: what they share is computed once."""

    shared: tuple[int, ...]
    branches: tuple[Branch, ...]

    @property
    def length(self) -> int:
        """In tokens."""
        return len(self.shared) + sum(len(branch.tokens) for branch in self.branches)


class Encoder:
    """Writes prompts and completions as the engine does for one model."""

    def __init__(self, path: Path) -> None:
        """Load the vocabulary and the chat template of the GGUF file at `path`.

        Raises:
            ModelError: The file cannot be used.
        """
        self._model = LlamaModel(path, Settings(repack=False))
        bos, eos = (self._control(token) for token in (self._model.bos, self._model.eos))
        control = range(self._model.vocabulary_size)
        self._guard = Guard([self._control(token) for token in control if self._model.is_control(token)])
        self._template = ChatTemplate(self._model.chat_template(), bos=bos, eos=eos)
        self._end = self._model.tokenise(eos, special=True)

    def encode(self, examples: Sequence[Example]) -> Row:
        """Return the tokens of examples, the end of each message among them."""
        wholes = [self._whole(example) for example in examples]
        first, last = min(whole.tokens for whole in wholes), max(whole.tokens for whole in wholes)
        count = min(whole.begin for whole in wholes) - 1 if len(wholes) > 1 else 0
        count = next((place for place in range(count) if first[place] != last[place]), count)
        branches = (Branch(whole.tokens[count:], whole.begin - count) for whole in wholes)
        return Row(first[:count], tuple(branches))

    def _whole(self, example: Example) -> Branch:
        text = render_prompt(self._template, self._guard, example.messages, example.tools)
        prompt = [token for part in text.split(GUARD) for token in self._model.tokenise(part, special=True)]
        said = example.text + self._template.format.render_calls(example.calls)
        return Branch((*prompt, *self._model.tokenise(said), *self._end), len(prompt))

    def text(self, tokens: tuple[int, ...]) -> str:
        """Return what tokens say, control tokens too."""
        return b"".join(self._model.piece(token, special=True) for token in tokens).decode("utf-8", "replace")

    def _control(self, token: int) -> str:
        return self._model.piece(token, special=True).decode("utf-8", "replace") if token >= 0 else ""
