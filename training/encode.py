"""Turn examples into tokens, through the very code that writes prompts at run time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agentkit.models.llama import LlamaModel, Settings
from agentkit.models.prompt import render_prompt
from agentkit.models.template import GUARD, ChatTemplate, Guard
from training.tasks import Example


@dataclass(frozen=True, slots=True)
class Row:
    """An example in tokens: the prompt, and from `begin` on what is learnt."""

    tokens: tuple[int, ...]
    begin: int


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

    def encode(self, example: Example) -> Row:
        """Return the tokens of `example`, the end of its message among them."""
        text = render_prompt(self._template, self._guard, example.messages, example.tools)
        prompt = [token for part in text.split(GUARD) for token in self._model.tokenise(part, special=True)]
        said = example.text + self._template.format.render_calls(example.calls)
        return Row((*prompt, *self._model.tokenise(said), *self._end), len(prompt))

    def text(self, tokens: tuple[int, ...]) -> str:
        """Return what tokens say, control tokens too."""
        return b"".join(self._model.piece(token, special=True) for token in tokens).decode("utf-8", "replace")

    def _control(self, token: int) -> str:
        return self._model.piece(token, special=True).decode("utf-8", "replace") if token >= 0 else ""
